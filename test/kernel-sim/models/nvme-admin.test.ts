import { describe, expect, it } from "vitest";
import { MemoryNamespace } from "../../../kernel-sim/hardware/models/nvme/mod.ts";
import * as status from "../../../kernel-sim/hardware/models/nvme/status.ts";
import { DATA, NvmeDriver } from "./nvme-driver.ts";

const IDENTIFY = 6;
const CREATE_CQ = 5;
const CREATE_SQ = 1;

function identify(driver: NvmeDriver, cns: number, nsid = 0) {
	return driver.run({ opcode: IDENTIFY, nsid, prp1: DATA, dwords: [cns] });
}

describe("AdminCommands Identify", () => {
	it("tells the controller", () => {
		const driver = new NvmeDriver({ serial: "S1", model: "A disk", firmware: "0.9", vendor: 0x144d }).enable();
		expect(identify(driver, 1).status).toBe(status.SUCCESS);
		const { view } = driver.port;
		expect(view.getUint16(DATA, true)).toBe(0x144d);
		expect(driver.text(DATA + 4, 20)).toBe("S1");
		expect(driver.text(DATA + 24, 40)).toBe("A disk");
		expect(driver.text(DATA + 64, 8)).toBe("0.9");
		expect(view.getUint8(DATA + 77)).toBe(7); // 512 KiB
		expect(view.getUint32(DATA + 80, true)).toBe(0x00010400);
		expect(view.getUint8(DATA + 512)).toBe(0x66);
		expect(view.getUint8(DATA + 513)).toBe(0x44);
		expect(view.getUint32(DATA + 516, true)).toBe(1);
		expect(driver.text(DATA + 768, 37)).toMatch(/^nqn\.2014-08\.org\.nvmexpress:uuid:/);
	});

	it("tells a namespace, with its block size", () => {
		const namespaces = [
			new MemoryNamespace(1 << 20),
			new MemoryNamespace(8 << 20, { blockSize: 4096, readOnly: true }),
		];
		const driver = new NvmeDriver({ namespaces }).enable();
		expect(identify(driver, 0, 1).status).toBe(status.SUCCESS);
		expect(driver.port.view.getBigUint64(DATA, true)).toBe(2048n);
		expect(driver.port.view.getUint8(DATA + 130)).toBe(9);
		identify(driver, 0, 2);
		expect(driver.port.view.getBigUint64(DATA, true)).toBe(2048n);
		expect(driver.port.view.getUint8(DATA + 130)).toBe(12);
		expect(driver.port.view.getUint8(DATA + 99)).toBe(1);
	});

	it("lists the active namespaces above the one given", () => {
		const namespaces = Array.from({ length: 3 }, () => new MemoryNamespace(4096));
		const driver = new NvmeDriver({ namespaces }).enable();
		const list = () => [0, 4, 8, 12].map((at) => driver.port.view.getUint32(DATA + at, true));
		identify(driver, 2, 0);
		expect(list()).toEqual([1, 2, 3, 0]);
		identify(driver, 2, 2);
		expect(list()).toEqual([3, 0, 0, 0]);
		identify(driver, 2, 77);
		expect(list()).toEqual([0, 0, 0, 0]);
		expect(identify(driver, 2, 0xffffffff).status).toBe(status.INVALID_NAMESPACE);
	});

	it("names a namespace the same way at every run", () => {
		const names = ["A", "A", "B"].map((serial) => {
			const driver = new NvmeDriver({ serial }).enable();
			expect(identify(driver, 3, 1).status).toBe(status.SUCCESS);
			expect([...driver.port.memory.subarray(DATA, DATA + 4)]).toEqual([2, 16, 0, 0]);
			expect([...driver.port.memory.subarray(DATA + 20, DATA + 24)]).toEqual([3, 16, 0, 0]);
			return driver.port.memory.slice(DATA + 24, DATA + 40).join();
		});
		expect(names[0]).toBe(names[1]);
		expect(names[0]).not.toBe(names[2]);
	});

	it.each([
		[0, 0, status.INVALID_NAMESPACE],
		[0, 2, status.INVALID_NAMESPACE],
		[0, 0xffffffff, status.INVALID_NAMESPACE],
		[3, 0, status.INVALID_NAMESPACE],
		[0x10, 0, status.INVALID_FIELD],
		[0xff, 0, status.INVALID_FIELD],
	])("fails for CNS %i of namespace %i", (cns, nsid, expected) => {
		const driver = new NvmeDriver().enable();
		const completion = identify(driver, cns, nsid);
		expect(completion.status).toBe(expected);
		expect(completion.doNotRetry).toBe(true);
	});

	it("fails with a data transfer error when the page faults, and goes on", () => {
		const driver = new NvmeDriver().enable();
		driver.port.holes.push({ start: DATA, end: DATA + 4096 });
		const completion = identify(driver, 1);
		expect(completion.status).toBe(status.DATA_TRANSFER_ERROR);
		expect(completion.doNotRetry).toBe(false);
		driver.port.holes = [];
		expect(identify(driver, 1).status).toBe(status.SUCCESS);
	});
});

