import { describe, expect, it } from "vitest";
import { vfio_irq_set } from "../../../core/uapi/vfio.ts";
import { HEADERS, headerConstants, headerField, headerIoctls, headerStructs } from "../support/uapi.ts";

/** What the header calls otherwise, and why the value is known all the same. */
const NOT_IN_THE_HEADER: Readonly<Record<string, number>> = {
	// The header keeps the number under a name that says it is reserved.
	VFIO_TYPE1_NESTING_IOMMU: headerConstants["__VFIO_RESERVED_TYPE1_NESTING_IOMMU"] as number,
};

describe.each(HEADERS)("the numbers of $header", ({ numbers }) => {
	it.each(numbers)("%s is the header's", (name, value) => {
		const expected = headerIoctls[name]?.ioctl ?? headerConstants[name] ?? NOT_IN_THE_HEADER[name];
		expect([name, value]).toEqual([name, expected]);
	});
});

describe.each(HEADERS)("the structures of $header", ({ structs }) => {
	it.each(structs)("%s has the header's size, offsets and types", (name, struct) => {
		const fields = Object.entries(struct.offsets).map(([field, offset]) => {
			const view = struct.create();
			const before = typeof view[field] === "bigint";
			return { field, offset, wide: before };
		});
		expect([name, struct.size]).toEqual([name, headerStructs[name]?.size]);
		expect(fields).toEqual(
			fields.map(({ field }) => {
				const theirs = headerField(name, field);
				return { field, offset: theirs?.offset, wide: theirs?.size === 8 };
			}),
		);
	});

	it.each(structs)("%s: each field is its own bytes, as wide as the header says", (name, struct) => {
		for (const field of Object.keys(struct.offsets)) {
			const theirs = headerField(name, field);
			const view = struct.create();
			const signed = theirs?.type === "__s32" || theirs?.type === "int";
			view[field] = (theirs?.size === 8 ? 2n ** 64n - 1n : signed ? -1 : 2 ** (8 * (theirs?.size ?? 0)) - 1) as never;
			const written = [...view.bytes].flatMap((byte, at) => (byte === 0xff ? [at] : []));
			expect([name, field, written]).toEqual([
				name,
				field,
				Array.from({ length: theirs?.size ?? 0 }, (_, n) => (theirs?.offset ?? 0) + n),
			]);
			const back = view[field] as number | bigint;
			expect(back < 0).toBe(signed);
		}
	});

	it("a flexible array starts where the structure ends", () => {
		expect([vfio_irq_set.size, vfio_irq_set.create(12).bytes.length]).toEqual([20, 32]);
	});
});
