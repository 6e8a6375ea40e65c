import { describe, expect, it } from "vitest";
import {
	type BlockFile,
	FileNamespace,
	MemoryNamespace,
	type NvmeOptions,
	patternContent,
} from "../../../kernel-sim/hardware/models/nvme/mod.ts";
import * as status from "../../../kernel-sim/hardware/models/nvme/status.ts";
import { DATA, NvmeDriver } from "./nvme-driver.ts";

const FLUSH = 0;
const WRITE = 1;
const READ = 2;
const WRITE_ZEROES = 8;

function ready(options: NvmeOptions = {}) {
	const driver = new NvmeDriver(options).enable();
	driver.ioQueue(1, 0x6000, 16);
	return driver;
}

function io(driver: NvmeDriver, opcode: number, lba: number, blocks: number, prp1 = DATA, prp2 = 0, nsid = 1) {
	const dwords = [lba >>> 0, Math.floor(lba / 2 ** 32), blocks - 1];
	return driver.run({ opcode, nsid, prp1, prp2, dwords }, 1);
}

/** A file of bytes that can be made to fail. */
class TestFile implements BlockFile {
	bytes = new Uint8Array(64 * 1024);
	size = this.bytes.length;
	failing = false;
	/** At most so many bytes at a time. */
	piece = Number.MAX_SAFE_INTEGER;
	flushes = 0;
	closed = false;
	read(offset: number, into: Uint8Array): number {
		if (this.failing) throw new Error("EIO");
		const bytes = this.bytes.subarray(offset, offset + Math.min(into.length, this.piece));
		into.set(bytes);
		return bytes.length;
	}
	write(offset: number, from: Uint8Array): number {
		if (this.failing) throw new Error("ENOSPC");
		const bytes = from.subarray(0, this.piece);
		this.bytes.set(bytes, offset);
		return bytes.length;
	}
	flush(): void {
		if (this.failing) throw new Error("EIO");
		this.flushes += 1;
	}
	close(): void {
		this.closed = true;
	}
}

