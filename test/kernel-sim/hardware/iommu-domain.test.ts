import { describe, expect, it } from "vitest";
import { IommuDomain } from "../../../kernel-sim/hardware/iommu-domain.ts";

const target = { bytes: () => new Uint8Array(0) };

function domainOf(...ranges: [bigint, bigint][]): IommuDomain {
	const domain = new IommuDomain();
	for (const [iova, size] of ranges) domain.map(iova, size, target, 0, 3);
	return domain;
}

const layout = (domain: IommuDomain) => domain.mappings.map((m) => [m.iova, m.size, m.targetOffset]);

describe("IommuDomain", () => {
	it("map() keeps mappings in address order when they come in any", () => {
		const domain = domainOf([0x3000n, 0x1000n], [0x1000n, 0x1000n], [0x2000n, 0x1000n]);
		expect(domain.mappings.map((mapping) => mapping.iova)).toEqual([0x1000n, 0x2000n, 0x3000n]);
	});

	it.each([
		["the same", 0x2000n, 0x2000n],
		["its start", 0x1000n, 0x2000n],
		["its end", 0x3000n, 0x2000n],
		["all of it", 0x1000n, 0x8000n],
		["its inside", 0x3000n, 0x1000n],
	])("map() throws when it overlaps %s", (_name, iova, size) => {
		const domain = domainOf([0x2000n, 0x2000n]);
		expect(() => domain.map(iova, size, target, 0, 3)).toThrow(/something is mapped there/);
		expect(domain.mappings).toHaveLength(1);
	});

	it.each([
		["an unaligned address", 0x800n, 0x1000n],
		["an unaligned size", 0x1000n, 0x800n],
		["no size", 0x1000n, 0n],
		["a negative address", -0x1000n, 0x1000n],
		["more than 64 bits", 0xfffffffffffff000n, 0x2000n],
	])("map() throws when it gets %s", (_name, iova, size) => {
		expect(() => new IommuDomain().map(iova, size, target, 0, 3)).toThrow(RangeError);
	});

	it("find() finds the first and the last byte of a mapping and nothing beside it", () => {
		const domain = domainOf([0x2000n, 0x2000n], [0x8000n, 0x1000n]);
		const find = (address: bigint) => domain.find(address)?.iova;
		expect([find(0x1fffn), find(0x2000n), find(0x3fffn), find(0x4000n)]).toEqual([
			undefined,
			0x2000n,
			0x2000n,
			undefined,
		]);
		expect([find(0x8fffn), find(0x2000n), find(0x9000n)]).toEqual([0x8000n, 0x2000n, undefined]);
	});

	it("find() tells addresses above 2^53 apart", () => {
		const domain = domainOf([0xfffffffffffff000n, 0x1000n], [0xffffffffffffd000n, 0x1000n]);
		expect(domain.find(0xffffffffffffffffn)?.iova).toBe(0xfffffffffffff000n);
		expect(domain.find(0xffffffffffffdfffn)?.iova).toBe(0xffffffffffffd000n);
		expect(domain.find(0xffffffffffffe000n)).toBeUndefined();
		expect(domain.find(0x1000n)).toBeUndefined();
	});

	it("offsetOf() is exact on both sides of 2^53", () => {
		const domain = domainOf([0x1000n, 0x2000n], [0xffffffffffff0000n, 0x2000n]);
		expect(domain.find(0x2004n)?.offsetOf(0x2004n)).toBe(0x1004);
		expect(domain.find(0xffffffffffff1003n)?.offsetOf(0xffffffffffff1003n)).toBe(0x1003);
	});

	it("unmap() removes whole mappings and leaves the others", () => {
		const domain = domainOf([0x1000n, 0x1000n], [0x2000n, 0x1000n], [0x5000n, 0x1000n]);
		domain.unmap(0x1000n, 0x3000n);
		expect(layout(domain)).toEqual([[0x5000n, 0x1000n, 0]]);
	});

	it("unmap() leaves the rest of a mapping when it takes a page out of its middle", () => {
		const domain = domainOf([0x1000n, 0x4000n]);
		expect(domain.find(0x2000n)).toBeDefined();
		domain.unmap(0x2000n, 0x1000n);
		expect(layout(domain)).toEqual([
			[0x1000n, 0x1000n, 0],
			[0x3000n, 0x2000n, 0x2000],
		]);
		expect(domain.find(0x2000n)).toBeUndefined();
	});

	it("unmap() does nothing when nothing is mapped", () => {
		const domain = domainOf([0x1000n, 0x1000n]);
		domain.unmap(0x2000n, 0x10000n);
		expect(domain.mappings).toHaveLength(1);
	});
});
