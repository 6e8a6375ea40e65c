import { describe, expect, it } from "vitest";
import { ADMIN_CQ, ADMIN_SQ, NvmeDriver } from "./nvme-driver.ts";

const CC = 0x14;
const CSTS = 0x1c;
const READY = 1;
const FATAL = 2;

describe("Nvme registers", () => {
	it("read() tells capabilities and version", () => {
		const driver = new NvmeDriver({ queueEntries: 1024 });
		expect(driver.read(0x00) & 0xffff).toBe(1023);
		expect(driver.read(0x00) & 0x10000).toBe(0x10000); // contiguous queues required
		expect(driver.read(0x04)).toBe(0x00400020); // NVM command set, pages up to 64 KiB, stride 0
		expect(driver.read(0x08)).toBe(0x00010400);
		expect(driver.nvme.read(0, 0x0a, 1)).toBe(1);
		expect(driver.nvme.read(0, 0x08, 2)).toBe(0x0400);
	});

	it("read() is 0 between the registers, at the doorbells, and in other BARs", () => {
		const driver = new NvmeDriver().enable();
		for (const offset of [0x38, 0x40, 0xffc, 0x1000, 0x1004, 0x1ffc, 0x3ffc]) expect(driver.read(offset)).toBe(0);
		expect(driver.nvme.read(2, 0, 4)).toBe(0);
	});

	it("is ready when enabled, and not when disabled", () => {
		const driver = new NvmeDriver();
		expect(driver.read(CSTS)).toBe(0);
		driver.enable();
		expect(driver.read(CSTS)).toBe(READY);
		expect(driver.nvme.isReady).toBe(true);
		driver.write(CC, 0);
		expect(driver.read(CSTS)).toBe(0);
		expect(driver.read(0x28)).toBe(ADMIN_SQ);
		expect(driver.read(0x30)).toBe(ADMIN_CQ);
		expect(driver.read(0x24)).not.toBe(0);
	});

	it.each([
		["a page of 128 KiB", (d: NvmeDriver) => d.write(CC, 1 | (5 << 7))],
		["another command set", (d: NvmeDriver) => d.write(CC, 1 | (1 << 4))],
		["weighted round robin", (d: NvmeDriver) => d.write(CC, 1 | (1 << 11))],
		[
			"queues that are not page aligned",
			(d: NvmeDriver) => {
				d.write(0x28, 0x1000);
				d.write(CC, 1 | (1 << 7));
			},
		],
		[
			"an admin queue of one entry",
			(d: NvmeDriver) => {
				d.write(0x24, 0x00070000);
				d.write(CC, 1);
			},
		],
	])("fails with a fatal status when enabled with %s", (_what, enable) => {
		const driver = new NvmeDriver();
		driver.write(0x24, 0x00070007);
		enable(driver);
		expect(driver.read(CSTS)).toBe(FATAL);
		expect(driver.nvme.hasFailed).toBe(true);
		driver.write(CC, 0);
		expect(driver.read(CSTS)).toBe(0);
		expect(driver.enable().read(CSTS)).toBe(READY);
	});

	it("keeps page size and command set while it is enabled", () => {
		const driver = new NvmeDriver().enable();
		const before = driver.read(CC);
		driver.write(CC, before | (3 << 7) | (7 << 4));
		expect(driver.read(CC)).toBe(before);
	});

	it("reports shutdown complete, flushes, and executes nothing until the next reset", () => {
		let flushes = 0;
		const ns = {
			size: 4096,
			blockSize: 512 as const,
			read: () => true,
			write: () => true,
			zero: () => true,
			flush: () => ++flushes > 0,
		};
		const driver = new NvmeDriver({ namespaces: [ns] }).enable();
		driver.write(CC, driver.read(CC) | (1 << 14));
		expect(driver.read(CSTS)).toBe(READY | 8);
		expect(flushes).toBe(1);
		driver.put({ opcode: 6, prp1: 0x10000, dwords: [1] });
		driver.ring();
		expect(driver.poll()).toBeUndefined();
		driver.write(CC, 0);
		expect(driver.read(CSTS)).toBe(0);
	});

	it("INTMS and INTMC set and clear the same mask", () => {
		const driver = new NvmeDriver();
		driver.write(0x0c, 0xf0000001);
		expect(driver.read(0x0c)).toBe(0xf0000001);
		driver.write(0x10, 0x80000000);
		expect(driver.read(0x0c)).toBe(0x70000001);
		expect(driver.read(0x10)).toBe(0x70000001);
	});

	it("drops writes of a wrong width, and of read-only registers", () => {
		const driver = new NvmeDriver();
		driver.nvme.write(0, CC, 1, 1);
		driver.nvme.write(0, CC, 2, 1);
		driver.nvme.write(0, CC + 2, 4, 1);
		expect(driver.nvme.refusedWrites).toBe(3);
		for (const offset of [0x00, 0x04, 0x08, CSTS, 0x20, 0x38, 0x3c, 0xffc]) driver.write(offset, 0xffffffff);
		expect(driver.read(0x08)).toBe(0x00010400);
		expect(driver.read(CSTS)).toBe(0);
		driver.write(0x28, 0xffffffff);
		expect(driver.read(0x28)).toBe(0xfffff000);
		driver.write(0x24, 0xffffffff);
		expect(driver.read(0x24)).toBe(0x0fff0fff);
	});

	it("reset() goes back to power-on", () => {
		const driver = new NvmeDriver().enable();
		driver.write(0x0c, 1);
		driver.nvme.reset();
		for (const offset of [0x0c, CC, CSTS, 0x24, 0x28, 0x30]) expect(driver.read(offset)).toBe(0);
		expect(driver.enable().run({ opcode: 6, prp1: 0x10000, dwords: [1] }).status).toBe(0);
	});

	it("ignores everything before it is plugged in", async () => {
		const { Nvme } = await import("../../../kernel-sim/hardware/models/nvme/mod.ts");
		const nvme = new Nvme();
		nvme.write(0, CC, 4, 1);
		nvme.write(0, 0x1000, 4, 1);
		expect(nvme.read(0, CSTS, 4)).toBe(0);
		nvme.reset();
		nvme.detach();
	});
});
