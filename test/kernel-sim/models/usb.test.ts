import { describe, expect, it } from "vitest";
import { Ehci, LoopbackDevice, Uhci } from "../../../kernel-sim/hardware/models/usb/mod.ts";
import { FakePort } from "./fake-port.ts";

const FRAMES = 0x10000;
const MILLISECOND = 1e6;

function uhci(device = new LoopbackDevice("full")) {
	const port = new FakePort();
	const model = new Uhci({ devices: [device] });
	model.attach(port);
	const read = (offset: number, width: 1 | 2 | 4 = 2) => model.read(4, offset, width);
	const write = (offset: number, value: number, width: 1 | 2 | 4 = 2) => model.write(4, offset, width, value);
	const enable = () => {
		write(0x10, 0x200);
		write(0x10, 0);
		write(0x10, 0x4);
	};
	/** All frames lead to one link. */
	const run = (link: number) => {
		for (let frame = 0; frame < 1024; frame++) port.view.setUint32(FRAMES + 4 * frame, link, true);
		write(8, FRAMES, 4);
		write(4, 0xf);
		write(0, 1);
	};
	const td = (at: number, link: number, status: number, token: number, buffer: number) => {
		[link, status, token, buffer].forEach((word, index) => {
			port.view.setUint32(at + 4 * index, word, true);
		});
	};
	return { port, model, read, write, enable, run, td };
}

const ACTIVE = 1 << 23;
const THREE_ERRORS = 3 << 27;
const IOC = 1 << 24;

