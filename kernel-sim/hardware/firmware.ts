/**
 * What the firmware does before Linux starts: gives every BAR an address, opens the windows of the bridges, and switches
 * decoding on.
 *
 * @module
 */
import {
	PCI_BASE_ADDRESS_0,
	PCI_COMMAND,
	PCI_COMMAND_IO,
	PCI_COMMAND_MASTER,
	PCI_COMMAND_MEMORY,
	PCI_INTERRUPT_LINE,
	PCI_INTERRUPT_PIN,
	PCI_ROM_ADDRESS,
} from "../../core/uapi/pci_regs.ts";
import type { PciFunction } from "./function.ts";
import { load } from "./little-endian.ts";
import type { BarDescription } from "./model.ts";
import type { Machine } from "./topology.ts";

/** A stretch of an address space, the end excluded. */
interface Window {
	start: number;
	end: number;
}

/** What is handed out: I/O ports, memory below 4 GiB, and prefetchable memory above it. */
interface Windows {
	readonly io: Window;
	readonly memory: Window;
	readonly prefetchable: Window;
}

const ROOT: Windows = {
	io: { start: 0x1000, end: 0x10000 },
	memory: { start: 0xc0000000, end: 0xfec00000 },
	// Below 2^39, so that an IOMMU of the smallest address width reaches it for peer-to-peer DMA.
	prefetchable: { start: 0x40_0000_0000, end: 0x80_0000_0000 },
};
const COMMAND_SERR = 0x100;
const SRIOV_BAR_0 = 0x24;
const IO_GRANULE = 0x1000;
const MEMORY_GRANULE = 0x100000;
/** What a port keeps free for a function that is plugged in later. */
const HOTPLUG_MEMORY = 0x200000;

/** One BAR or ROM that wants an address. */
interface Request {
	readonly fn: PciFunction;
	readonly register: number;
	readonly size: number;
	readonly window: keyof Windows;
	readonly wide: boolean;
}

/** Programs everything in the machine, as at boot. */
export function programMachine(machine: Machine): void {
	const roots = machine.functions.filter((fn) => machine.bridgeOf(fn) === undefined);
	const free: Windows = structuredClone(ROOT);
	programBus(machine, roots, free);
}

/**
 * Gives a function that was plugged in later its addresses, inside the windows of the bridge above it. Decoding stays
 * off: that is for whoever enables the function.
 *
 * @returns false when there was no room for all of them
 */
export function programHotplugged(machine: Machine, fn: PciFunction): boolean {
	const bridge = machine.bridgeOf(fn);
	const windows = bridge ? windowsOf(bridge) : ROOT;
	const siblings = machine.functions.filter((other) => other !== fn && machine.bridgeOf(other) === bridge);
	const taken = siblings.flatMap((sibling) => [...occupied(sibling)]);
	let complete = true;
	for (const request of requests(fn).sort((a, b) => b.size - a.size)) {
		const window = windows[request.window];
		let start = align(window.start, request.size);
		for (let clash = overlap(taken, start, request.size); clash; clash = overlap(taken, start, request.size))
			start = align(clash.end, request.size);
		if (start + request.size > window.end) complete = false;
		else {
			assign(request, start);
			taken.push({ start, end: start + request.size });
		}
	}
	return complete;
}

function programBus(machine: Machine, functions: readonly PciFunction[], free: Windows): void {
	const wanted = functions.flatMap(requests).sort((a, b) => b.size - a.size);
	for (const request of wanted) {
		const window = free[request.window];
		const start = align(window.start, request.size);
		if (start + request.size > window.end) continue;
		assign(request, start);
		window.start = start + request.size;
	}
	for (const fn of functions) {
		if (fn.isBridge) programBridge(machine, fn, free);
		const master = fn.isBridge ? PCI_COMMAND_MASTER : 0;
		fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | COMMAND_SERR | master);
		// Two lines of the legacy controller are free for PCI: slots alternate.
		if (fn.config[PCI_INTERRUPT_PIN] !== 0) fn.configWrite(PCI_INTERRUPT_LINE, 1, 10 + (fn.address.device & 1));
	}
}

