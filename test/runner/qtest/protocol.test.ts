import { describe, expect, it } from "vitest";
import {
	formatData,
	formatMemoryValue,
	formatPortValue,
	parseCommand,
	QtestSyntaxError,
} from "../../../runner/qtest/protocol.ts";

describe("parseCommand()", () => {
	it.each([
		["inb 0xcf8", { type: "in", port: 0xcf8, width: 1 }],
		["inw 80", { type: "in", port: 80, width: 2 }],
		["outl 0xcf8 0x80000800", { type: "out", port: 0xcf8, width: 4, value: 0x8000_0800 }],
		["outb 010 0x1ff", { type: "out", port: 8, width: 1, value: 0xff }],
		["readq 0xfee00000", { type: "load", address: 0xfee0_0000n, width: 8 }],
		["writew 0x100 0x1234", { type: "write", address: 0x100n, data: Uint8Array.of(0x34, 0x12) }],
		["writeq 0 0x0102030405060708", { type: "write", address: 0n, data: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1) }],
		["read 0xffffffffffffffff 4", { type: "read", address: 2n ** 64n - 1n, length: 4, encoding: "hex" }],
		["b64read 0x10 0x20", { type: "read", address: 16n, length: 32, encoding: "base64" }],
		["memset 0x1000 16 0x5a", { type: "fill", address: 0x1000n, length: 16, value: 0x5a }],
		["clock_step", { type: "clock-step", nanoseconds: undefined }],
		["clock_step 1000", { type: "clock-step", nanoseconds: 1000 }],
		["irq_intercept_in ioapic", { type: "intercept", path: "ioapic" }],
		["endianness", { type: "endianness" }],
	])("reads %s", (line, command) => {
		expect(parseCommand(line)).toEqual(command);
	});

	it("fills up what write has no data for, and leaves out what is too much", () => {
		expect(parseCommand("write 0 4 0xaabb")).toMatchObject({ data: Uint8Array.of(0xaa, 0xbb, 0, 0) });
		expect(parseCommand("write 0 2 0x11223344")).toMatchObject({ data: Uint8Array.of(0x11, 0x22) });
		expect(parseCommand("b64write 0 4 AQID")).toMatchObject({ data: Uint8Array.of(1, 2, 3, 0) });
	});

	it.each([
		["", "Unknown command ''"],
		["bogus 1", "Unknown command 'bogus'"],
		["inb", "inb needs ADDR"],
		["inl 0x10000", "inl takes at most 0xffff as ADDR"],
		["outb 0x80", "outb needs VALUE"],
		["readl zero", "readl takes a number as ADDR, not 'zero'"],
		["readl 0x10000000000000000", "readl takes at most 0xffffffffffffffff as ADDR"],
		["read 0 0x10000000", "read takes at most 0x4000000 as SIZE"],
		["write 0 1 0xa", "write takes whole bytes as DATA, such as 0x00ff"],
		["b64write 0 1 ??", "b64write takes base64 as B64_DATA"],
		["irq_intercept_in", "irq_intercept_in needs PATH"],
	])("refuses %j", (line, message) => {
		expect(() => parseCommand(line)).toThrow(new QtestSyntaxError(message));
	});
});

describe("answers", () => {
	it("look as QEMU's do", () => {
		expect(formatPortValue(0xff)).toBe("OK 0x00ff");
		expect(formatPortValue(0x8000_0000)).toBe("OK 0x80000000");
		expect(formatMemoryValue(Uint8Array.of(0x86, 0x80, 0xc0, 0x29))).toBe("OK 0x0000000029c08086");
		expect(formatData(Uint8Array.of(1, 0xab), "hex")).toBe("OK 0x01ab");
		expect(formatData(Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd), "base64")).toBe("OK qrvM3Q==");
	});
});
