import { beforeEach, describe, expect, it } from "vitest";
import { Releases } from "../../core/release.ts";

describe("Releases", () => {
	let order: string[];
	beforeEach(() => {
		order = [];
	});

	it("releases in reverse order of acquisition", () => {
		const releases = new Releases();
		releases.defer(() => order.push("first"));
		releases.use({ [Symbol.dispose]: () => order.push("second") });
		releases[Symbol.dispose]();
		expect(order).toEqual(["second", "first"]);
	});

	it("releases each thing once", () => {
		const releases = new Releases();
		releases.defer(() => order.push("it"));
		releases[Symbol.dispose]();
		releases[Symbol.dispose]();
		expect(order).toEqual(["it"]);
	});

	it("releases everything when one release throws, and throws that error", () => {
		const releases = new Releases();
		releases.defer(() => order.push("first"));
		releases.defer(() => {
			throw new Error("second");
		});
		expect(() => releases[Symbol.dispose]()).toThrow("second");
		expect(order).toEqual(["first"]);
	});

	it("throws an AggregateError when several fail", () => {
		const releases = new Releases();
		for (const name of ["a", "b"])
			releases.defer(() => {
				throw new Error(name);
			});
		expect(() => releases[Symbol.dispose]()).toThrow(AggregateError);
	});

	it("move() leaves nothing behind", () => {
		const releases = new Releases();
		releases.defer(() => order.push("it"));
		const owner = releases.move();
		releases[Symbol.dispose]();
		expect(order).toEqual([]);
		owner[Symbol.dispose]();
		expect(order).toEqual(["it"]);
	});
});
