/**
 * Which model serves which function: by vendor and device, or by class. A function that none serves has configuration
 * space and memory behind its BARs.
 *
 * @module
 */
import { PCI_CAP_ID_MSI, PCI_CAP_ID_MSIX, PCI_MSI_FLAGS } from "../../../core/uapi/pci_regs.ts";
import { findCapability } from "../config-walk.ts";
import type { FunctionDescription } from "../description.ts";
import { load } from "../little-endian.ts";
import type { BarDescription, DeviceModel } from "../model.ts";
import { describeMsix } from "../msix-unit.ts";
import { E1000e } from "./e1000e.ts";
import { Edu } from "./edu.ts";
import { Hda } from "./hda/mod.ts";
import { Igb } from "./igb/mod.ts";
import { Nvme, type NvmeOptions } from "./nvme/mod.ts";
import { Ehci, Uhci } from "./usb/mod.ts";

/** Functions that a model serves. What is left out may be anything; at least one of the two must be given. */
export interface ModelMatch {
	/** What VENDOR_ID and DEVICE_ID read. */
	readonly ids?: { readonly vendor: number; readonly device: number };
	/** 24 bits: base class, subclass, programming interface. */
	readonly classCode?: number;
}

/** A model, and the BARs whose accesses it wants to see. */
export interface ServedFunction {
	readonly model: DeviceModel;
	/** The BARs, 0 to 5; the model sees each access to them. What is not here is plain memory. */
	readonly registers: readonly number[];
}

/**
 * Makes a model for a function.
 *
 * @param description the function, with its captured registers when it comes from a real one
 * @param name its address, such as `0000:05:00.0`
 * @returns undefined when this function is not served after all
 */
export type ModelFactory = (description: FunctionDescription, name: string) => ServedFunction | undefined;

/**
 * Models by what they serve.
 *
 * @example
 * ```ts
 * const models = defaultModels();
 * models.register({ ids: { vendor: 0x1234, device: 0x5678 } }, () => ({ model: new Doorbell(), registers: [0] }));
 * const { machine } = Host.fromLspci(text, { models });
 * ```
 */
export class ModelRegistry {
	readonly #entries: { readonly match: ModelMatch; readonly create: ModelFactory }[] = [];

	/** Adds a model. Those that ask for ids come before those that ask for a class, and later ones before earlier ones. */
	register(match: ModelMatch, create: ModelFactory): this {
		this.#entries.unshift({ match, create });
		return this;
	}

	/** The model for a function, or undefined when none serves it. */
	serve(description: FunctionDescription, name: string): ServedFunction | undefined {
		const exact = this.#entries.filter(({ match }) => match.ids && matches(match, description));
		const byClass = this.#entries.filter(({ match }) => !match.ids && matches(match, description));
		for (const { create } of [...exact, ...byClass]) {
			const served = create(description, name);
			if (served) return served;
		}
		return undefined;
	}
}

function matches(match: ModelMatch, description: FunctionDescription): boolean {
	const { ids, classCode } = match;
	if (!ids && classCode === undefined) return false;
	if (ids && (ids.vendor !== description.vendor || ids.device !== description.device)) return false;
	return classCode === undefined || classCode === description.classCode;
}

const INTEL = 0x8086;

/**
 * A registry with the models that ship: edu (1234:11e8), NVMe (class 010802, whoever made it), and of Intel's the 82574L
 * (8086:10d3), the 82576 (8086:10c9), HD Audio (8086:293e), UHCI (8086:2934) and EHCI (8086:293a). Nothing is on their
 * wires.
 */
export function defaultModels(): ModelRegistry {
	return new ModelRegistry()
		.register({ ids: { vendor: 0x1234, device: 0x11e8 } }, serveEdu)
		.register({ ids: { vendor: INTEL, device: 0x10d3 } }, serveE1000e)
		.register({ ids: { vendor: INTEL, device: 0x10c9 } }, serveIgb)
		.register({ ids: { vendor: INTEL, device: 0x293e } }, serveHda)
		.register({ ids: { vendor: INTEL, device: 0x2934 } }, serveUhci)
		.register({ ids: { vendor: INTEL, device: 0x293a } }, serveEhci)
		.register({ classCode: 0x010802 }, (description, name) => serveNvme(description, name));
}

