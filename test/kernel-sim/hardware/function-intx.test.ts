import { describe, expect, it } from "vitest";
import {
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_STATUS,
	PCI_STATUS_INTERRUPT,
} from "../../../core/uapi/pci_regs.ts";
import { msi, pm } from "../../../kernel-sim/hardware/capabilities.ts";
import { bench, DECODE } from "./fixtures.ts";

function intxBench() {
	const bed = bench({
		interruptPin: 1,
		capabilities: [msi({ offset: 0x40 }), pm({ offset: 0x60, noSoftReset: true })],
	});
	const levels: boolean[] = [];
	bed.machine.interrupts.onIntx(bed.fn, (asserted) => levels.push(asserted));
	const status = () => (bed.fn.configRead(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT) !== 0;
	return { ...bed, levels, status };
}

describe("INTx", () => {
	it("follows what the model says, and so does the status bit", () => {
		const { fn, model, levels, status } = intxBench();
		model.port?.setIntx(true);
		expect([fn.intxAsserted, status(), levels]).toEqual([true, true, [true]]);
		model.port?.setIntx(false);
		expect([fn.intxAsserted, status(), levels]).toEqual([false, false, [true, false]]);
	});

	it("is held back by Interrupt Disable, which leaves the status bit alone", () => {
		const { fn, model, levels, status } = intxBench();
		fn.configWrite(PCI_COMMAND, 2, DECODE | PCI_COMMAND_INTX_DISABLE);
		model.port?.setIntx(true);
		expect([fn.intxAsserted, status(), levels]).toEqual([false, true, []]);
		fn.configWrite(PCI_COMMAND, 2, DECODE);
		expect([fn.intxAsserted, levels]).toEqual([true, [true]]);
		fn.configWrite(PCI_COMMAND + 1, 1, PCI_COMMAND_INTX_DISABLE >>> 8);
		expect([fn.intxAsserted, status(), levels]).toEqual([false, true, [true, false]]);
	});

	it("goes away when messages are enabled, and comes back", () => {
		const { fn, model, levels } = intxBench();
		model.port?.setIntx(true);
		fn.configWrite(0x42, 2, 1);
		expect(fn.intxAsserted).toBe(false);
		fn.configWrite(0x42, 2, 0);
		expect(levels).toEqual([true, false, true]);
	});

	it("is silent outside D0", () => {
		const { fn, model, levels } = intxBench();
		model.port?.setIntx(true);
		fn.configWrite(0x64, 2, 3);
		fn.configWrite(0x64, 2, 0);
		expect(levels).toEqual([true, false, true]);
	});

	it("lets a handler mask it from inside the call, as Linux does", () => {
		const { machine, fn, model } = intxBench();
		let interrupts = 0;
		machine.interrupts.onIntx(fn, (asserted) => {
			if (!asserted) return;
			interrupts++;
			fn.configWrite(PCI_COMMAND, 2, DECODE | PCI_COMMAND_INTX_DISABLE);
		});
		model.port?.setIntx(true);
		expect([interrupts, fn.intxAsserted]).toEqual([1, false]);
		fn.configWrite(PCI_COMMAND, 2, DECODE);
		expect([interrupts, fn.intxAsserted]).toEqual([2, false]);
	});

	it("does not exist without an interrupt pin", () => {
		const { fn, model } = bench();
		model.port?.setIntx(true);
		expect([fn.intxAsserted, fn.configRead(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT]).toEqual([false, 0]);
	});
});
