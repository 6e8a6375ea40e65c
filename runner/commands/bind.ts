import { parsePciAddress } from "../../core/host/address.ts";
import { bindGroup, planBind } from "../../core/host/bind.ts";
import { type SysfsWrite, shellCommand } from "../../core/host/bind-plan.ts";
import { PciSysfs } from "../../core/host/sysfs.ts";
import { unbindGroup } from "../../core/host/unbind.ts";
import type { Command } from "../cli/command.ts";
import type { ParsedArguments } from "../cli/options.ts";
import type { Terminal } from "../cli/terminal.ts";
import { UsageError, understanding } from "../cli/usage-error.ts";
import { HOST_OPTIONS, type OpenedHost, openHost } from "./host-options.ts";

const DRY_RUN = { name: "dry-run", help: "print the commands, change nothing" };

/** `vfio-ts bind`. */
export const bind: Command = {
	name: "bind",
	usage: "ADDRESS [OPTIONS]",
	summary: "gives the whole IOMMU group of a device to vfio-pci",
	details: ["Bridges and ports of the group stay as they are. Needs root on a real host."],
	takesWords: true,
	options: [...HOST_OPTIONS, { name: "driver", value: "NAME", help: "another VFIO driver than vfio-pci" }, DRY_RUN],
	examples: ["vfio-ts bind 05:00.0", "sudo vfio-ts bind 0000:05:00.0 --kernel linux"],
	run: (parsed, terminal) =>
		onDevice(parsed, terminal, "bind", (opened, address) => {
			const driver = parsed.values.get("driver")?.[0] ?? "vfio-pci";
			const plan = planBind(opened.kernel, address, driver);
			show(
				terminal,
				plan.devices.map((device) => ({ ...device, writes: device.steps })),
			);
			if (!parsed.values.has("dry-run")) bindGroup(opened.kernel, address, driver);
			return plan.devices.map((device) => device.name);
		}),
};

/** `vfio-ts unbind`. */
export const unbind: Command = {
	name: "unbind",
	usage: "ADDRESS [OPTIONS]",
	summary: "gives the whole IOMMU group of a device back to the host's drivers",
	details: ["Each device goes to the driver that the kernel finds for it, or to the one that --driver names."],
	takesWords: true,
	options: [...HOST_OPTIONS, { name: "driver", value: "NAME", help: "the driver that gets the devices" }, DRY_RUN],
	examples: ["vfio-ts unbind 05:00.0", "sudo vfio-ts unbind 0000:05:00.0 --kernel linux --driver nvme"],
	run: (parsed, terminal) =>
		onDevice(parsed, terminal, "unbind", (opened, address) => {
			const plan = unbindGroup(opened.kernel, address, {
				driver: parsed.values.get("driver")?.[0],
				dryRun: parsed.values.has("dry-run"),
			});
			show(
				terminal,
				plan.devices.map((device) => ({ ...device, writes: device.steps })),
			);
			return plan.devices.map((device) => device.name);
		}),
};

async function onDevice(
	parsed: ParsedArguments,
	terminal: Terminal,
	command: string,
	act: (opened: OpenedHost, address: string) => readonly string[],
): Promise<number> {
	const [address, ...more] = parsed.words;
	if (address === undefined || more.length > 0)
		throw new UsageError(`${command} takes one device: vfio-ts ${command} 0000:05:00.0`);
	understanding(() => parsePciAddress(address));
	const opened = await openHost(parsed, terminal);
	try {
		terminal.print(`On ${opened.description}:`);
		const names = act(opened, address);
		if (parsed.values.has("dry-run")) return 0;
		const pci = new PciSysfs(opened.kernel);
		for (const name of names) terminal.print(`  ${name} is now with ${pci.driver(name) ?? "no driver"}`);
		return 0;
	} finally {
		opened.close();
	}
}

function show(
	terminal: Terminal,
	devices: readonly { name: string; leftAlone: string | undefined; writes: readonly SysfsWrite[] }[],
): void {
	for (const device of devices) {
		if (device.leftAlone !== undefined) terminal.print(`  # ${device.name} is left alone: ${device.leftAlone}`);
		for (const write of device.writes) terminal.print(`  ${shellCommand(write)}`);
	}
}
