import type { AccessWidth } from "../../../core/kernel.ts";
import type { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import {
	PCI_BASE_ADDRESS_0,
	PCI_BASE_ADDRESS_MEM_TYPE_64,
	PCI_BASE_ADDRESS_MEM_TYPE_MASK,
	PCI_BASE_ADDRESS_SPACE_IO,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAPABILITY_LIST,
	PCI_COMMAND,
	PCI_COMMAND_IO,
	PCI_COMMAND_MASTER,
	PCI_COMMAND_MEMORY,
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_32,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_64BIT,
	PCI_MSI_FLAGS_ENABLE,
	PCI_MSIX_BIR,
	PCI_MSIX_ENTRY_CTRL_MASKBIT,
	PCI_MSIX_ENTRY_DATA,
	PCI_MSIX_ENTRY_LOWER_ADDR,
	PCI_MSIX_ENTRY_SIZE,
	PCI_MSIX_ENTRY_UPPER_ADDR,
	PCI_MSIX_ENTRY_VECTOR_CTRL,
	PCI_MSIX_FLAGS,
	PCI_MSIX_FLAGS_ENABLE,
	PCI_MSIX_FLAGS_QSIZE,
	PCI_MSIX_TABLE,
} from "../../../core/uapi/pci_regs.ts";

/** A BAR as the guest sizes it. */
export interface SizedBar {
	readonly index: number;
	readonly size: number;
	readonly kind: "mem32" | "mem64" | "io";
}

const MESSAGE_ADDRESS = 0xfee01000;

/** What an operating system's PCI code does with a function, over the registers and nothing else. */
export class GuestDriver {
	readonly #fn: AssignedFunction;

	constructor(fn: AssignedFunction) {
		this.#fn = fn;
	}

	/** Sizes each BAR the way the PCI specification says, and puts it somewhere. */
	placeBars(): SizedBar[] {
		const bars: SizedBar[] = [];
		let memory = 0xc000_0000;
		let ports = 0x1000;
		for (let index = 0; index < 6; index++) {
			const at = PCI_BASE_ADDRESS_0 + 4 * index;
			const kind = this.#fn.configRead(at, 4);
			const io = (kind & PCI_BASE_ADDRESS_SPACE_IO) !== 0;
			const wide = !io && (kind & PCI_BASE_ADDRESS_MEM_TYPE_MASK) === PCI_BASE_ADDRESS_MEM_TYPE_64;
			const mask = this.#probe(at) & (io ? ~3 : ~15);
			const upper = wide ? this.#probe(at + 4) : 0xffff_ffff;
			const bits = (BigInt(upper >>> 0) << 32n) | BigInt(mask >>> 0);
			if (mask !== 0) {
				const size = Number(BigInt.asUintN(64, ~bits) + 1n);
				const next = io ? ports : memory;
				const base = Math.ceil(next / size) * size;
				this.#fn.configWrite(at, 4, base);
				if (wide) this.#fn.configWrite(at + 4, 4, 0);
				if (io) ports = base + size;
				else memory = base + size;
				bars.push({ index, size, kind: io ? "io" : wide ? "mem64" : "mem32" });
			}
			if (wide) index++;
		}
		this.#fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		return bars;
	}

	/** Where a capability is, or 0. */
	capability(id: number): number {
		let at = this.#fn.configRead(PCI_CAPABILITY_LIST, 1);
		for (let steps = 0; at !== 0 && steps < 48; at = this.#fn.configRead(at + 1, 1), steps++)
			if (this.#fn.configRead(at, 1) === id) return at;
		return 0;
	}

	/** Enables MSI with one vector. @returns the message it is to send; undefined without the capability */
	enableMsi(data: number): { address: bigint; data: number } | undefined {
		const at = this.capability(PCI_CAP_ID_MSI);
		if (at === 0) return undefined;
		const flags = this.#fn.configRead(at + PCI_MSI_FLAGS, 2);
		const wide = (flags & PCI_MSI_FLAGS_64BIT) !== 0;
		this.#fn.configWrite(at + PCI_MSI_ADDRESS_LO, 4, MESSAGE_ADDRESS);
		if (wide) this.#fn.configWrite(at + PCI_MSI_ADDRESS_HI, 4, 0);
		this.#fn.configWrite(at + (wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32), 2, data);
		this.#fn.configWrite(at + PCI_MSI_FLAGS, 2, flags | PCI_MSI_FLAGS_ENABLE);
		return { address: BigInt(MESSAGE_ADDRESS), data };
	}

	disableMsi(): void {
		this.#clear(this.capability(PCI_CAP_ID_MSI) + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE);
	}

	/** Enables MSI-X with every vector unmasked; vector n sends the data n. @returns how many vectors, 0 without the capability */
	enableMsix(): number {
		const at = this.capability(PCI_CAP_ID_MSIX);
		if (at === 0) return 0;
		const flags = this.#fn.configRead(at + PCI_MSIX_FLAGS, 2);
		const vectors = (flags & PCI_MSIX_FLAGS_QSIZE) + 1;
		const table = this.#fn.configRead(at + PCI_MSIX_TABLE, 4);
		this.#fn.configWrite(at + PCI_MSIX_FLAGS, 2, flags | PCI_MSIX_FLAGS_ENABLE);
		for (let vector = 0; vector < vectors; vector++) {
			const entry = (table & ~PCI_MSIX_BIR) + vector * PCI_MSIX_ENTRY_SIZE;
			const set = (field: number, value: number) => this.#fn.barWrite(table & PCI_MSIX_BIR, entry + field, 4, value);
			set(PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
			set(PCI_MSIX_ENTRY_LOWER_ADDR, MESSAGE_ADDRESS);
			set(PCI_MSIX_ENTRY_UPPER_ADDR, 0);
			set(PCI_MSIX_ENTRY_DATA, vector);
			set(PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
		}
		return vectors;
	}

	disableMsix(): void {
		this.#clear(this.capability(PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
	}

	/** What of a register's bits can be written, which it leaves as they were. */
	#probe(at: number, width: AccessWidth = 4): number {
		const before = this.#fn.configRead(at, width);
		this.#fn.configWrite(at, width, 0xffff_ffff);
		const mask = this.#fn.configRead(at, width);
		this.#fn.configWrite(at, width, before);
		return mask;
	}

	#clear(at: number, bits: number): void {
		this.#fn.configWrite(at, 2, this.#fn.configRead(at, 2) & ~bits);
	}
}
