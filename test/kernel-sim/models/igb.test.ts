import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { parseLspci } from "../../../kernel-sim/hardware/lspci.ts";
import { Igb, type IgbOptions } from "../../../kernel-sim/hardware/models/igb/mod.ts";
import { frameCheckSequence } from "../../../kernel-sim/hardware/models/network.ts";
import { FakePort } from "./fake-port.ts";

const CTRL = 0x0000;
const STATUS = 0x0008;
const EERD = 0x0014;
const MDIC = 0x0020;
const RCTL = 0x0100;
const TCTL = 0x0400;
const ICR = 0x1500;
const ICS = 0x1504;
const IMS = 0x1508;
const GPIE = 0x1514;
const EIMS = 0x1524;
const EIAC = 0x152c;
const EICR = 0x1580;
const IVAR0 = 0x1700;
const IVAR_MISC = 0x1740;
const RX = 0xc000;
const TX = 0xe000;
const RX_RING = 0x1000;
const TX_RING = 0x2000;
const RX_BUFFERS = 0x10000;
const TX_BUFFERS = 0x80000;
const ENTRIES = 8;

function plugged(options?: IgbOptions) {
	const port = new FakePort();
	const igb = new Igb(options);
	igb.attach(port);
	const sent: Uint8Array[] = [];
	igb.connect({ receive: (frame) => sent.push(frame.slice()) });
	const read = (offset: number) => igb.read(0, offset, 4) >>> 0;
	const write = (offset: number, value: number) => igb.write(0, offset, 4, value >>> 0);
	return { port, igb, sent, read, write };
}

type Bench = ReturnType<typeof plugged>;

/** Both rings of a queue with eight descriptors, receive buffers given, everything enabled. */
function start({ port, write }: Bench, queue = 0, advanced = false): void {
	const receive = RX + 0x40 * queue;
	const transmit = TX + 0x40 * queue;
	write(CTRL, 0x41);
	for (let index = 0; index < ENTRIES; index++) {
		port.view.setBigUint64(RX_RING + 16 * index, BigInt(RX_BUFFERS + 2048 * index), true);
		port.view.setBigUint64(RX_RING + 16 * index + 8, 0n, true);
	}
	write(receive, RX_RING);
	write(receive + 4, 0);
	write(receive + 8, 16 * ENTRIES);
	write(receive + 0x0c, 2 | (advanced ? 1 << 25 : 0));
	write(receive + 0x28, 1 << 25);
	write(receive + 0x18, ENTRIES - 1);
	write(transmit, TX_RING);
	write(transmit + 8, 16 * ENTRIES);
	write(transmit + 0x28, 1 << 25);
	write(RCTL, 0x04008002);
	write(TCTL, 0x2);
}

function send({ port, write, read }: Bench, parts: readonly Uint8Array[], flags = 0, queue = 0): void {
	const tail = read(TX + 0x40 * queue + 0x18);
	parts.forEach((part, index) => {
		const slot = (tail + index) % ENTRIES;
		port.memory.set(part, TX_BUFFERS + 0x2000 * slot);
		const at = TX_RING + 16 * slot;
		port.view.setBigUint64(at, BigInt(TX_BUFFERS + 0x2000 * slot), true);
		const last = index === parts.length - 1 ? 0x09000000 : 0;
		port.view.setUint32(at + 8, part.length | last | flags, true);
		port.view.setUint32(at + 12, 0, true);
	});
	write(TX + 0x40 * queue + 0x18, (tail + parts.length) % ENTRIES);
}

function frame(length: number, to: readonly number[] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56]): Uint8Array {
	const bytes = Uint8Array.from({ length }, (_, index) => (index * 7 + length) & 0xff);
	bytes.set(to);
	return bytes;
}

