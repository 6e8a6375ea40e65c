/**
 * Rebuilds a host from what lspci prints on it.
 *
 * @module
 */
import {
	PCI_BASE_ADDRESS_0,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAPABILITY_LIST,
	PCI_CFG_SPACE_SIZE,
	PCI_COMMAND,
	PCI_COMMAND_MEMORY,
	PCI_DEVICE_ID,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_MASK,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_ENABLE,
	PCI_MSIX_FLAGS,
	PCI_MSIX_FLAGS_ENABLE,
	PCI_MSIX_FLAGS_MASKALL,
	PCI_SECONDARY_BUS,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
	PCI_VENDOR_ID,
} from "../core/uapi/pci_regs.ts";
import { walkCapabilities } from "./hardware/config-walk.ts";
import type { FunctionDescription } from "./hardware/description.ts";
import { placeholderRom } from "./hardware/emulated.ts";
import { PciFunction } from "./hardware/function.ts";
import { clearBits, setBits, store } from "./hardware/little-endian.ts";
import { type ParsedFunction, parseLspci } from "./hardware/lspci.ts";
import { type FunctionRegions, isVirtualFunction, regionsOf } from "./hardware/lspci-bars.ts";
import { defaultModels, type ModelRegistry } from "./hardware/models/mod.ts";
import { SparseMemory } from "./hardware/models/sparse-memory.ts";
import { describeConfig } from "./hardware/raw-config.ts";
import { Machine, type MachineOptions } from "./hardware/topology.ts";

/** Options of {@link machineFromLspci}. */
export interface LspciOptions extends MachineOptions {
	/** Which models serve the functions; those that ship when left out. */
	readonly models?: ModelRegistry;
}

/** A machine, and the Linux driver of each function by address. */
export interface LspciMachine {
	readonly machine: Machine;
	readonly drivers: ReadonlyMap<string, string>;
}

/** A BAR above this is not one ArrayBuffer: it would be too large for some, and nobody touches all of it. */
const LARGEST_BUFFER = 256 * 1024 * 1024;

/**
 * Builds the machine that lspci described: every function at its address with the registers that were printed, below the
 * bridges whose bus numbers lead to it (or on a root bus of its number), in the IOMMU group that was printed (or one
 * computed from the topology). Message signalled interrupts start disabled, since nobody here has taken them.
 *
 * Registers that make no sense (a capability chain in a circle, an MSI-X table in a BAR that is not there) are kept:
 * hardware is what it is.
 *
 * @param text what `lspci -vvvnnxxxx` prints, or a shorter form
 * @throws VfioError `malformed-config-space` or `invalid-argument`, with the line, when the text is not that
 */
export function machineFromLspci(text: string, options: LspciOptions = {}): LspciMachine {
	const functions = parseLspci(text);
	const regions = regionsOf(functions);
	const models = options.models ?? defaultModels();
	const machine = new Machine(options);
	const drivers = new Map<string, string>();
	for (const parsed of functions) {
		const fn = build(parsed, regions.get(parsed) as FunctionRegions, models);
		machine.plug(parsed.address, fn, parsed.iommuGroup === undefined ? {} : { group: parsed.iommuGroup });
		if (parsed.driver !== undefined) drivers.set(parsed.name, parsed.driver);
	}
	return { machine, drivers };
}

function build(parsed: ParsedFunction, { bars, rom }: FunctionRegions, models: ModelRegistry): PciFunction {
	const described = describeConfig(registers(parsed), {
		bars,
		name: parsed.title === "" ? parsed.name : parsed.title,
		...(rom === undefined ? {} : { rom }),
	});
	const served = models.serve(described, parsed.name);
	const image = rom && !rom.image ? { rom: { ...rom, image: placeholderRom(described, rom.size) } } : {};
	const seen = new Set(served?.registers);
	const backed = bars.map((bar) =>
		seen.has(bar.index) || bar.size > LARGEST_BUFFER ? { ...bar, backing: "registers" as const } : bar,
	);
	const description: FunctionDescription = { ...described, ...image, bars: backed };
	const large = backed.some((bar) => bar.backing === "registers");
	return new PciFunction(description, served?.model ?? (large ? new SparseMemory() : undefined));
}

/** The registers to start with. */
function registers(parsed: ParsedFunction): Uint8Array {
	const config = new Uint8Array(Math.max(parsed.config.length, PCI_CFG_SPACE_SIZE));
	config.set(parsed.config);
	// lspci shows 64 bytes to those who are not root: of the capabilities behind them nothing is known.
	if (parsed.config.length < PCI_CFG_SPACE_SIZE) {
		clearBits(config, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
		store(config, PCI_CAPABILITY_LIST, 1, 0);
	}
	if (isVirtualFunction(parsed)) completeVirtualFunction(parsed, config);
	disableMessages(config);
	leadDownwards(parsed, config);
	return config;
}

/**
 * A virtual function has no identifiers, no BARs and no memory enable of its own; software takes them from its physical
 * function. Here it becomes a function that has them.
 */
function completeVirtualFunction(parsed: ParsedFunction, config: Uint8Array): void {
	if (parsed.ids) {
		store(config, PCI_VENDOR_ID, 2, parsed.ids.vendor);
		store(config, PCI_DEVICE_ID, 2, parsed.ids.device);
	}
	setBits(config, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	for (const { index, address, wide } of parsed.regions) {
		if (address === undefined || index > 5) continue;
		store(config, PCI_BASE_ADDRESS_0 + 4 * index, 4, Number(address & 0xfffffff0n));
		if (wide && index < 5) store(config, PCI_BASE_ADDRESS_0 + 4 * (index + 1), 4, Number(address >> 32n));
	}
}

function disableMessages(config: Uint8Array): void {
	for (const { id, offset } of walkCapabilities(config)) {
		if (id === PCI_CAP_ID_MSI) clearBits(config, offset + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
		if (id === PCI_CAP_ID_MSIX)
			clearBits(config, offset + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	}
}

/**
 * Bus numbers grow downwards. A bridge that says otherwise is not configured, or the text is not honest; followed, it
 * would lead in a circle, so it leads nowhere.
 */
function leadDownwards(parsed: ParsedFunction, config: Uint8Array): void {
	const bridge = ((config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK) === PCI_HEADER_TYPE_BRIDGE;
	const { bus } = parsed.address;
	if (bridge && (config[PCI_SECONDARY_BUS] ?? 0) < bus) store(config, PCI_SECONDARY_BUS, 1, bus);
}
