import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PrpTransfer } from "../../../kernel-sim/hardware/models/nvme/prp.ts";
import { DATA_TRANSFER_ERROR, PRP_OFFSET_INVALID, SUCCESS } from "../../../kernel-sim/hardware/models/nvme/status.ts";
import { FakePort } from "./fake-port.ts";

/** Lays data of `length` bytes out over the given pages and describes it by PRPs, with lists chained over `listPages`. */
function layOut(
	port: FakePort,
	pageSize: number,
	offset: number,
	length: number,
	pages: number[],
	listPages: number[],
) {
	const addresses = pages.map((page) => page * pageSize);
	const first = (addresses[0] ?? 0) + offset;
	const needed = Math.ceil((offset + length) / pageSize);
	const rest = addresses.slice(1, needed);
	if (rest.length === 0) return { prp1: BigInt(first), prp2: 0n };
	if (rest.length === 1) return { prp1: BigInt(first), prp2: BigInt(rest[0] as number) };
	const entries = pageSize / 8;
	let list = 0;
	for (let at = 0; at < rest.length; list++) {
		const base = (listPages[list] as number) * pageSize;
		const last = rest.length - at <= entries;
		const here = last ? rest.length - at : entries - 1;
		for (let i = 0; i < here; i++) port.view.setBigUint64(base + i * 8, BigInt(rest[at + i] as number), true);
		if (!last)
			port.view.setBigUint64(base + (entries - 1) * 8, BigInt((listPages[list + 1] as number) * pageSize), true);
		at += here;
	}
	return { prp1: BigInt(first), prp2: BigInt((listPages[0] as number) * pageSize) };
}

describe("PrpTransfer", () => {
	it("move() reads and writes what the PRPs describe, however the pages lie", () => {
		const pageSize = 4096;
		const total = 1300;
		const arrangement = fc.record({
			offset: fc.integer({ min: 0, max: pageSize / 4 - 1 }).map((dwords) => dwords * 4),
			length: fc.oneof(
				fc.integer({ min: 1, max: 3 * pageSize }),
				fc.integer({ min: 500, max: 1100 }).map((pages) => pages * pageSize),
			),
			seed: fc.integer({ min: 1, max: total - 1 }),
		});
		const port = new FakePort(total * pageSize);
		fc.assert(
			fc.property(arrangement, ({ offset, length, seed }) => {
				// A permutation of the pages: a step that has no factor in common with 1300 (2, 5, 13).
				const step = [3, 7, 11, 17, 19, 23][seed % 6] as number;
				const order = Array.from({ length: total }, (_, i) => (seed + i * step) % total);
				const pages = order.slice(0, total - 8);
				const { prp1, prp2 } = layOut(port, pageSize, offset, length, pages, order.slice(total - 8));
				const data = new Uint8Array(length).map((_, i) => (i * 31 + seed) & 0xff);
				const transfer = new PrpTransfer(port);
				expect(transfer.move(data, "to-host", pageSize, prp1, prp2)).toBe(SUCCESS);
				const back = new Uint8Array(length);
				expect(transfer.move(back, "from-host", pageSize, prp1, prp2)).toBe(SUCCESS);
				expect(back.every((byte, i) => byte === data[i])).toBe(true);
				for (const at of [0, length - 1, length >> 1]) {
					const page = pages[Math.floor((offset + at) / pageSize)] as number;
					expect(port.memory[page * pageSize + ((offset + at) % pageSize)]).toBe(data[at]);
				}
			}),
			{ numRuns: 25 },
		);
	});

	it("move() ends and does not throw, whatever the PRPs say", () => {
		const port = new FakePort(64 * 4096);
		for (let i = 0; i < port.memory.length; i++) port.memory[i] = (i * 7919) >> 3;
		// A list that points to itself in its last entry.
		for (let i = 0; i < 512; i++) port.view.setBigUint64(0x5000 + i * 8, 0x5000n, true);
		const word = fc.oneof(
			fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
			fc.integer({ min: 0, max: 63 }).map((page) => BigInt(page * 4096)),
		);
		fc.assert(
			fc.property(word, word, fc.integer({ min: 1, max: 1 << 22 }), fc.boolean(), (prp1, prp2, length, toHost) => {
				port.faults = 0;
				const status = new PrpTransfer(port).move(
					new Uint8Array(length),
					toHost ? "to-host" : "from-host",
					4096,
					prp1,
					prp2,
				);
				expect([SUCCESS, DATA_TRANSFER_ERROR, PRP_OFFSET_INVALID]).toContain(status);
			}),
			{ numRuns: 200 },
		);
	});

	it("move() follows a list that starts in its page's last entry", () => {
		const port = new FakePort(16 * 4096);
		port.view.setBigUint64(0x1ff8, 0x2000n, true);
		port.view.setBigUint64(0x2000, 0x4000n, true);
		port.view.setBigUint64(0x2008, 0x6000n, true);
		const data = new Uint8Array(3 * 4096).fill(0xaa);
		expect(new PrpTransfer(port).move(data, "to-host", 4096, 0x8000n, 0x1ff8n)).toBe(SUCCESS);
		for (const at of [0x4000, 0x4fff, 0x6000, 0x6fff, 0x8000]) expect(port.memory[at]).toBe(0xaa);
		expect(port.memory[0x2010]).toBe(0);
	});

	it("move() takes larger pages", () => {
		const port = new FakePort(16 * 65536);
		const data = new Uint8Array(65536 + 4).fill(1);
		expect(new PrpTransfer(port).move(data, "to-host", 65536, 0x10008n, 0x30000n)).toBe(SUCCESS);
		expect(port.memory[0x1ffff]).toBe(1);
		expect(port.memory[0x3000b]).toBe(1);
		expect(port.memory[0x3000c]).toBe(0);
	});

	it.each([
		["a first page at an odd address", 0x8001n, 0n, 4],
		["a second page that is not at its start", 0x8000n, 0x9004n, 8192],
		["a list at no multiple of 8", 0x8000n, 0x9004n, 3 * 4096],
	])("move() refuses %s", (_what, prp1, prp2, length) => {
		const status = new PrpTransfer(new FakePort()).move(new Uint8Array(length), "to-host", 4096, prp1, prp2);
		expect(status).toBe(PRP_OFFSET_INVALID);
	});
});