function programBridge(machine: Machine, bridge: PciFunction, free: Windows): void {
	const granules = { io: IO_GRANULE, memory: MEMORY_GRANULE, prefetchable: MEMORY_GRANULE };
	const starts = { io: 0, memory: 0, prefetchable: 0 };
	for (const kind of ["io", "memory", "prefetchable"] as const) {
		free[kind].start = align(free[kind].start, granules[kind]);
		starts[kind] = free[kind].start;
	}
	programBus(machine, machine.childrenOf(bridge), free);
	for (const kind of ["io", "memory", "prefetchable"] as const) {
		const reserve = kind === "io" ? 0 : HOTPLUG_MEMORY;
		free[kind].start = align(Math.max(free[kind].start, starts[kind] + reserve), granules[kind]);
	}
	const field = (address: number, shift: number) => Math.floor(address / 2 ** shift);
	// The last granule is the limit; a window with the limit below its base is closed.
	const ioLimit = free.io.start - IO_GRANULE;
	bridge.configWrite(0x1c, 1, free.io.start === starts.io ? 0xf0 : field(starts.io, 8));
	bridge.configWrite(0x1d, 1, free.io.start === starts.io ? 0 : field(ioLimit, 8));
	bridge.configWrite(0x20, 2, field(starts.memory, 16));
	bridge.configWrite(0x22, 2, field(free.memory.start - MEMORY_GRANULE, 16));
	const prefetchableLimit = free.prefetchable.start - MEMORY_GRANULE;
	bridge.configWrite(0x24, 2, field(starts.prefetchable % 2 ** 32, 16));
	bridge.configWrite(0x26, 2, field(prefetchableLimit % 2 ** 32, 16));
	bridge.configWrite(0x28, 4, field(starts.prefetchable, 32));
	bridge.configWrite(0x2c, 4, field(prefetchableLimit, 32));
}

/** What a bridge's registers let through. */
function windowsOf(bridge: PciFunction): Windows {
	const read = (offset: number, width: 1 | 2 | 4) => load(bridge.config, offset, width);
	const io = { start: (read(0x1c, 1) & 0xf0) * 0x100, end: (read(0x1d, 1) & 0xf0) * 0x100 + IO_GRANULE };
	const memory = {
		start: (read(0x20, 2) & 0xfff0) * 0x10000,
		end: (read(0x22, 2) & 0xfff0) * 0x10000 + MEMORY_GRANULE,
	};
	const prefetchable = {
		start: read(0x28, 4) * 2 ** 32 + (read(0x24, 2) & 0xfff0) * 0x10000,
		end: read(0x2c, 4) * 2 ** 32 + (read(0x26, 2) & 0xfff0) * 0x10000 + MEMORY_GRANULE,
	};
	return { io, memory, prefetchable };
}

function requests(fn: PciFunction): Request[] {
	const wanted: Request[] = [];
	if (fn.virtual) return wanted;
	for (let index = 0; index < 6; index++) {
		const bar = fn.bar(index);
		if (bar) wanted.push(request(fn, bar));
	}
	// Room for the BARs of all virtual functions there can be.
	const { sriov } = fn;
	for (const bar of sriov?.bars ?? []) {
		const register = (sriov?.offset ?? 0) + SRIOV_BAR_0 + 4 * bar.index;
		wanted.push({ ...request(fn, bar), register, size: bar.size * (sriov?.totalVfs ?? 0) });
	}
	if (fn.romSize > 0 && !fn.isBridge)
		wanted.push({ fn, register: PCI_ROM_ADDRESS, size: fn.romSize, window: "memory", wide: false });
	return wanted;
}

function request(fn: PciFunction, bar: BarDescription): Request {
	const wide = bar.kind === "mem64";
	// Behind a bridge only prefetchable memory can be above 4 GiB.
	const window = bar.kind === "io" ? "io" : wide && bar.prefetchable ? "prefetchable" : "memory";
	return { fn, register: PCI_BASE_ADDRESS_0 + 4 * bar.index, size: bar.size, window, wide };
}

function assign({ fn, register, wide }: Request, address: number): void {
	fn.configWrite(register, 4, address % 2 ** 32);
	if (wide) fn.configWrite(register + 4, 4, Math.floor(address / 2 ** 32));
}

/** The addresses a function has, and for a bridge the ones it passes on. */
function* occupied(fn: PciFunction): Generator<Window> {
	for (let index = 0; index < 6; index++) {
		const start = Number(fn.barAddress(index));
		if (start > 0) yield { start, end: start + (fn.bar(index)?.size ?? 0) };
	}
	const rom = load(fn.config, PCI_ROM_ADDRESS, 4) & ~1;
	if (fn.romSize > 0 && !fn.isBridge) yield { start: rom >>> 0, end: (rom >>> 0) + fn.romSize };
	if (fn.isBridge) yield* Object.values(windowsOf(fn));
}

function overlap(taken: readonly Window[], start: number, size: number): Window | undefined {
	return taken.find((window) => window.start < start + size && start < window.end);
}

function align(address: number, granule: number): number {
	return Math.ceil(address / granule) * granule;
}
