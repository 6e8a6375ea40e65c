/**
 * What a PCI function decodes, as sysfs lists it.
 *
 * @module
 */
import {
	PCI_BASE_ADDRESS_SPACE_IO,
	PCI_COMMAND_IO,
	PCI_COMMAND_MEMORY,
	PCI_ROM_ADDRESS,
	PCI_ROM_ADDRESS1,
} from "../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../hardware/function.ts";
import { load } from "../hardware/little-endian.ts";
import type { BarDescription } from "../hardware/model.ts";
import type { SriovUnit } from "../hardware/sriov.ts";
import { describeVirtualFunction } from "../hardware/virtual-function.ts";

/** One line of the `resource` file. All zero: there is none. */
export interface PciResource {
	readonly start: bigint;
	/** The last address, not the one after it. */
	readonly end: bigint;
	/** `IORESOURCE_*` bits of `linux/ioport.h`, the low ones those of the register. */
	readonly flags: number;
}

const IORESOURCE_IO = 0x100;
const IORESOURCE_MEM = 0x200;
const IORESOURCE_PREFETCH = 0x2000;
const IORESOURCE_READONLY = 0x4000;
const IORESOURCE_SIZEALIGN = 0x40000;
const IORESOURCE_MEM_64 = 0x100000;
/** Lines of an endpoint: six BARs, the ROM, six BARs of virtual functions. */
const ENDPOINT_LINES = 13;
/** A bridge has four windows more. */
const BRIDGE_LINES = 17;
const ROM_LINE = 6;
/** Lines of the BARs of virtual functions: each is as large as all of them together. */
export const SRIOV_LINES = { first: 7, end: 13 } as const;
const FIRST_WINDOW = 13;
const NONE: PciResource = { start: 0n, end: 0n, flags: 0 };

/** Everything the function decodes, by line of the `resource` file. */
export function readResources(fn: PciFunction): PciResource[] {
	const lines: PciResource[] = Array(fn.isBridge ? BRIDGE_LINES : ENDPOINT_LINES).fill(NONE);
	for (let index = 0; index < 6; index++) lines[index] = barResource(fn, index);
	lines[ROM_LINE] = romResource(fn);
	const { sriov } = fn;
	for (const bar of sriov ? virtualBars(fn, sriov) : [])
		lines[SRIOV_LINES.first + bar.index] = range(
			sriov?.barAddress(bar, 0) ?? 0n,
			BigInt(bar.size) * BigInt(sriov?.totalVfs ?? 0),
			memoryFlags(bar) | IORESOURCE_SIZEALIGN,
		);
	if (fn.isBridge)
		for (const [index, window] of bridgeWindows(fn.config).entries()) lines[FIRST_WINDOW + index] = window;
	return lines;
}

/** The COMMAND bits for the kinds of BAR a function has: what Linux sets when it enables one. */
export function decodingOf(fn: PciFunction): number {
	let bits = 0;
	for (let index = 0; index < 6; index++) {
		const bar = fn.bar(index);
		if (bar) bits |= bar.kind === "io" ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	}
	return bits;
}

/** The `resource` file. */
export function formatResources(resources: readonly PciResource[]): string {
	const hex = (value: bigint | number) => `0x${value.toString(16).padStart(16, "0")}`;
	return resources.map(({ start, end, flags }) => `${hex(start)} ${hex(end)} ${hex(flags)}\n`).join("");
}

function barResource(fn: PciFunction, index: number): PciResource {
	const bar = fn.bar(index);
	if (!bar) return NONE;
	const flags = bar.kind === "io" ? IORESOURCE_IO | PCI_BASE_ADDRESS_SPACE_IO : memoryFlags(bar);
	return range(fn.barAddress(index), BigInt(bar.size), flags | IORESOURCE_SIZEALIGN);
}

function memoryFlags(bar: BarDescription): number {
	const prefetch = bar.prefetchable ? IORESOURCE_PREFETCH | 8 : 0;
	return IORESOURCE_MEM | prefetch | (bar.kind === "mem64" ? IORESOURCE_MEM_64 | 4 : 0);
}

/** The registers tell how large they are, except where they were copied from a real machine: then the model does. */
function virtualBars(fn: PciFunction, sriov: SriovUnit): readonly BarDescription[] {
	return describeVirtualFunction(fn, sriov, 0).description.bars ?? [];
}

function romResource(fn: PciFunction): PciResource {
	if (fn.romSize === 0) return NONE;
	const register = load(fn.config, fn.isBridge ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS, 4);
	const flags = IORESOURCE_MEM | IORESOURCE_PREFETCH | IORESOURCE_READONLY | IORESOURCE_SIZEALIGN;
	return range(BigInt((register & ~0x7ff) >>> 0), BigInt(fn.romSize), flags);
}

/** I/O, memory and prefetchable window (PCI-to-PCI Bridge 1.2, section 3.2.5); a limit below the base closes one. */
function bridgeWindows(config: Uint8Array): PciResource[] {
	const word = (offset: number) => load(config, offset, 2);
	const window = (base: bigint, limit: bigint, flags: number) =>
		base < limit ? { start: base, end: limit, flags } : NONE;
	const ioBase = BigInt(((config[0x1c] ?? 0) & 0xf0) << 8);
	const ioLimit = BigInt((((config[0x1d] ?? 0) & 0xf0) << 8) | 0xfff);
	const memory = (offset: number) => BigInt(word(offset) & 0xfff0) << 16n;
	const upper = (offset: number) => BigInt(load(config, offset, 4)) << 32n;
	return [
		window(ioBase, ioLimit, IORESOURCE_IO | 1),
		window(memory(0x20), memory(0x22) | 0xfffffn, IORESOURCE_MEM),
		window(
			upper(0x28) | memory(0x24),
			upper(0x2c) | memory(0x26) | 0xfffffn,
			IORESOURCE_MEM | IORESOURCE_PREFETCH | IORESOURCE_MEM_64 | 0xc,
		),
	];
}

function range(start: bigint, size: bigint, flags: number): PciResource {
	return { start, end: start + size - 1n, flags };
}
