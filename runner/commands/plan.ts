import { groupOf } from "../../core/host/groups.ts";
import { groupAt, locate } from "../../core/host/location.ts";
import { PciSysfs } from "../../core/host/sysfs.ts";
import type { Kernel } from "../../core/kernel.ts";
import { pciAddressOf } from "../bound-groups.ts";
import type { Command } from "../cli/command.ts";
import { type DeviceOption, referenceName } from "../cli/device-option.ts";
import { MACHINE_OPTIONS, machineOptions } from "../cli/machine-options.ts";
import { formatSize, hex } from "../cli/text.ts";
import { UsageError } from "../cli/usage-error.ts";
import { type DevicePlan, type DevicePlanOptions, planDevice } from "../device-plan.ts";
import { type PlatformPlan, planPlatformDevice } from "../platform-plan.ts";
import { HOST_OPTIONS, openHost } from "./host-options.ts";

const ACCESS_NAMES = { mmap: "mapped", trap: "trapped", none: "out of reach" };

/** `vfio-ts plan`. */
export const plan: Command = {
	name: "plan",
	usage: "[-device vfio-pci,host=ADDRESS|vfio-platform,host=NAME]... [OPTIONS]",
	summary: "prints what assigning devices would do, with no guest",
	details: [
		"Without -device, every endpoint of the host, and every platform device of a simulated one. A device that cannot be assigned says why under its problems.",
		"Nothing is changed on a real host: a device that is not with vfio-pci is described as far as sysfs goes.",
	],
	options: [...HOST_OPTIONS, ...MACHINE_OPTIONS, { name: "json", help: "print data instead of text" }],
	examples: [
		"vfio-ts plan",
		"vfio-ts plan --host-file host.txt -device vfio-pci,host=0000:05:00.0 --json",
		"vfio-ts plan --board -device vfio-platform,host=fff51000.ethernet",
	],
	async run(parsed, terminal) {
		const wanted = machineOptions(parsed).devices;
		const opened = await openHost(parsed, terminal);
		try {
			const { kernel } = opened;
			const bind = opened.linux !== undefined;
			const devices =
				wanted.length > 0
					? wanted.map((option) => planOption(kernel, option, bind))
					: [
							...endpoints(new PciSysfs(kernel)).map((address) => planDevice(kernel, address, { bind })),
							...(opened.host?.machine.platformDevices ?? []).map(({ name }) =>
								planPlatformDevice(kernel, { platform: name }, { bind }),
							),
						];
			if (parsed.values.has("json")) terminal.print(JSON.stringify({ devices }));
			else
				terminal.print(
					[
						`On ${opened.description}:`,
						...devices.map((device) => ("address" in device ? describe(device) : describePlatform(device))),
					].join("\n"),
				);
			return 0;
		} finally {
			opened.close();
		}
	},
};

function planOption(kernel: Kernel, option: DeviceOption, bind: boolean): DevicePlan | PlatformPlan {
	const { kind, reference } = option;
	if (kind === "vfio-platform") {
		const assign = option.platform ?? {};
		if ("platform" in reference || "sysfsdev" in reference)
			return planPlatformDevice(kernel, reference, { bind, assign });
		throw new UsageError(`plan describes devices of this host, which is not what ${referenceName(reference)} is`);
	}
	const address = addressOf(kernel, option);
	groupOf(kernel, address); // an unknown address is an error, not a problem of a device
	return planDevice(kernel, address, { bind, ...placeOf(option) });
}

function addressOf(kernel: Kernel, { reference }: DeviceOption): string {
	const address = pciAddressOf(kernel, reference);
	if (address !== undefined) return address;
	if ("sysfsdev" in reference) groupAt(kernel, locate(reference)); // a path that does not exist is what is wrong
	throw new UsageError(`plan describes PCI functions of this host, which is not what ${referenceName(reference)} is`);
}

/** Anything but `pcie.0` is the bus below a root port. */
function placeOf(option: DeviceOption): DevicePlanOptions {
	const bus = option.bus === undefined || option.bus === "pcie.0" ? "root-complex" : "downstream-port";
	const { multifunction, assign, vfToken } = option;
	return { bus, multifunction, ...(assign ? { assign } : {}), ...(vfToken === undefined ? {} : { vfToken }) };
}

function endpoints(pci: PciSysfs): string[] {
	return pci.devices().filter((address) => !pci.isBridge(address));
}

function describe(device: DevicePlan): string {
	const lines = [
		`${device.address} ${device.vendor}:${device.device} class ${device.class}, IOMMU group ${device.iommuGroup ?? "none"}`,
	];
	for (const bar of device.bars) {
		lines.push(`  BAR ${bar.index}: ${formatSize(bar.size)} ${bar.kind}${bar.prefetchable ? ", prefetchable" : ""}`);
		for (const area of bar.areas)
			lines.push(
				`    ${hex(area.start, 6)}-${hex(area.end - 1, 6)} ${area.access === "mmap" ? "mapped" : "trapped"}: ${area.reason}`,
			);
	}
	const { intx, msi, msix } = device.interrupts;
	lines.push(`  interrupts: ${intx} INTx, ${msi} MSI, ${msix} MSI-X`);
	lines.push(`  reset: ${device.reset.join(", ") || "none"}`);
	lines.push(
		`  guest sees capabilities: ${device.guest.capabilities.map(({ id, offset }) => `${hex(id, 2)}@${hex(offset, 2)}`).join(" ") || "none"}`,
	);
	if (device.guest.extended.length > 0)
		lines.push(
			`  and extended ones: ${device.guest.extended.map(({ id, offset }) => `${hex(id, 4)}@${hex(offset, 3)}`).join(" ")}`,
		);
	for (const problem of device.problems) lines.push(`  problem: ${problem}`);
	return lines.join("\n");
}

function describePlatform(device: PlatformPlan): string {
	const lines = [
		`${device.name} ${device.compatible.join(", ") || "(no compatible)"}, IOMMU group ${device.iommuGroup}`,
	];
	for (const { index, size, access, readOnly } of device.regions)
		lines.push(`  region ${index}: ${formatSize(size)} ${ACCESS_NAMES[access]}${readOnly ? ", read-only" : ""}`);
	for (const { index, trigger } of device.interrupts) lines.push(`  interrupt ${index}: ${trigger}`);
	if (device.interrupts.length > 0) lines.push(`  ${interruptWay(device)}`);
	if (device.resettable !== null)
		lines.push(
			`  reset: ${device.resettable ? "by the kernel's module for it" : "none, it stays as its last user left it"}`,
		);
	if (device.deviceTree !== null) {
		lines.push("  nodes in the guest's device tree:");
		for (const line of device.deviceTree.trimEnd().split("\n")) lines.push(line === "" ? "" : `    ${line}`);
	}
	for (const problem of device.problems) lines.push(`  problem: ${problem}`);
	return lines.join("\n");
}

/** What an interrupt costs: who delivers it, and how long regions are not mapped on its account. */
function interruptWay({ regions, interrupts, mmapTimeout, irqfd }: PlatformPlan): string {
	const way = `interrupts go ${irqfd ? "past this process where the machine has KVM" : "through this process"}`;
	const level = interrupts.some(({ trigger }) => trigger === "level");
	if (!level || !regions.some(({ access }) => access === "mmap")) return way;
	const again = mmapTimeout === 0 ? "never" : `${mmapTimeout} ms after the last one`;
	return `${way}${irqfd ? "; elsewhere" : ", and"} regions are mapped again ${again}`;
}
