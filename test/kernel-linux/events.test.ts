import { setImmediate } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { EAGAIN, EBADF, EEXIST, EPERM } from "../../core/uapi/errno.ts";
import { O_RDONLY } from "../../core/uapi/fcntl.ts";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { errorOf, signals } from "./support.ts";

const kernel = new LinuxKernel();
const pending: (() => void)[] = [];
afterEach(() => {
	for (const release of pending.splice(0).reverse()) release();
});

function eventfd(initial?: number): number {
	const fd = kernel.eventfd(initial);
	pending.push(() => kernel.close(fd));
	return fd;
}
function watch(fd: number, onSignal: (count: number) => void): Disposable {
	const watching = kernel.watch(fd, onSignal);
	pending.push(() => watching[Symbol.dispose]());
	return watching;
}
/** Turns of the event loop, enough for anything signalled before to have arrived however slow the machine is. */
async function turns(): Promise<void> {
	for (let turn = 0; turn < 20; turn++) await setImmediate();
}

describe("LinuxKernel.eventfd()", () => {
	it("counts what is written, gives it once and never blocks", () => {
		const fd = eventfd(2);
		kernel.write(fd, signals(3));
		const counter = new Uint8Array(8);
		expect(kernel.read(fd, counter)).toBe(8);
		expect([...counter]).toEqual([5, 0, 0, 0, 0, 0, 0, 0]);
		expect(errorOf(() => kernel.read(fd, counter))).toEqual({ errno: EAGAIN, call: "read", target: `eventfd ${fd}` });
	});
});

describe("LinuxKernel.watch()", () => {
	it("calls back later with the count, consumes it, and goes on", async () => {
		const fd = eventfd();
		const counts: number[] = [];
		watch(fd, (count) => counts.push(count));
		kernel.write(fd, signals());
		kernel.write(fd, signals(2 ** 40));
		expect(counts).toEqual([]);
		await turns();
		expect(counts).toEqual([2 ** 40 + 1]);
		expect(errorOf(() => kernel.read(fd, new Uint8Array(8))).errno).toBe(EAGAIN);
		for (let round = 0; round < 3; round++) {
			kernel.write(fd, signals());
			await turns();
		}
		expect(counts).toEqual([2 ** 40 + 1, 1, 1, 1]);
	});

	it("calls back for a signal that was there before", async () => {
		let total = 0;
		watch(eventfd(7), (count) => {
			total += count;
		});
		await turns();
		expect(total).toBe(7);
	});

	it("loses none of hundreds that are signalled at once", async () => {
		const counts = new Map<number, number>();
		const fds = Array.from({ length: 300 }, () => eventfd());
		for (const fd of fds) watch(fd, (count) => counts.set(fd, (counts.get(fd) ?? 0) + count));
		for (const fd of fds) kernel.write(fd, signals());
		await turns();
		expect([...counts.keys()].sort((a, b) => a - b)).toEqual(fds);
		expect([...counts.values()].every((count) => count === 1)).toBe(true);
	});

	it("uses one epoll for all, and keeps nothing open once nothing is watched", () => {
		const open = () => kernel.readDirectory("/proc/self/fd").length;
		const [a, b] = [eventfd(), eventfd()];
		const before = open();
		const first = watch(a, () => {});
		const second = watch(b, () => {});
		expect(open()).toBe(before + 1);
		first[Symbol.dispose]();
		expect(open()).toBe(before + 1);
		second[Symbol.dispose]();
		second[Symbol.dispose]();
		expect(open()).toBe(before);
	});

	it("does not call one that another's callback disposed in the same turn", async () => {
		const calls: string[] = [];
		const [a, b] = [eventfd(), eventfd()];
		const first = watch(a, () => {
			calls.push("a");
			second[Symbol.dispose]();
		});
		const second = watch(b, () => {
			calls.push("b");
			first[Symbol.dispose]();
		});
		kernel.write(a, signals());
		kernel.write(b, signals());
		await turns();
		expect(calls.length).toBe(1);
	});

	it("can be disposed, and set up again, in its own callback", async () => {
		const fd = eventfd(1);
		const calls: string[] = [];
		const first = watch(fd, () => {
			calls.push("first");
			first[Symbol.dispose]();
			watch(fd, () => calls.push("second"));
			kernel.write(fd, signals());
		});
		await turns();
		expect(calls).toEqual(["first", "second"]);
	});

	it("gives a descriptor's next owner nothing of the last one, and no dispose of its watch", async () => {
		const old = kernel.eventfd(1);
		const calls: string[] = [];
		const stale = kernel.watch(old, () => calls.push("old"));
		kernel.close(old);
		const fd = eventfd();
		expect(fd).toBe(old);
		watch(fd, () => calls.push("new"));
		stale[Symbol.dispose]();
		await turns();
		expect(calls).toEqual([]);
		kernel.write(fd, signals());
		await turns();
		expect(calls).toEqual(["new"]);
	});

	it("does not call back after dispose for a signal under way, which stays in the counter", async () => {
		const fd = eventfd();
		let calls = 0;
		const watching = watch(fd, () => calls++);
		kernel.write(fd, signals());
		watching[Symbol.dispose]();
		await turns();
		expect(calls).toBe(0);
		expect(kernel.read(fd, new Uint8Array(8))).toBe(8);
	});

	it("lets promises go on that a callback resolved", async () => {
		const fd = eventfd();
		for (let round = 0; round < 50; round++) {
			await new Promise<void>((resolve) => {
				const watching = watch(fd, () => {
					watching[Symbol.dispose]();
					resolve();
				});
				kernel.write(fd, signals());
			});
		}
	});

	it("throws EEXIST for a second watch, EPERM for an ordinary file and EBADF for none", () => {
		const fd = eventfd();
		watch(fd, () => {});
		expect(errorOf(() => kernel.watch(fd, () => {}))).toEqual({
			errno: EEXIST,
			call: "epoll_ctl",
			target: `eventfd ${fd}`,
		});
		const file = kernel.open("/etc/passwd", O_RDONLY);
		pending.push(() => kernel.close(file));
		expect(errorOf(() => new LinuxKernel().watch(999_999, () => {})).errno).toBe(EBADF);
		expect(errorOf(() => kernel.watch(file, () => {})).errno).toBe(EPERM);
	});
});
