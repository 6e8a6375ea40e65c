/**
 * What a guest will see of a device, decided from its configuration space and regions before anything is done: pure, so
 * that it can be printed, compared and tested without a kernel.
 *
 * @module
 */
import { allOnes, hex, load } from "../bytes.ts";
import type { Irq } from "../device/irq.ts";
import type { Region } from "../device/region.ts";
import type { GuestBar, PciSlot } from "../machine/machine.ts";
import {
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_MSIX_SIZEOF,
	PCI_CFG_SPACE_EXP_SIZE,
	PCI_CFG_SPACE_SIZE,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_IO,
	PCI_COMMAND_MASTER,
	PCI_COMMAND_MEMORY,
	PCI_DEVICE_ID,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_MASK,
	PCI_HEADER_TYPE_MFD,
	PCI_HEADER_TYPE_NORMAL,
	PCI_INTERRUPT_PIN,
	PCI_REVISION_ID,
	PCI_STD_HEADER_SIZEOF,
	PCI_VENDOR_ID,
} from "../uapi/pci_regs.ts";
import { VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX } from "../uapi/vfio.ts";
import { type AddedCapability, gpuDirectCapability, NVIDIA, vmdShadowCapability } from "./added-capability.ts";
import { type BarPlan, planBar, TABLE_REASON, type Trap } from "./bar-areas.ts";
import { emulateBars, findBars, ROM_BAR } from "./bar-registers.ts";
import { buildCapabilities, Refusal, type StandardCapabilities } from "./capabilities.ts";
import { ConfigRegisters } from "./config-space.ts";
import { buildExtendedCapabilities } from "./extended-capabilities.ts";
import { type IdentityOverrides, overrideIdentity } from "./identity.ts";
import { checkMsix, type MsixCapability, msixTableSize, readMsix } from "./msix-capability.ts";
import { type MsixRelocation, type RelocatedMsix, relocateMsix } from "./msix-relocation.ts";
import type { DeviceQuirk, QuirkDevice, QuirkPlace } from "./quirks/quirk.ts";
import { QUIRKS, quirksOf } from "./quirks/registry.ts";
import { walkCapabilities, walkExtendedCapabilities } from "./walk.ts";

/** What a plan is made from. */
export interface PlanInput {
	/** What the device's configuration space reads, 256 or 4096 bytes. */
	readonly config: Uint8Array;
	/** Regions 0 to 6 at their index; what is missing does not exist. */
	readonly regions: readonly Pick<Region, "size" | "mappable" | "msixMappable" | "sparseAreas">[];
	/** Interrupts at their index: INTx, MSI, MSI-X. */
	readonly irqs: readonly Pick<Irq, "count">[];
	/** The host's, in bytes. */
	readonly pageSize: number;
	readonly bus: PciSlot["bus"];
	readonly multifunction: boolean;
	/** false: trap every access. */
	readonly mmap?: boolean;
	/** Bytes of the ROM BAR; the size of region 6 when left out, 0 for none. */
	readonly romSize?: number;
	readonly ids?: IdentityOverrides;
	/** Where the guest's MSI-X table goes; where the device's is when left out. */
	readonly msixRelocation?: MsixRelocation;
	/** Which quirks are known; ours when left out. */
	readonly quirks?: readonly DeviceQuirk[];
	/** The guest has legacy VGA of the device; it has not when left out. */
	readonly vga?: boolean;
	/** 0 to 15, for NVIDIA's devices only. */
	readonly gpuDirectClique?: number;
}

/** Both capability lists of a function. */
export interface CapabilityLists {
	readonly capabilities: readonly { readonly id: number; readonly offset: number }[];
	readonly extended: readonly { readonly id: number; readonly version: number; readonly offset: number }[];
}

/** What a guest will see, and why. */
export interface FunctionPlan {
	/** As the device has them. */
	readonly host: CapabilityLists;
	/** As the guest finds them. */
	readonly guest: CapabilityLists;
	readonly bars: readonly BarPlan[];
	/** How many interrupts of each kind the guest can use. */
	readonly interrupts: { readonly intx: number; readonly msi: number; readonly msix: number };
	/** Back doors of the device that are watched over, by name. */
	readonly quirks: readonly string[];
	/** What is wrong with the device, a sentence each; assigning it works all the same, unless `refusal` is set. */
	readonly problems: readonly string[];
	/** Why it cannot be assigned. */
	readonly refusal: { readonly code: Refusal["code"]; readonly reason: string } | undefined;
}

/** A plan with what its execution needs. */
export interface FunctionLayout {
	readonly plan: FunctionPlan;
	/** Power-on state of the guest's configuration space. */
	readonly registers: ConfigRegisters;
	readonly capabilities: StandardCapabilities;
	/** 0, or 1 for INTA to 4 for INTD. */
	readonly pin: number;
	readonly quirks: readonly QuirkPlace[];
}