describe("IoCommands", () => {
	it.each([512, 4096] as const)("Write and Read move blocks of %i bytes", (blockSize) => {
		const driver = ready({ namespaces: [new MemoryNamespace(1 << 20, { blockSize })] });
		const length = 2 * blockSize;
		for (let i = 0; i < length; i++) driver.port.memory[DATA + i] = i % 251;
		const second = DATA + 0x1000;
		expect(io(driver, WRITE, 3, 2, DATA, second).status).toBe(status.SUCCESS);
		expect(io(driver, READ, 3, 2, 0x40000, 0x41000).status).toBe(status.SUCCESS);
		const { memory } = driver.port;
		for (const at of [0, 1, length - 1]) expect(memory[0x40000 + at]).toBe(at % 251);
		expect(io(driver, READ, 2, 1, 0x40000).status).toBe(status.SUCCESS);
		expect(memory[0x40000]).toBe(0);
	});

	it("Read finds the initial content", () => {
		const driver = ready({ namespaces: [new MemoryNamespace(2 ** 45, { content: patternContent })] });
		const lba = 2 ** 36 - 1;
		expect(io(driver, READ, lba, 1).status).toBe(status.SUCCESS);
		expect(driver.port.view.getBigUint64(DATA + 8, true)).toBe(BigInt(lba) * 512n + 8n);
	});

	it("Write Zeroes clears, without data", () => {
		const disk = new MemoryNamespace(1 << 20, { content: patternContent });
		const driver = ready({ namespaces: [disk] });
		expect(io(driver, WRITE_ZEROES, 1, 1).status).toBe(status.SUCCESS);
		io(driver, READ, 0, 3);
		const { view } = driver.port;
		expect(view.getBigUint64(DATA + 504, true)).toBe(504n);
		expect(view.getBigUint64(DATA + 512, true)).toBe(0n);
		expect(view.getBigUint64(DATA + 1016, true)).toBe(0n);
		expect(view.getBigUint64(DATA + 1024, true)).toBe(1024n);
	});

	it("Write Zeroes gives memory back", () => {
		const disk = new MemoryNamespace(1 << 20);
		const driver = ready({ namespaces: [disk] });
		io(driver, WRITE, 0, 8);
		expect(disk.resident).toBe(4096);
		io(driver, WRITE_ZEROES, 0, 8);
		expect(disk.resident).toBe(0);
	});

	it("moves the largest transfer through a PRP list", () => {
		const driver = ready({
			maximumTransfer: 128 * 1024,
			namespaces: [new MemoryNamespace(1 << 20, { content: patternContent })],
		});
		const list = 0x20000;
		for (let i = 0; i < 31; i++) driver.port.view.setBigUint64(list + i * 8, BigInt(0x80000 + i * 0x2000), true);
		expect(io(driver, READ, 0, 256, DATA, list).status).toBe(status.SUCCESS);
		expect(driver.port.view.getBigUint64(DATA, true)).toBe(0n);
		expect(driver.port.view.getBigUint64(0x80000 + 30 * 0x2000 + 4088, true)).toBe(128n * 1024n - 8n);
		expect(io(driver, READ, 0, 257, DATA, list).status).toBe(status.INVALID_FIELD);
	});

	it.each([
		["an opcode that is not there", 0x55, 0, 1, 1, status.INVALID_OPCODE],
		["namespace 0", READ, 0, 1, 0, status.INVALID_NAMESPACE],
		["a namespace that is not there", READ, 0, 1, 2, status.INVALID_NAMESPACE],
		["all namespaces", WRITE, 0, 1, 0xffffffff, status.INVALID_NAMESPACE],
		["Flush of a namespace that is not there", FLUSH, 0, 1, 7, status.INVALID_NAMESPACE],
		["a block past the end", READ, 2048, 1, 1, status.LBA_OUT_OF_RANGE],
		["a range across the end", WRITE, 2047, 2, 1, status.LBA_OUT_OF_RANGE],
		["Write Zeroes across the end", WRITE_ZEROES, 2000, 65536, 1, status.LBA_OUT_OF_RANGE],
		["a block of 2^53", READ, 2 ** 53, 1, 1, status.LBA_OUT_OF_RANGE],
		["a block near 2^64", READ, 2 ** 64 - 2 ** 20, 8, 1, status.LBA_OUT_OF_RANGE],
		["Write to a read-only namespace", WRITE, 0, 1, 3, status.ATTEMPTED_WRITE_TO_READ_ONLY],
	])("fails for %s", (_what, opcode, lba, blocks, nsid, expected) => {
		const namespaces = [new MemoryNamespace(1 << 20)];
		const readOnly = new MemoryNamespace(1 << 20, { readOnly: true });
		if (nsid === 3) namespaces.push(new MemoryNamespace(4096), readOnly);
		const driver = ready({ namespaces });
		expect(io(driver, opcode, lba, blocks, DATA, 0, nsid).status).toBe(expected);
	});

	it("a DMA fault is a data transfer error, and no part of a write arrives", () => {
		const disk = new MemoryNamespace(1 << 20);
		const driver = ready({ namespaces: [disk] });
		driver.port.memory.fill(0xee, DATA, DATA + 0x1000);
		driver.port.holes.push({ start: DATA + 0x1000, end: DATA + 0x2000 });
		expect(io(driver, WRITE, 0, 16, DATA, DATA + 0x1000).status).toBe(status.DATA_TRANSFER_ERROR);
		expect(disk.resident).toBe(0);
		expect(io(driver, READ, 0, 16, DATA, DATA + 0x1000).status).toBe(status.DATA_TRANSFER_ERROR);
		expect(io(driver, READ, 0, 8, DATA).status).toBe(status.SUCCESS);
	});

	it("works on a file that moves a few bytes at a time, and closes it", () => {
		const file = new TestFile();
		file.piece = 100;
		const driver = ready({ namespaces: [new FileNamespace(file)] });
		driver.port.memory.fill(0x77, DATA, DATA + 1024);
		expect(io(driver, WRITE, 1, 2).status).toBe(status.SUCCESS);
		expect(file.bytes[511]).toBe(0);
		expect(file.bytes[512]).toBe(0x77);
		expect(file.bytes[1535]).toBe(0x77);
		expect(io(driver, READ, 1, 2, 0x40000).status).toBe(status.SUCCESS);
		expect(driver.port.memory[0x40000 + 1023]).toBe(0x77);
		expect(io(driver, WRITE_ZEROES, 1, 100).status).toBe(status.SUCCESS);
		expect(file.bytes[512]).toBe(0);
		driver.nvme.detach();
		expect(file.closed).toBe(true);
	});

	it("reports what a file throws as media errors", () => {
		const file = new TestFile();
		const driver = ready({ namespaces: [new FileNamespace(file)] });
		file.failing = true;
		expect(io(driver, READ, 0, 1).status).toBe(status.UNRECOVERED_READ_ERROR);
		expect(io(driver, WRITE, 0, 1).status).toBe(status.WRITE_FAULT);
		expect(io(driver, WRITE_ZEROES, 0, 1).status).toBe(status.WRITE_FAULT);
		expect(io(driver, FLUSH, 0, 1).status).toBe(status.WRITE_FAULT);
		expect(driver.nvme.log.mediaErrors).toBe(4);
		file.failing = false;
		file.piece = 0;
		expect(io(driver, READ, 0, 1).status).toBe(status.UNRECOVERED_READ_ERROR);
	});

	it("flushes on Flush, on Force Unit Access, and always without a write cache", () => {
		const file = new TestFile();
		const driver = ready({ namespaces: [new FileNamespace(file)] });
		io(driver, WRITE, 0, 1);
		expect(file.flushes).toBe(0);
		driver.run({ opcode: WRITE, nsid: 1, prp1: DATA, dwords: [0, 0, 0x40000000] }, 1);
		expect(file.flushes).toBe(1);
		io(driver, FLUSH, 0, 1, 0, 0, 0xffffffff);
		expect(file.flushes).toBe(2);
		driver.run({ opcode: 9, dwords: [6, 0] });
		io(driver, WRITE, 0, 1);
		expect(file.flushes).toBe(3);
	});
});
