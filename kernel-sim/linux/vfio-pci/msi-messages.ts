/**
 * The MSI of a device that user space has: one block of messages.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
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
} from "../../../core/uapi/pci_regs.ts";
import type { AllocatedMessages } from "../../hardware/interrupts.ts";
import { Messages } from "./messages.ts";

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

	protected override turnOn(): void {
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
		this.#block = this.controller.allocateMessages(this.fn, roundUp(count), (index) => this.deliver(index));
		// Without interrupt remapping a block has one message.
		if (!this.#block) return 1;
		this.#vectors = count;
		return 0;
	}

	protected override messageOf(vector: number): number | undefined {
		return this.#block && vector < this.#vectors ? this.#block.index + vector : undefined;
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

/** The next power of two: MSI blocks have no other size. */
function roundUp(count: number): number {
	return 2 ** Math.ceil(Math.log2(count));
}
