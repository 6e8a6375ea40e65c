import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryNamespace } from "../../../kernel-sim/hardware/models/nvme/mod.ts";
import * as status from "../../../kernel-sim/hardware/models/nvme/status.ts";
import { FakePort } from "./fake-port.ts";
import { ADMIN_ENTRIES, DATA, NvmeDriver } from "./nvme-driver.ts";

const read = { opcode: 2, nsid: 1, prp1: DATA, dwords: [0, 0, 0] };

describe("Nvme queues", () => {
	it("wraps with the phase bit, many times around", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 4);
		for (let i = 0; i < 23; i++) {
			const completion = driver.run(read, 1);
			expect(completion.status).toBe(status.SUCCESS);
			expect(completion.phase).toBe(Math.floor(i / 4) % 2 === 0 ? 1 : 0);
			expect(completion.sqHead).toBe((i + 1) % 4);
			expect(completion.sqId).toBe(1);
		}
	});

	it("waits while the completion queue is full, and goes on when the host takes from it", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 4);
		const ids = [driver.put(read, 1), driver.put(read, 1), driver.put(read, 1)];
		driver.ring(1);
		expect(driver.poll(1, false)?.id).toBe(ids[0]);
		expect(driver.poll(1, false)?.id).toBe(ids[1]);
		expect(driver.poll(1, false)?.id).toBe(ids[2]);
		// Full now: three of four entries. The next commands stay in the queue.
		const more = [driver.put(read, 1), driver.put(read, 1)];
		driver.ring(1);
		expect(driver.poll(1, false)).toBeUndefined();
		driver.acknowledge(1);
		expect(driver.poll(1)?.id).toBe(more[0]);
		expect(driver.poll(1)?.id).toBe(more[1]);
	});

	it("serves the queues in turn, and many can share a completion queue", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 16);
		const create = { opcode: 1, prp1: 0x9000, dwords: [2 | (15 << 16), 1 | (1 << 16)] };
		expect(driver.run(create).status).toBe(status.SUCCESS);
		driver.put(read, 1);
		driver.ring(1);
		expect(driver.poll(1)?.sqId).toBe(1);
		driver.port.view.setUint8(0x9000, 2);
		driver.port.view.setUint16(0x9002, 77, true);
		driver.port.view.setUint32(0x9004, 1, true);
		driver.port.view.setBigUint64(0x9018, BigInt(DATA), true);
		driver.write(0x1010, 1);
		expect(driver.poll(1)).toMatchObject({ sqId: 2, id: 77, sqHead: 1 });
	});

	it("drops doorbells of no queue and of no entry", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 4);
		driver.write(0x1008, 4);
		driver.write(0x100c, 4);
		driver.write(0x100c, 1); // nothing to take
		driver.write(0x1010, 0);
		driver.write(0x1ffc, 0);
		driver.write(0x1008, 0xffffffff);
		expect(driver.nvme.refusedWrites).toBe(6);
		expect(driver.run(read, 1).status).toBe(status.SUCCESS);
	});

	it("fails when a queue cannot be reached, and works again after a reset", () => {
		for (const hole of [0x1000, 0x2000]) {
			const driver = new NvmeDriver().enable();
			driver.port.holes.push({ start: hole, end: hole + 0x1000 });
			driver.put({ opcode: 6, prp1: DATA, dwords: [1] });
			driver.ring();
			expect(driver.nvme.hasFailed).toBe(true);
			driver.port.holes = [];
			driver.ring();
			expect(driver.poll()).toBeUndefined();
			driver.write(0x14, 0);
			expect(driver.enable().run({ opcode: 6, prp1: DATA, dwords: [1] }).status).toBe(status.SUCCESS);
		}
	});

	it("does a bounded amount at a doorbell and the rest later", () => {
		const port = new FakePort(1 << 20);
		const driver = new NvmeDriver({ namespaces: [new MemoryNamespace(2 ** 40)] }, port).enable();
		driver.ioQueue(1, 0x30000 - 0x1000, 64);
		// Each zeroes 32 MiB: two fill the budget.
		for (let i = 0; i < 5; i++) driver.put({ opcode: 8, nsid: 1, dwords: [0, 0, 0xffff] }, 1);
		driver.ring(1);
		expect(driver.poll(1, false)).toBeDefined();
		expect(driver.poll(1, false)).toBeDefined();
		expect(driver.poll(1, false)).toBeUndefined();
		expect(port.clock.pending).toBe(1);
		port.clock.settle();
		for (let i = 0; i < 3; i++) expect(driver.poll(1, false)).toBeDefined();
		expect(port.clock.pending).toBe(0);
	});

	it("a reset cancels what was left for later", () => {
		const driver = new NvmeDriver({ namespaces: [new MemoryNamespace(2 ** 40)] }).enable();
		driver.ioQueue(1, 0x30000 - 0x1000, 64);
		for (let i = 0; i < 5; i++) driver.put({ opcode: 8, nsid: 1, dwords: [0, 0, 0xffff] }, 1);
		driver.ring(1);
		driver.nvme.reset();
		expect(driver.port.clock.pending).toBe(0);
		driver.nvme.detach();
		driver.write(0x1008, 0);
	});

	it("survives DMA into its own registers", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 8);
		driver.put(read, 1);
		driver.put(read, 1);
		driver.port.onWrite = () => driver.write(0x1008, 2); // its own doorbell
		driver.write(0x1008, 1);
		driver.port.onWrite = () => {};
		expect(driver.poll(1)).toBeDefined();
		expect(driver.poll(1)).toBeDefined();
		// A reset in the middle of a command.
		driver.put(read, 1);
		driver.port.onWrite = () => driver.write(0x14, 0);
		driver.ring(1);
		expect(driver.nvme.isReady).toBe(false);
		expect(driver.nvme.hasFailed).toBe(false);
	});

	it("never throws and always ends, whatever a guest writes", () => {
		const offset = fc.oneof(
			fc.constantFrom(0x0c, 0x10, 0x14, 0x14, 0x14, 0x24, 0x28, 0x2c, 0x30, 0x34),
			fc.integer({ min: 0x400, max: 0x410 }).map((n) => n * 4),
			fc.integer({ min: 0, max: 0x3fff }),
		);
		const value = fc.oneof(
			fc.integer({ min: 0, max: 0x20 }),
			fc.constantFrom(0x460001, 0, 0x1000, 0x2000, 0x000f000f),
			fc.integer({ min: 0, max: 0xffffffff }),
		);
		const write = fc.tuple(offset, fc.constantFrom(4, 4, 4, 1, 2) as fc.Arbitrary<1 | 2 | 4>, value);
		fc.assert(
			fc.property(fc.array(write, { maxLength: 60 }), fc.integer(), fc.boolean(), (writes, seed, enabled) => {
				const port = new FakePort(0x20000);
				for (let i = 0; i < port.memory.length; i++) port.memory[i] = Math.imul(i + seed, 0x9e3779b1) >>> 27;
				const driver = new NvmeDriver({ namespaces: [new MemoryNamespace(1 << 16)] }, port);
				if (enabled) driver.enable();
				for (const [at, width, what] of writes) {
					driver.nvme.write(0, at, width, what);
					driver.nvme.read(0, at, width);
				}
				port.clock.settle();
			}),
			{ numRuns: 150 },
		);
	});
});

