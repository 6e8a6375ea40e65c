import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
	defaultModels,
	Ehci,
	type FunctionDescription,
	Hda,
	Host,
	Igb,
	printLspci,
	Uhci,
} from "../../../kernel-sim/mod.ts";

const fixture = (name: string) => readFileSync(new URL(`../../fixtures/lspci/${name}`, import.meta.url), "utf8");

describe("defaultModels()", () => {
	it.each([
		[Igb.description(), Igb, [0, 2]],
		[Hda.description(), Hda, [0]],
		[Uhci.description(), Uhci, [4]],
		[Ehci.description(), Ehci, [0]],
	] as const)(
		"serves %s by its ids, and not without its registers",
		(description: FunctionDescription, model, bars) => {
			const served = defaultModels().serve(description, "0000:01:00.0");
			expect(served?.model).toBeInstanceOf(model);
			expect(served?.registers).toEqual(bars);
			expect(defaultModels().serve({ ...description, bars: [] }, "0000:01:00.0")).toBeUndefined();
		},
	);

	it("brings a recorded 82576 to life, virtual functions included", () => {
		const { machine } = Host.fromLspci(fixture("82576.txt"));
		const pf = machine.function("0000:04:00.0");
		expect(pf?.read(0, 0x5400, 4)).toBe(0x12005452);
		pf?.configWrite(0x170, 2, 7);
		pf?.configWrite(0x168, 2, 0x19);
		const vf = machine.function("0000:04:10.2");
		expect([machine.functions.length, vf?.barAddress(0), vf?.barAddress(3)]).toEqual([8, 0xc100004000n, 0xc100024000n]);
		expect(vf?.read(0, 0xc40, 4)).toBe(0x40);
	});

	it("brings a recorded HD Audio controller to life", () => {
		const { machine } = Host.fromLspci(fixture("hda.txt"));
		expect(machine.function("0000:00:10.0")?.read(0, 0, 2)).toBe(0x4401);
		expect(printLspci(machine)).toContain("[8086:293e]");
	});
});
