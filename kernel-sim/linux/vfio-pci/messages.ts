/**
 * MSI and MSI-X for user space: the kernel owns the messages, and each leads to an eventfd.
 *
 * @module
 */
import { EINVAL, ENOSPC } from "../../../core/uapi/errno.ts";
import {
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_32,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_64BIT,
	PCI_MSI_FLAGS_ENABLE,
	PCI_MSI_FLAGS_MASKBIT,
	PCI_MSI_FLAGS_QMASK,
	PCI_MSI_FLAGS_QSIZE,
	PCI_MSIX_ENTRY_CTRL_MASKBIT,
	PCI_MSIX_ENTRY_DATA,
	PCI_MSIX_ENTRY_LOWER_ADDR,
	PCI_MSIX_ENTRY_SIZE,
	PCI_MSIX_ENTRY_UPPER_ADDR,
	PCI_MSIX_ENTRY_VECTOR_CTRL,
	PCI_MSIX_FLAGS,
	PCI_MSIX_FLAGS_ENABLE,
	PCI_MSIX_FLAGS_MASKALL,
} from "../../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { AllocatedMessages, InterruptController } from "../../hardware/interrupts.ts";
import type { EventFd } from "../eventfd.ts";
import { allowIntx, withMemoryEnabled } from "./command.ts";

/** The vectors of one device, of one of the two kinds (contract E.3). */
export abstract class Messages {
	protected readonly fn: PciFunction;
	protected readonly controller: InterruptController;
	/** Each vector's eventfd. */
	protected readonly triggers: (EventFd | undefined)[] = [];
	#enabled = false;

	constructor(fn: PciFunction, controller: InterruptController) {
		this.fn = fn;
		this.controller = controller;
	}

	/** How many vectors the hardware has. */
	abstract readonly count: number;
	/** Vectors beyond the ones that were enabled can be added. */
	abstract readonly dynamic: boolean;

	get enabled(): boolean {
		return this.#enabled;
	}

	/**
	 * Allocates vectors 0 to `count` - 1 and turns the capability on.
	 *
	 * @returns 0; or how many there are, when that is fewer: then nothing has happened; or -ENOSPC
	 */
	enable(count: number): number {
		const answer = this.allocate(count);
		if (answer !== 0) return answer;
		this.#enabled = true;
		// A function that sends messages must not use its pin (PCI 3.0, section 6.8.3.3): Linux shuts it as well.
		allowIntx(this.fn, false);
		this.restore();
		return 0;
	}

	/** Turns the capability off and frees everything. */
	disable(): void {
		if (!this.#enabled) return;
		for (let vector = 0; vector < this.triggers.length; vector++) this.setTrigger(vector, undefined);
		this.triggers.length = 0;
		this.#enabled = false;
		this.turnOff();
		allowIntx(this.fn, true);
	}

	/**
	 * Whether a vector can be given an eventfd, allocating it when it can be allocated late.
	 *
	 * @returns 0, or -EINVAL, or -ENOSPC
	 */
	abstract prepare(vector: number): number;

	/** Gives a vector another eventfd, whose reference is taken over; undefined silences it. */
	setTrigger(vector: number, trigger: EventFd | undefined): void {
		this.triggers[vector]?.unreference();
		this.triggers[vector] = trigger;
		this.program(vector);
	}

	/** Signals a vector's eventfd without a message; one without is skipped. */
	signal(vector: number): void {
		this.triggers[vector]?.signal();
	}

	/** Writes everything into the hardware again, which a reset has cleared. */
	abstract restore(): void;
	protected abstract allocate(count: number): number;
	protected abstract program(vector: number): void;
	protected abstract turnOff(): void;
}

/** The MSI of a device: one block of messages whose size is fixed when it is enabled. */
export class MsiMessages extends Messages {
	readonly dynamic = false;
	#block: AllocatedMessages | undefined;
	#vectors = 0;

