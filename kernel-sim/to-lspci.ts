/**
 * Prints a machine as `lspci -D -nnvxxxx` would: the text that `machineFromLspci` reads back.
 *
 * @module
 */
import { formatPciAddress } from "../core/host/address.ts";
import type { PciFunction } from "./hardware/function.ts";
import type { BarDescription } from "./hardware/model.ts";
import type { Machine } from "./hardware/topology.ts";

const UNITS = ["", "K", "M", "G", "T"];

/**
 * Prints every function: its registers, the size of its BARs, its IOMMU group and its driver.
 *
 * @param drivers by address
 */
export function printLspci(machine: Machine, drivers: ReadonlyMap<string, string> = new Map()): string {
	return machine.functions.map((fn) => printFunction(machine, fn, drivers)).join("\n");
}

function printFunction(machine: Machine, fn: PciFunction, drivers: ReadonlyMap<string, string>): string {
	const name = formatPciAddress(fn.address);
	const { classCode, vendor, device, revision = 0 } = fn.description;
	const group = machine.groupOf(fn);
	const driver = drivers.get(name);
	const lines = [
		`${name} Class [${hex(classCode >>> 8, 4)}]: Device [${hex(vendor, 4)}:${hex(device, 4)}] (rev ${hex(revision, 2)})`,
	];
	if (group !== undefined) lines.push(`\tIOMMU group: ${group}`);
	for (let index = 0; index < 6; index++) {
		const bar = fn.bar(index);
		if (bar) lines.push(`\tRegion ${index}: ${printBar(bar, fn.barAddress(index))}`);
	}
	if (fn.romSize > 0) lines.push(`\tExpansion ROM at <unassigned> [disabled] [size=${printSize(fn.romSize)}]`);
	if (driver !== undefined) lines.push(`\tKernel driver in use: ${driver}`);
	for (let offset = 0; offset < fn.config.length; offset += 16) {
		const bytes = Array.from(fn.config.subarray(offset, offset + 16), (byte) => hex(byte, 2));
		lines.push(`${hex(offset, 2)}: ${bytes.join(" ")}`);
	}
	return `${lines.join("\n")}\n`;
}

function printBar(bar: BarDescription, address: bigint): string {
	const place = address === 0n ? "<unassigned>" : address.toString(16).padStart(bar.kind === "io" ? 4 : 8, "0");
	const size = `[size=${printSize(bar.size)}]`;
	if (bar.kind === "io") return `I/O ports at ${place} ${size}`;
	const prefetchable = bar.prefetchable ? "prefetchable" : "non-prefetchable";
	return `Memory at ${place} (${bar.kind === "mem64" ? 64 : 32}-bit, ${prefetchable}) ${size}`;
}

/** As lspci does it: the largest unit that divides the size. */
function printSize(size: number): string {
	let unit = 0;
	let count = size;
	while (count % 1024 === 0 && unit < UNITS.length - 1) {
		count /= 1024;
		unit += 1;
	}
	return `${count}${UNITS[unit]}`;
}

function hex(value: number, digits: number): string {
	return value.toString(16).padStart(digits, "0");
}
