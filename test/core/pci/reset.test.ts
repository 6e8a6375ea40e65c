import { describe, expect, it } from "vitest";
import { needsSharedReset, performReset, type ResetActions, resetSteps } from "../../../core/pci/reset.ts";

describe("resetSteps()", () => {
	it.each([
		[true, true, true, ["device-reset", "hot-reset", "device-reset"]],
		[true, true, false, ["device-reset", "hot-reset"]],
		[true, false, false, ["device-reset", "hot-reset"]],
		[true, false, true, ["hot-reset", "device-reset"]],
		[false, true, true, ["hot-reset"]],
		[false, false, false, ["hot-reset"]],
	])("L-07 resettable %s, FLR %s, power reset %s: tries %j", (resettable, flr, powerReset, methods) => {
		expect(resetSteps({ resettable, flr, powerReset, power: powerReset }).methods).toEqual(methods);
	});

	it("Z-10 leaves interrupts and stops DMA first, and arms INTx afterwards", () => {
		const plan = resetSteps({ resettable: true, flr: true, powerReset: false, power: true });
		expect(plan.before).toEqual(["leave-interrupts", "clear-command", "power-up"]);
		expect(plan.after).toEqual(["enable-intx", "clear-bars"]);
		expect(resetSteps({ resettable: true, flr: true, powerReset: false, power: false }).before).not.toContain(
			"power-up",
		);
	});
});

describe("needsSharedReset()", () => {
	it.each([
		[false, true, false, true],
		[true, true, true, false],
		[true, false, true, true],
		[true, false, false, false],
	])("resettable %s, FLR %s, power reset %s: %s", (resettable, flr, powerReset, expected) => {
		expect(needsSharedReset({ resettable, flr, powerReset, power: powerReset })).toBe(expected);
	});
});

describe("performReset()", () => {
	function actions(log: string[], failing: readonly string[]): ResetActions {
		const step = (name: string) => () => void log.push(name);
		const method = (name: string) => () => {
			log.push(name);
			if (failing.includes(name)) throw new Error(`no ${name}`);
		};
		return {
			steps: {
				"leave-interrupts": step("leave"),
				"clear-command": step("command"),
				"power-up": step("power"),
				"enable-intx": step("intx"),
				"clear-bars": step("bars"),
			},
			methods: { "device-reset": method("device-reset"), "hot-reset": method("hot-reset") },
		};
	}
	const plan = resetSteps({ resettable: true, flr: true, powerReset: false, power: true });

	it("stops at the first method that works", () => {
		const log: string[] = [];
		expect(performReset(plan, actions(log, []))).toEqual({ method: "device-reset", tried: [] });
		expect(log).toEqual(["leave", "command", "power", "device-reset", "intx", "bars"]);
	});

	it("says what was tried, and runs the last steps even when nothing worked", () => {
		const log: string[] = [];
		expect(performReset(plan, actions(log, ["device-reset", "hot-reset"]))).toEqual({
			method: undefined,
			tried: [
				{ method: "device-reset", error: "no device-reset" },
				{ method: "hot-reset", error: "no hot-reset" },
			],
		});
		expect(log.slice(-2)).toEqual(["intx", "bars"]);
	});
});
