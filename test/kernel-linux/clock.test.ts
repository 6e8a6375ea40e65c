import { describe, expect, it } from "vitest";
import { LinuxClock } from "../../kernel-linux/clock.ts";

const clock = new LinuxClock();
const MILLISECOND = 1e6;
const expired = (delay: number) => new Promise<void>((resolve) => clock.timer(delay, resolve));

describe("LinuxClock", () => {
	it("now() goes forward in nanoseconds", async () => {
		const before = clock.now();
		await new Promise((resolve) => setTimeout(resolve, 20));
		const passed = clock.now() - before;
		expect(Number.isInteger(before)).toBe(true);
		expect(passed).toBeGreaterThan(18 * MILLISECOND);
		expect(passed).toBeLessThan(5000 * MILLISECOND);
	});

	it.each([0, 1, 3.5 * MILLISECOND, 10 * MILLISECOND])(
		"timer() is not early when the delay is %i ns",
		async (delay) => {
			const before = clock.now();
			await expired(delay);
			expect(clock.now() - before).toBeGreaterThanOrEqual(delay);
		},
	);

	it("timer() does not call back when it is disposed, also after it has fired", async () => {
		let calls = 0;
		const timer = clock.timer(MILLISECOND, () => calls++);
		timer[Symbol.dispose]();
		const other = clock.timer(0, () => calls++);
		await expired(5 * MILLISECOND);
		other[Symbol.dispose]();
		expect(calls).toBe(1);
	});

	it.each([2 ** 31, 2 ** 32 + 1, Number.POSITIVE_INFINITY])(
		"timer() does not fire at once when the delay is %d ms, more than setTimeout takes",
		async (milliseconds) => {
			let calls = 0;
			const timer = clock.timer(milliseconds * MILLISECOND, () => calls++);
			await expired(10 * MILLISECOND);
			timer[Symbol.dispose]();
			expect(calls).toBe(0);
		},
	);
});
