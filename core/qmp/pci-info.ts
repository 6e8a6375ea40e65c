/**
 * What `query-pci` says of a machine's buses, as the guest has set them up.
 *
 * @module
 */
import type { PciBridge, PciBus } from "../machine/bus.ts";
import type { GuestBar, GuestPciFunction } from "../machine/machine.ts";
import type { SlotAddress } from "../machine/slot-address.ts";
import type { PciTopology } from "../machine/topology.ts";
import {
	PCI_BASE_ADDRESS_0,
	PCI_CLASS_PROG,
	PCI_COMMAND,
	PCI_COMMAND_IO,
	PCI_COMMAND_MEMORY,
	PCI_DEVICE_ID,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_MASK,
	PCI_INTERRUPT_LINE,
	PCI_INTERRUPT_PIN,
	PCI_IO_BASE,
	PCI_IO_LIMIT,
	PCI_MEMORY_BASE,
	PCI_MEMORY_LIMIT,
	PCI_PREF_BASE_UPPER32,
	PCI_PREF_LIMIT_UPPER32,
	PCI_PREF_MEMORY_BASE,
	PCI_PREF_MEMORY_LIMIT,
	PCI_PRIMARY_BUS,
	PCI_SUBSYSTEM_ID,
	PCI_SUBSYSTEM_VENDOR_ID,
	PCI_VENDOR_ID,
} from "../uapi/pci_regs.ts";

/** A bus and its functions. The names of the members are QEMU's. */
export interface PciBusInfo {
	readonly bus: number;
	readonly devices: readonly PciDeviceInfo[];
}

/** One function. */
export interface PciDeviceInfo {
	readonly bus: number;
	readonly slot: number;
	readonly function: number;
	readonly class_info: { readonly class: number; readonly desc?: string };
	readonly id: {
		readonly vendor: number;
		readonly device: number;
		readonly subsystem?: number;
		readonly "subsystem-vendor"?: number;
	};
	/** The line that the guest noted; left out where there is no pin. */
	readonly irq?: number;
	/** 1 to 4; 0 for none. */
	readonly irq_pin: number;
	/** The name that the machine has for it; empty when it has none. */
	readonly qdev_id: string;
	readonly pci_bridge?: {
		readonly bus: {
			readonly number: number;
			readonly secondary: number;
			readonly subordinate: number;
			readonly io_range: PciRange;
			readonly memory_range: PciRange;
			readonly prefetchable_range: PciRange;
		};
		/** Left out while the guest has given the bus below no number. */
		readonly devices?: readonly PciDeviceInfo[];
	};
	readonly regions: readonly PciRegionInfo[];
}

/** Addresses that a bridge forwards; none when the limit is below the base. */
export interface PciRange {
	readonly base: number;
	readonly limit: number;
}

/** A BAR. */
export interface PciRegionInfo {
	readonly bar: number;
	readonly type: "io" | "memory";
	/** -1 while it decodes nowhere. */
	readonly address: number;
	/** Bytes. */
	readonly size: number;
	readonly prefetch?: boolean;
	readonly mem_type_64?: boolean;
}

/** The usual names of some classes. */
const CLASS_NAMES: Readonly<Record<number, string>> = {
	257: "IDE controller",
	260: "RAID controller",
	262: "SATA controller",
	264: "NVMe controller",
	512: "Ethernet controller",
	640: "Network controller",
	768: "VGA controller",
	770: "3D controller",
	1027: "Audio controller",
	1536: "Host bridge",
	1537: "ISA bridge",
	1540: "PCI bridge",
	3075: "USB controller",
};

/**
 * Reads the buses of a topology.
 *
 * @param nameOf the name that the machine has for a function
 */
export function pciInfo(topology: PciTopology, nameOf: (fn: GuestPciFunction) => string | undefined): PciBusInfo[] {
	return [{ bus: 0, devices: devicesOn(topology.root, 0, nameOf) }];
}

function devicesOn(bus: PciBus, number: number, nameOf: (fn: GuestPciFunction) => string | undefined): PciDeviceInfo[] {
	return bus.functions.flatMap((fn) => {
		const address = bus.addressOf(fn);
		// One that does not answer yet is not there for the guest.
		if (!address || bus.functionAt(address.device * 8 + address.function) !== fn) return [];
		return [deviceInfo(fn, address, number, nameOf)];
	});
}

