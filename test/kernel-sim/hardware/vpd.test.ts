import { describe, expect, it } from "vitest";
import { vpd } from "../../../kernel-sim/hardware/capabilities.ts";
import { bench } from "./fixtures.ts";

const AT = 0x40;
const FLAG = 0x8000;
const content = () => Uint8Array.of(0x82, 0x02, 0x00, 0x41, 0x42, 0x78, 0, 0);

describe("Vital Product Data", () => {
	it("reads four bytes at the address and raises the flag", () => {
		const { fn } = bench({ capabilities: [vpd({ offset: AT })], vitalProductData: content() });
		fn.configWrite(AT + 2, 2, 4);
		expect([fn.configRead(AT + 2, 2), fn.configRead(AT + 4, 4)]).toEqual([FLAG | 4, 0x00007842]);
		fn.configWrite(AT + 2, 2, 0x100);
		expect(fn.configRead(AT + 4, 4)).toBe(0);
	});

	it("writes four bytes when the flag is set, and lowers it", () => {
		const { fn } = bench({ capabilities: [vpd({ offset: AT })], vitalProductData: content() });
		fn.configWrite(AT + 4, 4, 0x11223344);
		fn.configWrite(AT + 2, 2, FLAG | 4);
		expect(fn.configRead(AT + 2, 2)).toBe(4);
		fn.configWrite(AT + 4, 4, 0);
		fn.configWrite(AT + 2, 2, 4);
		expect(fn.configRead(AT + 4, 4)).toBe(0x11223344);
		fn.configWrite(AT + 2, 2, FLAG | 0x7ffc);
		expect(fn.configRead(AT + 2, 2)).toBe(0x7ffc);
	});

	it("never answers without content", () => {
		const { fn } = bench({ capabilities: [vpd({ offset: AT })] });
		fn.configWrite(AT + 2, 2, 4);
		expect(fn.configRead(AT + 2, 2)).toBe(4);
	});
});