describe("the functions of the 82576", () => {
	it("have the registers that were recorded, but for what firmware programs", () => {
		const text = readFileSync(new URL("../../fixtures/lspci/82576.txt", import.meta.url), "utf8");
		const recorded = parseLspci(text)[0]?.config.slice() ?? new Uint8Array();
		const fn = new PciFunction(Igb.description(), new Igb());
		expect(fn.config.length).toBe(recorded.length);
		// COMMAND, interrupt line, the addresses in BARs 0 to 3, ARI hierarchy, the addresses in the virtual functions' BARs.
		const programmed = new Set([0x04, 0x05, 0x3c, 0x168]);
		for (const from of [0x10, 0x14, 0x18, 0x1c, 0x184, 0x188, 0x190, 0x194])
			for (let index = 0; index < 4; index++) programmed.add(from + index);
		const different = [...recorded.keys()].filter((at) => fn.config[at] !== recorded[at] && !programmed.has(at));
		expect(different).toEqual([]);
		for (const [at, size] of [
			[0x10, 0xfffe0000],
			[0x14, 0xfffe0000],
			[0x18, 0xffffffe1],
			[0x1c, 0xffffc004],
			[0x184, 0xffffc00c],
			[0x190, 0xffffc00c],
		] as const) {
			fn.configWrite(at, 4, 0xffffffff);
			expect(fn.configRead(at, 4)).toBe(size);
		}
	});
});

