/**
 * Capabilities that the device does not have and the guest shall see.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { PCI_CAP_ID_MSI, PCI_CAP_ID_MSIX, PCI_CAP_ID_VNDR, PCI_CAP_MSIX_SIZEOF } from "../uapi/pci_regs.ts";
import { hex } from "./bytes.ts";
import type { ConfigRegisters } from "./config-space.ts";
import { readMsi } from "./msi-capability.ts";
import type { Capability } from "./walk.ts";

/** A capability to add at the end of the list. */
export interface AddedCapability {
	readonly id: number;
	/** What follows id and pointer. */
	readonly body: readonly number[];
	/** Where it may be, the first that is free. */
	readonly places: readonly number[];
	/** For the sentence that says that none is. */
	readonly what: string;
}

/**
 * Looks for a place in which no capability starts, and into which none is known to reach. A capability does not say how long
 * it is, so that one before the place is taken to end there.
 *
 * @returns the place, or a sentence that says what is in the way
 */
export function placeFor(
	added: AddedCapability,
	present: readonly Capability[],
	registers: ConfigRegisters,
): number | string {
	const size = 2 + added.body.length;
	const free = (place: number) =>
		!present.some(({ offset, id }) => offset < place + size && place < offset + knownSize(registers, offset, id));
	const place = added.places.find(free);
	if (place !== undefined) return place;
	return `${added.what} has no place: ${added.places.map((taken) => hex(taken)).join(" and ")} are taken`;
}

function knownSize(registers: ConfigRegisters, offset: number, id: number): number {
	if (id === PCI_CAP_ID_MSIX) return PCI_CAP_MSIX_SIZEOF;
	return id === PCI_CAP_ID_MSI ? readMsi(registers.cfg, offset).size : 2;
}

/** NVIDIA's vendor id. */
export const NVIDIA = 0x10de;

/**
 * Tells NVIDIA's driver which devices can reach each other's memory: those with the same number.
 *
 * @param clique 0 to 15
 */
export function gpuDirectCapability(clique: number): AddedCapability {
	// Eight bytes: id, pointer, length, "P2P", the number and its version, reserved.
	return {
		id: PCI_CAP_ID_VNDR,
		body: [8, 0x50, 0x32, 0x50, clique << 3, 0],
		places: [0xc8, 0xd4],
		what: "the GPUDirect capability",
	};
}

/** @throws VfioError `invalid-argument` */
export function checkClique(clique: number | undefined): void {
	if (clique !== undefined && !(Number.isInteger(clique) && clique >= 0 && clique <= 15))
		throw new VfioError("invalid-argument", `Cannot use ${clique} for gpuDirectClique: it is a number from 0 to 15`);
}
