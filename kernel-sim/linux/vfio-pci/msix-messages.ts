/**
 * The MSI-X of a device that user space has: a table of messages.
 *
 * @module
 */
import { EINVAL, ENOSPC } from "../../../core/uapi/errno.ts";
import {
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
import type { AllocatedMessages } from "../../hardware/interrupts.ts";
import { withMemoryEnabled } from "./command.ts";
import { Messages } from "./messages.ts";

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
			this.#allocated[vector] = this.controller.allocateMessage(this.fn, () => this.deliver(vector));
		} catch {
			return -ENOSPC;
		}
		return 0;
	}

	protected override turnOn(): void {
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

	protected override messageOf(vector: number): number | undefined {
		return this.#allocated[vector]?.index;
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
