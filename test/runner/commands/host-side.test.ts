import { describe, expect, it } from "vitest";
import { cli, paste } from "./cli.ts";

const FILES = { files: { "host.txt": paste("host.txt") } };

describe("vfio-ts list", () => {
	it("shows devices, groups and drivers", async () => {
		const { code, out } = await cli(["list"]);
		expect(code).toBe(0);
		expect(out).toMatch(/0000:05:00\.0 +1b36:0010 +010802 +10 +nvme/);
	});

	it("--json of a pasted host has every function", async () => {
		const { out } = await cli(["list", "--json", "--host-file", "host.txt"], FILES);
		const { devices } = JSON.parse(out);
		expect(devices).toHaveLength(40);
		expect(devices.find((device: { address: string }) => device.address === "0000:08:00.0")).toMatchObject({
			iommuGroup: 28,
			driver: "virtio-pci",
			bridge: false,
		});
	});
});

describe("vfio-ts bind and unbind", () => {
	it("list of a board without PCI says where its devices are shown", async () => {
		const { code, out } = await cli(["list", "--board"]);
		expect(code).toBe(0);
		expect(out.split("\n")[1]).toBe("  no PCI function; plan --board shows its platform devices");
	});

	it("bind gives the whole group to vfio-pci", async () => {
		const { code, out } = await cli(["bind", "0f:01.0", "--host-file", "host.txt"], FILES);
		expect(code).toBe(0);
		expect(out).toContain("0000:0f:01.0 is now with vfio-pci");
		expect(out).toContain("0000:0f:02.0 is now with vfio-pci");
		expect(out).toContain("# 0000:0e:00.0 is left alone: a bridge or port");
	});

	it("bind --dry-run prints the commands and changes nothing", async () => {
		const { out } = await cli(["bind", "05:00.0", "--dry-run"]);
		expect(out).toContain("echo 0000:05:00.0 | sudo tee /sys/bus/pci/drivers/vfio-pci/bind");
		expect(out).not.toContain("is now with");
	});

	it("unbind leaves a device that is with its host driver alone", async () => {
		const { code, out } = await cli(["unbind", "05:00.0"]);
		expect(code).toBe(0);
		expect(out).toContain("0000:05:00.0 is now with nvme");
	});

	it.each([
		[["bind"], 2, "bind takes one device"],
		[["bind", "05:00.0", "06:00.0"], 2, "bind takes one device"],
		[["bind", "99:00.0"], 1, "Cannot find device 0000:99:00.0"],
		[["bind", "00:08.0"], 1, "it is a bridge or a port"],
		[["bind", "05:00.0", "--driver", "nosuch"], 1, "no driver nosuch"],
		[["unbind", "x"], 2, 'Cannot use "x" as a PCI address'],
	])("%j is refused", async (args, code, message) => {
		const ended = await cli(args);
		expect(ended.err).toContain(message);
		expect(ended.code).toBe(code);
	});
});
