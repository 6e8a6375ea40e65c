import { describe, expect, it } from "vitest";
import { IrqQueue } from "../../../core/platform/irq-queue.ts";

describe("IrqQueue", () => {
	it("shows one interrupt at a time, the others in the order they came", () => {
		const queue = new IrqQueue();
		expect([queue.arrive(3), queue.arrive(1), queue.arrive(2)]).toEqual([true, false, false]);
		expect([0, 1, 2, 3].map((irq) => queue.state(irq))).toEqual(["inactive", "pending", "pending", "active"]);
		expect(queue.next()).toBe(-1); // one is active
		expect([queue.end(), queue.next(), queue.end(), queue.next(), queue.end(), queue.next()]).toEqual([
			...[3, 1, 1, 2, 2, -1],
		]);
		expect([queue.end(), queue.active]).toEqual([-1, -1]);
	});

	it("keeps one that comes again while it waits once, and one that comes while it is active for afterwards", () => {
		const queue = new IrqQueue();
		queue.arrive(0);
		for (let times = 0; times < 3; times++) expect([queue.arrive(1), queue.arrive(0)]).toEqual([false, false]);
		expect([queue.end(), queue.next(), queue.end(), queue.next(), queue.end(), queue.next()]).toEqual([
			...[0, 1, 1, 0, 0, -1],
		]);
	});

	it("forgets one that is taken out", () => {
		const queue = new IrqQueue();
		queue.arrive(0);
		queue.arrive(1);
		queue.arrive(2);
		expect([queue.remove(1), queue.remove(1), queue.remove(0)]).toEqual([true, false, true]);
		expect([queue.active, queue.next()]).toEqual([-1, 2]);
	});
});
