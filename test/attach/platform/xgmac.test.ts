import { describe, expect, it } from "vitest";
import { type CalxedaXgmac, frameCheckSequence } from "../../../kernel-sim/mod.ts";
import { board, frameTo, PlatformGuest, XGMAC } from "./guest.ts";

const CONTROL = 0x000;
const FRAME_FILTER = 0x004;
const INT_STAT = 0x03c;
const ADDR_HIGH = 0x040;
const ADDR_LOW = 0x044;
const PMT = 0x704;
const BUS_MODE = 0xf00;
const TX_POLL = 0xf04;
const RX_BASE = 0xf0c;
const TX_BASE = 0xf10;
const STATUS = 0xf14;
const DMA_CONTROL = 0xf18;
const INTR_ENA = 0xf1c;
const OWN = 0x80000000;
const NORMAL = 0x10000 | 0x40 | 0x4 | 0x1;
const RI = 0x40;
const TI = 0x1;

const MAC = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];
const RX_RING = 0x1000;
const TX_RING = 0x2000;
const BUFFERS = 0x10000;
const TX_BUFFER = 0x8000;

/** A driver: two receive descriptors with buffers of 256 bytes, a transmit ring of four. */
class Driver {
	readonly guest: PlatformGuest;
	#transmit = 0;

	constructor(guest: PlatformGuest) {
		this.guest = guest;
		guest.write(BUS_MODE, 1);
		expect(guest.read(BUS_MODE)).toBe(0);
		guest.write(ADDR_HIGH, (MAC[5] as number) * 256 + (MAC[4] as number));
		guest.write(ADDR_LOW, 0x33221102);
		for (let index = 0; index < 2; index++) {
			const at = RX_RING + 32 * index;
			guest.view.setUint32(at + 4, 256 | (index === 1 ? 0x8000 : 0), true);
			guest.view.setUint32(at + 8, BUFFERS + 256 * index, true);
			guest.view.setUint32(at, OWN, true);
		}
		guest.write(RX_BASE, RX_RING);
		guest.write(TX_BASE, TX_RING);
		guest.write(INTR_ENA, NORMAL);
		guest.write(DMA_CONTROL, 0x2002);
		guest.write(CONTROL, 0xc);
	}

	/** Sends a frame from two buffers. */
	send(frame: Uint8Array): void {
		const { view, ram } = this.guest;
		const at = TX_RING + 32 * this.#transmit;
		const end = this.#transmit === 3 ? 0x00200000 : 0;
		ram.set(frame, TX_BUFFER);
		view.setUint32(at + 4, 20 | ((frame.length - 20) << 16), true);
		view.setUint32(at + 8, TX_BUFFER, true);
		view.setUint32(at + 12, TX_BUFFER + 20, true);
		view.setUint32(at, OWN | 0x70000000 | end, true);
		this.#transmit = (this.#transmit + 1) % 4;
		this.guest.write(TX_POLL, 1);
	}

	/** Takes the frame of a descriptor and gives the descriptor back. */
	take(index: number): Uint8Array {
		const { view, ram } = this.guest;
		const flags = view.getUint32(RX_RING + 32 * index, true);
		expect(flags & (OWN | 0x300)).toBe(0x300);
		view.setUint32(RX_RING + 32 * index, OWN, true);
		return ram.slice(BUFFERS + 256 * index, BUFFERS + 256 * index + ((flags >>> 16) & 0x3fff));
	}

	/** The interrupt handler: what there was, acknowledged. */
	handle(): number {
		const status = this.guest.read(STATUS);
		this.guest.write(STATUS, status);
		return status;
	}
}

