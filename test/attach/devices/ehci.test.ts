import { describe, expect, it } from "vitest";
import { Ehci, LoopbackDevice } from "../../../kernel-sim/mod.ts";
import { Guest, hostWith, pattern } from "./guest.ts";

const ADDRESS = "0000:00:1a.0";
/** 1 KiB aligned, not page aligned. */
const BAR = 0xfebf1400;
const OPERATIONAL = BAR + 0x20;
const HEAD = 0x10000;
const QUEUE = 0x10100;
const DESCRIPTORS = 0x11000;
const DATA = 0x20000;
const MILLISECOND = 1e6;
const OUT = 0;
const IN = 1;
const SETUP = 2;

/** A guest that lays out queue heads. */
class EhciGuest extends Guest {
	queueHead(at: number, next: number, characteristics: number, descriptors = 1): void {
		this.ram.fill(0, at, at + 48);
		this.view.setUint32(at, next | 2, true);
		this.view.setUint32(at + 4, characteristics, true);
		this.view.setUint32(at + 8, 1 << 30, true);
		this.view.setUint32(at + 16, descriptors, true);
		this.view.setUint32(at + 20, 1, true);
	}
}

interface Transfer {
	readonly pid: number;
	readonly at: number;
	readonly length: number;
}

/** As much of a driver as it takes to make transfers. */
class EhciDriver {
	readonly guest: EhciGuest;
	address = 0;

	constructor(guest: EhciGuest) {
		this.guest = guest;
		expect(guest.placeBar(0, BAR)).toBe(0x400);
		guest.writeConfig(4, 2, 0x6);
		expect([guest.read(BAR, 1), guest.read(BAR + 2, 2), guest.read(BAR + 4) & 0xf]).toEqual([0x20, 0x100, 6]);
		// Legacy support: the operating system takes the controller.
		const legacy = (guest.read(BAR + 8) >>> 8) & 0xff;
		expect(guest.readConfig(legacy, 1)).toBe(1);
		guest.write(OPERATIONAL, 2);
		guest.queueHead(HEAD, HEAD, 0x8000);
		guest.write(OPERATIONAL + 0x18, HEAD);
		guest.write(OPERATIONAL + 0x08, 0x27);
		guest.write(OPERATIONAL, 0x00080021);
		guest.write(OPERATIONAL + 0x40, 1);
		guest.clock.settle();
		expect(this.acknowledge() & 4).toBe(4);
		expect(guest.read(OPERATIONAL + 0x44)).toBe(0x1003);
		guest.write(OPERATIONAL + 0x44, 0x1102);
		guest.clock.advance(50 * MILLISECOND);
		guest.write(OPERATIONAL + 0x44, 0x1000);
		expect(guest.read(OPERATIONAL + 0x44)).toBe(0x1005);
	}

	/** Queues transfers on an endpoint, the last one with an interrupt. */
	submit(transfers: readonly Transfer[], endpoint = 0, packet = 64): void {
		const { guest } = this;
		transfers.forEach(({ pid, at, length }, index) => {
			const qtd = DESCRIPTORS + 64 * index;
			const last = index === transfers.length - 1;
			guest.view.setUint32(qtd, last ? 1 : qtd + 64, true);
			guest.view.setUint32(qtd + 4, 1, true);
			guest.view.setUint32(qtd + 8, (length << 16) | (last ? 1 << 15 : 0) | (3 << 10) | (pid << 8) | 0x80, true);
			guest.view.setUint32(qtd + 12, at, true);
			for (let page = 1; page < 5; page++) guest.view.setUint32(qtd + 12 + 4 * page, (at & ~0xfff) + 4096 * page, true);
		});
		guest.queueHead(QUEUE, HEAD, (packet << 16) | (1 << 14) | (2 << 12) | (endpoint << 8) | this.address, DESCRIPTORS);
		guest.view.setUint32(HEAD, QUEUE | 2, true);
	}

	/** Takes the queue out, and rings the doorbell until nobody looks at it any more. */
	unlink(): void {
		const { guest } = this;
		guest.view.setUint32(HEAD, HEAD | 2, true);
		guest.write(OPERATIONAL, 0x00080061);
		guest.clock.advance(2 * MILLISECOND);
		expect(this.acknowledge() & 0x20).toBe(0x20);
		expect(guest.read(OPERATIONAL) & 0x40).toBe(0);
	}

	/** The interrupt handler: reads what it is, and acknowledges it. */
	acknowledge(): number {
		return this.guest.serve(() => {
			const status = this.guest.read(OPERATIONAL + 4) & 0x3f;
			this.guest.write(OPERATIONAL + 4, status);
			return status;
		});
	}

	/** Runs transfers to their interrupt. */
	run(transfers: readonly Transfer[], endpoint = 0, packet = 64): number {
		this.submit(transfers, endpoint, packet);
		this.guest.clock.advance(3 * MILLISECOND);
		expect(this.guest.line).toBe(true);
		return this.acknowledge();
	}

	control(setup: readonly number[], read: number): Uint8Array {
		const { guest } = this;
		guest.ram.set(setup, DATA);
		const data = read > 0 ? [{ pid: IN, at: DATA + 0x100, length: read }] : [];
		const status = { pid: read > 0 ? OUT : IN, at: DATA, length: 0 };
		expect(this.run([{ pid: SETUP, at: DATA, length: 8 }, ...data, status])).toBe(1);
		this.unlink();
		return guest.ram.slice(DATA + 0x100, DATA + 0x100 + read);
	}

	stop(): void {
		this.guest.write(OPERATIONAL, 0x00080000);
	}
}

describe("F-05 an assigned EHCI controller", () => {
	it("F-05 EHCI: a driver enumerates a device through a BAR smaller than a page, by INTx with its end", () => {
		const usb = new LoopbackDevice("high");
		const model = new Ehci({ devices: [usb] });
		const guest = new EhciGuest(hostWith({ [ADDRESS]: [Ehci.description(), model] }), ADDRESS);
		const driver = new EhciDriver(guest);
		expect(driver.control([0x80, 6, 0, 1, 0, 0, 18, 0], 18)).toEqual(usb.deviceDescriptor);
		driver.control([0, 5, 9, 0, 0, 0, 0, 0], 0);
		expect(usb.address).toBe(9);
		driver.address = 9;
		driver.control([0, 9, 1, 0, 0, 0, 0, 0], 0);
		expect(usb.configuration).toBe(1);

		// Over pages, from an odd place to another, and every byte comes back.
		const bytes = pattern(10240, 4);
		guest.ram.set(bytes, DATA + 0x1234);
		expect(driver.run([{ pid: OUT, at: DATA + 0x1234, length: bytes.length }], 1, 512)).toBe(1);
		expect(driver.run([{ pid: IN, at: DATA + 0x8678, length: bytes.length }], 1, 512)).toBe(1);
		expect(guest.ram.slice(DATA + 0x8678, DATA + 0x8678 + bytes.length)).toEqual(bytes);
		expect(guest.view.getUint32(DESCRIPTORS + 8, true) & 0x7fff00ff).toBe(0);

		// A request that the device does not know halts the queue, which is an error interrupt.
		guest.ram.set([0x80, 0x33, 0, 0, 0, 0, 8, 0], DATA);
		const transfers = [
			{ pid: SETUP, at: DATA, length: 8 },
			{ pid: IN, at: DATA, length: 8 },
		];
		expect(driver.run(transfers)).toBe(2);
		expect(guest.view.getUint32(DESCRIPTORS + 64 + 8, true) & 0xc0).toBe(0x40);
		driver.stop();
		guest[Symbol.dispose]();
	});
});
