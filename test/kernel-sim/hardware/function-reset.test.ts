import { describe, expect, it } from "vitest";
import { PCI_COMMAND, PCI_PM_CTRL_NO_SOFT_RESET } from "../../../core/uapi/pci_regs.ts";
import { af, express, type PmOptions, pm } from "../../../kernel-sim/hardware/capabilities.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import { bench, DECODE } from "./fixtures.ts";

const bars = [
	{ index: 0, kind: "mem32", size: 0x1000, backing: "registers" },
	{ index: 1, kind: "io", size: 0x20, backing: "registers" },
] as const;

function resetBench(description: Partial<FunctionDescription>) {
	const bed = bench({ bars, interruptPin: 1, ...description });
	bed.fn.configWrite(0x10, 4, 0xfe000000);
	bed.model.port?.setIntx(true);
	return bed;
}

const withPm = (options: PmOptions) => resetBench({ capabilities: [pm({ offset: 0x40, ...options })] });
const DEVCTL = 0x40 + 8;

describe("Function level reset", () => {
	it.each([
		["a word", DEVCTL, 2, 0xa810],
		["the upper byte", DEVCTL + 1, 1, 0x80],
		["a dword", DEVCTL, 4, 0x8000],
	] as const)("starts when DEVCTL is written as %s with the bit set", (_name, offset, width, value) => {
		const { fn, model } = resetBench({ capabilities: [express({ offset: 0x40, flr: true })] });
		expect(fn.resetMethods).toEqual(["flr"]);
		fn.configWrite(offset, width, value);
		expect(model.log).toEqual(["reset"]);
		expect([fn.configRead(PCI_COMMAND, 2), fn.barAddress(0), fn.intxAsserted]).toEqual([0, 0n, false]);
		expect(fn.configRead(DEVCTL, 2) & 0x8000).toBe(0);
		expect(fn.resetCount).toBe(1);
	});

	it("does not start when the bit is clear, beside the register, or not offered", () => {
		const { fn, model } = resetBench({ capabilities: [express({ offset: 0x40, flr: true })] });
		fn.configWrite(DEVCTL, 2, 0x2810);
		fn.configWrite(DEVCTL + 2, 2, 0xffff);
		expect(fn.configRead(DEVCTL, 2)).toBe(0x2810);
		const other = resetBench({ capabilities: [express({ offset: 0x40 })] });
		other.fn.configWrite(DEVCTL, 2, 0x8000);
		expect([...model.log, ...other.model.log]).toEqual([]);
		expect(other.fn.resetMethods).toEqual([]);
	});

	it("starts through Advanced Features", () => {
		const { fn, model } = resetBench({ capabilities: [af({ offset: 0x40 })] });
		expect(fn.resetMethods).toEqual(["af_flr"]);
		fn.configWrite(0x44, 1, 0xfe);
		expect(model.log).toEqual([]);
		fn.configWrite(0x44, 1, 1);
		expect(model.log).toEqual(["reset"]);
		expect(fn.configRead(0x44, 1)).toBe(0);
	});
});

describe("Power management", () => {
	it("stops decoding, DMA and interrupts in D3hot, and keeps config space", () => {
		const { fn, model } = withPm({ noSoftReset: true });
		fn.configWrite(0x44, 2, 3);
		expect(fn.powerState).toBe(3);
		expect([fn.read(0, 0, 4), fn.read(1, 0, 2), fn.read64(0, 0)]).toEqual([0xffffffff, 0xffff, 0xffffffffffffffffn]);
		expect([fn.memoryEnabled, fn.intxAsserted, model.port?.dmaWrite(0x10000n, new Uint8Array(1))]).toEqual([
			true,
			false,
			false,
		]);
		expect(fn.configRead(0, 2)).toBe(0x1234);
	});

	it("keeps its state over D3hot when No_Soft_Reset is set", () => {
		const { fn, model } = withPm({ noSoftReset: true });
		expect(fn.resetMethods).toEqual([]);
		fn.configWrite(0x44, 2, 3);
		fn.configWrite(0x44, 2, 0);
		expect([fn.configRead(PCI_COMMAND, 2), fn.barAddress(0), fn.intxAsserted]).toEqual([DECODE, 0xfe000000n, true]);
		expect(model.log).toEqual([]);
		expect(fn.configRead(0x44, 2)).toBe(PCI_PM_CTRL_NO_SOFT_RESET);
	});

	it("is reset by D3hot to D0 when No_Soft_Reset is clear", () => {
		const { fn, model } = withPm({});
		expect(fn.resetMethods).toEqual(["pm"]);
		fn.configWrite(0x44, 2, 3);
		expect(model.log).toEqual([]);
		fn.configWrite(0x44, 2, 0);
		expect(model.log).toEqual(["reset"]);
		expect([fn.powerState, fn.configRead(PCI_COMMAND, 2), fn.barAddress(0)]).toEqual([0, 0, 0n]);
	});

	it("drops a state that is not there, and one that D3hot cannot lead to", () => {
		const { fn } = withPm({ d1: true, noSoftReset: true });
		fn.configWrite(0x44, 2, 2);
		expect([fn.powerState, fn.configRead(0x44, 2) & 3]).toEqual([0, 0]);
		fn.configWrite(0x44, 1, 1);
		expect(fn.powerState).toBe(1);
		fn.configWrite(0x44, 2, 3);
		fn.configWrite(0x44, 2, 1);
		expect([fn.powerState, fn.configRead(0x44, 2) & 3]).toEqual([3, 3]);
	});

	it("does not reset between D1 and D0", () => {
		const { fn, model } = withPm({ d1: true });
		fn.configWrite(0x44, 2, 1);
		fn.configWrite(0x44, 2, 0);
		expect(model.log).toEqual([]);
	});

	it("has PME bits only when it can signal PME", () => {
		const without = withPm({});
		without.fn.configWrite(0x44, 2, 0x0100);
		expect(without.fn.configRead(0x44, 2)).toBe(0);
		const { fn } = withPm({ pme: true });
		fn.config[0x45] = 0x80;
		fn.configWrite(0x44, 2, 0x0100);
		expect(fn.configRead(0x44, 2)).toBe(0x8100);
		fn.configWrite(0x44, 2, 0x8000);
		expect(fn.configRead(0x44, 2)).toBe(0);
	});
});