describe("Uhci", () => {
	it("starts halted with a device on port 1 and nothing on port 2", () => {
		const { read, write, model } = uhci();
		expect([read(0), read(2), read(0x0c, 1), read(0x10), read(0x12)]).toEqual([0, 0x20, 0x40, 0x83, 0x80]);
		write(0x10, 2);
		write(0x12, 4);
		expect([read(0x10), read(0x12)]).toEqual([0x81, 0x80]);
		model.plug(1, new LoopbackDevice("low"));
		expect(read(0x12)).toBe(0x183);
		model.plug(1, undefined);
		expect(read(0x12)).toBe(0x82);
		expect(() => model.plug(2, undefined)).toThrow(RangeError);
	});

	it("counts frames while it runs, and halts when told", () => {
		const { port, read, write, run } = uhci();
		run(1);
		port.clock.advance(5 * MILLISECOND);
		expect([read(6), read(2)]).toEqual([5, 0]);
		write(6, 100);
		expect(read(6)).toBe(5);
		write(0, 0);
		expect([read(2), port.clock.pending]).toEqual([0x20, 0]);
	});

	it("gives up on a device that does not answer after as many errors as were allowed", () => {
		const { port, read, run, td, enable } = uhci();
		enable();
		td(0x2000, 1, ACTIVE | THREE_ERRORS | IOC, (7 << 21) | (5 << 8) | 0x69, 0x3000);
		run(0x2000);
		port.clock.advance(2 * MILLISECOND);
		expect([port.view.getUint32(0x2004, true) & ACTIVE, port.intx]).toEqual([ACTIVE, false]);
		port.clock.advance(MILLISECOND);
		expect([port.view.getUint32(0x2004, true) & (ACTIVE | (5 << 18) | (1 << 22)), read(2), port.intx]).toEqual([
			(1 << 18) | (1 << 22),
			3,
			true,
		]);
	});

	it("leaves a descriptor active while the device has nothing, and says when a packet was short", () => {
		const device = new LoopbackDevice("full");
		device.configuration = 1;
		const { port, read, write, run, td, enable } = uhci(device);
		enable();
		device.configuration = 1;
		td(0x2000, 1, ACTIVE | (1 << 29), (63 << 21) | (1 << 15) | 0x69, 0x3000);
		port.view.setUint32(0x2100, 1, true);
		port.view.setUint32(0x2104, 0x2000, true);
		run(0x2102);
		port.clock.advance(MILLISECOND);
		expect(port.view.getUint32(0x2004, true) & (ACTIVE | (1 << 19))).toBe(ACTIVE | (1 << 19));
		device.out(1, Uint8Array.of(1, 2, 3));
		port.clock.advance(MILLISECOND);
		expect([port.view.getUint32(0x2004, true) & (ACTIVE | 0x7ff), read(2), port.intx]).toEqual([2, 1, true]);
		// The queue stays where it is.
		expect(port.view.getUint32(0x2104, true)).toBe(0x2000);
		expect([...port.memory.slice(0x3000, 0x3004)]).toEqual([1, 2, 3, 0]);
		write(2, 1);
		expect(port.intx).toBe(false);
	});

	it.each([
		["a length that no packet has", (0x500 << 21) | 0x69],
		["a packet identifier that is none", (7 << 21) | 0x00],
	])("stops with a process error at %s", (_name, token) => {
		const { port, read, run, td } = uhci();
		td(0x2000, 1, ACTIVE, token, 0x3000);
		run(0x2000);
		port.clock.advance(MILLISECOND);
		expect([read(2), read(0) & 1, port.intx, port.clock.pending]).toEqual([0x30, 0, true, 0]);
	});

	it("ends a frame although the lists do not, and halts where memory ends", () => {
		const loop = uhci();
		loop.enable();
		loop.port.view.setUint32(0x2100, 0x2102, true);
		loop.port.view.setUint32(0x2104, 1, true);
		loop.run(0x2102);
		loop.port.clock.advance(10 * MILLISECOND);
		expect(loop.read(6)).toBe(10);
		loop.td(0x2200, 0x2200, ACTIVE, (1279 << 21) | 0x69, 0x3000);
		loop.run(0x2200);
		loop.port.clock.advance(10 * MILLISECOND);
		// An element that is a queue head, which is itself.
		loop.port.view.setUint32(0x2104, 0x2102, true);
		loop.run(0x2102);
		loop.port.clock.advance(10 * MILLISECOND);
		expect(loop.read(2) & 0x38).toBe(0);
		loop.run(0xfffffff0);
		loop.port.clock.advance(2 * MILLISECOND);
		expect(loop.read(2) & 0x28).toBe(0x28);
		loop.write(8, 0xfffff000, 4);
		loop.write(0, 1);
		loop.port.clock.advance(MILLISECOND);
		expect(loop.read(2) & 0x20).toBe(0x20);
	});

	it("takes any writes", () => {
		const { model, port } = uhci();
		for (const value of [0xffffffff, 0xa5a5a5a5, 0x1])
			for (let offset = 0; offset < 32; offset++)
				for (const width of [1, 2, 4] as const) {
					model.write(4, offset, width, value);
					model.read(4, offset, width);
				}
		port.clock.advance(10 * MILLISECOND);
		model.reset();
		expect([model.read(4, 2, 2), port.clock.pending]).toEqual([0x20, 0]);
	});
});

function ehci(device = new LoopbackDevice("high")) {
	const port = new FakePort();
	const model = new Ehci({ devices: [device] });
	model.attach(port);
	const read = (offset: number, width: 1 | 2 | 4 = 4) => model.read(0, offset, width) >>> 0;
	const write = (offset: number, value: number, width: 1 | 2 | 4 = 4) => model.write(0, offset, width, value >>> 0);
	const enable = () => {
		write(0x60, 1);
		write(0x64, 0x1100);
		write(0x64, 0x1000);
	};
	const words = (at: number, values: readonly number[]) => {
		values.forEach((value, index) => {
			port.view.setUint32(at + 4 * index, value, true);
		});
	};
	const run = (list: number) => {
		write(0x38, list);
		write(0x28, 0x3f);
		write(0x20, 0x80021);
	};
	return { port, model, read, write, enable, words, run };
}

