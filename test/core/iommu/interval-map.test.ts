import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cuts, type Interval, IntervalMap } from "../../../core/iommu/interval-map.ts";

const interval = (start: number, size: number): Interval => ({ start: BigInt(start), size: BigInt(size) });

describe("IntervalMap", () => {
	it("keeps intervals in order, and refuses what overlaps", () => {
		const map = new IntervalMap<Interval>();
		expect(map.add(interval(10, 5))).toBe(true);
		expect(map.add(interval(0, 10))).toBe(true);
		expect(map.add(interval(14, 1))).toBe(false);
		expect(map.add(interval(9, 1))).toBe(false);
		expect(map.add(interval(15, 1))).toBe(true);
		expect([...map].map(({ start }) => Number(start))).toEqual([0, 10, 15]);
	});
	it("deletes that very interval, and not an equal one", () => {
		const map = new IntervalMap<Interval>();
		const one = interval(10, 5);
		map.add(one);
		expect([map.has(interval(10, 5)), map.delete(interval(10, 5))]).toEqual([false, false]);
		expect([map.has(one), map.delete(one), map.size]).toEqual([true, true, 0]);
	});
	it("takes the last byte of the address space", () => {
		const map = new IntervalMap<Interval>();
		map.add({ start: 2n ** 64n - 1n, size: 1n });
		expect(map.overlapping(0n, 2n ** 64n)).toHaveLength(1);
	});
	it("clear() forgets everything", () => {
		const map = new IntervalMap<Interval>();
		map.add(interval(1, 1));
		map.clear();
		expect([...map]).toEqual([]);
	});

	const small = fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 8 }));
	const operation = fc.tuple(fc.constantFrom("add", "delete", "overlapping"), small);
	it("answers as a table of single addresses does", () => {
		fc.assert(
			fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
				const map = new IntervalMap<Interval>();
				const owner = new Map<number, Interval>(); // the oracle: who has each address
				for (const [what, [start, size]] of operations) {
					const addresses = Array.from({ length: size }, (_, n) => start + n);
					const owners = new Set(addresses.flatMap((address) => owner.get(address) ?? []));
					if (what === "add") {
						const one = interval(start, size);
						expect(map.add(one)).toBe(owners.size === 0);
						if (owners.size === 0) for (const address of addresses) owner.set(address, one);
					} else if (what === "delete") {
						for (const one of owners) {
							expect(map.delete(one)).toBe(true);
							for (const [address, other] of owner) if (other === one) owner.delete(address);
						}
					} else {
						const found = map.overlapping(BigInt(start), BigInt(size));
						expect(found).toEqual([...owners]);
						for (const one of found) {
							const whole = Number(one.start) >= start && Number(one.start + one.size) <= start + size;
							expect(cuts(one, BigInt(start), BigInt(size))).toBe(!whole);
						}
					}
				}
				expect(map.size).toBe(new Set(owner.values()).size);
			}),
		);
	});
});
