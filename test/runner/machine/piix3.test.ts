import { beforeEach, describe, expect, it } from "vitest";
import { Piix3Router } from "../../../runner/machine/piix3.ts";

const ISA_BRIDGE = 0x8000_0800;

describe("Piix3Router", () => {
	let irqs: string[];
	let router: Piix3Router;

	beforeEach(() => {
		irqs = [];
		router = new Piix3Router((line, asserted) => irqs.push(`${line} ${asserted ? "up" : "down"}`));
	});

	const route = (links: number) => {
		router.configWrite(ISA_BRIDGE | 0x60, 0x60, 4, links);
		irqs.length = 0;
	};

	it("pin() drives nothing before the guest routes", () => {
		router.pin(5, 1, true);
		expect(irqs).toEqual([]);
		expect(router.lineOf(5, 1)).toBeUndefined();
	});

	it.each([
		[1, 1, 10],
		[1, 2, 11],
		[2, 1, 11],
		[5, 1, 10],
		[8, 4, 9],
		[8, 1, 5],
	])("pin() of device %i pin %i drives line %i", (device, pin, line) => {
		route(0x05_09_0b_0a);
		router.pin(device, pin, true);
		router.pin(device, pin, true);
		router.pin(device, pin, false);
		expect(irqs).toEqual([`${line} up`, `${line} down`]);
		expect(router.lineOf(device, pin)).toBe(line);
	});

	it("pin() keeps a line up while any pin on any link to it is asserted", () => {
		route(0x0a0a_0a0a);
		router.pin(1, 1, true);
		router.pin(2, 1, true);
		router.pin(1, 1, false);
		expect(irqs.at(-1)).toBe("10 up");
		router.pin(2, 1, false);
		expect(irqs.at(-1)).toBe("10 down");
	});

	it("reset() routes nothing any more, whatever is asserted", () => {
		route(0x0b0a_0b0a);
		router.pin(1, 1, true);
		router.reset();
		expect(irqs).toContain("10 down");
		expect(router.lineOf(1, 1)).toBeUndefined();
	});

	it("configWrite() moves an asserted pin to its new line", () => {
		route(0x0b0a_0b0a);
		router.pin(1, 1, true);
		irqs.length = 0;
		router.configWrite(ISA_BRIDGE | 0x60, 0x60, 1, 0x05);
		expect(irqs).toEqual(["10 down", "5 up"]);
		irqs.length = 0;
		router.configWrite(ISA_BRIDGE | 0x60, 0x60, 1, 0x80);
		expect(irqs).toEqual(["5 down"]);
	});

	it("configWrite() watches the ISA bridge's routing registers only", () => {
		router.configWrite(0x8000_0060, 0x60, 4, 0x0a0a_0a0a);
		router.configWrite(ISA_BRIDGE | 0x5c, 0x5c, 4, 0x0a0a_0a0a);
		router.configWrite(ISA_BRIDGE | 0x64, 0x64, 4, 0x0a0a_0a0a);
		expect(router.lineOf(1, 1)).toBeUndefined();
		router.configWrite(ISA_BRIDGE | 0x60, 0x62, 2, 0x0b0a);
		expect([router.lineOf(1, 3), router.lineOf(1, 4)]).toEqual([10, 11]);
	});
});