describe("Ehci", () => {
	it("tells what it can do, in parts too", () => {
		const { read, write } = ehci();
		expect([read(0), read(0, 1), read(2, 2), read(4) & 0xf, read(8)]).toEqual([0x01000020, 0x20, 0x100, 6, 0x6870]);
		expect([read(0x20), read(0x24), read(0x64), read(0x3fc)]).toEqual([0x80000, 0x1000, 0x3000, 0]);
		write(0, 0xffffffff);
		expect(read(0)).toBe(0x01000020);
		// A byte of the status register clears its own bits only.
		write(0x60, 1);
		expect(read(0x24)).toBe(0x1004);
		write(0x25, 0xff, 1);
		expect(read(0x24)).toBe(0x1004);
		write(0x24, 0x04, 1);
		expect(read(0x24)).toBe(0x1000);
	});

	it("leaves devices that are not of high speed to the companion", () => {
		const { read, write, enable } = ehci(new LoopbackDevice("full"));
		enable();
		expect(read(0x64) & 5).toBe(1);
		write(0x64, 0x2000);
		expect(read(0x64) & 0x2001).toBe(0x2000);
		write(0x60, 0);
		expect(read(0x68) & 0x2000).toBe(0x2000);
	});

	it("tells of plugging and pulling out", () => {
		const { model, port, read, write, enable } = ehci();
		enable();
		write(0x24, 0x3f);
		write(0x28, 4);
		model.plug(1, new LoopbackDevice("high"));
		expect([port.intx, read(0x68) & 3]).toEqual([true, 3]);
		model.plug(1, undefined);
		expect(read(0x68) & 3).toBe(2);
		expect(() => model.plug(6, undefined)).toThrow(RangeError);
	});

	it("answers the doorbell, counts frames, and stops when told", () => {
		const { port, read, write, words, run } = ehci();
		words(0x2000, [0x2002, 0x8000, 0, 0, 1, 1, 0x40]);
		run(0x2000);
		expect(read(0x24) & 0xf000).toBe(0x8000);
		write(0x20, 0x80061);
		port.clock.advance(3 * MILLISECOND);
		expect([read(0x24) & 0x20, read(0x20) & 0x40, port.intx, read(0x2c)]).toEqual([0x20, 0, true, 24]);
		write(0x20, 0x80000);
		expect([read(0x24) & 0x1000, port.clock.pending]).toEqual([0x1000, 0]);
	});

	it("goes on with the alternate descriptors after a short packet", () => {
		const device = new LoopbackDevice("high");
		const { port, words, enable, run, read } = ehci(device);
		enable();
		device.configuration = 1;
		device.out(1, Uint8Array.of(1, 2, 3));
		device.out(1, Uint8Array.of(4, 5));
		words(0x2000, [0x2002, (512 << 16) | (1 << 15) | (1 << 8), 0, 0, 0x3000, 1]);
		words(0x3000, [0x3040, 0x3080, (1024 << 16) | (1 << 8) | 0x80, 0x4000]);
		words(0x3040, [1, 1, (512 << 16) | (1 << 8) | 0x80, 0x5000]);
		words(0x3080, [1, 1, (512 << 16) | (1 << 15) | (1 << 8) | 0x80, 0x6000]);
		run(0x2000);
		port.clock.advance(2 * MILLISECOND);
		expect([...port.memory.slice(0x4000, 0x4003), ...port.memory.slice(0x6000, 0x6002)]).toEqual([1, 2, 3, 4, 5]);
		expect([(port.view.getUint32(0x3008, true) >>> 16) & 0x7fff, port.view.getUint32(0x3048, true) & 0x80]).toEqual([
			1021, 0x80,
		]);
		expect([read(0x24) & 1, port.intx]).toEqual([1, true]);
	});

	it("halts a queue whose device is silent, whose buffer ends, or whose endpoint has no packets", () => {
		const device = new LoopbackDevice("high");
		const { port, words, enable, run, read, write } = ehci(device);
		enable();
		device.configuration = 1;
		const halted = (characteristics: number, token: number, buffer = 0x4000) => {
			words(0x2000, [0x2002, characteristics | (1 << 15), 0, 0, 0x3000, 1, 0]);
			words(0x3000, [1, 1, token | 0x80, buffer, 0x5000, 0x6000, 0x7000, 0x8000]);
			run(0x2000);
			port.clock.advance(5 * MILLISECOND);
			const status = read(0x24) & 0x3f;
			write(0x24, 0x3f);
			return [port.view.getUint32(0x3008, true) & 0xff, status & 2];
		};
		expect(halted((64 << 16) | 99, (8 << 16) | (3 << 10) | (1 << 8))).toEqual([0x48, 2]);
		expect(halted((512 << 16) | (1 << 8), (0x7fff << 16) | 0)).toEqual([0x60, 2]);
		expect(halted(1 << 8, 8 << 16)).toEqual([0x40, 2]);
		expect(halted((64 << 16) | (1 << 8), (8 << 16) | (3 << 8))).toEqual([0x40, 2]);
		expect(halted(64 << 16, (7 << 16) | (2 << 8))).toEqual([0x40, 2]);
	});

	it("ends a frame although the lists do not, and halts where memory ends", () => {
		const { port, words, enable, run, read } = ehci();
		enable();
		// A tail that leads back into its middle, never to where it began.
		words(0x2000, [0x2102, 0x8000, 0, 0, 1, 1, 0x40]);
		words(0x2100, [0x2102, 0, 0, 0, 1, 1, 0x40]);
		run(0x2000);
		port.clock.advance(5 * MILLISECOND);
		expect(read(0x24) & 0x1000).toBe(0);
		// A descriptor that is its own successor, of no bytes.
		words(0x2100, [0x2002, 64 << 16, 0, 0, 0x3000, 1, 0]);
		words(0x3000, [0x3000, 1, (1 << 8) | 0x80, 0]);
		port.clock.advance(5 * MILLISECOND);
		run(0xfffff000);
		port.clock.advance(5 * MILLISECOND);
		expect([read(0x24) & 0x1010, port.intx]).toEqual([0x1010, true]);
	});

	it("takes any writes", () => {
		const { model, port } = ehci();
		for (const value of [0xffffffff, 0xfffffffd, 0xa5a5a5a5, 1])
			for (let offset = 0; offset < 0x400; offset++)
				for (const width of [1, 2, 4] as const) {
					model.write(0, offset, width, value);
					model.read(0, offset, width);
				}
		port.clock.advance(10 * MILLISECOND);
		model.reset();
		expect([model.read(0, 0x24, 4), port.clock.pending]).toEqual([0x1000, 0]);
	});
});

describe("LoopbackDevice", () => {
	it("stalls what it does not know, until the next request", () => {
		const device = new LoopbackDevice("full");
		const into = new Uint8Array(64);
		device.setup(0, Uint8Array.of(0x80, 6, 9, 3, 0, 0, 64, 0));
		expect([device.in(0, into), device.out(0, new Uint8Array()), device.in(1, into), device.out(2, into)]).toEqual([
			"stall",
			"stall",
			"stall",
			"stall",
		]);
		device.setup(0, Uint8Array.of(0x80, 0, 0, 0, 0, 0, 2, 0));
		expect(device.in(0, into)).toBe(2);
		device.setup(0, Uint8Array.of(0, 9, 1, 0, 0, 0, 0, 0));
		expect([device.in(0, into), device.configuration, device.in(1, into)]).toEqual([0, 1, "nak"]);
		device.setup(0, Uint8Array.of(0x80, 8, 0, 0, 0, 0, 1, 0));
		expect([device.in(0, into), into[0]]).toEqual([1, 1]);
	});
});
