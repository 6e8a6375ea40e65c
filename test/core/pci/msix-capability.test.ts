import { describe, expect, it } from "vitest";
import { msixPbaSize, msixTableSize, readMsix } from "../../../core/pci/msix-capability.ts";
import { msixBody } from "../support/pci-config.ts";

describe("msixPbaSize()", () => {
	// Two other implementations have it wrong: 32 bytes for 2048 vectors, and 8 too many for multiples of 64.
	it.each([
		[1, 8],
		[63, 8],
		[64, 8],
		[65, 16],
		[128, 16],
		[129, 24],
		[2048, 256],
	])("gives %i vectors %i bytes", (vectors, bytes) => {
		expect(msixPbaSize(vectors)).toBe(bytes);
	});
});

describe("readMsix()", () => {
	it("M-11 splits the dwords into BAR and offset", () => {
		const config = new Uint8Array(256);
		config.set(msixBody(129, [4, 0x5200], [2, 0x6000]), 0x72);
		expect(readMsix(config, 0x70)).toEqual({
			offset: 0x70,
			vectors: 129,
			table: { bar: 4, offset: 0x5200 },
			pba: { bar: 2, offset: 0x6000 },
		});
		expect(msixTableSize(129)).toBe(0x810);
	});

	it("reads 1 to 2048 vectors, whatever the other bits of the control word", () => {
		const config = new Uint8Array(256).fill(0xff);
		expect(readMsix(config, 0x70).vectors).toBe(2048);
		expect(readMsix(config, 0x70).table).toEqual({ bar: 7, offset: 0xfffffff8 });
		expect(readMsix(new Uint8Array(256), 0x70).vectors).toBe(1);
	});
});
