import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { walkCapabilities, walkExtendedCapabilities } from "../../../core/pci/walk.ts";
import { store } from "../support/fake-vfio-device.ts";
import { configSpace } from "../support/pci-config.ts";

describe("walkCapabilities()", () => {
	it("K-02 finds each in the order of the list, with its distance to the next higher one", () => {
		const config = configSpace({
			capabilities: [
				[0xc8, 0x01],
				[0x40, 0x05],
				[0xe0, 0x10],
			],
		});
		expect(walkCapabilities(config)).toEqual({
			capabilities: [
				{ id: 1, offset: 0xc8, size: 0x18 },
				{ id: 5, offset: 0x40, size: 0x88 },
				{ id: 0x10, offset: 0xe0, size: 0x20 },
			],
			problem: undefined,
		});
	});

	it("K-04 finds nothing when STATUS says that there is no list, or the pointer is null", () => {
		const config = configSpace({ capabilities: [[0x40, 1]] });
		config[6] = 0;
		expect(walkCapabilities(config).capabilities).toEqual([]);
		config[6] = 0x10;
		config[0x34] = 0;
		expect(walkCapabilities(config).capabilities).toEqual([]);
	});

	it("ignores the reserved bits of a pointer", () => {
		const config = configSpace({ capabilities: [[0x40, 1]] });
		config[0x34] = 0x43;
		config[0x41] = 0x03;
		expect(walkCapabilities(config)).toEqual({
			capabilities: [{ id: 1, offset: 0x40, size: 0xc0 }],
			problem: undefined,
		});
	});

	it("ends a list that loops, and says where", () => {
		const config = configSpace({
			capabilities: [
				[0x40, 1],
				[0x50, 5],
			],
		});
		config[0x51] = 0x40;
		const walk = walkCapabilities(config);
		expect(walk.capabilities.map(({ offset }) => offset)).toEqual([0x40, 0x50]);
		expect(walk.problem).toContain("0x51 leads back to 0x40");
	});

	it("ends at a pointer into the header", () => {
		const config = configSpace({ capabilities: [[0x40, 1]] });
		config[0x41] = 0x10;
		expect(walkCapabilities(config).problem).toContain("leads to 0x10, below 0x40");
	});

	it("ends at a capability that reads all ones", () => {
		const walk = walkCapabilities(new Uint8Array(256).fill(0xff));
		expect(walk.capabilities).toEqual([]);
		expect(walk.problem).toContain("reads all ones");
	});

	it("agrees with an independent oracle on any 256 bytes, hostile ones too", () => {
		// Dense pointers make loops, shared tails and strays into the header likely.
		const bytes = fc.array(fc.oneof(fc.integer({ min: 0, max: 0xff }), fc.constantFrom(0, 0x40, 0x44, 0x48, 0xfc)), {
			minLength: 256,
			maxLength: 256,
		});
		fc.assert(
			fc.property(bytes, (values) => {
				const config = Uint8Array.from(values);
				const expected: number[] = [];
				let at = (config[6] as number) & 0x10 ? (config[0x34] as number) - ((config[0x34] as number) % 4) : 0;
				while (at >= 0x40 && !expected.includes(at) && config[at] !== 0xff) {
					expected.push(at);
					const next = config[at + 1] as number;
					at = next - (next % 4);
				}
				const walk = walkCapabilities(config);
				expect(walk.capabilities.map(({ offset }) => offset)).toEqual(expected);
				expect(walk.problem === undefined).toBe(at === 0);
				for (const { offset, size } of walk.capabilities) {
					expect(size).toBeGreaterThanOrEqual(4);
					expect(offset + size).toBeLessThanOrEqual(256);
				}
			}),
			{ numRuns: 500 },
		);
	});
});

describe("walkExtendedCapabilities()", () => {
	it("finds nothing in 256 bytes, or when the first dword is zero", () => {
		expect(walkExtendedCapabilities(new Uint8Array(256)).capabilities).toEqual([]);
		expect(walkExtendedCapabilities(new Uint8Array(4096)).capabilities).toEqual([]);
	});

	it("finds each with version and size", () => {
		const config = configSpace({
			size: 4096,
			extended: [
				[0x100, 1],
				[0x140, 3],
			],
		});
		expect(walkExtendedCapabilities(config).capabilities).toEqual([
			{ id: 1, offset: 0x100, size: 0x40, version: 1 },
			{ id: 3, offset: 0x140, size: 4096 - 0x140, version: 1 },
		]);
	});

	it("ends a list that loops, points below 0x100, or reads all ones", () => {
		const config = configSpace({ size: 4096, extended: [[0x100, 1]] });
		store(config, 0x100, 4, 0x10010001);
		expect(walkExtendedCapabilities(config).problem).toContain("leads back to 0x100");
		store(config, 0x100, 4, 0x04010001);
		expect(walkExtendedCapabilities(config).problem).toContain("points to 0x40, below 0x100");
		store(config, 0x100, 4, 0xffffffff);
		expect(walkExtendedCapabilities(config).problem).toContain("reads all ones");
	});

	it("ends on any 4096 bytes", () => {
		const bytes = fc.uint8Array({ minLength: 4096, maxLength: 4096 });
		fc.assert(
			fc.property(bytes, (config) => {
				const { capabilities } = walkExtendedCapabilities(config);
				expect(new Set(capabilities.map(({ offset }) => offset)).size).toBe(capabilities.length);
			}),
			{ numRuns: 100 },
		);
	});
});