describe("Nvme interrupts", () => {
	it("the pin follows the completions and the mask", () => {
		const driver = new NvmeDriver().enable();
		const { port } = driver;
		driver.put({ opcode: 6, prp1: DATA, dwords: [1] });
		driver.ring();
		expect(port.intx).toBe(true);
		driver.write(0x0c, 1);
		expect(port.intx).toBe(false);
		driver.write(0x10, 1);
		expect(port.intx).toBe(true);
		driver.poll();
		expect(port.intx).toBe(false);
	});

	it("the pin stays up while another queue has completions", () => {
		const driver = new NvmeDriver().enable();
		driver.ioQueue(1, 0x6000, 8);
		driver.put(read, 1);
		driver.ring(1);
		driver.put({ opcode: 6, prp1: DATA, dwords: [1] });
		driver.ring();
		driver.poll(0);
		expect(driver.port.intx).toBe(true);
		driver.poll(1);
		expect(driver.port.intx).toBe(false);
	});

	it("MSI-X sends the queue's vector, masked or not by INTMS", () => {
		const driver = new NvmeDriver();
		driver.port.interruptMode = "msix";
		driver.enable();
		driver.write(0x0c, 0xffffffff);
		driver.ioQueue(1, 0x6000, 8, 5);
		driver.port.signalled = [];
		driver.run(read, 1);
		driver.run({ opcode: 6, prp1: DATA, dwords: [1] });
		expect(driver.port.signalled).toEqual([5, 0]);
		expect(driver.port.intx).toBe(false);
	});

	it("MSI waits for INTMC when it is masked, and sends once", () => {
		const driver = new NvmeDriver();
		driver.port.interruptMode = "msi";
		driver.enable();
		driver.ioQueue(1, 0x6000, 8, 3);
		driver.port.signalled = [];
		driver.write(0x0c, 1 << 3);
		driver.put(read, 1);
		driver.put(read, 1);
		driver.ring(1);
		expect(driver.port.signalled).toEqual([]);
		driver.write(0x10, 1 << 3);
		expect(driver.port.signalled).toEqual([3]);
	});

	it("a queue without interrupts is silent", () => {
		const driver = new NvmeDriver().enable();
		driver.run({ opcode: 5, prp1: 0x6000, dwords: [1 | (7 << 16), 1] });
		driver.run({ opcode: 1, prp1: 0x7000, dwords: [1 | (7 << 16), 1 | (1 << 16)] });
		driver.port.view.setUint8(0x7000, 0x55);
		driver.write(0x1008, 1);
		expect(driver.port.view.getUint16(0x600e, true) & 1).toBe(1);
		expect(driver.port.intx).toBe(false);
	});

	it("the admin queue wraps too", () => {
		const driver = new NvmeDriver().enable();
		for (let i = 0; i < 5 * ADMIN_ENTRIES; i++)
			expect(driver.run({ opcode: 6, prp1: DATA, dwords: [1] }).status).toBe(0);
	});
});
