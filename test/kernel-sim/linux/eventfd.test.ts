import { describe, expect, it } from "vitest";
import { EventFd } from "../../../kernel-sim/linux/eventfd.ts";
import { boot, EDU, outcome, sysfs, text } from "./support.ts";

/** Eight bytes, little-endian. */
function u64(value: bigint): Uint8Array {
	const bytes = new Uint8Array(8);
	new DataView(bytes.buffer).setBigUint64(0, value, true);
	return bytes;
}

function prepare(initial = 0) {
	const linux = boot();
	const kernel = linux.process();
	const fd = kernel.eventfd(initial);
	const eventfd = EventFd.fromFd(kernel, fd);
	if (typeof eventfd === "number") throw new Error("There is no eventfd");
	eventfd.unreference();
	const take = () => {
		const bytes = new Uint8Array(8);
		return outcome(() => {
			kernel.read(fd, bytes);
			return new DataView(bytes.buffer).getBigUint64(0, true);
		});
	};
	return { linux, kernel, fd, eventfd, take, clock: linux.clock };
}

describe("EventFd", () => {
	it("read() takes the whole count, and answers EAGAIN when there is none", () => {
		const { kernel, fd, eventfd, take } = prepare(3);
		expect(take()).toBe(3n);
		expect(take()).toBe("EAGAIN");
		expect(kernel.write(fd, u64(5n))).toBe(8);
		eventfd.signal();
		expect(text(kernel, `/proc/self/fdinfo/${fd}`)).toContain("eventfd-count:                6\n");
		expect(take()).toBe(6n);
	});

	it("write() keeps the counter below 2^64-1", () => {
		const { kernel, fd, eventfd, take } = prepare();
		const full = 0xfffffffffffffffen;
		expect(outcome(() => kernel.write(fd, u64(0xffffffffffffffffn)))).toBe("EINVAL");
		expect(kernel.write(fd, u64(full - 1n))).toBe(8);
		expect(outcome(() => kernel.write(fd, u64(2n)))).toBe("EAGAIN");
		expect(kernel.write(fd, u64(1n))).toBe(8);
		eventfd.signal();
		expect(take()).toBe(full);
	});

	it("calls refuse what an eventfd has not", () => {
		const { kernel, fd } = prepare(1);
		const calls: (() => unknown)[] = [
			() => kernel.read(fd, new Uint8Array(7)),
			() => kernel.write(fd, new Uint8Array(7)),
			() => kernel.pread(fd, new Uint8Array(8), 0),
			() => kernel.pwrite(fd, new Uint8Array(8), 0),
			() => kernel.mmap(fd, 4096, 3, 1, 0),
			() => kernel.ioctl(fd, 0x3b64),
		];
		expect(calls.map((call) => outcome(call))).toEqual(["EINVAL", "EINVAL", "ESPIPE", "ESPIPE", "ENODEV", "ENOTTY"]);
	});

	it("watch() calls back later, once for all signals, and takes the count", () => {
		const { kernel, fd, eventfd, take, clock } = prepare();
		const counts: number[] = [];
		const watch = kernel.watch(fd, (count) => counts.push(count));
		eventfd.signal();
		eventfd.signal();
		expect(counts).toEqual([]);
		clock.settle();
		expect(counts).toEqual([2]);
		expect(take()).toBe("EAGAIN");
		eventfd.signal();
		clock.settle();
		expect(counts).toEqual([2, 1]);
		eventfd.signal();
		watch[Symbol.dispose]();
		clock.settle();
		expect(counts).toEqual([2, 1]);
		expect(take()).toBe(1n);
	});

	it("watch() calls back for what was signalled before, by itself", async () => {
		const { kernel, fd } = prepare(4);
		const counts: number[] = [];
		kernel.watch(fd, (count) => counts.push(count));
		await Promise.resolve();
		expect(counts).toEqual([4]);
	});

	it("watch() does not call back when somebody else has taken the count", () => {
		const { kernel, fd, eventfd, take, clock } = prepare();
		kernel.watch(fd, () => expect.unreachable());
		eventfd.signal();
		expect(take()).toBe(1n);
		clock.settle();
	});

	it("watch() refuses what is no eventfd", () => {
		const { kernel } = prepare();
		const fd = kernel.open(sysfs(EDU, "config"), 0);
		expect(outcome(() => kernel.watch(fd, () => {}))).toBe("EINVAL");
		expect(EventFd.fromFd(kernel, fd)).toBe(-22);
		expect(EventFd.fromFd(kernel, 99)).toBe(-9);
	});

	it("consume() takes each signal's count before anybody can read it", () => {
		const { kernel, fd, eventfd, take, clock } = prepare();
		let signals = 0;
		kernel.watch(fd, () => expect.unreachable());
		const consumer = eventfd.consume({ signalled: () => signals++ });
		eventfd.signal();
		kernel.write(fd, u64(7n));
		expect(signals).toBe(2);
		expect(take()).toBe("EAGAIN");
		clock.settle();
		consumer[Symbol.dispose]();
	});

	it("consume() is told of a count that was there before, which stays readable", () => {
		const { eventfd, take } = prepare(1);
		let signals = 0;
		eventfd.consume({ signalled: () => signals++ });
		expect(signals).toBe(1);
		expect(take()).toBe(1n);
	});

	it("closing the descriptor detaches consumers and watchers", () => {
		const { linux, kernel, fd, eventfd, clock } = prepare();
		let closed = 0;
		eventfd.consume({ signalled: () => expect.unreachable(), closed: () => closed++ });
		kernel.watch(fd, () => expect.unreachable());
		eventfd.reference();
		const copy = kernel.dup(fd);
		kernel.close(fd);
		expect(closed).toBe(0);
		kernel.close(copy);
		expect(closed).toBe(1);
		// A driver still holds it: it can be signalled, and nobody hears it.
		eventfd.signal();
		clock.settle();
		expect(linux.leaks()).toMatchObject({ eventfds: 1, watches: 0, timers: 0 });
		eventfd.unreference();
		expect(linux.leaks().eventfds).toBe(0);
	});
});