describe("Igb", () => {
	it("reads its MAC address and a right checksum from the EEPROM, and the address into the first receive address", () => {
		const { read, write } = plugged({ mac: Uint8Array.of(2, 4, 6, 8, 10, 12) });
		const word = (at: number) => {
			write(EERD, (at << 2) | 1);
			expect(read(EERD) & 2).toBe(2);
			return read(EERD) >>> 16;
		};
		expect([word(0), word(1), word(2)]).toEqual([0x0402, 0x0806, 0x0c0a]);
		let sum = 0;
		for (let at = 0; at < 0x40; at++) sum += word(at);
		expect(sum & 0xffff).toBe(0xbaba);
		expect(word(0x3fff)).toBe(0);
		expect([read(0x5400), read(0x5404)]).toEqual([0x08060402, 0x80000c0a]);
	});

	it("answers for its PHY, and says when there is none at an address", () => {
		const { igb, read, write } = plugged();
		const phy = (register: number, address = 1) => {
			write(MDIC, (2 << 26) | (address << 21) | (register << 16));
			return read(MDIC);
		};
		expect(phy(2) & 0xffff).toBe(0x02a8);
		expect(phy(1) & 0x1000_0024).toBe(0x1000_0024);
		expect(phy(2, 5) & (1 << 30)).not.toBe(0);
		igb.connect(undefined);
		expect(phy(1) & 4).toBe(0);
	});

	it("reaches every register through the I/O ports", () => {
		const { igb, read } = plugged();
		igb.write(2, 0, 4, 0x5400);
		igb.write(2, 4, 4, 0x11223344);
		expect(read(0x5400)).toBe(0x11223344);
		expect(igb.read(2, 4, 4)).toBe(0x11223344);
		igb.write(2, 0, 4, 0x20000);
		igb.write(2, 4, 4, 1);
		expect(igb.read(2, 4, 4)).toBe(0);
	});

	it.each([false, true])("receives into descriptors and reports them, advanced: %s", (advanced) => {
		const bench = plugged();
		start(bench, 0, advanced);
		const { igb, port, read, write } = bench;
		write(IMS, 0x80);
		const bytes = frame(300);
		igb.receive(bytes);
		expect(port.memory.slice(RX_BUFFERS, RX_BUFFERS + 300)).toEqual(bytes);
		expect(port.view.getUint32(RX_RING + (advanced ? 8 : 12), true)).toBe(3);
		expect(port.view.getUint16(RX_RING + (advanced ? 12 : 8), true)).toBe(300);
		expect(read(RX + 0x10)).toBe(1);
		expect(port.intx).toBe(true);
		expect(read(ICR)).toBe(0x80000084);
		expect(port.intx).toBe(false);
		expect([read(0x4074), read(0x4074)]).toEqual([1, 0]);
	});

	it("keeps the frame check sequence when the driver wants it", () => {
		const bench = plugged();
		start(bench);
		bench.write(RCTL, 0x8002);
		const bytes = frame(64);
		bench.igb.receive(bytes);
		expect(bench.port.view.getUint16(RX_RING + 8, true)).toBe(68);
		expect(bench.port.view.getUint32(RX_BUFFERS + 64, true)).toBe(frameCheckSequence(bytes));
		// The check value of CRC-32.
		expect(frameCheckSequence(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
	});

	it("spreads a long frame over buffers, and drops what finds no room", () => {
		const bench = plugged();
		start(bench);
		const { igb, port, read, write } = bench;
		write(RCTL, read(RCTL) | 0x20);
		igb.receive(frame(5000));
		expect([0, 1, 2].map((index) => port.view.getUint16(RX_RING + 16 * index + 8, true))).toEqual([2048, 2048, 904]);
		expect([0, 1, 2].map((index) => port.view.getUint8(RX_RING + 16 * index + 12))).toEqual([1, 1, 3]);
		igb.receive(frame(9000));
		expect([read(0x4010), read(RX + 0x30)]).toEqual([1, 1]);
		expect(read(RX + 0x10)).toBe(3);
	});

	it("takes what its addresses, the multicast table and the promiscuous modes let in", () => {
		const bench = plugged();
		start(bench);
		const { igb, read, write } = bench;
		const taken = (to: readonly number[]) => {
			const before = read(RX + 0x10);
			igb.receive(frame(60, to));
			write(RX + 0x18, (read(RX + 0x10) + ENTRIES - 1) % ENTRIES);
			return read(RX + 0x10) !== before;
		};
		const group = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x01];
		expect([taken([2, 0, 0, 0, 0, 9]), taken(group), taken([255, 255, 255, 255, 255, 255])]).toEqual([
			false,
			false,
			true,
		]);
		write(0x5200 + 4 * (0x010 >>> 5), 1 << (0x010 & 31));
		expect(taken(group)).toBe(true);
		write(RCTL, read(RCTL) | 0x18);
		expect([taken([2, 0, 0, 0, 0, 9]), taken([3, 0, 0, 0, 0, 9])]).toEqual([true, true]);
		igb.receive(frame(10));
		igb.receive(frame(1600));
		expect(read(0x4074)).toBe(5 - 1);
	});

	it.each([0, (1 << 29) | (3 << 20)])("sends frames of several descriptors, flags 0x%s", (flags) => {
		const bench = plugged();
		start(bench);
		const { port, read, sent, write } = bench;
		write(IMS, 1);
		const bytes = frame(200);
		send(bench, [bytes.subarray(0, 14), bytes.subarray(14, 100), bytes.subarray(100)], flags);
		expect(sent).toEqual([bytes]);
		expect(port.view.getUint8(TX_RING + 32 + 12) & 1).toBe(1);
		expect(port.view.getUint8(TX_RING + 12) & 1).toBe(0);
		expect([read(TX + 0x10), port.intx, read(ICR) & 1]).toEqual([3, true, 1]);
	});

	it("writes the head back instead, when asked", () => {
		const bench = plugged();
		start(bench);
		bench.write(TX + 0x38, 0x7000 | 1);
		send(bench, [frame(60)]);
		expect(bench.port.view.getUint32(0x7000, true)).toBe(1);
		expect(bench.port.view.getUint8(TX_RING + 12)).toBe(0);
	});

	it("drops and counts what asks for segmentation or is too long, and pads what is short", () => {
		const bench = plugged();
		start(bench);
		send(bench, [frame(100)], 1 << 31);
		send(bench, [frame(8000), frame(8000)]);
		expect([bench.sent.length, bench.igb.refusedFrames]).toEqual([0, 2]);
		bench.write(TCTL, 0xa);
		send(bench, [frame(20)]);
		expect(bench.sent[0]?.length).toBe(60);
	});

	it.each([
		["MAC", (bench: Bench) => bench.write(RCTL, 0x04008042)],
		["PHY", (bench: Bench) => bench.write(MDIC, (1 << 26) | (1 << 21) | 0x4140)],
	])("loops frames back in the %s", (_name, loop) => {
		const bench = plugged();
		start(bench);
		loop(bench);
		const bytes = frame(123);
		send(bench, [bytes]);
		expect(bench.sent).toEqual([]);
		expect(bench.port.memory.slice(RX_BUFFERS, RX_BUFFERS + 123)).toEqual(bytes);
	});

	it("sends a vector for each cause with MSI-X, clears and masks by itself as told", () => {
		const bench = plugged();
		start(bench);
		const { igb, port, read, write } = bench;
		port.interruptMode = "msix";
		read(ICR);
		write(GPIE, 0xc0000011);
		write(IVAR0, 0x80 | 1 | ((0x80 | 2) << 8));
		write(IVAR_MISC, (0x80 | 3) << 8);
		write(EIAC, 0x2);
		write(EIMS, 0xe);
		write(IMS, 0x4);
		igb.receive(frame(60));
		igb.receive(frame(60));
		send(bench, [frame(60)]);
		send(bench, [frame(60)]);
		expect(port.signalled).toEqual([1, 1, 2]);
		expect(read(EICR)).toBe(4);
		write(EICR, 4);
		send(bench, [frame(60)]);
		igb.connect(undefined);
		expect(port.signalled).toEqual([1, 1, 2, 2, 3]);
		expect(read(ICR) & 4).toBe(4);
		expect(port.intx).toBe(false);
	});

	it("sends one MSI for each new cause", () => {
		const { port, read, write } = plugged();
		port.interruptMode = "msi";
		write(IMS, 0x85);
		// The cable was put in before.
		expect(port.signalled).toEqual([0]);
		write(ICS, 0x80);
		write(ICS, 0x80);
		expect(port.signalled).toEqual([0, 0]);
		read(ICR);
		write(ICS, 0x80);
		expect(port.signalled).toEqual([0, 0, 0]);
	});

	it("sorts into the queues of pools by address", () => {
		const bench = plugged();
		start(bench, 3);
		const { igb, read, write } = bench;
		write(0x5818, 3);
		write(0x5408, 0x00000002);
		write(0x540c, 0x80000500 | (1 << (18 + 3)));
		igb.receive(frame(60, [2, 0, 0, 0, 0, 5]));
		igb.receive(frame(60));
		expect(read(RX + 0x40 * 3 + 0x10)).toBe(1);
		expect(read(0x2800 + 0x100 * 3 + 0x10)).toBe(1);
	});

	it("goes back to power-on state by CTRL.RST", () => {
		const bench = plugged();
		start(bench);
		bench.write(CTRL, 1 << 26);
		expect([bench.read(RCTL), bench.read(RX + 8), bench.read(RX + 0x28), bench.read(RX + 0x68)]).toEqual([
			0,
			0,
			1 << 25,
			0,
		]);
		expect(bench.read(STATUS) & 2).toBe(0);
	});

	it("survives rings that make no sense and memory that is not there", () => {
		const bench = plugged();
		start(bench);
		const { igb, port, read, write, sent } = bench;
		// Past the end of the ring: nothing is taken, or it would never end.
		write(TX + 0x18, 0xffff);
		write(RX + 0x18, 0xffff);
		igb.receive(frame(60));
		expect([sent.length, read(RX + 0x10)]).toEqual([0, 0]);
		write(TX + 0x18, 0);
		write(TX, 0xff000000);
		write(TX + 0x18, 1);
		expect(read(TX + 0x28) & (1 << 25)).toBe(0);
		write(RX, 0xff000000);
		write(RX + 0x18, 7);
		igb.receive(frame(60));
		expect(read(RX + 0x28) & (1 << 25)).toBe(0);
		// A frame without an end, round and round: as many descriptors as one write may take, no more.
		start(bench);
		write(TX + 8, 16 * 4096);
		port.memory.fill(0, TX_RING, TX_RING + 16 * 4096);
		write(TX + 0x18, 4095);
		expect(read(TX + 0x10)).toBe(4095);
		for (let offset = 0; offset < 0x20000; offset += 4) write(offset, 0xffffffff);
		for (let offset = 0; offset < 0x20000; offset++) igb.read(0, offset, 1);
		igb.receive(frame(60));
		port.clock.advance(1e9);
		igb.detach();
	});

	it("does not go round for ever when its descriptors are its own doorbell", () => {
		const bench = plugged();
		start(bench);
		bench.port.onWrite = () => bench.write(TX + 0x18, (bench.read(TX + 0x10) + 4) % ENTRIES);
		send(bench, [frame(60)]);
		bench.igb.detach();
		expect(bench.sent.length).toBeGreaterThan(0);
	});
});
