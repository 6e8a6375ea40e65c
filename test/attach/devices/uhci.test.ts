import { describe, expect, it } from "vitest";
import { LoopbackDevice, Uhci } from "../../../kernel-sim/mod.ts";
import { BACKENDS } from "../scripted-guest.ts";
import { Guest, hostWith, pattern } from "./guest.ts";

const ADDRESS = "0000:00:1d.0";
/** Nothing to do with a page. */
const PORTS = 0xc0a0;
const FRAMES = 0x10000;
const QUEUE = 0x12000;
const DESCRIPTORS = 0x13000;
const DATA = 0x20000;
const MILLISECOND = 1e6;
const SETUP = 0x2d;
const IN = 0x69;
const OUT = 0xe1;

interface Transaction {
	readonly pid: number;
	readonly at: number;
	readonly length: number;
}

/** As much of a driver as it takes to make transfers. */
class UhciDriver {
	readonly guest: Guest;
	address = 0;

	constructor(guest: Guest) {
		this.guest = guest;
		expect(guest.placeBar(4, PORTS)).toBe(32);
		guest.writeConfig(4, 2, 0x5);
		guest.writePort(PORTS, 2, 2);
		expect(guest.readPort(PORTS + 2, 2)).toBe(0x20);
		// Reset port 1, and enable it.
		expect(guest.readPort(PORTS + 0x10, 2)).toBe(0x83);
		guest.writePort(PORTS + 0x10, 2, 0x200);
		guest.clock.advance(50 * MILLISECOND);
		guest.writePort(PORTS + 0x10, 2, 0);
		guest.writePort(PORTS + 0x10, 2, 0xe);
		expect(guest.readPort(PORTS + 0x10, 2)).toBe(0x85);
		for (let frame = 0; frame < 1024; frame++) guest.view.setUint32(FRAMES + 4 * frame, QUEUE | 2, true);
		guest.view.setUint32(QUEUE, 1, true);
		guest.view.setUint32(QUEUE + 4, 1, true);
		guest.writePort(PORTS + 8, 4, FRAMES);
		guest.writePort(PORTS + 4, 2, 0xf);
		guest.writePort(PORTS, 2, 1);
	}

	/** Queues transactions, the last one with an interrupt. */
	submit(transactions: readonly Transaction[], endpoint = 0): void {
		const { view } = this.guest;
		transactions.forEach(({ pid, at, length }, index) => {
			const td = DESCRIPTORS + 32 * index;
			const last = index === transactions.length - 1;
			view.setUint32(td, last ? 1 : (td + 32) | 4, true);
			view.setUint32(td + 4, (3 << 27) | (1 << 23) | (last ? 1 << 24 : 0), true);
			view.setUint32(td + 8, (((length - 1) & 0x7ff) << 21) | (endpoint << 15) | (this.address << 8) | pid, true);
			view.setUint32(td + 12, at, true);
		});
		view.setUint32(QUEUE + 4, DESCRIPTORS, true);
	}

	/** Bytes that a transaction moved. */
	moved(index: number): number {
		return (this.guest.view.getUint32(DESCRIPTORS + 32 * index + 4, true) + 1) & 0x7ff;
	}

	/** The interrupt handler: reads what it is, and acknowledges it. */
	acknowledge(): number {
		return this.guest.serve(() => {
			const status = this.guest.readPort(PORTS + 2, 2);
			this.guest.writePort(PORTS + 2, 2, status);
			return status;
		});
	}

	/** A control transfer, to its interrupt. */
	control(setup: readonly number[], read: number): Uint8Array {
		const { guest } = this;
		guest.ram.set(setup, DATA);
		const packets: Transaction[] = [{ pid: SETUP, at: DATA, length: 8 }];
		for (let at = 0; at < read; at += 8)
			packets.push({ pid: IN, at: DATA + 0x100 + at, length: Math.min(8, read - at) });
		packets.push({ pid: read > 0 ? OUT : IN, at: DATA, length: 0 });
		this.submit(packets);
		guest.clock.advance(2 * MILLISECOND);
		expect(guest.line).toBe(true);
		expect(this.acknowledge()).toBe(1);
		return guest.ram.slice(DATA + 0x100, DATA + 0x100 + read);
	}

	stop(): void {
		this.guest.writePort(PORTS, 2, 0);
	}
}

describe.each(BACKENDS)("F-05 an assigned UHCI controller with %s", (backend) => {
	it("F-05 UHCI: a driver enumerates a device through I/O ports that share their page, by INTx with its end", () => {
		const usb = new LoopbackDevice("full");
		const guest = new Guest(
			hostWith({ [ADDRESS]: [Uhci.description(), new Uhci({ devices: [usb] })] }),
			ADDRESS,
			undefined,
			backend,
		);
		const driver = new UhciDriver(guest);
		expect(driver.control([0x80, 6, 0, 1, 0, 0, 18, 0], 18)).toEqual(usb.deviceDescriptor);
		driver.control([0, 5, 7, 0, 0, 0, 0, 0], 0);
		expect(usb.address).toBe(7);
		driver.address = 7;
		expect(driver.control([0x80, 6, 1, 3, 9, 4, 16, 0], 16)).toEqual(
			Uint8Array.of(16, 3, ...[..."vfio-ts"].flatMap((letter) => [letter.charCodeAt(0), 0])),
		);
		driver.control([0, 9, 1, 0, 0, 0, 0, 0], 0);
		expect(usb.configuration).toBe(1);

		// Out and back in, several packets, and what comes back is what went out.
		const bytes = pattern(192, 3);
		guest.ram.set(bytes, DATA + 0x1000);
		const packets = (pid: number, at: number) => [0, 64, 128].map((offset) => ({ pid, at: at + offset, length: 64 }));
		driver.submit(packets(OUT, DATA + 0x1000), 1);
		guest.clock.advance(2 * MILLISECOND);
		driver.acknowledge();
		driver.submit(packets(IN, DATA + 0x2000), 1);
		guest.clock.advance(2 * MILLISECOND);
		expect(driver.acknowledge()).toBe(1);
		expect(guest.ram.slice(DATA + 0x2000, DATA + 0x2000 + 192)).toEqual(bytes);
		expect(driver.moved(2)).toBe(64);

		// A request that the device does not know ends in a stall, which is an error interrupt.
		guest.ram.set([0x80, 0x33, 0, 0, 0, 0, 8, 0], DATA);
		driver.submit([
			{ pid: SETUP, at: DATA, length: 8 },
			{ pid: IN, at: DATA, length: 8 },
		]);
		guest.clock.advance(2 * MILLISECOND);
		expect(guest.line).toBe(true);
		expect(driver.acknowledge() & 3).toBe(3);
		expect(guest.view.getUint32(DESCRIPTORS + 36, true) & (1 << 22)).not.toBe(0);
		driver.stop();
		guest[Symbol.dispose]();
	});

	it("F-05 UHCI: works where its ports were moved to, and no longer where they were", () => {
		const guest = new Guest(hostWith({ [ADDRESS]: [Uhci.description(), new Uhci()] }), ADDRESS, undefined, backend);
		guest.placeBar(4, 0xc0a0);
		guest.writeConfig(4, 2, 1);
		guest.writePort(0xc0a6, 2, 5);
		guest.placeBar(4, 0xd120);
		expect([guest.readPort(0xd126, 2), guest.readPort(0xc0a6, 2)]).toEqual([5, 0xffff]);
		guest.writeConfig(4, 2, 0);
		expect(guest.readPort(0xd126, 2)).toBe(0xffff);
		guest[Symbol.dispose]();
	});
});
