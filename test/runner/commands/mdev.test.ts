import { describe, expect, it } from "vitest";
import { cli } from "./cli.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

describe("vfio-ts mdev", () => {
	it("list shows what the host can make", async () => {
		const { code, out } = await cli(["mdev", "list"]);
		expect(code).toBe(0);
		expect(out).toMatch(/mtty-2 +mtty +12 +vfio-pci +Dual port serial/);
		const { out: data } = await cli(["mdev", "--json"]);
		expect(JSON.parse(data).types.map(({ id }: { id: string }) => id)).toContain("vgpu-medium");
	});

	it("create makes a device, with a UUID of its own when none is given", async () => {
		const given = await cli(["mdev", "create", "mtty-1", UUID]);
		expect([given.code, given.out]).toEqual([0, expect.stringContaining(`/sys/bus/mdev/devices/${UUID}`)]);
		const { out } = await cli(["mdev", "create", "vgpu-small"]);
		expect(out).toMatch(/\/sys\/bus\/mdev\/devices\/[0-9a-f-]{36}/);
	});

	it("says what is wrong", async () => {
		expect(await cli(["mdev", "create", "mtty-9"])).toMatchObject({
			code: 1,
			err: expect.stringContaining("did you mean mtty-1"),
		});
		expect((await cli(["mdev", "remove", UUID])).err).toContain("there is no mediated device of that name");
		for (const words of [
			["mdev", "make"],
			["mdev", "create"],
			["mdev", "remove"],
			["run", "--mdev", "mtty-1"],
		])
			expect((await cli(words)).code, words.join(" ")).toBe(2);
	});
});

describe("vfio-ts run with a mediated device", () => {
	it("a device that the guest has no driver for is found, and not said to be used", async () => {
		const uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
		const device = ["-device", `vfio-pci,sysfsdev=/sys/bus/mdev/devices/${uuid}`];
		const { code, out } = await cli(["run", "--mdev", `mtty-2=${uuid}`, ...device]);
		expect(code).toBe(0);
		expect(out).toContain("PASS: the guest used 0 of 1 device with 0 interrupts");
		expect(out).toContain(`${uuid}: no interrupts`);
		expect(out).not.toContain("by DMA it read"); // no IOMMU sees what a mediated device copies
	});

	it("Y-07 the guest drives a device that no hardware is behind, by DMA and interrupts", async () => {
		const device = `vfio-pci,sysfsdev=/sys/bus/mdev/devices/${UUID}`;
		const { code, out } = await cli(["run", "--mdev", `teaching-edu=${UUID}`, "-device", device, "--json"]);
		const report = JSON.parse(out);
		expect(report).toMatchObject({ passed: true, results: { "edu0.dma.bytes": "4096" } });
		expect(report.devices[0].address).toBe(UUID);
		expect(code).toBe(0);
	});
});