describe("AdminCommands queues", () => {
	const cq = (id: number, size: number, flags = 3, prp1 = 0x4000) => ({
		opcode: CREATE_CQ,
		prp1,
		dwords: [id | ((size - 1) << 16), flags],
	});
	const sq = (id: number, size: number, cqid: number, flags = 1, prp1 = 0x5000) => ({
		opcode: CREATE_SQ,
		prp1,
		dwords: [id | ((size - 1) << 16), flags | (cqid << 16)],
	});

	it.each([
		["identifier 0", cq(0, 8), status.INVALID_QUEUE_ID],
		["an identifier above the limit", cq(65, 8), status.INVALID_QUEUE_ID],
		["an identifier that exists", cq(1, 8), status.INVALID_QUEUE_ID],
		["one entry", cq(2, 1), status.INVALID_QUEUE_SIZE],
		["too many entries", cq(2, 2049), status.INVALID_QUEUE_SIZE],
		["memory in pieces", cq(2, 8, 2), status.INVALID_FIELD],
		["an offset in the page", cq(2, 8, 3, 0x4010), status.PRP_OFFSET_INVALID],
		["a vector that INTx does not have", cq(2, 8, 3 | (1 << 16)), status.INVALID_VECTOR],
	])("Create I/O Completion Queue fails for %s", (_what, command, expected) => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 8);
		expect(driver.run(command).status).toBe(expected);
	});

	it("Create I/O Completion Queue takes the vectors there are", () => {
		const driver = new NvmeDriver({ vectors: { msix: 4 } }).enable();
		driver.port.interruptMode = "msix";
		expect(driver.run(cq(1, 8, 3 | (3 << 16))).status).toBe(status.SUCCESS);
		expect(driver.run(cq(2, 8, 3 | (4 << 16), 0x6000)).status).toBe(status.INVALID_VECTOR);
		// Without interrupts the vector means nothing.
		expect(driver.run(cq(2, 8, 1 | (4 << 16), 0x6000)).status).toBe(status.SUCCESS);
	});

	it.each([
		["identifier 0", sq(0, 8, 1), status.INVALID_QUEUE_ID],
		["an identifier above the limit", sq(65, 8, 1), status.INVALID_QUEUE_ID],
		["an identifier that exists", sq(1, 8, 1), status.INVALID_QUEUE_ID],
		["the admin completion queue", sq(2, 8, 0), status.COMPLETION_QUEUE_INVALID],
		["a completion queue that is not there", sq(2, 8, 9), status.COMPLETION_QUEUE_INVALID],
		["one entry", sq(2, 1, 1), status.INVALID_QUEUE_SIZE],
		["too many entries", sq(2, 2049, 1), status.INVALID_QUEUE_SIZE],
		["memory in pieces", sq(2, 8, 1, 0), status.INVALID_FIELD],
		["an offset in the page", sq(2, 8, 1, 1, 0x5800), status.PRP_OFFSET_INVALID],
	])("Create I/O Submission Queue fails for %s", (_what, command, expected) => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 8);
		expect(driver.run(command).status).toBe(expected);
	});

	it("Create fails when CC has no entry sizes", () => {
		const driver = new NvmeDriver().enable();
		driver.write(0x14, 1);
		expect(driver.run(cq(1, 8)).status).toBe(status.INVALID_QUEUE_SIZE);
	});

	it("Delete wants submission queues gone before their completion queue", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 8);
		const remove = (opcode: number, id: number) => driver.run({ opcode, dwords: [id] }).status;
		expect(remove(4, 1)).toBe(status.INVALID_QUEUE_DELETION);
		expect(remove(0, 1)).toBe(status.SUCCESS);
		expect(remove(0, 1)).toBe(status.INVALID_QUEUE_ID);
		expect(remove(4, 1)).toBe(status.SUCCESS);
		expect(remove(4, 1)).toBe(status.INVALID_QUEUE_ID);
		expect(remove(0, 0)).toBe(status.INVALID_QUEUE_ID);
		expect(remove(4, 0)).toBe(status.INVALID_QUEUE_ID);
		driver.ioQueue(1, 0x6000, 8);
	});

	it("a controller reset forgets the queues", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 8);
		driver.write(0x14, 0);
		driver.enable();
		driver.ioQueue(1, 0x6000, 8);
	});
});

