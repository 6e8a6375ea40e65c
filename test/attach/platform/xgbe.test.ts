import { describe, expect, it } from "vitest";
import { type AmdXgbe, frameCheckSequence } from "../../../kernel-sim/mod.ts";
import { board, frameTo, PlatformGuest, XGBE } from "./guest.ts";

const MAC_TCR = 0x0000;
const MAC_RCR = 0x0004;
const MAC_RQC0R = 0x00a0;
const MAC_VR = 0x0110;
const MAC_HWF2R = 0x0124;
const MACA0HR = 0x0300;
const MACA0LR = 0x0304;
const DMA_MR = 0x3000;
const DMA_ISR = 0x3008;
const OWN = 0x80000000;
const [CR, TCR, RCR, TDLR_LO, RDLR_LO, TDTR, RDTR, TDRLR, RDRLR, IER, SR] = [
	0x00, 0x04, 0x08, 0x14, 0x1c, 0x24, 0x2c, 0x30, 0x34, 0x38, 0x60,
];
const PCS = 1;
const MAC = [0x02, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5];
const RX_RING = 0x1000;
const TX_RING = 0x2000;
const HEADERS = 0x10000;
const PAYLOADS = 0x20000;
const TX_BUFFER = 0x8000;
const RING = 8;

function channel(index: number, register: number): number {
	return 0x3100 + 0x80 * index + register;
}

/** A driver: channel 0 receives, with header buffers of 64 bytes and others of 128; each channel transmits. */
class Driver {
	readonly guest: PlatformGuest;
	readonly #next = [0, 0, 0, 0];

	constructor(guest: PlatformGuest) {
		this.guest = guest;
		guest.write(DMA_MR, 1);
		expect(guest.read(DMA_MR)).toBe(0);
		guest.write(MACA0HR, 0x8000a5a4);
		guest.write(MACA0LR, 0xa3a2a102);
		guest.write(MAC_RQC0R, 2);
		for (let index = 0; index < RING; index++) this.give(index);
		guest.write(channel(0, CR), 0x01000000);
		guest.write(channel(0, RDRLR), RING - 1);
		guest.write(channel(0, RDLR_LO), RX_RING);
		guest.write(channel(0, RDTR), RX_RING + 16 * (RING - 1));
		guest.write(channel(0, RCR), (128 << 1) | 1);
		for (let index = 0; index < 4; index++) {
			guest.write(0x1100 + 0x80 * index, 8 | 1);
			expect(guest.read(0x1100 + 0x80 * index)).toBe(8);
			guest.write(channel(index, TDRLR), RING - 1);
			guest.write(channel(index, TDLR_LO), TX_RING + 0x100 * index);
			guest.write(channel(index, TDTR), TX_RING + 0x100 * index);
			guest.write(channel(index, TCR), 1);
			guest.write(channel(index, SR), 0xffff);
		}
		guest.write(MAC_RCR, 1);
		guest.write(MAC_TCR, 1);
	}

	/** Gives a receive descriptor to the device. */
	give(index: number): void {
		const { view } = this.guest;
		const at = RX_RING + 16 * index;
		view.setUint32(at, HEADERS + 64 * index, true);
		view.setUint32(at + 4, 0, true);
		view.setUint32(at + 8, PAYLOADS + 128 * index, true);
		view.setUint32(at + 12, OWN | 0x40000000, true);
	}

