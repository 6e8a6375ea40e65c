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
import { Edu } from "./edu.ts";
import { Nvme, type NvmeOptions } from "./nvme/mod.ts";

/** Functions that a model serves. What is left out may be anything; at least one of the two must be given. */
export interface ModelMatch {
	readonly ids?: { readonly vendor: number; readonly device: number };
	/** 24 bits: base class, subclass, programming interface. */
	readonly classCode?: number;
}

/** A model, and the BARs whose accesses it wants to see. */
export interface ServedFunction {
	readonly model: DeviceModel;
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
 * const { machine } = machineFromLspci(text, { models });
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

/** A registry with the models that ship: edu (1234:11e8) and NVMe (class 010802, whoever made it). */
export function defaultModels(): ModelRegistry {
	return new ModelRegistry()
		.register({ ids: { vendor: 0x1234, device: 0x11e8 } }, serveEdu)
		.register({ classCode: 0x010802 }, (description, name) => serveNvme(description, name));
}

const EDU_REGISTERS = 0xa0;

function serveEdu(description: FunctionDescription): ServedFunction | undefined {
	return memoryBar(description, EDU_REGISTERS) ? { model: new Edu(), registers: [0] } : undefined;
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