describe("AdminCommands features", () => {
	const set = (driver: NvmeDriver, id: number, value: number) => driver.run({ opcode: 9, dwords: [id, value] });
	const get = (driver: NvmeDriver, id: number, dword11 = 0) => driver.run({ opcode: 10, dwords: [id, dword11] });

	it("Number of Queues grants what there is, and settles it when queues exist", () => {
		const driver = new NvmeDriver({ queues: 8 }).enable();
		expect(get(driver, 7).result).toBe(7 | (7 << 16));
		expect(set(driver, 7, 1 | (3 << 16)).result).toBe(1 | (3 << 16));
		expect(set(driver, 7, 99 | (99 << 16)).result).toBe(7 | (7 << 16));
		expect(set(driver, 7, 0xffff).status).toBe(status.INVALID_FIELD);
		expect(set(driver, 7, 0).result).toBe(0);
		driver.ioQueue(1, 0x6000, 8);
		expect(set(driver, 7, 3 | (3 << 16)).status).toBe(status.COMMAND_SEQUENCE_ERROR);
		const second = driver.run({ opcode: CREATE_CQ, prp1: 0x8000, dwords: [2 | (7 << 16), 3] });
		expect(second.status).toBe(status.INVALID_QUEUE_ID);
	});

	it.each([
		["arbitration", 0x01, 0x01020300, 0x01020300],
		["power management", 0x02, 0, 0],
		["error recovery", 0x05, 0x1234, 0x1234],
		["volatile write cache", 0x06, 0, 0],
		["interrupt coalescing", 0x08, 0x0a05, 0x0a05],
		["write atomicity", 0x0a, 1, 1],
		["asynchronous events", 0x0b, 0xff, 0xff],
		["temperature threshold", 0x04, 400, 400],
		["temperature threshold below", 0x04, 300 | (1 << 20), 300],
	])("Set and Get %s", (_what, id, value, expected) => {
		const driver = new NvmeDriver().enable();
		const before = get(driver, id, value & ~0xffff).result;
		expect(set(driver, id, value).status).toBe(status.SUCCESS);
		expect(get(driver, id, value & ~0xffff).result).toBe(expected);
		expect(get(driver, id | (1 << 8), value & ~0xffff).result).toBe(before); // the default
		expect(get(driver, id | (2 << 8), value & ~0xffff).result).toBe(before); // what is saved
		expect(get(driver, id | (3 << 8)).result).toBe(4); // changeable
	});

	it("interrupt vector configuration is per vector", () => {
		const driver = new NvmeDriver({ vectors: { msix: 4, msi: 1 } }).enable();
		expect(set(driver, 9, 2 | 0x10000).status).toBe(status.SUCCESS);
		expect(get(driver, 9, 2).result).toBe(2 | 0x10000);
		expect(get(driver, 9, 1).result).toBe(1);
		expect(set(driver, 9, 2).status).toBe(status.SUCCESS);
		expect(get(driver, 9, 2).result).toBe(2);
		expect(set(driver, 9, 4).status).toBe(status.INVALID_FIELD);
		expect(get(driver, 9, 4).status).toBe(status.INVALID_FIELD);
	});

	it.each([
		["a feature that is not there", 9, [0x7f, 0], status.INVALID_FIELD],
		["saving", 9, [0x80000006 | 0, 1], status.FEATURE_NOT_SAVEABLE],
		["a power state that is not there", 9, [2, 1], status.INVALID_FIELD],
		["a temperature sensor that is not there", 9, [4, 1 << 16], status.INVALID_FIELD],
		["getting one that is not there", 10, [0x7f], status.INVALID_FIELD],
		["an unknown select", 10, [6 | (4 << 8)], status.INVALID_FIELD],
		["a sensor's threshold", 10, [4, 1 << 16], status.INVALID_FIELD],
	])("fails for %s", (_what, opcode, dwords, expected) => {
		const driver = new NvmeDriver().enable();
		expect(driver.run({ opcode: opcode as number, dwords: dwords as number[] }).status).toBe(expected);
	});
});