	/** Sends a frame from two descriptors, behind a context descriptor. */
	send(frame: Uint8Array, from = 0): void {
		const { view, ram, write } = { ...this.guest, write: this.guest.write.bind(this.guest) };
		const ring = TX_RING + 0x100 * from;
		const descriptor = (words: readonly number[]) => {
			const at = ring + 16 * (this.#next[from] as number);
			for (const [index, word] of words.entries()) view.setUint32(at + 4 * index, word >>> 0, true);
			this.#next[from] = ((this.#next[from] as number) + 1) % RING;
		};
		ram.set(frame, TX_BUFFER);
		descriptor([0, 0, 0, OWN | 0x40000000]);
		descriptor([TX_BUFFER, 0, 14, OWN | 0x20000000 | frame.length]);
		descriptor([TX_BUFFER + 14, 0, 0x80000000 | (frame.length - 14), OWN | 0x10000000]);
		write(channel(from, TDTR), ring + 16 * (this.#next[from] as number));
	}

	/** The frame that begins at a descriptor: what its header buffer took, and what the other. */
	take(first: number): { frame: Uint8Array; descriptors: number } {
		const { view, ram } = this.guest;
		const parts: number[] = [];
		for (let count = 1; ; count++) {
			const index = (first + count - 1) % RING;
			const flags = view.getUint32(RX_RING + 16 * index + 12, true);
			expect(flags & OWN).toBe(0);
			expect((flags & 0x20000000) !== 0).toBe(count === 1);
			parts.push(...ram.subarray(HEADERS + 64 * index, HEADERS + 64 * index + 64));
			parts.push(...ram.subarray(PAYLOADS + 128 * index, PAYLOADS + 128 * index + 128));
			if ((flags & 0x10000000) !== 0)
				return { frame: Uint8Array.from(parts.slice(0, flags & 0x3fff)), descriptors: count };
		}
	}
}

describe("a guest's driver of amd-xgbe", () => {
	it("Y-08 sends on every channel, each with an edge of its own; the guest sees one at a time", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		expect(guest.device.interrupts.map(({ trigger }) => trigger)).toEqual([
			...["level", "edge", "edge", "edge", "edge", "level"],
		]);
		expect([guest.read(MAC_VR), guest.read(MAC_HWF2R) & 15]).toEqual([0x341, 3]);
		const driver = new Driver(guest);
		const frames = [0, 1, 2, 3].map((seed) => frameTo([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 200 + seed, seed));
		frames.forEach((frame, index) => {
			driver.send(frame, index);
		});
		expect(host.sent).toEqual(frames);
		guest.settle();
		expect(guest.changes).toEqual(["+1"]);
		for (let index = 0; index < 4; index++) {
			expect(guest.device.activeInterrupt).toBe(index + 1);
			expect(guest.read(channel(index, SR)) & 1).toBe(1);
		}
		expect(guest.changes).toEqual(["+1", "-1", "+2", "-2", "+3", "-3", "+4", "-4"]);
		expect(guest.device.activeInterrupt).toBeUndefined();
		expect(guest.up.size).toBe(0);
		expect(host.linux.faults).toEqual([]);
	});

	it("receives into header and payload buffers, over several descriptors, round the ring", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		const driver = new Driver(guest);
		const model = host.model<AmdXgbe>(XGBE);
		let at = 0;
		for (const [seed, length] of [60, 500, 64, 300, 900].entries()) {
			const frame = frameTo(MAC, length, seed);
			model.deliver(frame);
			const { frame: taken, descriptors } = driver.take(at);
			expect(descriptors).toBe(Math.ceil((length + 4) / 192));
			expect(taken.subarray(0, -4)).toEqual(frame);
			expect(new DataView(taken.buffer).getUint32(length, true)).toBe(frameCheckSequence(frame));
			for (let count = 0; count < descriptors; count++) {
				driver.give(at);
				guest.write(channel(0, RDTR), RX_RING + 16 * at);
				at = (at + 1) % RING;
			}
		}
		expect(model.droppedFrames).toBe(0);
		guest.write(MAC_RCR, 5); // without frame check sequences
		model.deliver(frameTo(MAC, 60));
		expect(driver.take(at).frame).toHaveLength(60);
		model.deliver(frameTo([2, 0, 0, 0, 0, 9], 60));
		expect(model.droppedFrames).toBe(1);
	});

	it("tells by its level interrupt what is enabled in a channel, until that is acknowledged", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		const driver = new Driver(guest);
		guest.write(channel(2, IER), 0x10000 | 1);
		driver.send(frameTo(MAC, 60), 2);
		guest.settle();
		expect(guest.changes).toEqual(["+3"]); // the channel's edge came first
		expect(guest.read(DMA_ISR)).toBe(4);
		expect(guest.changes).toEqual(["+3", "-3", "+0"]);
		guest.write(channel(2, SR), 1);
		expect(guest.read(DMA_ISR)).toBe(0);
		guest.settle();
		expect(guest.up.size).toBe(0);
	});

	it("stops a ring whose buffers it cannot reach", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		const driver = new Driver(guest);
		guest.view.setUint32(RX_RING + 8, 0x7000_0000, true);
		host.model<AmdXgbe>(XGBE).deliver(frameTo(MAC, 100));
		expect(guest.read(channel(0, SR)) & 0x1100).toBe(0x1100);
		expect(guest.read(channel(0, RCR)) & 1).toBe(0);
		expect(host.linux.faults).toMatchObject([{ device: XGBE, direction: "write" }]);
		expect(driver.guest.reports).toEqual([]);
	});

	it("negotiates by the registers of its PCS, and tells of it on its last line", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		const mmd = (register: number, value?: number): number => {
			guest.write(0x3fc, ((7 << 16) | register) >>> 8, PCS);
			if (value === undefined) return guest.read((register & 0xff) << 2, PCS);
			guest.write((register & 0xff) << 2, value, PCS);
			return value;
		};
		mmd(0x8001, 7);
		mmd(0, 0x1200);
		guest.settle();
		expect(guest.up).toEqual(new Set([5]));
		expect(mmd(1) & 0x24).toBe(0x24);
		expect(mmd(0x8002)).toBe(1);
		mmd(0x8002, 0);
		guest.settle();
		// The first access ended the interrupt before its cause was gone, so that it has come once more.
		guest.read(0x40, 3, 2);
		guest.settle();
		expect(guest.up.size).toBe(0);
		expect(guest.read(0x40, 3, 2)).toBe(0x0101);
		guest.write(0, 0x1234, 4, 2);
		expect(guest.read(0, 4, 2)).toBe(0x1234);
	});
});
