import { describe, expect, it } from "vitest";
import { BasicCodec, Hda, type HdaOptions } from "../../../kernel-sim/hardware/models/hda/mod.ts";
import { FakePort } from "./fake-port.ts";

const CORB = 0x1000;
const RIRB = 0x2000;
const BDL = 0x3000;
/** The first output stream, and the first input stream. */
const OUT = 0x80 + 4 * 0x20;
const IN = 0x80;
const MILLISECOND = 1e6;

function plugged(options?: HdaOptions) {
	const port = new FakePort();
	const hda = new Hda(options);
	hda.attach(port);
	const read = (offset: number, width: 1 | 2 | 4 = 4) => hda.read(0, offset, width);
	const write = (offset: number, value: number, width: 1 | 2 | 4 = 4) => hda.write(0, offset, width, value >>> 0);
	write(0x08, 1);
	return { port, hda, read, write };
}

function startRings({ write }: ReturnType<typeof plugged>): void {
	write(0x40, CORB);
	write(0x50, RIRB);
	write(0x5a, 1, 2);
	write(0x4c, 2, 1);
	write(0x5c, 7, 1);
	write(0x20, 0xc0000000);
}

function describePieces({ port, write }: ReturnType<typeof plugged>, stream: number, lengths: readonly number[]): void {
	lengths.forEach((length, index) => {
		port.view.setBigUint64(BDL + 16 * index, BigInt(0x10000 + 0x1000 * index), true);
		port.view.setUint32(BDL + 16 * index + 8, length, true);
		port.view.setUint32(BDL + 16 * index + 12, 1, true);
	});
	write(stream + 0x18, BDL);
	write(
		stream + 0x08,
		lengths.reduce((sum, length) => sum + length, 0),
	);
	write(stream + 0x0c, lengths.length - 1, 2);
	write(stream + 0x12, 0x11, 2);
}

