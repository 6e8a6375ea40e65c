/**
 * The standard capability list a guest sees: the device's own, in its order and at its offsets, less what a guest cannot
 * have.
 *
 * @module
 */
import { hex } from "../bytes.ts";
import type { PciSlot } from "../machine/machine.ts";
import {
	PCI_AF_CAP,
	PCI_AF_CAP_FLR,
	PCI_AF_CAP_TP,
	PCI_AF_CTRL,
	PCI_AF_CTRL_FLR,
	PCI_CAP_ID_AF,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PM,
	PCI_CAP_MSIX_SIZEOF,
	PCI_CAPABILITY_LIST,
	PCI_CFG_SPACE_SIZE,
	PCI_EXP_DEVCAP,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL_BCR_FLR,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
} from "../uapi/pci_regs.ts";
import { type AddedCapability, placeFor } from "./added-capability.ts";
import type { ConfigRegisters } from "./config-space.ts";
import { expressFix, expressHasFlr, expressType, fixExpress, unassignableType } from "./express.ts";
import { emulateMsi, type MsiCapability, readMsi } from "./msi-capability.ts";
import { emulateMsix, type MsixCapability, readMsix } from "./msix-capability.ts";
import { type PowerCapability, readPower, trackPower } from "./power.ts";
import { type Capability, measure, walkCapabilities } from "./walk.ts";

/** What the list decides from, apart from the registers. */
export interface CapabilityInput {
	readonly bus: PciSlot["bus"];
	/** Vectors the kernel offers for MSI, and for MSI-X. */
	readonly msiVectors: number;
	readonly msixVectors: number;
	/** The capability with its places put right, or a sentence that says what is wrong with it. */
	checkMsix(capability: MsixCapability): MsixCapability | string;
	/** The guest's MSI-X capability, where its table is not in the place of the device's. */
	readonly relocated?: MsixCapability | undefined;
	/** What the guest sees in addition. */
	readonly added?: readonly AddedCapability[] | undefined;
}

/** What came out of it. */
export interface StandardCapabilities {
	readonly msi: MsiCapability | undefined;
	readonly msix: MsixCapability | undefined;
	/** The MSI-X capability of the device, shown or not: its table must not be mapped either way. */
	readonly deviceMsix: MsixCapability | undefined;
	readonly power: PowerCapability | undefined;
	/** The function can be reset by itself: FLR, of PCI Express or of Advanced Features. */
	readonly flr: boolean;
	/** The bits that a guest resets it with. */
	readonly flrControls: readonly FlrControl[];
}

/** A bit that starts an FLR when it is written as 1. */
export interface FlrControl {
	/** Of its byte in configuration space. */
	readonly offset: number;
	/** In that byte. */
	readonly mask: number;
}

/** Why the device cannot be assigned at all. The message goes behind "Cannot assign 0000:05:00.0: ". */
export class Refusal extends Error {
	override readonly name = "Refusal";
	readonly code: "malformed-msix" | "unassignable-device" | "malformed-config-space" | "invalid-argument";

	constructor(code: Refusal["code"], reason: string) {
		super(reason);
		this.code = code;
	}
}

/**
 * Builds the list in the registers, which hold what the device reads.
 *
 * @param problems gets a sentence for everything that is left out
 * @throws Refusal
 */
export function buildCapabilities(
	registers: ConfigRegisters,
	input: CapabilityInput,
	problems: string[],
): StandardCapabilities {
	const walk = walkCapabilities(registers.cfg);
	if (walk.problem) problems.push(walk.problem);
	const capabilities = withAdded(registers, walk.capabilities, input.added ?? []);
	const builder = new Builder(registers, input, problems, capabilities);
	// From the end: where two capabilities overlap, the one that reaches into its neighbour is the broken one.
	for (const capability of capabilities.toReversed()) builder.add(capability);
	builder.link();
	return builder;
}

/** The list with what is added to it, whose bytes are in the copy then. */
function withAdded(
	registers: ConfigRegisters,
	present: readonly Capability[],
	added: readonly AddedCapability[],
): readonly Capability[] {
	let all = present;
	for (const one of added) {
		const place = placeFor(one, all, registers);
		if (typeof place === "string") throw new Refusal("invalid-argument", place);
		for (const [n, byte] of [one.id, 0, ...one.body].entries()) registers.emulate(place + n, 1, byte);
		all = measure([...all, { id: one.id, offset: place }], PCI_CFG_SPACE_SIZE);
	}
	return all;
}

class Builder implements StandardCapabilities {
	msi: MsiCapability | undefined;
	msix: MsixCapability | undefined;
	deviceMsix: MsixCapability | undefined;
	power: PowerCapability | undefined;
	readonly flrControls: FlrControl[] = [];
	readonly #registers: ConfigRegisters;
	readonly #input: CapabilityInput;
	readonly #problems: string[];
	readonly #all: readonly Capability[];
	/** In the order of the list. */
	#kept: Capability[] = [];
	/** For each byte the offset of the capability that has it, 0 for none. */
	readonly #owner = new Uint8Array(PCI_CFG_SPACE_SIZE);

	constructor(registers: ConfigRegisters, input: CapabilityInput, problems: string[], all: readonly Capability[]) {
		this.#registers = registers;
		this.#input = input;
		this.#problems = problems;
		this.#all = all;
	}

	get flr(): boolean {
		return this.flrControls.length > 0;
	}

