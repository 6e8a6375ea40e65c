/**
 * The BARs of functions that lspci printed: what they decode comes from their registers, how large they are from the
 * text; and where the text does not say, from this rule.
 *
 * A register only tells where its BAR starts. So the size is at most
 * - the largest power of two that the address is a multiple of (a BAR is aligned to its size), and
 * - the way to the next BAR or bridge window of the same address space (they do not overlap).
 *
 * Below that bound it is what functions of this class have; or what the MSI-X structures need, for the BAR that they are
 * in, since they mostly are its largest part; or 1 MiB of memory, 256 KiB of ROM, 256 ports. A size that was printed is
 * taken as it is, unless the address in the register is not a multiple of it.
 *
 * @module
 */
import {
	PCI_BASE_ADDRESS_0,
	PCI_BASE_ADDRESS_MEM_PREFETCH,
	PCI_BASE_ADDRESS_MEM_TYPE_64,
	PCI_BASE_ADDRESS_MEM_TYPE_MASK,
	PCI_BASE_ADDRESS_SPACE_IO,
	PCI_CAP_ID_MSIX,
	PCI_CLASS_PROG,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_CARDBUS,
	PCI_HEADER_TYPE_MASK,
	PCI_HEADER_TYPE_NORMAL,
	PCI_ROM_ADDRESS,
	PCI_ROM_ADDRESS1,
	PCI_VENDOR_ID,
} from "../../core/uapi/pci_regs.ts";
import { findCapability } from "./config-walk.ts";
import type { RomDescription } from "./description.ts";
import { load } from "./little-endian.ts";
import type { ParsedFunction, ParsedRegion } from "./lspci.ts";
import type { BarDescription, BarKind } from "./model.ts";
import { describeMsix } from "./msix-unit.ts";