function deviceInfo(
	fn: GuestPciFunction,
	address: SlotAddress,
	bus: number,
	nameOf: (fn: GuestPciFunction) => string | undefined,
): PciDeviceInfo {
	const pin = fn.configRead(PCI_INTERRUPT_PIN, 1);
	const type = fn.configRead(PCI_CLASS_PROG + 1, 2);
	const bridge = (fn.configRead(PCI_HEADER_TYPE, 1) & PCI_HEADER_TYPE_MASK) === PCI_HEADER_TYPE_BRIDGE;
	const desc = CLASS_NAMES[type];
	return {
		bus,
		slot: address.device,
		function: address.function,
		class_info: { class: type, ...(desc === undefined ? {} : { desc }) },
		id: {
			vendor: fn.configRead(PCI_VENDOR_ID, 2),
			device: fn.configRead(PCI_DEVICE_ID, 2),
			...(bridge
				? {}
				: {
						subsystem: fn.configRead(PCI_SUBSYSTEM_ID, 2),
						"subsystem-vendor": fn.configRead(PCI_SUBSYSTEM_VENDOR_ID, 2),
					}),
		},
		...(pin > 0 ? { irq: fn.configRead(PCI_INTERRUPT_LINE, 1) } : {}),
		irq_pin: pin,
		qdev_id: nameOf(fn) ?? "",
		...("secondary" in fn ? { pci_bridge: bridgeInfo(fn as PciBridge, nameOf) } : {}),
		regions: [0, 1, 2, 3, 4, 5, 6].flatMap((index) => {
			const bar = fn.bar(index);
			return bar === undefined ? [] : [regionInfo(fn, bar)];
		}),
	};
}

function bridgeInfo(
	bridge: PciBridge,
	nameOf: (fn: GuestPciFunction) => string | undefined,
): NonNullable<PciDeviceInfo["pci_bridge"]> {
	const page = (offset: number) => (bridge.configRead(offset, 1) & 0xf0) * 0x100;
	const megabytes = (offset: number) => (bridge.configRead(offset, 2) & 0xfff0) * 0x1_0000;
	const upper = (offset: number) => bridge.configRead(offset, 4) * 2 ** 32;
	const { secondaryNumber: secondary, subordinateNumber: subordinate } = bridge;
	return {
		bus: {
			number: bridge.configRead(PCI_PRIMARY_BUS, 1),
			secondary,
			subordinate,
			io_range: { base: page(PCI_IO_BASE), limit: page(PCI_IO_LIMIT) + 0xfff },
			memory_range: { base: megabytes(PCI_MEMORY_BASE), limit: megabytes(PCI_MEMORY_LIMIT) + 0xf_ffff },
			prefetchable_range: {
				base: upper(PCI_PREF_BASE_UPPER32) + megabytes(PCI_PREF_MEMORY_BASE),
				limit: upper(PCI_PREF_LIMIT_UPPER32) + megabytes(PCI_PREF_MEMORY_LIMIT) + 0xf_ffff,
			},
		},
		...(secondary === 0 ? {} : { devices: devicesOn(bridge.secondary, secondary, nameOf) }),
	};
}

function regionInfo(fn: GuestPciFunction, bar: GuestBar): PciRegionInfo {
	const { index, kind, size, prefetchable } = bar;
	const address = barAddress(fn, bar);
	if (kind === "io") return { bar: index, type: "io", address, size };
	return { bar: index, type: "memory", address, size, prefetch: prefetchable, mem_type_64: kind === "mem64" };
}

const ROM_BAR = 6;
const ROM_ADDRESS = 0x30;
const ROM_ENABLE = 1;

/** Where the guest has put it; -1 when decoding is off. */
function barAddress(fn: GuestPciFunction, { index, kind, size }: GuestBar): number {
	const command = fn.configRead(PCI_COMMAND, 2);
	if ((command & (kind === "io" ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) === 0) return -1;
	const low = fn.configRead(index === ROM_BAR ? ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * index, 4);
	if (index === ROM_BAR && (low & ROM_ENABLE) === 0) return -1;
	const high = kind === "mem64" ? fn.configRead(PCI_BASE_ADDRESS_0 + 4 * index + 4, 4) : 0;
	const base = high * 2 ** 32 + ((low & ~(Math.min(size, 2 ** 31) - 1)) >>> 0);
	return base === 0 ? -1 : base;
}
