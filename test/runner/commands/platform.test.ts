import { describe, expect, it } from "vitest";
import { cli } from "./cli.ts";

describe("vfio-ts plan -device vfio-platform", () => {
	it("prints regions, interrupts, reset and the nodes of the guest's device tree", async () => {
		const { code, out } = await cli(["plan", "--board", "-device", "vfio-platform,host=e0700000.xgmac"]);
		expect(code).toBe(0);
		expect(out).toContain(
			"On the simulated board that comes with vfio-ts:\ne0700000.xgmac amd,xgbe-seattle-v1a, IOMMU group 1\n",
		);
		expect(out).toContain("  region 0: 512 KiB mapped\n");
		expect(out).toContain("  region 4: 4 bytes trapped\n  interrupt 0: level\n  interrupt 1: edge\n");
		expect(out).toContain("  reset: by the kernel's module for it\n");
		expect(out).toContain("    xgmac@c000000 {\n");
		expect(out).toContain("clocks = <0x8001 0x8002>;");
	});

	it("prints data of every device of the board, by sysfsdev as by name", async () => {
		const all = JSON.parse((await cli(["plan", "--board", "--json"])).out);
		expect(all.devices.map(({ name }: { name: string }) => name)).toEqual([
			...["fff51000.ethernet", "e0700000.xgmac", "e1000000.sram"],
		]);
		expect(all.devices[2]).toMatchObject({
			regions: [],
			resettable: null,
			deviceTree: null,
			compatible: ["acme,sram", "mmio-sram"],
			problems: ["Cannot bind e1000000.sram: vfio-platform has no reset for it"],
		});
		const sysfsdev = "vfio-platform,sysfsdev=/sys/devices/platform/fff51000.ethernet";
		const { out } = await cli(["plan", "--board", "--json", "-device", sysfsdev]);
		expect(JSON.parse(out).devices).toEqual([all.devices[0]]);
		expect(all.devices[0]).toMatchObject({
			regions: [{ index: 0, size: 4096, access: "mmap", readOnly: false }],
			interrupts: [0, 1, 2].map((index) => ({ index, trigger: "level" })),
			resettable: true,
			problems: [],
		});
	});

	it("prints what mmap-timeout-ms, x-no-mmap and x-irqfd change", async () => {
		const plan = async (properties: string) =>
			(await cli(["plan", "--board", "-device", `vfio-platform,host=e0700000.xgmac${properties}`])).out;
		const kvm = "interrupts go past this process where the machine has KVM";
		const usual = await plan("");
		expect(usual).toContain(`  ${kvm}; elsewhere regions are mapped again 1100 ms after the last one\n`);
		expect(await plan(",mmap-timeout-ms=0")).toContain(`  ${kvm}; elsewhere regions are mapped again never\n`);
		expect(await plan(",x-irqfd=off,mmap-timeout-ms=20")).toContain(
			"  interrupts go through this process, and regions are mapped again 20 ms after the last one\n",
		);
		const trapped = await plan(",x-no-mmap=on");
		expect([usual, trapped].map((text) => text.match(/ mapped\n/g)?.length ?? 0)).toEqual([2, 0]);
		expect(trapped).toContain(`  region 0: 512 KiB trapped\n`);
		expect(trapped).toContain(`  ${kvm}\n`);
		const { devices } = JSON.parse(
			(await cli(["plan", "--board", "--json", "-device", "vfio-platform,host=e0700000.xgmac,x-irqfd=off"])).out,
		);
		expect(devices[0]).toMatchObject({ mmapTimeout: 1100, irqfd: false });
	});

	it("says that a path is not there, and where to look", async () => {
		for (const kind of ["vfio-pci", "vfio-platform"]) {
			const { code, err } = await cli(["plan", "-device", `${kind},sysfsdev=/sys/bus/mdev/devices/x`]);
			expect(err).toContain("there is no /sys/bus/mdev/devices/x");
			expect(err).toContain("ls /sys/bus/mdev/devices shows what there is.");
			expect(code).toBe(1);
		}
	});

	it("refuses a device that does not exist, a name with a slash, and two hosts at once", async () => {
		const plan = (spec: string, ...more: string[]) => cli(["plan", "--board", ...more, "-device", spec]);
		expect((await plan("vfio-platform,host=nothing")).err).toMatch(/Cannot find device nothing/);
		expect((await plan("vfio-platform,host=a/b")).err).toMatch(/that is no name of one/);
		expect((await plan("vfio-platform,host=x", "--host-file", "y")).err).toMatch(/two different hosts/);
		expect((await plan("vfio-platform,host=x", "--kernel", "linux")).err).toMatch(/--board is a simulated host/);
	});
});

describe("vfio-ts run -device vfio-platform", () => {
	it("says that its guest is a PC, and what to do instead", async () => {
		const { code, err } = await cli(["run", "--board", "-device", "vfio-platform,host=fff51000.ethernet"]);
		expect(code).not.toBe(0);
		expect(err).toContain("Cannot plug fff51000.ethernet in: this machine is a PC, which has no bus for vfio-platform");
		expect(err).toContain("vfio-ts plan -device vfio-platform,host=fff51000.ethernet");
	});
});
