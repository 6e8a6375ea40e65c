import { describe, expect, it } from "vitest";
import type { DevicePlan } from "../../../runner/device-plan.ts";
import { cli, paste } from "./cli.ts";

const HOST = { "host.txt": paste("host.txt") };

async function plan(args: readonly string[], files: Readonly<Record<string, string>> = HOST): Promise<DevicePlan[]> {
	const { code, out, err } = await cli(["plan", "--json", ...args], { files });
	expect(err).toBe("");
	expect(code).toBe(0);
	return JSON.parse(out).devices;
}

async function one(address: string, files?: Readonly<Record<string, string>>, file = "host.txt"): Promise<DevicePlan> {
	const [device] = await plan(["--host-file", file, "-device", `vfio-pci,host=${address}`], files);
	if (!device) throw new Error("no device in the plan");
	return device;
}

/** What a real Linux 6.12 answered for these devices: group, reset methods, BARs that can be mapped, INTx, MSI, MSI-X. */
const MEASURED: readonly [address: string, group: number, reset: string, mapped: string, interrupts: string][] = [
	["0000:01:00.0", 21, "bus", "0", "1/1/0"],
	["0000:02:00.0", 22, "bus", "0 2", "0/0/0"],
	["0000:03:00.0", 23, "pm bus", "0 1 3", "1/1/5"],
	["0000:04:00.0", 24, "flr pm bus", "0 1 3", "1/1/10"],
	["0000:05:00.0", 25, "flr bus", "0", "1/0/6"],
	["0000:06:00.0", 26, "flr bus", "0", "1/0/65"],
	["0000:07:00.0", 27, "bus", "0 2", "0/0/0"],
	["0000:08:00.0", 28, "flr pm bus", "4", "1/0/4"],
	["0000:09:00.0", 29, "bus", "0", "1/0/16"],
	["0000:0a:00.0", 30, "bus", "5", "1/1/0"],
	["0000:0b:00.0", 31, "bus", "1 3", "1/1/15"],
	["0000:0c:00.0", 32, "bus", "0 2", "0/0/0"],
	["0000:0f:01.0", 34, "bus", "0", "1/1/0"],
	["0000:0f:02.0", 34, "", "0", "1/0/0"],
	["0000:00:10.0", 17, "", "0", "1/1/0"],
	["0000:00:11.0", 18, "", "0", "1/1/0"],
	["0000:00:12.0", 19, "", "0", "1/1/0"],
];

describe("vfio-ts plan", () => {
	it("plans every endpoint of a pasted host as the real one was measured", async () => {
		const devices = await plan(["--host-file", "host.txt"]);
		for (const [address, group, reset, mapped, interrupts] of MEASURED) {
			const device = devices.find((candidate) => candidate.address === address);
			if (!device) throw new Error(`${address} is missing`);
			const { intx, msi, msix } = device.interrupts;
			expect([address, device.iommuGroup, device.reset.join(" "), `${intx}/${msi}/${msix}`]).toEqual([
				address,
				group,
				reset,
				interrupts,
			]);
			const mappable = device.bars.filter((bar) => bar.areas.some((area) => area.access === "mmap"));
			expect(mappable.map((bar) => bar.index).join(" "), address).toBe(mapped);
			expect(device.problems).toEqual([]);
		}
	});

	it("tiles each BAR, and traps the MSI-X table", async () => {
		for (const device of await plan(["--host-file", "host.txt"]))
			for (const bar of device.bars) {
				let at = 0;
				for (const area of bar.areas) {
					expect(area.start).toBe(at);
					expect(area.end).toBeGreaterThan(area.start);
					at = area.end;
				}
				expect(at).toBe(bar.size);
			}
		const nvme = await one("0000:06:00.0");
		expect(nvme.bars[0]?.areas).toEqual([
			{ start: 0, end: 0x2000, access: "mmap", reason: "device memory" },
			{ start: 0x2000, end: 0x3000, access: "trap", reason: "MSI-X table" },
			{ start: 0x3000, end: 0x4000, access: "mmap", reason: "device memory" },
		]);
	});

	it("lists the hardware's capabilities in chain order, and hides what a guest must not see", async () => {
		const device = await one("0000:04:00.0");
		expect([device.vendor, device.device, device.class]).toEqual(["8086", "10c9", "020000"]);
		expect(device.host.capabilities).toEqual([
			{ id: 0x01, offset: 0x40 },
			{ id: 0x05, offset: 0x50 },
			{ id: 0x11, offset: 0x70 },
			{ id: 0x10, offset: 0xa0 },
		]);
		expect(device.guest.capabilities).toEqual(device.host.capabilities);
		expect(device.host.extended.map(({ id }) => id)).toEqual([0x01, 0x0e, 0x10]);
		expect(device.guest.extended).toEqual([{ id: 0x01, version: 1, offset: 0x100 }]);
	});

	it("plans as the properties of -device ask for", async () => {
		const [device] = await plan(["-device", "vfio-pci,host=05:00.0,x-no-mmap=on"]);
		expect(device?.bars[0]?.areas.map(({ access }) => access)).toEqual(["trap"]);
		const [moved] = await plan(["-device", "vfio-pci,host=05:00.0,x-msix-relocation=bar2"]);
		expect(moved?.bars.map(({ index }) => index)).toEqual([0, 2]);
	});

	it("says why a bridge cannot be assigned", async () => {
		expect((await one("0000:00:08.0")).problems).toEqual([expect.stringContaining("it is a bridge or a port")]);
	});

	it.each([
		"82540em",
		"82574l",
		"82576",
		"ahci",
		"edu",
		"hda",
		"ivshmem",
		"megasas",
		"nvme-sriov",
		"nvme",
		"pci-testdev",
		"vga",
		"virtio-net",
		"xhci",
	])("plans a paste of one device: %s", async (name) => {
		const [device, ...more] = await plan(["--host-file", "one.txt"], { "one.txt": paste(`${name}.txt`) });
		expect(more).toEqual([]);
		expect(device?.problems).toEqual([]);
		expect(device?.bars.length).toBeGreaterThan(0);
	});

	it("refuses an address that does not exist", async () => {
		const { code, err } = await cli(["plan", "-device", "vfio-pci,host=66:00.0"]);
		expect(code).toBe(1);
		expect(err).toContain("Cannot find device 0000:66:00.0");
	});
});