/**
 * Plans a function. It never throws, whatever the device says; what is wrong with it is in the plan.
 *
 * @example
 * ```ts
 * const plan = planFunction({ config, regions, irqs, pageSize: 4096, bus: "downstream-port", multifunction: false });
 * for (const problem of plan.problems) console.log(problem);
 * ```
 */
export function planFunction(input: PlanInput): FunctionPlan {
	return layoutFunction(input).plan;
}

/** The same, with the registers and capabilities that the plan describes. */
export function layoutFunction(input: PlanInput): FunctionLayout {
	const problems: string[] = [];
	const express = input.bus !== "conventional" && input.config.length > PCI_CFG_SPACE_SIZE;
	const config = new Uint8Array(express ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE);
	config.set(input.config.subarray(0, config.length));
	const registers = new ConfigRegisters(config);
	const none = {
		msi: undefined,
		msix: undefined,
		deviceMsix: undefined,
		power: undefined,
		flr: false,
		flrControls: [],
	};
	let capabilities: StandardCapabilities = none;
	let bars: BarPlan[] = [];
	let quirks: readonly QuirkPlace[] = [];
	const kinds = quirksOf(input.quirks ?? QUIRKS, load(config, PCI_VENDOR_ID, 2), load(config, PCI_DEVICE_ID, 2));
	let refusal: Refusal | undefined = refuseHeader(config, input.config.length);
	if (!refusal) {
		try {
			const sizes = regionSizes(input);
			const found = findBars(config, sizes, problems);
			const moved = relocation(config, input, found);
			const shown = moved?.bars ?? found;
			capabilities = buildRegisters(registers, input, { found, shown, sizes }, moved?.capability, problems);
			const { deviceMsix, msix } = capabilities;
			const mmap = input.mmap !== false;
			const device = quirkDevice(input);
			const places = kinds.flatMap((quirk) => quirk.places(shown, device).map((place) => ({ quirk, place })));
			quirks = places.map(({ place }) => place);
			const traps = (index: number): Trap[] => [
				...places.flatMap(({ quirk, place }) =>
					place.stretches.filter(({ bar }) => bar === index).map((stretch) => ({ ...stretch, reason: quirk.name })),
				),
				...(msix && moved && msix.table.bar === index ? [tableOf(msix)] : []),
			];
			bars = shown.map((bar) =>
				planBar(bar, regionOf(input, bar), deviceMsix, msix !== undefined, input.pageSize, mmap, traps(bar.index)),
			);
		} catch (error) {
			if (!(error instanceof Refusal)) throw error;
			refusal = error;
		}
	}
	const pin = refusal ? 0 : interruptPin(config, input, problems);
	const { msi, msix } = capabilities;
	return {
		registers,
		capabilities,
		pin,
		quirks,
		plan: {
			host: listsOf(config),
			guest: refusal ? { capabilities: [], extended: [] } : listsOf(registers.cfg),
			bars,
			interrupts: { intx: pin === 0 ? 0 : 1, msi: msi?.vectors ?? 0, msix: msix?.vectors ?? 0 },
			quirks: refusal ? [] : kinds.map(({ name }) => name),
			problems: refusal ? [...problems, `It cannot be assigned: ${refusal.message}`] : problems,
			refusal: refusal && { code: refusal.code, reason: refusal.message },
		},
	};
}

function buildRegisters(
	registers: ConfigRegisters,
	input: PlanInput,
	bars: {
		/** The device's. */
		readonly found: readonly GuestBar[];
		/** The guest's. */
		readonly shown: readonly GuestBar[];
		/** Of regions 0 to 6. */
		readonly sizes: readonly number[];
	},
	relocated: MsixCapability | undefined,
	problems: string[],
): StandardCapabilities {
	const device = registers.cfg.slice();
	const writable = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
	// The guest reads COMMAND from the device; the copy follows, as it decides where BARs decode.
	registers.set(PCI_COMMAND, 2, registers.get(PCI_COMMAND, 2) & ~writable);
	registers.wmask[PCI_COMMAND] = writable & 0xff;
	registers.wmask[PCI_COMMAND + 1] = writable >> 8;
	emulateBars(registers, bars.shown);
	overrideIdentity(registers, input.ids ?? {});
	setMultifunction(registers, input.multifunction);
	const capabilities = buildCapabilities(
		registers,
		{
			bus: input.bus,
			msiVectors: input.irqs[VFIO_PCI_MSI_IRQ_INDEX]?.count ?? 0,
			msixVectors: input.irqs[VFIO_PCI_MSIX_IRQ_INDEX]?.count ?? 0,
			checkMsix: (capability) => checkMsix(capability, device, bars.found, bars.sizes, relocated !== undefined),
			relocated,
			added: addedCapabilities(device, input),
		},
		problems,
	);
	buildExtendedCapabilities(registers, problems);
	return capabilities;
}

