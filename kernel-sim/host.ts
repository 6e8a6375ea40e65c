/**
 * A host: a machine, and the Linux driver that each of its functions starts with.
 *
 * @module
 */
import { formatPciAddress } from "../core/host/address.ts";
import { type DeviceTreeNode, deviceTreeNode } from "../core/platform/device-tree/node.ts";
import { type LspciOptions, machineFromLspci } from "./from-lspci.ts";
import { hostBridge, isaBridge, rootPort } from "./hardware/bridges.ts";
import { programMachine } from "./hardware/firmware.ts";
import { PciFunction } from "./hardware/function.ts";
import { memoryDevice } from "./hardware/memory-device.ts";
import { Edu } from "./hardware/models/edu.ts";
import type { NetworkPeer } from "./hardware/models/network.ts";
import type { Namespace } from "./hardware/models/nvme/mod.ts";
import { Nvme } from "./hardware/models/nvme/mod.ts";
import { PlatformHardware } from "./hardware/platform/hardware.ts";
import { AmdXgbe } from "./hardware/platform/models/amd-xgbe/mod.ts";
import { CalxedaXgmac } from "./hardware/platform/models/calxeda-xgmac/mod.ts";
import { Machine, type MachineOptions } from "./hardware/topology.ts";

/** Options of {@link Host.reference}. */
export interface ReferenceHostOptions extends MachineOptions {
	/** How the NVMe controller at 0000:05:00.0 signals: its best mechanism; `msix` when left out. INTx is always there. */
	readonly interrupts?: "msix" | "msi" | "intx";
	/** Its namespaces, number 1 first; one of 64 MiB in memory when left out. */
	readonly namespaces?: readonly Namespace[];
}

/**
 * What a simulated Linux runs on.
 *
 * @example
 * ```ts
 * const linux = new SimulatedLinux({ host: Host.reference() });
 * ```
 */
export class Host {
	readonly machine: Machine;
	/** "Kernel driver in use" when Linux has booted, by name such as `0000:05:00.0` or `fff51000.ethernet`. */
	readonly drivers: ReadonlyMap<string, string>;
	/** Nodes of its device tree besides those of its platform devices, such as the clocks they refer to. */
	readonly deviceTree: readonly DeviceTreeNode[];

	/** @param drivers by name; devices without an entry start without a driver */
	constructor(
		machine: Machine,
		drivers: ReadonlyMap<string, string> = new Map(),
		deviceTree: readonly DeviceTreeNode[] = [],
	) {
		this.machine = machine;
		this.drivers = drivers;
		this.deviceTree = deviceTree;
	}

	/**
	 * Rebuilds a real host from what `lspci -vvvnnxxxx` (or `-xxxx`) prints on it: topology, registers, BARs, IOMMU groups
	 * and drivers.
	 *
	 * @throws VfioError with the line, when the text is not that
	 */
	static fromLspci(text: string, options: LspciOptions = {}): Host {
		const { machine, drivers } = machineFromLspci(text, options);
		return new Host(machine, drivers);
	}

	/**
	 * The host that ships:
	 *
	 * | address | group | function | driver |
	 * |---|---|---|---|
	 * | 0000:00:00.0 | 0 | host bridge | |
	 * | 0000:00:08.0-5 | 1-6 | root ports to buses 1-6, with ACS | pcieport |
	 * | 0000:00:12.0 | 7 | edu, no reset of its own | |
	 * | 0000:00:12.1 | 7 | memory device | |
	 * | 0000:00:1f.0 | 8 | ISA bridge | |
	 * | 0000:01:00.0 | 9 | edu | |
	 * | 0000:05:00.0 | 10 | NVMe, interrupts as chosen | nvme |
	 * | 0000:06:00.0 | 11 | NVMe, 65 MSI-X vectors | nvme |
	 *
	 * The root ports to buses 2 to 4 are empty: room for a hot plug.
	 */
	static reference(options: ReferenceHostOptions = {}): Host {
		const { interrupts = "msix", namespaces } = options;
		const machine = new Machine(options);
		const drivers = new Map<string, string>();
		machine.plug("0000:00:00.0", new PciFunction(hostBridge()));
		for (let port = 0; port < 6; port++) {
			const address = { domain: 0, bus: 0, device: 8, function: port };
			const description = rootPort({ secondary: port + 1, slot: port + 1, multifunction: port === 0 });
			machine.plug(address, new PciFunction(description));
			drivers.set(formatPciAddress(address), "pcieport");
		}
		machine.plug("0000:00:12.0", new PciFunction({ ...Edu.description(), multifunction: true }, new Edu()));
		machine.plug("0000:00:12.1", new PciFunction(memoryDevice()));
		machine.plug("0000:00:1f.0", new PciFunction(isaBridge()));
		machine.plug("0000:01:00.0", new PciFunction(Edu.description(), new Edu()));
		const first = new Nvme(namespaces ? { namespaces } : {});
		machine.plug("0000:05:00.0", new PciFunction(Nvme.description({ interrupts }), first));
		machine.plug("0000:06:00.0", new PciFunction(Nvme.description(), new Nvme()));
		for (const address of ["0000:05:00.0", "0000:06:00.0"]) drivers.set(address, "nvme");
		programMachine(machine);
		return new Host(machine, drivers);
	}

	/**
	 * A board with platform devices and no PCI bus, each device with an IOMMU group of its own. No such board was built; the
	 * parts of its device tree are those of boards that were.
	 *
	 * | device | group | compatible | driver |
	 * |---|---|---|---|
	 * | fff51000.ethernet | 0 | calxeda,hb-xgmac | calxedaxgmac |
	 * | e0700000.xgmac | 1 | amd,xgbe-seattle-v1a | amd-xgbe |
	 * | e1000000.sram | 2 | mmio-sram, with no reset and no interrupt | |
	 *
	 * @param peers who is at the other end of each network controller's wire
	 */
	static board(
		peers: { readonly xgmac?: NetworkPeer; readonly xgbe?: NetworkPeer } = {},
		options: MachineOptions = {},
	): Host {
		const machine = new Machine(options);
		const { xgmac, xgbe } = peers;
		const clock = (name: string, phandle: number) =>
			deviceTreeNode(name, {
				compatible: "fixed-clock",
				"#clock-cells": 0,
				"clock-frequency": 250000000,
				"clock-output-names": name,
				phandle,
			});
		const calxeda = new CalxedaXgmac(xgmac ? { peer: xgmac } : {});
		machine.plugPlatform(new PlatformHardware(CalxedaXgmac.description(), calxeda));
		const amd = new AmdXgbe(xgbe ? { peer: xgbe } : {});
		machine.plugPlatform(new PlatformHardware(AmdXgbe.description({ clocks: [1, 2] }), amd));
		const sram = { kind: "mmio", address: 0xe1000000n, size: 0x10000, backing: "memory" } as const;
		const node = deviceTreeNode("sram@e1000000", { compatible: ["acme,sram", "mmio-sram"] });
		machine.plugPlatform(new PlatformHardware({ name: "e1000000.sram", regions: [sram], interrupts: [], node }));
		const drivers = new Map([
			["fff51000.ethernet", "calxedaxgmac"],
			["e0700000.xgmac", "amd-xgbe"],
		]);
		return new Host(machine, drivers, [clock("dma-clock", 1), clock("ptp-clock", 2)]);
	}
}
