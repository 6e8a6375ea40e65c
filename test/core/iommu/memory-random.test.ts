// Guest memory that comes and goes in any order, with BARs anywhere: devices reach all RAM there is, and nothing that went.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { KernelError } from "../../../core/errors.ts";
import { GuestMemoryMapper } from "../../../core/iommu/memory-map.ts";
import type { GuestMemoryRegion } from "../../../core/machine/machine.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import { VFIO_IOMMU_MAP_DMA } from "../../../core/uapi/vfio.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { region, TestMemory } from "../support/guest-memory.ts";

const PAGE = 0x1000;
type Step = readonly [kind: number, page: number, pages: number];
const step: fc.Arbitrary<Step> = fc.tuple(fc.nat(4), fc.nat(15), fc.integer({ min: 1, max: 6 }));

const end = (one: GuestMemoryRegion) => one.guestAddress + BigInt(one.length);
const meets = (a: GuestMemoryRegion, b: GuestMemoryRegion) => a.guestAddress < end(b) && b.guestAddress < end(a);

describe("GuestMemoryMapper", () => {
	it("has all RAM mapped and nothing that went, whatever comes and goes, BARs over RAM and failures included", () => {
		fc.assert(
			fc.property(
				fc.array(step, { minLength: 5, maxLength: 40 }),
				fc.integer({ min: 1, max: 60 }),
				(steps, failing) => {
					const fake = new FakeVfio();
					const device = VfioDevice.open(fake.kernel, "05:00.0");
					let calls = 0;
					const lost = new Set<bigint>();
					fake.answers.set(VFIO_IOMMU_MAP_DMA, (argument) => {
						if (++calls !== failing) return undefined as unknown as number;
						lost.add(new DataView((argument as Uint8Array).buffer).getBigUint64(16, true));
						throw new KernelError(EIO, "MAP_DMA", "fake");
					});
					const memory = new TestMemory([]);
					const mapper = GuestMemoryMapper.attach(device.iommu, memory);
					const ram: GuestMemoryRegion[] = [];
					const bars: GuestMemoryRegion[] = [];
					for (const [kind, page, pages] of steps) {
						const one = region(BigInt(page * PAGE), pages * PAGE, { kind: kind < 2 ? "ram" : "device" });
						if (kind < 2 && !ram.some((other) => meets(one, other))) {
							ram.push(one);
							memory.add(one);
						} else if (kind === 2) {
							bars.push(one);
							memory.add(one);
						} else {
							const from = kind === 3 ? ram : bars;
							const [gone] = from.splice(page % Math.max(1, from.length), 1);
							if (gone) memory.remove(gone);
							if (gone?.kind === "ram") lost.delete(gone.guestAddress);
						}
						const live = [...ram, ...bars].map((other) => `${other.guestAddress}+${other.length}`);
						for (const { iova, size } of fake.mapped) expect(live).toContain(`${iova}+${size}`);
						for (const { guestAddress, length } of ram)
							if (!lost.has(guestAddress))
								expect(fake.mapped.some(({ iova, size }) => iova === guestAddress && size === BigInt(length))).toBe(
									true,
								);
					}
					mapper[Symbol.dispose]();
					expect([fake.mapped, device.iommu.mappingCount]).toEqual([[], 0]);
					device[Symbol.dispose]();
					expect(fake.leaks).toEqual([]);
				},
			),
			{ numRuns: 60 },
		);
	});
});