describe("a guest's driver of calxeda-xgmac", () => {
	it.each(["group", "iommufd"] as const)(
		"Y-08 sends and receives through rings, with level interrupts that it acknowledges, by its %s",
		(backend) => {
			const host = board();
			using guest = new PlatformGuest(host, XGMAC, { backend });
			expect(guest.vfio.group === undefined).toBe(backend === "iommufd");
			const driver = new Driver(guest);
			const model = host.model<CalxedaXgmac>(XGMAC);
			const out = frameTo([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 100);
			driver.send(out);
			expect(host.sent).toEqual([out]);
			guest.settle();
			expect(guest.up).toEqual(new Set([0]));
			// The first access ends the interrupt here; the device still asserts its line, so that it comes again.
			expect(driver.handle() & (TI | 0x10000)).toBe(TI | 0x10000);
			guest.settle();
			driver.handle();
			guest.settle();
			expect(guest.up.size).toBe(0);
			for (let seed = 0; seed < 3; seed++) {
				const frame = frameTo(MAC, 64 + seed, seed);
				model.deliver(frame);
				guest.settle();
				expect(guest.up.has(0)).toBe(true);
				expect(driver.handle() & RI).toBe(RI);
				const taken = driver.take(seed % 2);
				expect(taken.subarray(0, -4)).toEqual(frame);
				expect(new DataView(taken.buffer).getUint32(frame.length, true)).toBe(frameCheckSequence(frame));
				guest.settle();
				if (guest.up.has(0)) driver.handle();
				guest.settle();
			}
			expect(host.linux.faults).toEqual([]);
			expect(guest.reports).toEqual([]);
		},
	);

	it("has frames filtered by their address, and misses those that it has no buffers for", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGMAC);
		new Driver(guest);
		const model = host.model<CalxedaXgmac>(XGMAC);
		model.deliver(frameTo([2, 0, 0, 0, 0, 1], 60));
		expect(model.droppedFrames).toBe(1);
		guest.write(FRAME_FILTER, 0x80000000);
		model.deliver(frameTo([2, 0, 0, 0, 0, 1], 60));
		model.deliver(frameTo([3, 0, 0, 0, 0, 1], 60));
		expect(model.droppedFrames).toBe(1);
		model.deliver(frameTo([2, 0, 0, 0, 0, 1], 60));
		expect(model.droppedFrames).toBe(2);
		expect(guest.read(STATUS) & 0x80).toBe(0x80);
		expect([guest.read(0xf20), guest.read(0xf20)]).toEqual([1, 0]);
	});

	it("stops a ring whose descriptors it cannot reach, and the IOMMU tells of it", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGMAC);
		const driver = new Driver(guest);
		guest.write(TX_BASE, 0x7000_0000);
		guest.write(TX_POLL, 1);
		expect(guest.read(STATUS) & 0x2002).toBe(0x2002);
		expect(guest.read(DMA_CONTROL)).toBe(0x2);
		expect(host.linux.faults).toMatchObject([{ device: XGMAC, address: 0x7000_0000n, direction: "read" }]);
		expect(driver.guest.reports).toEqual([]);
	});

	it("wakes by a magic packet on its second line while the first is up: one is shown at a time", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGMAC);
		const driver = new Driver(guest);
		const model = host.model<CalxedaXgmac>(XGMAC);
		driver.send(frameTo(MAC, 60));
		guest.write(PMT, 3);
		const magic = new Uint8Array(14 + 6 + 96).fill(0xff);
		for (let repeat = 0; repeat < 16; repeat++) magic.set(MAC, 20 + 6 * repeat);
		model.deliver(magic);
		guest.changes.length = 0;
		guest.settle();
		// Both lines of the device are up; the guest sees the one that came first.
		expect(guest.changes).toEqual(["+0"]);
		const status = guest.read(STATUS);
		expect(status & TI).toBe(TI);
		expect(guest.changes).toEqual(["+0", "-0", "+1"]);
		// Any access ends the one that is shown: the device still asserts both, so that both come again.
		guest.write(STATUS, status);
		expect(guest.changes).toEqual(["+0", "-0", "+1", "-1"]);
		guest.settle();
		expect(guest.up.size).toBe(1);
		expect(guest.read(PMT) & 0x20).toBe(0x20);
		expect(guest.read(INT_STAT) & 0x80).toBe(0);
		for (let left = 4; left > 0; left--) {
			guest.settle();
			if (guest.up.size > 0) driver.handle();
		}
		expect(guest.device.activeInterrupt).toBeUndefined();
	});
});
