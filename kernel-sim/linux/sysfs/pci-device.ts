/**
 * The directory of a PCI device in sysfs.
 *
 * @module
 */
import { EBUSY, EINVAL, EIO, EPERM } from "../../../core/uapi/errno.ts";
import {
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_PM,
	PCI_COMMAND,
	PCI_COMMAND_IO,
	PCI_COMMAND_MEMORY,
	PCI_EXP_DEVCAP2,
	PCI_EXT_CAP_ID_ARI,
} from "../../../core/uapi/pci_regs.ts";
import { findCapability, findExtendedCapability } from "../../hardware/config-walk.ts";
import type { PciFunction } from "../../hardware/function.ts";
import { load } from "../../hardware/little-endian.ts";
import type { Machine } from "../../hardware/topology.ts";
import type { PciDevice, ResetMethod } from "../driver.ts";
import type { AttributeOptions } from "../file-content.ts";
import type { FileSystem } from "../filesystem.ts";
import type { InterruptLines } from "../interrupt-lines.ts";
import type { PciBus } from "../pci-bus.ts";
import { formatResources } from "../pci-resources.ts";
import type { SimProcess } from "../process.ts";
import { hex, parseNumber } from "../text.ts";
import { probeResetMethods, resetFunction } from "../vfio-pci/reset.ts";
import { addDeviceLinks, driverOverride } from "./bus.ts";
import { ConfigFile } from "./config-file.ts";
import { addResourceFiles } from "./resource-file.ts";
import { sriovAttributes } from "./sriov.ts";

const VGA_CLASS = 0x0300;
/** ARI Forwarding Supported. */
const PCI_EXP_DEVCAP2_ARI = 0x20;
const POWER_STATES = ["D0", "D1", "D2", "D3hot"];

/** What the attributes act on. */
export interface PciSysfsContext {
	readonly files: FileSystem;
	readonly machine: Machine;
	readonly bus: PciBus;
	readonly interrupts: InterruptLines;
	readonly version: "6.12" | "7.2";
}

/** Makes the directory of a device, the link to it in /sys/bus/pci/devices, and what is in it. */
export function addDeviceDirectory(context: PciSysfsContext, device: PciDevice): void {
	const { files, machine } = context;
	const path = device.syspath;
	files.directory(path);
	addDeviceLinks(files, "pci", device);
	files.file(`${path}/config`, new ConfigFile(device), 0o644);
	addResourceFiles(files, device, context.version);
	for (const [name, options] of Object.entries(identity(device))) files.attribute(`${path}/${name}`, options);
	for (const [name, options] of Object.entries(state(context, device))) files.attribute(`${path}/${name}`, options);
	if (device.class >> 8 === VGA_CLASS) {
		const first = machine.functions.find((fn) => fn.config[0x0b] === 3 && fn.config[0x0a] === 0);
		files.text(`${path}/boot_vga`, first === device.fn ? "1" : "0");
	}
	for (const [name, options] of Object.entries(sriovAttributes(device))) files.attribute(`${path}/${name}`, options);
	if (device.resetMethods.length === 0) return;
	for (const [name, options] of Object.entries(resets(device, machine))) files.attribute(`${path}/${name}`, options);
}

/** Removes it again. */
export function removeDeviceDirectory(context: PciSysfsContext, device: PciDevice): void {
	context.files.remove(`/sys/bus/pci/devices/${device.name}`);
	context.files.remove(device.syspath);
}

type Attributes = Readonly<Record<string, AttributeOptions>>;

/** What never changes. */
function identity(device: PciDevice): Attributes {
	const fixed = (text: string) => ({ show: () => `${text}\n` });
	const word = (value: number) => fixed(`0x${hex(value, 4)}`);
	return {
		vendor: word(device.vendor),
		device: word(device.device),
		subsystem_vendor: word(device.subsystemVendor),
		subsystem_device: word(device.subsystemDevice),
		class: fixed(`0x${hex(device.class, 6)}`),
		revision: fixed(`0x${hex(device.revision, 2)}`),
		modalias: fixed(modalias(device)),
		resource: { show: () => formatResources(device.resources) },
		numa_node: fixed("-1"),
		local_cpulist: fixed("0"),
	};
}

