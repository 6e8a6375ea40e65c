import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	AmdXgbe,
	CalxedaXgmac,
	DMA_READ,
	DMA_WRITE,
	IommuDomain,
	Machine,
	PlatformHardware,
} from "../../../kernel-sim/mod.ts";

const MEMORY = 1 << 16;

/** A model, and the registers that set things off. */
const MODELS = {
	"calxeda-xgmac": () => {
		const model = new CalxedaXgmac();
		const hot = [0x000, 0x004, 0xf00, 0xf04, 0xf0c, 0xf10, 0xf14, 0xf18, 0xf1c, 0x704];
		return { model, description: CalxedaXgmac.description(), hot };
	},
	"amd-xgbe": () => {
		const model = new AmdXgbe();
		const hot = [0x0, 0x4, 0x8, 0xa0, 0x1100, 0x3000, 0x3100, 0x3104, 0x3108, 0x3114, 0x311c, 0x3124, 0x312c, 0x3130];
		return { model, description: AmdXgbe.description(), hot: [...hot, 0x3134, 0x3138, 0x3160] };
	},
} as const;

/** Addresses in memory, bits, everything that starts a ring, and anything. */
const value = fc.oneof(
	fc.integer({ min: 0, max: MEMORY }),
	fc.integer({ min: 0, max: 31 }).map((bit) => 2 ** bit),
	fc.constantFrom(0x200c, 0xc, 0x140d, 0x2002, 0x100c),
	fc.integer({ min: 0, max: 0xffffffff }),
);

describe.each(Object.entries(MODELS))("%s under a driver that does anything", (_name, make) => {
	it("neither throws nor goes round for ever, and lowers its lines when it is reset", () => {
		const operation = fc.record({ kind: fc.integer({ min: 0, max: 9 }), at: fc.nat(), value });
		fc.assert(
			fc.property(
				fc.array(operation, { maxLength: 80 }),
				fc.uint8Array({ minLength: 256, maxLength: 256 }),
				(operations, seed) => {
					const { model, description, hot } = make();
					const machine = new Machine();
					const hardware = machine.plugPlatform(new PlatformHardware(description, model));
					const memory = new Uint8Array(MEMORY);
					const view = new DataView(memory.buffer);
					// Descriptors that are the device's, and point at each other, at themselves and outside.
					for (let at = 0; at < MEMORY; at += 4)
						view.setUint32(
							at,
							((seed[(at >>> 2) & 0xff] ?? 0) << ((at >>> 4) & 0x1f)) | (at % 16 < 8 ? 0x80000000 : 0),
						);
					const domain = new IommuDomain();
					domain.map(0n, BigInt(MEMORY), { bytes: () => memory }, 0, DMA_READ | DMA_WRITE);
					machine.iommu.attach(hardware, domain);
					for (const { kind, at, value } of operations) {
						const region = kind === 0 ? at % description.regions.length : 0;
						const size = description.regions[region]?.size ?? 4;
						if (kind < 2) hardware.read(region, at % size, 1);
						else if (kind === 2) view.setUint32((at * 4) % MEMORY, value >>> 0, true);
						else if (kind === 3) model.deliver(memory.slice(at % 1000, (at % 1000) + 60 + (at % 2000)));
						else if (kind < 9) hardware.write(0, hot[at % hot.length] ?? 0, 4, value >>> 0);
						else hardware.write(region, (at % size) & ~3, 4, value >>> 0);
					}
					hardware.reset();
					expect(description.interrupts.filter((_, index) => hardware.lineAsserted(index))).toEqual([]);
				},
			),
			{ numRuns: 60 },
		);
	});
});