describe("AdminCommands Get Log Page", () => {
	const log = (driver: NvmeDriver, page: number, bytes: number, offset = 0) =>
		driver.run({ opcode: 2, nsid: 0xffffffff, prp1: DATA, dwords: [page | ((bytes / 4 - 1) << 16), 0, offset, 0] });

	it("the error log has the newest error first", () => {
		const driver = new NvmeDriver().enable();
		driver.run({ opcode: 0x77 });
		const failed = driver.run({ opcode: IDENTIFY, nsid: 9, dwords: [0] });
		expect(log(driver, 1, 128).status).toBe(status.SUCCESS);
		const { view } = driver.port;
		expect(view.getBigUint64(DATA, true)).toBe(2n);
		expect(view.getUint16(DATA + 10, true)).toBe(failed.id);
		expect((view.getUint16(DATA + 12, true) >>> 1) & 0x7ff).toBe(status.INVALID_NAMESPACE);
		expect(view.getUint32(DATA + 24, true)).toBe(9);
		expect(view.getBigUint64(DATA + 64, true)).toBe(1n);
		expect((view.getUint16(DATA + 76, true) >>> 1) & 0x7ff).toBe(status.INVALID_OPCODE);
	});

	it("the health log counts, in pieces too", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 8);
		driver.run({ opcode: 2, nsid: 1, prp1: DATA, dwords: [0, 0, 3] }, 1);
		driver.run({ opcode: 1, nsid: 1, prp1: DATA, dwords: [0, 0, 0] }, 1);
		driver.run({ opcode: 0x55, nsid: 1 }, 1);
		log(driver, 2, 512);
		const { view } = driver.port;
		expect(view.getUint16(DATA + 1, true)).toBe(323);
		expect(view.getBigUint64(DATA + 32, true)).toBe(1n);
		expect(view.getBigUint64(DATA + 64, true)).toBe(1n);
		expect(view.getBigUint64(DATA + 80, true)).toBe(1n);
		expect(view.getBigUint64(DATA + 176, true)).toBe(1n);
		log(driver, 2, 16, 64);
		expect(view.getBigUint64(DATA, true)).toBe(1n);
	});

	it("the firmware log has one slot", () => {
		const driver = new NvmeDriver({ firmware: "7.7" }).enable();
		log(driver, 3, 512);
		expect(driver.port.view.getUint8(DATA)).toBe(1);
		expect(driver.text(DATA + 8, 8)).toBe("7.7");
	});

	it("fails for pages that are not there, offsets outside, and too much data", () => {
		const driver = new NvmeDriver().enable();
		expect(log(driver, 0x70, 512).status).toBe(status.INVALID_LOG_PAGE);
		expect(log(driver, 2, 4, 516).status).toBe(status.INVALID_FIELD);
		expect(log(driver, 2, 4, 2).status).toBe(status.INVALID_FIELD);
		const huge = driver.run({ opcode: 2, prp1: DATA, dwords: [2 | (0xffff << 16), 0xffff] });
		expect(huge.status).toBe(status.INVALID_FIELD);
	});
});