function modalias(device: PciDevice): string {
	const long = (value: number) => hex(value, 8).toUpperCase();
	const byte = (shift: number) => hex((device.class >> shift) & 0xff, 2);
	const ids = `v${long(device.vendor)}d${long(device.device)}sv${long(device.subsystemVendor)}sd${long(device.subsystemDevice)}`;
	return `pci:${ids}bc${byte(16).toUpperCase()}sc${byte(8).toUpperCase()}i${byte(0)}`;
}

/** What changes, and acts when it is written. */
function state({ bus, machine, interrupts }: PciSysfsContext, device: PciDevice): Attributes {
	let d3cold = findCapability(device.fn.config, PCI_CAP_ID_PM) === 0 ? "0" : "1";
	return {
		ari_enabled: { show: () => (hasAlternativeRouting(device.fn, machine) ? "1\n" : "0\n") },
		irq: { show: () => `${interrupts.numberOf(device)}\n` },
		power_state: { show: () => `${POWER_STATES[device.fn.powerState]}\n` },
		enable: { show: () => `${device.enableCount}\n`, store: (text, process) => enable(device, text, process) },
		driver_override: driverOverride(device),
		d3cold_allowed: {
			show: () => `${d3cold}\n`,
			store: (text) => {
				const value = parseNumber(text);
				if (value === undefined) return -EINVAL;
				d3cold = value === 0 ? "0" : "1";
				return 0;
			},
		},
		...(device.physical ? {} : { remove: removal(bus, device) }),
	};
}

/** Virtual functions are not removed one by one. */
function removal(bus: PciBus, device: PciDevice): AttributeOptions {
	return {
		store: (text) => {
			const value = parseNumber(text);
			if (value === undefined) return -EINVAL;
			return value === 0 ? 0 : bus.removeDevice(device);
		},
	};
}

/** The port above forwards to more than eight functions, and function 0 below it has them numbered so (ARI). */
function hasAlternativeRouting(fn: PciFunction, machine: Machine): boolean {
	const port = machine.bridgeOf(fn);
	const express = port ? findCapability(port.config, PCI_CAP_ID_EXP) : 0;
	if (!port || express === 0 || (load(port.config, express + PCI_EXP_DEVCAP2, 4) & PCI_EXP_DEVCAP2_ARI) === 0)
		return false;
	const [first] = machine.childrenOf(port);
	return first !== undefined && findExtendedCapability(first.config, PCI_EXT_CAP_ID_ARI) !== 0;
}

function enable(device: PciDevice, text: string, process: SimProcess): number {
	if (!process.capable("CAP_SYS_ADMIN")) return -EPERM;
	const value = parseNumber(text);
	if (value === undefined) return -EINVAL;
	if (device.driver) return -EBUSY;
	if (value === 0 && device.enableCount === 0) return -EIO;
	device.enableCount += value === 0 ? -1 : 1;
	if (value !== 0) {
		const command = device.fn.configRead(PCI_COMMAND, 2);
		device.fn.configWrite(PCI_COMMAND, 2, command | PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	}
	return 0;
}

function resets(device: PciDevice, machine: Machine): Attributes {
	return {
		reset: {
			store: (text) => (parseNumber(text) === 1 ? resetFunction(device, machine) : -EINVAL),
		},
		reset_method: {
			show: () => `${device.resetMethods.join(" ")}\n`,
			store(text) {
				const possible = probeResetMethods(device.fn, machine);
				const wanted = text.trim() === "default" ? possible : text.split(/\s+/).filter((word) => word !== "");
				if (!wanted.every((word) => (possible as string[]).includes(word))) return -EINVAL;
				device.resetMethods = wanted as ResetMethod[];
				return 0;
			},
		},
	};
}
