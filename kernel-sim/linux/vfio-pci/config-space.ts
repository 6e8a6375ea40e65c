/**
 * The configuration space that a user of vfio-pci sees: part hardware, part the kernel's copy, bit by bit.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { EFAULT, EIO } from "../../../core/uapi/errno.ts";
import {
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_MEMORY,
	PCI_INTERRUPT_PIN,
	PCI_VENDOR_ID,
} from "../../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../../hardware/function.ts";
import { allOnes, clearBits, load, setBits, store } from "../../hardware/little-endian.ts";
import { ConfigBits, UNASSIGNED } from "./config-bits.ts";
import { layOutCapabilities } from "./config-chain.ts";
import { effectOf, type RegisterEffect } from "./config-effects.ts";
import { HeaderEffect } from "./config-header.ts";
import { permitHeader } from "./config-permissions.ts";

/** What a config write can set off in the rest of the device. */
export interface ConfigHost {
	readonly fn: PciFunction;
	/** Of a virtual function, which has none in its registers: vendor in the low half, device in the high one. */
	readonly virtualIds?: number | undefined;
	/** COMMAND's Interrupt Disable bit changed. */
	maskIntx(masked: boolean): void;
	/** How many MSI vectors SET_IRQS enabled; 0 when MSI is not active. */
	readonly msiVectors: number;
	/** @param state 0 to 3 for D0 to D3hot */
	setPowerState(state: number): void;
	/** A function level reset asked for through a register. */
	tryReset(): void;
}

/** The virtualized configuration space of an open device. */
export class ConfigSpace {
	readonly host: ConfigHost;
	readonly fn: PciFunction;
	/** 256 or 4096. */
	readonly size: number;
	/** The kernel's copy: what virtual bits read from. */
	readonly shadow: Uint8Array;
	readonly bits: ConfigBits;
	readonly #effects: (RegisterEffect | undefined)[] = [];

	/** Takes the snapshot that virtual bits start from: the device has to be enabled already. */
	constructor(host: ConfigHost) {
		this.host = host;
		this.fn = host.fn;
		this.size = host.fn.config.length;
		this.shadow = new Uint8Array(this.size);
		for (let offset = 0; offset < this.size; offset += 4) store(this.shadow, offset, 4, this.fn.configRead(offset, 4));
		this.bits = new ConfigBits(this.size);
		const header = new HeaderEffect(this);
		this.#effects[permitHeader(this.bits)] = header;
		clearBits(this.shadow, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
		if (host.virtualIds !== undefined) this.#completeVirtualFunction(host.virtualIds);
		if (hasUnusablePin(load(this.shadow, PCI_VENDOR_ID, 4))) this.shadow[PCI_INTERRUPT_PIN] = 0;
		header.fixBaseAddresses();
		for (const { owner, id, offset, extended } of layOutCapabilities(this.bits, this.shadow))
			this.#effects[owner] = extended ? undefined : effectOf(this, id, offset);
	}

	/** COMMAND as the user wrote it. */
	get command(): number {
		return load(this.shadow, PCI_COMMAND, 2);
	}

	/** The interrupt pin the user sees, 0 for none. */
	get interruptPin(): number {
		return this.shadow[PCI_INTERRUPT_PIN] ?? 0;
	}

	/**
	 * pread(2).
	 *
	 * @param offset bytes from the start of the configuration space
	 * @returns the length, or -EFAULT when any of it is past the end, or -EIO when the hardware is gone
	 */
	read(offset: number, into: Uint8Array): number {
		const length = into.length;
		if (offset >= this.size || offset + length > this.size) return -EFAULT;
		for (let done = 0; done < length; ) {
			const width = this.#chunk(offset + done, length - done);
			const value = this.load(offset + done, width);
			if (value < 0) return value;
			store(into, done, width, value);
			done += width;
		}
		return length;
	}

	/** pwrite(2). Bits that cannot be written are dropped without an error. @returns as {@link read} */
	write(offset: number, from: Uint8Array): number {
		const length = from.length;
		if (offset >= this.size || offset + length > this.size) return -EFAULT;
		for (let done = 0; done < length; ) {
			const at = offset + done;
			const width = this.#chunk(at, length - done);
			const value = load(from, done, width);
			const effect = this.#effects[this.bits.owner[at] ?? UNASSIGNED];
			const answer = effect ? effect.write(at - effect.offset, width, value) : this.store(at, width, value);
			if (answer < 0) return answer;
			done += width;
		}
		return length;
	}

	/** Reads one naturally aligned register. @returns the value, unsigned, or -EIO */
	load(offset: number, width: AccessWidth): number {
		const virtual = load(this.bits.virtual, offset, width);
		let value = 0;
		if (virtual !== allOnes(width)) {
			if (!this.fn.present) return -EIO;
			value = this.fn.configRead(offset, width) & ~virtual;
		}
		return (value | (load(this.shadow, offset, width) & virtual)) >>> 0;
	}

	/** Writes one naturally aligned register by the rules of its bits. @returns 0, or -EIO */
	store(offset: number, width: AccessWidth, value: number): number {
		const writable = load(this.bits.writable, offset, width);
		const virtual = load(this.bits.virtual, offset, width);
		const copied = writable & virtual;
		if (copied !== 0)
			store(this.shadow, offset, width, (load(this.shadow, offset, width) & ~copied) | (value & copied));
		const passed = writable & ~virtual;
		if (passed === 0) return 0;
		if (!this.fn.present) return -EIO;
		const old = this.fn.configRead(offset, width);
		this.fn.configWrite(offset, width, ((old & ~passed) | (value & passed)) >>> 0);
		return 0;
	}

	/** What software takes from its physical function. Its memory is always on, whatever the bit says. */
	#completeVirtualFunction(ids: number): void {
		store(this.shadow, PCI_VENDOR_ID, 4, ids);
		setBits(this.shadow, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		this.bits.hold(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY);
		this.shadow[PCI_INTERRUPT_PIN] = 0;
	}

	/** The widest aligned access at `offset` that stays within `left` bytes and one owner. */
	#chunk(offset: number, left: number): AccessWidth {
		const owner = this.bits.owner;
		const first = owner[offset];
		if (left < 2 || (offset & 1) !== 0 || owner[offset + 1] !== first) return 1;
		if (left < 4 || (offset & 3) !== 0 || owner[offset + 2] !== first || owner[offset + 3] !== first) return 2;
		return 4;
	}
}

const INTEL = 0x8086;
/** Intel network controllers whose pin says INTA# and never works (X710, XXV710, X722, X550 families). */
const BROKEN_PIN: ReadonlySet<number> = new Set([
	0x1563, 0x1572, 0x1574, 0x1580, 0x1581, 0x1583, 0x1584, 0x1585, 0x1586, 0x1587, 0x1588, 0x1589, 0x158a, 0x158b,
	0x37d0, 0x37d1, 0x37d2,
]);

/** @param ids vendor in the low half, device in the high one */
function hasUnusablePin(ids: number): boolean {
	return (ids & 0xffff) === INTEL && BROKEN_PIN.has(ids >>> 16);
}