describe("AdminCommands events and aborts", () => {
	const request = { opcode: 0x0c };

	it("holds an Asynchronous Event Request until a doorbell is invalid", () => {
		const driver = new NvmeDriver().enable();
		const id = driver.put(request);
		driver.ring();
		expect(driver.poll()).toBeUndefined();
		driver.write(0x1000 + 8 * 5, 1);
		expect(driver.poll()).toMatchObject({ id, status: 0, result: 0x00010000 });
		// The type is silent until the host has read the error log.
		driver.put(request);
		driver.ring();
		driver.write(0x1000 + 8 * 5, 1);
		expect(driver.poll()).toBeUndefined();
		expect(driver.run({ opcode: 2, prp1: DATA, dwords: [1 | (15 << 16)] }).status).toBe(0);
		driver.write(0x1000, 99);
		expect(driver.poll()).toMatchObject({ status: 0, result: 0x00010100 });
	});

	it("keeps an event for the request that comes later", () => {
		const driver = new NvmeDriver().enable();
		driver.write(0x1000 + 8 * 5, 1);
		expect(driver.run(request).result).toBe(0x00010000);
	});

	it("reading the log with Retain keeps the type silent", () => {
		const driver = new NvmeDriver().enable();
		driver.write(0x1ffc, 1);
		driver.run(request);
		driver.run({ opcode: 2, prp1: DATA, dwords: [1 | 0x8000 | (15 << 16)] });
		driver.write(0x1ffc, 1);
		driver.put(request);
		driver.ring();
		expect(driver.poll()).toBeUndefined();
	});

	it("sends a health event when a threshold makes the temperature critical", () => {
		const driver = new NvmeDriver().enable();
		const id = driver.put(request);
		driver.ring();
		driver.run({ opcode: 9, dwords: [0x0b, 2] });
		driver.run({ opcode: 9, dwords: [0x04, 300] });
		expect(driver.poll()).toMatchObject({ id, result: 0x00020101 });
		driver.run({ opcode: 2, prp1: DATA, dwords: [2 | (127 << 16)] });
		expect(driver.port.memory[DATA]).toBe(2);
	});

	it("fails the fifth request", () => {
		const driver = new NvmeDriver().enable();
		for (let i = 0; i < 4; i++) driver.put(request);
		driver.ring();
		expect(driver.run(request).status).toBe(status.ASYNC_EVENT_LIMIT_EXCEEDED);
	});

	it("Abort completes a held request and then says so", () => {
		const driver = new NvmeDriver().enable();
		const id = driver.put(request);
		driver.ring();
		const abort = driver.put({ opcode: 8, dwords: [id << 16] });
		driver.ring();
		expect(driver.poll()).toMatchObject({ id: abort, status: 0, result: 0 });
		expect(driver.poll()).toMatchObject({ id, status: status.ABORT_REQUESTED });
		expect(driver.run({ opcode: 8, dwords: [id << 16] }).result).toBe(1);
		expect(driver.run({ opcode: 8, dwords: [33] }).status).toBe(status.INVALID_FIELD);
	});

	it.each([0x0d, 0x10, 0x11, 0x18, 0x80, 0xc0, 0xff])("fails opcode %i", (opcode) => {
		expect(new NvmeDriver().enable().run({ opcode }).status).toBe(status.INVALID_OPCODE);
	});

	it.each([0x01, 0x02, 0x40, 0x80])("fails flags %i: fused operations and scatter-gather lists", (flags) => {
		const completion = new NvmeDriver().enable().run({ opcode: IDENTIFY, flags, prp1: DATA, dwords: [1] });
		expect(completion.status).toBe(status.INVALID_FIELD);
	});
});