/** What a function decodes. */
export interface FunctionRegions {
	readonly bars: readonly BarDescription[];
	readonly rom: RomDescription | undefined;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const DEFAULT_MEMORY = MIB;
const DEFAULT_ROM = 256 * KIB;
const DEFAULT_PORTS = 256;
const SMALLEST_ROM = 2 * KIB;

/** Sizes that functions of a class have at least, and mostly: class code, BAR, bytes. */
const BY_CLASS: readonly (readonly [number, number, number])[] = [
	[0x010802, 0, 16 * KIB], // NVM Express: registers, doorbells, MSI-X
	[0x010601, 5, 4 * KIB], // AHCI
	[0x0c0330, 0, 64 * KIB], // xHCI
	[0x040300, 0, 16 * KIB], // HD audio
];
const EDU = 0x11e81234;

/** A register of a function, decoded. */
interface BarRegister {
	readonly index: number;
	readonly kind: BarKind;
	readonly prefetchable: boolean;
	readonly address: bigint;
}

/** How many BAR registers a header of this type has. */
function slots(config: Uint8Array): number {
	switch ((config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK) {
		case PCI_HEADER_TYPE_NORMAL:
			return 6;
		case PCI_HEADER_TYPE_BRIDGE:
			return 2;
		case PCI_HEADER_TYPE_CARDBUS:
			return 1;
		default:
			return 0;
	}
}

function registers(parsed: ParsedFunction): BarRegister[] {
	const { config } = parsed;
	const count = slots(config);
	const found: BarRegister[] = [];
	for (let index = 0; index < count; index++) {
		const value = load(config, PCI_BASE_ADDRESS_0 + 4 * index, 4);
		// A register of zeroes is no BAR, or one of 32 bits without an address: then lspci prints it, and not as virtual.
		if (value === 0 && !parsed.regions.some((region) => region.index === index && !region.virtual)) continue;
		if ((value & PCI_BASE_ADDRESS_SPACE_IO) !== 0) {
			found.push({ index, kind: "io", prefetchable: false, address: BigInt((value & ~3) >>> 0) });
			continue;
		}
		const wide = (value & PCI_BASE_ADDRESS_MEM_TYPE_MASK) === PCI_BASE_ADDRESS_MEM_TYPE_64 && index + 1 < count;
		const upper = wide ? load(config, PCI_BASE_ADDRESS_0 + 4 * (index + 1), 4) : 0;
		found.push({
			index,
			kind: wide ? "mem64" : "mem32",
			prefetchable: (value & PCI_BASE_ADDRESS_MEM_PREFETCH) !== 0,
			address: (BigInt(upper) << 32n) | BigInt((value & ~0xf) >>> 0),
		});
		if (wide) index++;
	}
	return found;
}

/** Where the ROM's register points; undefined when there is no ROM. */
function romAddress(parsed: ParsedFunction): bigint | undefined {
	const type = (parsed.config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK;
	if (type !== PCI_HEADER_TYPE_NORMAL && type !== PCI_HEADER_TYPE_BRIDGE) return undefined;
	const value = load(parsed.config, type === PCI_HEADER_TYPE_BRIDGE ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS, 4);
	const printed = parsed.rom !== undefined && !parsed.rom.virtual;
	return value === 0 && !printed ? undefined : BigInt((value & ~(SMALLEST_ROM - 1)) >>> 0);
}

/** Addresses where something starts or a window ends, in order: nothing reaches across one. */
class Boundaries {
	readonly memory: bigint[] = [];
	readonly io: bigint[] = [];

	add(parsed: ParsedFunction): void {
		for (const { kind, address } of registers(parsed)) (kind === "io" ? this.io : this.memory).push(address);
		this.memory.push(romAddress(parsed) ?? 0n);
		if (((parsed.config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK) === PCI_HEADER_TYPE_BRIDGE)
			this.#windows(parsed.config);
	}

	sort(): void {
		const order = (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0);
		this.memory.sort(order);
		this.io.sort(order);
	}

	/** PCI-to-PCI Bridge 1.2, section 3.2.5: bases and limits in units of 4 KiB and 1 MiB, the upper halves apart. */
	#windows(config: Uint8Array): void {
		const pair = (base: bigint, limit: bigint, into: bigint[]) => {
			if (base <= limit) into.push(base, limit);
		};
		const upper = (offset: number) => BigInt(load(config, offset, 4)) << 32n;
		const mib = (offset: number) => BigInt((load(config, offset, 2) & 0xfff0) * 0x10000);
		const ports = (offset: number, high: number) =>
			BigInt((load(config, offset, 1) & 0xf0) * 0x100 + load(config, high, 2) * 0x10000);
		pair(ports(0x1c, 0x30), ports(0x1d, 0x32) + 0x1000n, this.io);
		pair(mib(0x20), mib(0x22) + 0x100000n, this.memory);
		pair(upper(0x28) + mib(0x24), upper(0x2c) + mib(0x26) + 0x100000n, this.memory);
	}
}

/** The most that can start at an address. An address of 0 is none, and bounds nothing. */
function room(address: bigint, boundaries: readonly bigint[]): number {
	if (address === 0n) return Number.MAX_SAFE_INTEGER;
	const next = boundaries.find((boundary) => boundary > address);
	const alignment = Number(address & -address);
	return next === undefined ? alignment : Math.min(alignment, 2 ** Math.floor(Math.log2(Number(next - address))));
}

function alignmentOf(address: bigint): number {
	return address === 0n ? Number.MAX_SAFE_INTEGER : Number(address & -address);
}

const powerOfTwo = (size: number) => 2 ** Math.ceil(Math.log2(size));

/** How large a BAR mostly is, when only its function is known. */
function usualSize(parsed: ParsedFunction, bar: BarRegister): number {
	if (bar.kind === "io") return DEFAULT_PORTS;
	const { config } = parsed;
	const classCode = load(config, PCI_CLASS_PROG, 1) | (load(config, PCI_CLASS_PROG + 1, 2) << 8);
	const known = BY_CLASS.find(([code, index]) => code === classCode && index === bar.index)?.[2];
	const edu = bar.index === 0 && load(config, PCI_VENDOR_ID, 4) === EDU ? MIB : undefined;
	let messages = 0;
	const msix = findCapability(config, PCI_CAP_ID_MSIX);
	if (msix !== 0) {
		const { vectors, table, pba } = describeMsix(config, msix);
		if (table.bar === bar.index) messages = Math.max(messages, table.offset + vectors * 16);
		if (pba.bar === bar.index) messages = Math.max(messages, pba.offset + Math.ceil(vectors / 64) * 8);
	}
	if (messages === 0) return edu ?? known ?? DEFAULT_MEMORY;
	return Math.max(powerOfTwo(Math.max(messages, 4 * KIB)), edu ?? known ?? 0);
}

function barSize(
	parsed: ParsedFunction,
	bar: BarRegister,
	printed: ParsedRegion | undefined,
	boundaries: readonly bigint[],
): number {
	const least = bar.kind === "io" ? 4 : 16;
	const most = bar.kind === "mem64" ? 2 ** 52 : bar.kind === "mem32" ? 2 ** 31 : 2 ** 16;
	const size =
		printed?.size === undefined || printed.size === 0
			? Math.min(usualSize(parsed, bar), room(bar.address, boundaries))
			: Math.min(powerOfTwo(printed.size), alignmentOf(bar.address));
	return Math.min(Math.max(size, least), most);
}

function romSize(address: bigint, printed: ParsedRegion | undefined, boundaries: readonly bigint[]): number {
	const size = printed?.size
		? Math.min(powerOfTwo(printed.size), alignmentOf(address))
		: Math.min(DEFAULT_ROM, room(address, boundaries));
	return Math.min(Math.max(size, SMALLEST_ROM), 2 ** 31);
}

/** The regions of a virtual function: it has no registers for them, so only the text knows. */
function virtualRegions(parsed: ParsedFunction): BarDescription[] {
	const taken = new Set<number>();
	const bars: BarDescription[] = [];
	for (const { index, space, wide, prefetchable, size } of parsed.regions) {
		if (space === "io" || size === undefined || size < 16 || taken.has(index) || (wide && index > 4)) continue;
		taken.add(index);
		if (wide) taken.add(index + 1);
		const kind = wide ? "mem64" : "mem32";
		bars.push({ index, kind, prefetchable, size: powerOfTwo(size), backing: "memory" });
	}
	return bars;
}

/**
 * Whether these are the registers of an SR-IOV virtual function: identifiers read as ones (SR-IOV 1.1, section 3.4.1.1),
 * while the rest of the header does not.
 */
export function isVirtualFunction(parsed: ParsedFunction): boolean {
	return load(parsed.config, PCI_VENDOR_ID, 4) === 0xffffffff && parsed.config[PCI_HEADER_TYPE] === 0;
}

/** What each function decodes. @param functions all of one paste: they bound each other */
export function regionsOf(functions: readonly ParsedFunction[]): ReadonlyMap<ParsedFunction, FunctionRegions> {
	const domains = new Map<number, Boundaries>();
	for (const parsed of functions) {
		const { domain } = parsed.address;
		const boundaries = domains.get(domain) ?? new Boundaries();
		domains.set(domain, boundaries);
		boundaries.add(parsed);
	}
	for (const boundaries of domains.values()) boundaries.sort();
	const regions = new Map<ParsedFunction, FunctionRegions>();
	for (const parsed of functions) {
		const boundaries = domains.get(parsed.address.domain) as Boundaries;
		if (isVirtualFunction(parsed)) {
			regions.set(parsed, { bars: virtualRegions(parsed), rom: undefined });
			continue;
		}
		const bars = registers(parsed).map((bar): BarDescription => {
			const printed = parsed.regions.find((region) => region.index === bar.index);
			const size = barSize(parsed, bar, printed, bar.kind === "io" ? boundaries.io : boundaries.memory);
			return { index: bar.index, kind: bar.kind, prefetchable: bar.prefetchable, size, backing: "memory" };
		});
		const rom = romAddress(parsed);
		regions.set(parsed, {
			bars,
			rom: rom === undefined ? undefined : { size: romSize(rom, parsed.rom, boundaries.memory) },
		});
	}
	return regions;
}