	override get count(): number {
		const msi = this.fn.msi;
		return msi ? 1 << ((this.#flags(msi.offset) & PCI_MSI_FLAGS_QMASK) >>> 1) : 0;
	}

	/** How many are enabled. */
	get vectors(): number {
		return this.#vectors;
	}

	override prepare(vector: number): number {
		return vector < this.#vectors ? 0 : -EINVAL;
	}

	override restore(): void {
		const msi = this.fn.msi;
		const block = this.#block;
		if (!msi || !block) return;
		const flags = this.#flags(msi.offset);
		const wide = (flags & PCI_MSI_FLAGS_64BIT) !== 0;
		this.fn.configWrite(msi.offset + PCI_MSI_ADDRESS_LO, 4, Number(BigInt.asUintN(32, block.address)));
		if (wide) this.fn.configWrite(msi.offset + PCI_MSI_ADDRESS_HI, 4, Number(block.address >> 32n));
		this.fn.configWrite(msi.offset + (wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32), 2, block.data);
		this.program();
		const exponent = Math.log2(roundUp(this.#vectors));
		const on = (flags & ~PCI_MSI_FLAGS_QSIZE) | (exponent << 4) | PCI_MSI_FLAGS_ENABLE;
		this.fn.configWrite(msi.offset + PCI_MSI_FLAGS, 2, on);
	}

	protected override allocate(count: number): number {
		this.#block = this.controller.allocateMessages(this.fn, roundUp(count), (index) => this.triggers[index]?.signal());
		// Without interrupt remapping a block has one message.
		if (!this.#block) return 1;
		this.#vectors = count;
		return 0;
	}

	/** Masks the vectors that lead nowhere, where the device has mask bits. */
	protected override program(): void {
		const msi = this.fn.msi;
		if (!msi) return;
		const flags = this.#flags(msi.offset);
		if ((flags & PCI_MSI_FLAGS_MASKBIT) === 0) return;
		const mask = ((flags & PCI_MSI_FLAGS_64BIT) !== 0 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32) + 4;
		let bits = 0xffffffff;
		for (let vector = 0; vector < this.#vectors; vector++)
			if (this.triggers[vector]) bits = (bits & ~(1 << vector)) >>> 0;
		this.fn.configWrite(msi.offset + mask, 4, bits);
	}

	protected override turnOff(): void {
		const msi = this.fn.msi;
		if (msi) this.fn.configWrite(msi.offset + PCI_MSI_FLAGS, 2, this.#flags(msi.offset) & ~PCI_MSI_FLAGS_ENABLE);
		this.#block?.free();
		this.#block = undefined;
		this.#vectors = 0;
	}

	#flags(offset: number): number {
		return this.fn.configRead(offset + PCI_MSI_FLAGS, 2);
	}
}

/** The MSI-X of a device: vectors come and go one by one. */
export class MsixMessages extends Messages {
	readonly #allocated: (AllocatedMessages | undefined)[] = [];

	override get count(): number {
		return this.fn.msix?.vectors ?? 0;
	}

	override get dynamic(): boolean {
		return this.fn.msix !== undefined;
	}

	override prepare(vector: number): number {
		if (vector >= this.count) return -EINVAL;
		if (this.#allocated[vector]) return 0;
		try {
			this.#allocated[vector] = this.controller.allocateMessage(this.fn, () => this.triggers[vector]?.signal());
		} catch {
			return -ENOSPC;
		}
		return 0;
	}

	override restore(): void {
		const msix = this.fn.msix;
		if (!msix) return;
		const register = msix.offset + PCI_MSIX_FLAGS;
		const flags = this.fn.configRead(register, 2) | PCI_MSIX_FLAGS_ENABLE;
		this.fn.configWrite(register, 2, flags | PCI_MSIX_FLAGS_MASKALL);
		for (let vector = 0; vector < msix.vectors; vector++) this.program(vector);
		this.fn.configWrite(register, 2, flags & ~PCI_MSIX_FLAGS_MASKALL);
	}

	protected override allocate(count: number): number {
		for (let vector = 0; vector < count; vector++) {
			const answer = this.prepare(vector);
			if (answer === 0) continue;
			this.#free();
			return vector > 0 ? vector : answer;
		}
		return 0;
	}

	/** Writes a table entry: the message when there is an eventfd behind it, masked when there is none. */
	protected override program(vector: number): void {
		const msix = this.fn.msix;
		if (!msix) return;
		const { bar, offset } = msix.table;
		const entry = offset + vector * PCI_MSIX_ENTRY_SIZE;
		const message = this.triggers[vector] && this.#allocated[vector];
		withMemoryEnabled(this.fn, () => {
			this.fn.write(bar, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, PCI_MSIX_ENTRY_CTRL_MASKBIT);
			if (!message) return;
			this.fn.write(bar, entry + PCI_MSIX_ENTRY_LOWER_ADDR, 4, Number(BigInt.asUintN(32, message.address)));
			this.fn.write(bar, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 4, Number(message.address >> 32n));
			this.fn.write(bar, entry + PCI_MSIX_ENTRY_DATA, 4, message.data);
			this.fn.write(bar, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
		});
	}

	protected override turnOff(): void {
		const msix = this.fn.msix;
		if (msix) {
			const register = msix.offset + PCI_MSIX_FLAGS;
			this.fn.configWrite(register, 2, this.fn.configRead(register, 2) & ~PCI_MSIX_FLAGS_ENABLE);
		}
		this.#free();
	}

	#free(): void {
		for (const message of this.#allocated) message?.free();
		this.#allocated.length = 0;
	}
}

/** The next power of two: MSI blocks have no other size. */
function roundUp(count: number): number {
	return 2 ** Math.ceil(Math.log2(count));
}
