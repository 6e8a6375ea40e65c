/** As much of a driver for the 82576 as it takes to exchange frames; the queue registers are a virtual function's too. */
import { expect } from "vitest";
import type { Guest } from "./guest.ts";

export const REGISTERS = 0xfe800000;
const FLASH = 0xfe820000;
const MESSAGES = 0xfe840000;
const RX_RING = 0x10000;
const TX_RING = 0x11000;
const RX_BUFFERS = 0x20000;
const TX_BUFFERS = 0x40000;
export const ENTRIES = 16;

/** One pair of queues. */
export class IgbQueues {
	readonly guest: Guest;
	readonly #rx: number;
	readonly #tx: number;
	#sent = 0;
	#seen = 0;
	#advanced = false;

	/** @param rx guest-physical address of the receive queue's registers @param tx of the transmit queue's */
	constructor(guest: Guest, rx: number, tx: number) {
		this.guest = guest;
		this.#rx = rx;
		this.#tx = tx;
	}

	/** Lays the rings out and enables the queues. */
	startQueues(advanced: boolean): void {
		const { guest } = this;
		this.#advanced = advanced;
		this.#sent = 0;
		this.#seen = 0;
		for (let index = 0; index < ENTRIES; index++) this.#give(index);
		for (const [queue, ring] of [
			[this.#rx, RX_RING],
			[this.#tx, TX_RING],
		] as const) {
			guest.write(queue, ring);
			guest.write(queue + 4, 0);
			guest.write(queue + 8, 16 * ENTRIES);
			guest.write(queue + 0x28, 1 << 25);
		}
		guest.write(this.#rx + 0x0c, 2 | (advanced ? 1 << 25 : 0));
		guest.write(this.#rx + 0x18, ENTRIES - 1);
	}

	/** Sends a frame out of two buffers. */
	send(frame: Uint8Array): void {
		for (const [part, last] of [
			[frame.subarray(0, 40), false],
			[frame.subarray(40), true],
		] as const) {
			const buffer = TX_BUFFERS + 2048 * this.#sent;
			const at = TX_RING + 16 * this.#sent;
			this.guest.ram.set(part, buffer);
			this.guest.view.setBigUint64(at, BigInt(buffer), true);
			const extended = this.#advanced ? (1 << 29) | (3 << 20) : 0;
			this.guest.view.setUint32(at + 8, part.length | extended | (last ? 0x09000000 : 0), true);
			this.guest.view.setUint32(at + 12, this.#advanced ? frame.length << 14 : 0, true);
			this.#sent = (this.#sent + 1) % ENTRIES;
		}
		this.guest.write(this.#tx + 0x18, this.#sent);
	}

	/** The frames that came since the last call; their buffers are given again. */
	received(): Uint8Array[] {
		const frames: Uint8Array[] = [];
		for (;;) {
			const at = RX_RING + 16 * this.#seen;
			const status = this.guest.view.getUint32(at + (this.#advanced ? 8 : 12), true);
			if ((status & 1) === 0) return frames;
			expect(status & 3).toBe(3);
			const length = this.guest.view.getUint16(at + (this.#advanced ? 12 : 8), true);
			const buffer = RX_BUFFERS + 2048 * this.#seen;
			frames.push(this.guest.ram.slice(buffer, buffer + length));
			this.#give(this.#seen);
			this.guest.write(this.#rx + 0x18, this.#seen);
			this.#seen = (this.#seen + 1) % ENTRIES;
		}
	}

	#give(index: number): void {
		this.guest.view.setBigUint64(RX_RING + 16 * index, BigInt(RX_BUFFERS + 2048 * index), true);
		this.guest.view.setBigUint64(RX_RING + 16 * index + 8, 0n, true);
	}
}

/** The physical function's driver. */
export class IgbDriver extends IgbQueues {
	/** Guest-physical address of the MSI-X table. */
	readonly msix = MESSAGES;
	readonly mac: Uint8Array;

	constructor(guest: Guest) {
		super(guest, REGISTERS + 0xc000, REGISTERS + 0xe000);
		expect([guest.placeBar(0, REGISTERS), guest.placeBar(1, FLASH), guest.placeBar(3, MESSAGES)]).toEqual([
			0x20000, 0x20000, 0x4000,
		]);
		guest.writeConfig(4, 2, 6);
		guest.write(REGISTERS + 0x150c, 0xffffffff);
		guest.write(REGISTERS, 1 << 26);
		const words = [0, 1, 2].map((word) => {
			guest.write(REGISTERS + 0x14, (word << 2) | 1);
			return guest.read(REGISTERS + 0x14) >>> 16;
		});
		this.mac = Uint8Array.from(words.flatMap((word) => [word & 0xff, word >>> 8]));
		guest.write(REGISTERS, 0x41);
		expect(guest.read(REGISTERS + 8) & 3).toBe(3);
	}

	/** Receive on vector 0, transmit on 1, everything else on 2; sending clears the cause. */
	useVectors(): void {
		const { guest } = this;
		guest.write(REGISTERS + 0x1514, 0x80000011);
		guest.write(REGISTERS + 0x1700, 0x8180);
		guest.write(REGISTERS + 0x1740, 0x8200);
		guest.write(REGISTERS + 0x152c, 0x7);
		guest.write(REGISTERS + 0x1524, 0x7);
		guest.read(REGISTERS + 0x1500);
		guest.write(REGISTERS + 0x1508, 0x104);
	}

	start(advanced = false): void {
		this.startQueues(advanced);
		this.guest.write(REGISTERS + 0x100, 0x04008002);
		this.guest.write(REGISTERS + 0x400, 0x2);
	}

	stop(): void {
		this.guest.write(REGISTERS + 0x100, 0);
		this.guest.write(REGISTERS + 0x400, 0);
		this.guest.write(REGISTERS + 0x1528, 0xffffffff);
		this.guest.write(REGISTERS + 0x150c, 0xffffffff);
	}
}