const EDU_REGISTERS = 0xa0;
const E1000E_REGISTERS = 0x6000;
const IGB_REGISTERS = 0x20000;
const HDA_REGISTERS = 0x4000;
const EHCI_REGISTERS = 0x400;

function serveEdu(description: FunctionDescription): ServedFunction | undefined {
	return memoryBar(description, EDU_REGISTERS) ? { model: new Edu(), registers: [0] } : undefined;
}

/** The 82574L has its registers in BAR 0, and a window to them in the I/O ports of BAR 2. */
function serveE1000e(description: FunctionDescription): ServedFunction | undefined {
	const bar = memoryBar(description, E1000E_REGISTERS);
	if (!bar) return undefined;
	const ports = description.bars?.some(({ index, kind }) => index === 2 && kind === "io") ?? false;
	return { model: new E1000e({ size: bar.size }), registers: ports ? [0, 2] : [0] };
}

/** The 82576 has its registers in BAR 0, and a window to them in the I/O ports of BAR 2. */
function serveIgb(description: FunctionDescription): ServedFunction | undefined {
	if (!memoryBar(description, IGB_REGISTERS)) return undefined;
	const ports = description.bars?.some((bar) => bar.index === 2 && bar.kind === "io") ?? false;
	return { model: new Igb(), registers: ports ? [0, 2] : [0] };
}

function serveHda(description: FunctionDescription): ServedFunction | undefined {
	return memoryBar(description, HDA_REGISTERS) ? { model: new Hda(), registers: [0] } : undefined;
}

function serveUhci(description: FunctionDescription): ServedFunction | undefined {
	const ports = description.bars?.some((bar) => bar.index === 4 && bar.kind === "io" && bar.size >= 32) ?? false;
	return ports ? { model: new Uhci(), registers: [4] } : undefined;
}

function serveEhci(description: FunctionDescription): ServedFunction | undefined {
	return memoryBar(description, EHCI_REGISTERS) ? { model: new Ehci(), registers: [0] } : undefined;
}

const NVME_DOORBELLS = 0x1000;

/**
 * An NVMe controller for a function of any make. Its queues are as many as there are doorbells before the end of BAR 0, or
 * before the MSI-X structures when those come first.
 *
 * @param options what the function itself does not say, such as namespaces
 * @returns undefined when BAR 0 has no room for the registers and two pairs of doorbells
 */
export function serveNvme(
	description: FunctionDescription,
	name: string,
	options: NvmeOptions = {},
): ServedFunction | undefined {
	const bar = memoryBar(description, NVME_DOORBELLS + 16);
	if (!bar) return undefined;
	const config = description.captured ?? new Uint8Array(256);
	const msix = findCapability(config, PCI_CAP_ID_MSIX);
	const msi = findCapability(config, PCI_CAP_ID_MSI);
	const messages = msix === 0 ? undefined : describeMsix(config, msix);
	let end = bar.size;
	for (const place of messages ? [messages.table, messages.pba] : [])
		if (place.bar === 0 && place.offset >= NVME_DOORBELLS) end = Math.min(end, place.offset);
	const pairs = Math.floor((end - NVME_DOORBELLS) / 8);
	const model = new Nvme({
		vendor: description.vendor,
		subsystemVendor: description.subsystemVendor ?? description.vendor,
		serial: name,
		queues: Math.max(Math.min(pairs - 1, 64), 1),
		vectors: {
			msi: msi === 0 ? 1 : 1 << Math.min((load(config, msi + PCI_MSI_FLAGS, 2) >>> 1) & 7, 5),
			msix: messages?.vectors ?? 1,
		},
		...options,
	});
	return { model, registers: [0] };
}

function memoryBar(description: FunctionDescription, least: number): BarDescription | undefined {
	return description.bars?.find((bar) => bar.index === 0 && bar.kind !== "io" && bar.size >= least);
}
