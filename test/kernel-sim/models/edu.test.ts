import { describe, expect, it } from "vitest";
import { Edu, type EduOptions } from "../../../kernel-sim/hardware/models/edu.ts";
import { FakePort } from "./fake-port.ts";

function plugged(options?: EduOptions) {
	const port = new FakePort();
	const edu = new Edu(options);
	edu.attach(port);
	return { port, edu };
}

function transfer(edu: Edu, source: bigint, destination: bigint, count: bigint, command: number): void {
	edu.write64(0, 0x80, source);
	edu.write64(0, 0x88, destination);
	edu.write64(0, 0x90, count);
	edu.write(0, 0x98, 4, command);
}

describe("Edu", () => {
	it("read() tells the identification and the inverted liveness", () => {
		const { edu } = plugged();
		expect(edu.read(0, 0x00, 4)).toBe(0x010000ed);
		edu.write(0, 0x04, 4, 0x12345678);
		expect(edu.read(0, 0x04, 4)).toBe(0xedcba987);
		edu.write(0, 0x00, 4, 1);
		expect(edu.read(0, 0x00, 4)).toBe(0x010000ed);
	});

	it.each([
		[0, 1],
		[1, 1],
		[5, 120],
		[12, 479001600],
		[13, 1932053504], // 13! modulo 2^32
		[34, 0],
		[0xffffffff, 0],
	])("computes the factorial of %i", (n, expected) => {
		const { edu } = plugged();
		edu.write(0, 0x08, 4, n);
		expect(edu.read(0, 0x20, 4) & 1).toBe(0);
		expect(edu.read(0, 0x08, 4)).toBe(expected);
	});

	it("raises interrupt 1 after a factorial when the status register asks for it", () => {
		const { edu, port } = plugged();
		edu.write(0, 0x08, 4, 3);
		expect(port.intx).toBe(false);
		edu.write(0, 0x20, 4, 0xff);
		expect(edu.read(0, 0x20, 4)).toBe(0x80); // bit 0 is read only
		edu.write(0, 0x08, 4, 3);
		expect(port.intx).toBe(true);
		expect(edu.read(0, 0x24, 4)).toBe(1);
	});

	it("holds the pin until every cause is acknowledged", () => {
		const { edu, port } = plugged();
		edu.write(0, 0x60, 4, 0x0f);
		edu.write(0, 0x60, 4, 0x80000000);
		expect(edu.read(0, 0x24, 4)).toBe(0x8000000f);
		edu.write(0, 0x64, 4, 0x0f);
		expect(port.intx).toBe(true);
		edu.write(0, 0x64, 4, 0x80000000);
		expect(port.intx).toBe(false);
		expect(edu.read(0, 0x24, 4)).toBe(0);
	});

	it("sends message 0 at each raise when MSI is on", () => {
		const { edu, port } = plugged();
		port.interruptMode = "msi";
		edu.write(0, 0x60, 4, 1);
		edu.write(0, 0x60, 4, 1);
		expect(port.signalled).toEqual([0, 0]);
		expect(port.intx).toBe(false);
	});

	it("moves bytes to the buffer and back, and raises interrupt 0x100", () => {
		const { edu, port } = plugged();
		for (let i = 0; i < 100; i++) port.memory[0x1000 + i] = i + 1;
		transfer(edu, 0x1000n, 0x40000n, 100n, 1);
		expect(port.intx).toBe(false);
		transfer(edu, 0x40000n, 0x2000n, 100n, 7);
		expect(port.memory.subarray(0x2000, 0x2064)).toEqual(port.memory.subarray(0x1000, 0x1064));
		expect(edu.read(0, 0x24, 4)).toBe(0x100);
		expect(edu.read(0, 0x98, 4) & 1).toBe(0);
		expect(edu.read64(0, 0x88)).toBe(0x2000n);
	});

	it("cuts a DMA address off at 28 bits, or at the mask it was given", () => {
		const { edu, port } = plugged();
		port.memory[0x3000] = 0x5a;
		transfer(edu, 0xf_1000_3000n, 0x40000n, 1n, 1);
		transfer(edu, 0x40000n, 0x10n, 1n, 3);
		expect(port.memory[0x10]).toBe(0x5a);
		const wide = plugged({ dmaMask: 0xffff_ffffn });
		transfer(wide.edu, 0x1000_3000n, 0x40000n, 1n, 1);
		expect(wide.port.faults).toBe(1);
	});

	it.each([
		["count beyond the buffer", 0x1000n, 0x40000n, 4097n, 1],
		["start before the buffer", 0x1000n, 0x3ffffn, 1n, 1],
		["start behind the buffer", 0x1000n, 0x41000n, 1n, 1],
		["end behind the buffer", 0x40fffn, 0x1000n, 2n, 3],
		["a count of 64 bits", 0x1000n, 0x40000n, 0xffff_ffff_ffff_ffffn, 1],
		["all ones", 0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn, 3],
	])("refuses a transfer with %s, counts it, and finishes", (_what, source, destination, count, command) => {
		const { edu, port } = plugged();
		const before = port.memory.slice();
		transfer(edu, source, destination, count, command | 4);
		expect(edu.refusedTransfers).toBe(1);
		expect(port.memory.every((byte, at) => byte === before[at])).toBe(true);
		expect(edu.read(0, 0x24, 4)).toBe(0x100);
		expect(edu.read(0, 0x98, 4) & 1).toBe(0);
	});

	it("finishes a transfer that faults", () => {
		const { edu, port } = plugged();
		port.holes.push({ start: 0x1000, end: 0x2000 });
		transfer(edu, 0x40000n, 0x1800n, 16n, 7);
		expect(port.faults).toBe(1);
		expect(edu.read(0, 0x24, 4)).toBe(0x100);
	});

	it.each([1, 2] as const)("refuses accesses of %i bytes", (width) => {
		const { edu } = plugged();
		edu.write(0, 0x04, 4, 0);
		edu.write(0, 0x04, width, 0x55);
		expect(edu.read(0, 0x04, 4)).toBe(0xffffffff);
		expect(edu.read(0, 0x04, width)).toBe(0);
		expect(edu.refusedAccesses).toBe(2);
	});

	it("takes 8 bytes at 0x80 and above only", () => {
		const { edu } = plugged();
		expect(edu.read64(0, 0x00)).toBe(0xffff_ffff_ffff_ffffn);
		edu.write64(0, 0x04, 0n);
		expect(edu.refusedAccesses).toBe(2);
		edu.write64(0, 0x80, 0x1_2345_6789n);
		expect(edu.read64(0, 0x80)).toBe(0x1_2345_6789n);
		expect(edu.read(0, 0x80, 4)).toBe(0x2345_6789);
	});

	it("reads all ones where there is no register", () => {
		const { edu } = plugged();
		for (const offset of [0x0c, 0x60, 0x64, 0x84, 0xa0, 0x40000, 0xffffc])
			expect(edu.read(0, offset, 4)).toBe(0xffffffff);
	});

	it("takes its time when it is told to, and ignores new work meanwhile", () => {
		const { edu, port } = plugged({ duration: 1000 });
		edu.write(0, 0x08, 4, 5);
		edu.write(0, 0x08, 4, 9);
		expect(edu.read(0, 0x20, 4) & 1).toBe(1);
		transfer(edu, 0x1000n, 0x40000n, 4n, 5);
		edu.write64(0, 0x80, 0x9999n);
		expect(edu.read64(0, 0x80)).toBe(0x1000n);
		port.clock.advance(1000);
		expect(edu.read(0, 0x08, 4)).toBe(120);
		expect(edu.read(0, 0x24, 4)).toBe(0x100);
		expect(port.clock.pending).toBe(0);
	});

	it("reset() lets go of the interrupt line and nothing else", () => {
		const { edu, port } = plugged({ duration: 1000 });
		edu.write(0, 0x04, 4, 0x12345678);
		edu.write(0, 0x60, 4, 1);
		edu.write(0, 0x08, 4, 5);
		edu.reset();
		expect(port.intx).toBe(false);
		expect([edu.read(0, 0x04, 4), edu.read(0, 0x24, 4)]).toEqual([0xedcba987, 1]);
		port.clock.advance(1000);
		expect(edu.read(0, 0x08, 4)).toBe(120);
	});

	it("detach() cancels what runs", () => {
		const { edu, port } = plugged({ duration: 1000 });
		edu.write(0, 0x08, 4, 5);
		edu.detach();
		expect(port.clock.pending).toBe(0);
	});
});