/** Changes bytes of a paste's dump. */
function patched(text: string, changes: Readonly<Record<number, number>>): string {
	return text
		.split("\n")
		.map((line) => {
			const row = /^([0-9a-f]{2,3}): ((?:[0-9a-f]{2} ?){16})$/.exec(line);
			if (!row) return line;
			const base = Number.parseInt(row[1] as string, 16);
			const bytes = (row[2] as string).trim().split(" ");
			const changed = bytes.map((byte, at) =>
				(changes[base + at] ?? Number.parseInt(byte, 16)).toString(16).padStart(2, "0"),
			);
			return `${row[1]}: ${changed.join(" ")}`;
		})
		.join("\n");
}

describe("vfio-ts plan, for hostile devices", () => {
	const nvme = paste("nvme.txt");
	const ADDRESS = "0000:06:00.0";
	const hostile = (changes: Readonly<Record<number, number>>) =>
		one(ADDRESS, { "bad.txt": patched(nvme, changes) }, "bad.txt");

	it("a capability list that loops ends at the loop", async () => {
		const device = await hostile({ 97: 0x40 }); // PM -> MSI-X again
		expect(device.problems.join()).toMatch(/loops/);
		expect(device.host.capabilities.map(({ offset }) => offset)).toEqual([0x40, 0x80, 0x60]);
	});

	it("a capability pointer below 0x40 ends the list", async () => {
		const device = await hostile({ 97: 0x20 });
		expect(device.problems.join()).toMatch(/below 0x40/);
		expect(device.host.capabilities).toHaveLength(3);
	});

	it("a device that reads all ones cannot be assigned", async () => {
		const device = await hostile(Object.fromEntries(Array.from({ length: 4096 }, (_, at) => [at, 0xff])));
		expect(device.problems.length).toBeGreaterThan(0);
		expect(device.guest.capabilities).toEqual([]);
	});

	it.each([
		["a table beyond the end of its BAR", { 68: 0x00, 69: 0x40 }],
		["a table in a BAR that does not exist", { 68: 0x05 }],
		["pending bits beyond the end of their BAR", { 72: 0x00, 73: 0x50 }],
		["pending bits over the table", { 72: 0x10, 73: 0x20 }],
	])("MSI-X with %s is named as a problem", async (_what, changes) => {
		const device = await hostile(changes);
		expect(device.problems.join()).toMatch(/MSI-X/);
	});

	it("overlapping capabilities are named as a problem", async () => {
		const device = await hostile({ 97: 0x44, 68: 0x09, 69: 0x00, 70: 0x10 });
		expect(device.problems.length).toBeGreaterThan(0);
	});
});