/** @throws Refusal */
function addedCapabilities(config: Uint8Array, { gpuDirectClique }: PlanInput): AddedCapability[] {
	const shadow = vmdShadowCapability(config);
	if (gpuDirectClique === undefined) return shadow ? [shadow] : [];
	if (load(config, PCI_VENDOR_ID, 2) !== NVIDIA)
		throw new Refusal("invalid-argument", "it is no NVIDIA device, so that a GPUDirect clique means nothing to it");
	return [gpuDirectCapability(gpuDirectClique)];
}

/** Where the guest's MSI-X goes, when it does not stay. @throws Refusal */
function relocation(config: Uint8Array, input: PlanInput, bars: readonly GuestBar[]): RelocatedMsix | undefined {
	const { msixRelocation = "off", irqs, pageSize } = input;
	const at = walkCapabilities(config).capabilities.find(({ id }) => id === PCI_CAP_ID_MSIX)?.offset;
	if (msixRelocation === "off" || at === undefined || at + PCI_CAP_MSIX_SIZEOF > PCI_CFG_SPACE_SIZE) return undefined;
	if ((irqs[VFIO_PCI_MSIX_IRQ_INDEX]?.count ?? 0) === 0) return undefined;
	const moved = relocateMsix(msixRelocation, readMsix(config, at), bars, pageSize);
	if (typeof moved === "string") throw new Refusal("invalid-argument", moved);
	return moved;
}

/** Quirks go by the device, whatever the guest is shown. */
function quirkDevice({ config, vga = false }: PlanInput): QuirkDevice {
	const { capabilities } = walkCapabilities(config);
	return {
		classCode: load(config, PCI_REVISION_ID, 4) >>> 8,
		configSize: config.length,
		msi: capabilities.find(({ id }) => id === PCI_CAP_ID_MSI)?.offset,
		vga,
	};
}

function tableOf({ table, vectors }: MsixCapability): Trap {
	return { start: table.offset, end: table.offset + msixTableSize(vectors), reason: TABLE_REASON };
}

/** Bit 7 of the header type is the virtual machine's: whether this slot has other functions. */
function setMultifunction(registers: ConfigRegisters, multifunction: boolean): void {
	registers.emulate(PCI_HEADER_TYPE, 1, multifunction ? PCI_HEADER_TYPE_MFD : 0, 0, PCI_HEADER_TYPE_MFD);
}

function refuseHeader(config: Uint8Array, length: number): Refusal | undefined {
	// Mediated devices may have less than the 256 bytes of hardware, but not less than a header.
	if (length < PCI_STD_HEADER_SIZEOF)
		return new Refusal(
			"malformed-config-space",
			`its configuration space has ${length} bytes, fewer than a header's 64`,
		);
	if (load(config, 0, 4) === allOnes(4))
		return new Refusal("malformed-config-space", "its configuration space reads all ones: the device does not answer");
	const type = load(config, PCI_HEADER_TYPE, 1) & PCI_HEADER_TYPE_MASK;
	if (type === PCI_HEADER_TYPE_NORMAL) return undefined;
	const what = type === PCI_HEADER_TYPE_BRIDGE ? "it is a PCI bridge" : `its header has type ${hex(type)}`;
	return new Refusal("unassignable-device", `${what}; only endpoints (header type 0 at offset 0xe) can be assigned`);
}

function interruptPin(config: Uint8Array, input: PlanInput, problems: string[]): number {
	const pin = load(config, PCI_INTERRUPT_PIN, 1);
	if (pin > 4) problems.push(`The interrupt pin at 0x3d reads ${pin}, which is none of INTA to INTD: there is no INTx`);
	return pin <= 4 && (input.irqs[VFIO_PCI_INTX_IRQ_INDEX]?.count ?? 0) > 0 ? pin : 0;
}

function regionSizes(input: PlanInput): number[] {
	const sizes = Array.from({ length: ROM_BAR + 1 }, (_, index) => input.regions[index]?.size ?? 0);
	sizes[ROM_BAR] = input.romSize ?? sizes[ROM_BAR] ?? 0;
	return sizes;
}

function regionOf(input: PlanInput, bar: GuestBar): PlanInput["regions"][number] {
	return input.regions[bar.index] ?? { size: bar.size, mappable: false, msixMappable: false, sparseAreas: undefined };
}

function listsOf(config: Uint8Array): CapabilityLists {
	return {
		capabilities: walkCapabilities(config).capabilities.map(({ id, offset }) => ({ id, offset })),
		extended: walkExtendedCapabilities(config).capabilities.map(({ id, version, offset }) => ({ id, version, offset })),
	};
}
