import { describe, expect, it } from "vitest";
import { VirtualClock } from "../../kernel-sim/clock.ts";

const tick = () => Promise.resolve();

describe("VirtualClock", () => {
	it("timer() runs in the order of time, then of age, when advance() passes", () => {
		const clock = new VirtualClock();
		const seen: string[] = [];
		for (const [name, delay] of [
			["c", 30],
			["a", 10],
			["d", 30],
			["b", 20],
		] as const)
			clock.timer(delay, () => seen.push(`${name}@${clock.now()}`));
		clock.advance(25);
		expect(seen).toEqual(["a@10", "b@20"]);
		expect(clock.now()).toBe(25);
		expect(clock.pending).toBe(2);
		clock.advance(5);
		expect(seen).toEqual(["a@10", "b@20", "c@30", "d@30"]);
		expect(clock.pending).toBe(0);
	});

	it("timer() runs what is due now by itself, in a microtask", async () => {
		const clock = new VirtualClock();
		const seen: number[] = [];
		clock.timer(0, () => seen.push(1));
		clock.timer(1, () => seen.push(2));
		expect(seen).toEqual([]);
		await tick();
		expect(seen).toEqual([1]);
		await tick();
		expect(seen).toEqual([1]);
	});

	it("settle() runs what is due now, and what becomes due by that, and no more", () => {
		const clock = new VirtualClock();
		const seen: string[] = [];
		clock.timer(0, () => {
			seen.push("first");
			clock.timer(0, () => seen.push("second"));
			clock.timer(5, () => seen.push("later"));
			clock.settle();
			expect(seen).toEqual(["first"]);
		});
		clock.settle();
		expect(seen).toEqual(["first", "second"]);
		expect(clock.nextDue).toBe(5);
	});

	it("timer() does not run when it was disposed, and is not pending", () => {
		const clock = new VirtualClock();
		const timer = clock.timer(10, () => expect.unreachable());
		expect(clock.pending).toBe(1);
		timer[Symbol.dispose]();
		timer[Symbol.dispose]();
		expect(clock.pending).toBe(0);
		expect(clock.nextDue).toBeUndefined();
		clock.advance(20);
	});

	it("advance() runs the other callbacks when one throws, and throws then", () => {
		const clock = new VirtualClock();
		const seen: number[] = [];
		clock.timer(1, () => {
			throw new Error("misbehaves");
		});
		clock.timer(2, () => seen.push(2));
		expect(() => clock.advance(5)).toThrow("misbehaves");
		expect(seen).toEqual([2]);
		expect(clock.now()).toBe(5);
		for (const _ of [1, 2])
			clock.timer(0, () => {
				throw new Error("misbehaves");
			});
		expect(() => clock.settle()).toThrow(AggregateError);
	});

	it("advance() refuses to be called from a callback", () => {
		const clock = new VirtualClock();
		clock.timer(0, () => clock.advance(1));
		expect(() => clock.settle()).toThrow(RangeError);
	});

	it("timer() keeps thousands of timers in order", () => {
		const clock = new VirtualClock();
		const seen: number[] = [];
		let state = 1;
		for (let index = 0; index < 5000; index++) {
			state = (state * 48271) % 2147483647;
			const timer = clock.timer(state % 1000, () => seen.push(clock.now()));
			if (state % 3 === 0) timer[Symbol.dispose]();
		}
		const left = clock.pending;
		clock.advance(1000);
		expect(seen.length).toBe(left);
		expect(seen).toEqual([...seen].sort((a, b) => a - b));
	});
});