describe("Hda", () => {
	it("is in reset until told, and then finds its codec", () => {
		const { read, write } = plugged();
		expect([read(0, 2), read(3, 1), read(0x0e, 2)]).toEqual([0x4401, 1, 1]);
		write(0x08, 0);
		write(0x40, CORB);
		expect([read(0x08), read(0x40)]).toEqual([0, 0]);
		write(0x08, 1);
		write(0x0e, 1, 2);
		expect(read(0x0e, 2)).toBe(0);
	});

	it("is reached by accesses of any width, and what is not written keeps its value", () => {
		const { read, write } = plugged();
		write(0x48, 0x12, 2);
		write(0x4a, 0x8000, 2);
		expect(read(0x48)).toBe(0x80000012);
		write(0x5a, 0x34, 1);
		expect([read(0x5a, 2), read(0x58)]).toEqual([0x34, 0x340000]);
		write(OUT + 2, 0x50, 1);
		write(OUT, 0x04, 1);
		expect(read(OUT)).toBe(0x00500004);
	});

	it("executes immediate commands", () => {
		const { read, write } = plugged();
		write(0x60, 0x000f0000);
		write(0x68, 1, 2);
		expect([read(0x68, 2), read(0x64)]).toEqual([2, 0x10ec0888]);
		write(0x68, 2, 2);
		expect(read(0x68, 2)).toBe(0);
		// Nobody is at address 3.
		write(0x60, 0x300f0000);
		write(0x68, 1, 2);
		expect(read(0x68, 2)).toBe(0);
	});

	it("executes what is in CORB, a response at a time until it is acknowledged", () => {
		const bench = plugged();
		startRings(bench);
		const { port, read, write } = bench;
		[0x000f0000, 0x000f0002, 0x000f0004].forEach((verb, index) => {
			port.view.setUint32(CORB + 4 * (index + 1), verb, true);
		});
		write(0x48, 3, 2);
		expect([read(0x58, 2), read(0x4a, 2), read(0x5d, 1), port.intx]).toEqual([1, 1, 1, true]);
		write(0x5d, 1, 1);
		write(0x5d, 1, 1);
		expect([read(0x58, 2), read(0x24)]).toEqual([3, 0xc0000000]);
		write(0x5d, 1, 1);
		expect([read(0x24), port.intx]).toEqual([0, false]);
		expect([1, 2, 3].map((index) => port.view.getUint32(RIRB + 8 * index, true))).toEqual([
			0x10ec0888, 0x00100001, 0x00010001,
		]);
	});

	it("tells what the codec can do, and keeps what it is told", () => {
		const codec = new BasicCodec();
		const verb = (node: number, value: number) => codec.execute((node << 20) | value) >>> 0;
		expect([verb(1, 0xf0005), verb(2, 0xf0009), verb(3, 0xf0200), verb(3, 0xf1c00)]).toEqual([1, 0x1d, 2, 0x01014010]);
		expect([verb(2, 0x70655), verb(2, 0xf0600)]).toEqual([0, 0x55]);
		expect([verb(2, 0x24011), verb(2, 0xa0000)]).toEqual([0, 0x4011]);
		verb(2, 0x3a080 | 0x8000);
		expect(codec.volume).toEqual([0x80, 0x4a]);
		verb(1, 0x7ff00);
		expect([codec.volume, verb(2, 0xf0600), verb(200, 0xf0000)]).toEqual([[0x4a, 0x4a], 0, 0]);
	});

	it("counts the wall clock at 24 MHz", () => {
		const { port, read } = plugged();
		port.clock.advance(1000);
		expect(read(0x30)).toBe(24);
	});

	it("records what the source gives, at the pace of the format", () => {
		let next = 0;
		const bench = plugged({
			source: (_stream, into) => {
				for (let index = 0; index < into.length; index++) into[index] = next++;
			},
		});
		describePieces(bench, IN, [192, 96]);
		const { port, read, write } = bench;
		write(0x20, 0x80000001);
		write(IN, 0x00100006);
		port.clock.advance(MILLISECOND);
		expect([read(IN + 4), port.intx, read(IN + 3, 1)]).toEqual([192, true, 0x24]);
		port.clock.advance(MILLISECOND);
		expect(read(IN + 4)).toBe(96);
		expect([...port.memory.slice(0x11000, 0x11002)]).toEqual([192, 193]);
		write(IN, 0, 1);
		port.clock.advance(10 * MILLISECOND);
		expect([read(IN + 4), port.clock.pending]).toEqual([96, 0]);
		write(IN, 1, 1);
		expect([read(IN, 1), read(IN + 4), read(IN + 8)]).toEqual([1, 0, 0]);
	});

	it("stops where memory does not answer, and where a list has nothing in it", () => {
		const bench = plugged();
		const { port, read, write } = bench;
		describePieces(bench, OUT, [0, 0]);
		write(OUT, 2, 1);
		port.clock.advance(10 * MILLISECOND);
		expect([read(OUT + 3, 1), read(OUT, 1) & 2, port.clock.pending]).toEqual([0x14, 0, 0]);
		write(OUT + 0x1c, 0x7fff);
		write(OUT + 3, 0x1c, 1);
		write(OUT, 2, 1);
		port.clock.advance(MILLISECOND);
		// The position in the list was kept, as it is while a stream pauses: only a reset starts over.
		expect(read(OUT + 3, 1) & 0x10).toBe(0x10);
		startRings(bench);
		write(0x44, 0x7fff);
		write(0x48, 200, 2);
		expect(read(0x4d, 1)).toBe(1);
	});

	it("takes any writes", () => {
		const { hda, port } = plugged();
		for (const value of [0xffffffff, 0x5a5a5a5a, 0])
			for (let offset = 0; offset < 0x200; offset++)
				for (const width of [1, 2, 4] as const) hda.write(0, offset, width, value);
		for (let offset = 0; offset < 0x4000; offset++) hda.read(0, offset, 4);
		hda.write(0, 8, 4, 1);
		for (let offset = 0x80; offset < 0x180; offset++) hda.write(0, offset, 4, 0xffffffff);
		port.clock.advance(20 * MILLISECOND);
		hda.reset();
		hda.detach();
		expect(port.clock.pending).toBe(0);
	});
});