	add(capability: Capability): void {
		const kept = this.#dispatch(capability);
		if (kept) this.#kept.unshift(capability);
	}

	/** Makes what was kept the list, in the copy. */
	link(): void {
		const registers = this.#registers;
		registers.emulate(PCI_CAPABILITY_LIST, 1, this.#kept[0]?.offset ?? 0);
		registers.emulate(PCI_STATUS, 2, this.#kept.length > 0 ? PCI_STATUS_CAP_LIST : 0, 0, PCI_STATUS_CAP_LIST);
		for (const { offset } of this.#all) {
			const owner = this.#owner[offset + 1];
			// What was left out for an overlap may have its pointer inside another capability.
			if (owner === 0 || owner === offset) registers.emulate(offset + 1, 1, 0);
		}
		for (const [n, { offset }] of this.#kept.entries()) registers.set(offset + 1, 1, this.#kept[n + 1]?.offset ?? 0);
	}

	#dispatch(capability: Capability): boolean {
		const { id, offset } = capability;
		// Two of a kind: the kernel and every driver use the first.
		const single = id === PCI_CAP_ID_MSI || id === PCI_CAP_ID_MSIX || id === PCI_CAP_ID_PM || id === PCI_CAP_ID_EXP;
		if (single && this.#all.find((other) => other.id === id) !== capability)
			return this.#leaveOut(`The capability at ${hex(offset)} has the id ${hex(id, 2)} of an earlier one`);
		switch (id) {
			case PCI_CAP_ID_MSI:
				return this.#addMsi(capability);
			case PCI_CAP_ID_MSIX:
				return this.#addMsix(capability);
			case PCI_CAP_ID_EXP:
				return this.#addExpress(capability);
			case PCI_CAP_ID_PM:
				if (!this.#take(capability, capability.size)) return false;
				this.power = readPower(this.#registers.cfg, capability);
				if (this.power) trackPower(this.#registers, this.power);
				return true;
			case PCI_CAP_ID_AF:
				if (capability.size > PCI_AF_CAP) {
					const needed = PCI_AF_CAP_TP | PCI_AF_CAP_FLR;
					if ((this.#registers.get(offset + PCI_AF_CAP, 1) & needed) === needed)
						this.flrControls.push({ offset: offset + PCI_AF_CTRL, mask: PCI_AF_CTRL_FLR });
				}
				return this.#take(capability, capability.size);
			default:
				return this.#take(capability, capability.size);
		}
	}

	#addMsi(capability: Capability): boolean {
		const msi = readMsi(this.#registers.cfg, capability.offset);
		if (!this.#take(capability, msi.size)) return false;
		if (this.#input.msiVectors === 0)
			return this.#leaveOut(`The kernel gives the device no MSI; its capability at ${hex(capability.offset)}`);
		emulateMsi(this.#registers, msi);
		this.msi = msi;
		return true;
	}

	#addMsix(capability: Capability): boolean {
		const { offset } = capability;
		const whole = this.#claim(offset, PCI_CAP_MSIX_SIZEOF);
		if (whole !== undefined) throw new Refusal("malformed-msix", `its MSI-X capability at ${hex(offset)} ${whole}`);
		const checked = this.#input.checkMsix(readMsix(this.#registers.cfg, offset));
		if (typeof checked === "string") throw new Refusal("malformed-msix", checked);
		this.deviceMsix = checked;
		if (this.#input.msixVectors === 0)
			return this.#leaveOut(`The kernel gives the device no MSI-X; its capability at ${hex(offset)}`);
		this.msix = this.#input.relocated ?? checked;
		emulateMsix(this.#registers, this.msix);
		return true;
	}

	#addExpress(capability: Capability): boolean {
		const registers = this.#registers;
		const type = expressType(registers, capability);
		const refused = unassignableType(type);
		if (refused)
			throw new Refusal("unassignable-device", `${refused} (PCI Express capability at ${hex(capability.offset)})`);
		if (capability.size < PCI_EXP_DEVCAP + 8)
			return this.#leaveOut(
				`The PCI Express capability at ${hex(capability.offset)} has ${capability.size} bytes only`,
			);
		if (!this.#take(capability, capability.size)) return false;
		if (expressHasFlr(registers, capability))
			this.flrControls.push({ offset: capability.offset + PCI_EXP_DEVCTL + 1, mask: PCI_EXP_DEVCTL_BCR_FLR >> 8 });
		const fix = expressFix(type, this.#input.bus);
		if (fix === "hide") return false;
		fixExpress(registers, capability, fix);
		return true;
	}

	#take(capability: Capability, size: number): boolean {
		const obstacle = this.#claim(capability.offset, size);
		if (obstacle === undefined) return true;
		return this.#leaveOut(`The capability ${hex(capability.id, 2)} at ${hex(capability.offset)} ${obstacle}`);
	}

	/** @returns why not, or undefined when the bytes are the capability's now */
	#claim(offset: number, size: number): string | undefined {
		if (offset + size > PCI_CFG_SPACE_SIZE) return `needs ${size} bytes and would end past 0xff`;
		for (let at = offset; at < offset + size; at++)
			if (this.#owner[at] !== 0) return `needs ${size} bytes and overlaps the one at ${hex(this.#owner[at] as number)}`;
		this.#owner.fill(offset, offset, offset + size);
		return undefined;
	}

	#leaveOut(problem: string): false {
		this.#problems.push(`${problem}: it is left out`);
		return false;
	}
}
