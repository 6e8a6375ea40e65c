/**
 * Capabilities that the device does not have and the guest shall see.
 *
 * @module
 */
import { hex, load } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import {
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_VNDR,
	PCI_CAP_MSIX_SIZEOF,
	PCI_DEVICE_ID,
	PCI_VENDOR_ID,
} from "../uapi/pci_regs.ts";
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
	return `${added.what} has no place: ${added.places.map((taken) => hex(taken)).join(" and ")} ${added.places.length > 1 ? "are" : "is"} taken`;
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

const INTEL = 0x8086;
/** Volume Management Devices whose driver asks where their memory is in the host. */
const VMD = [0x201d, 0x467f, 0x4c3d, 0x9a0b];
/** "SHDW", as the driver reads it. */
const VMD_SIGNATURE = [0x57, 0x44, 0x48, 0x53];
const VMD_SIZE = 24;
const VMD_VERSION = 1;
/** BARs 2 and 4, 64 bits each: the devices behind a VMD have addresses of the host in there. */
const VMD_BARS = { start: 0x18, end: 0x28 };

/**
 * Tells the driver of Intel's VMD where BARs 2 and 4 are in the host: its own devices are programmed with such addresses,
 * which it has to translate.
 *
 * @param config the device's, as VFIO shows it before anybody has written a BAR
 * @returns undefined for every other device
 */
export function vmdShadowCapability(config: Uint8Array): AddedCapability | undefined {
	if (load(config, PCI_VENDOR_ID, 2) !== INTEL || !VMD.includes(load(config, PCI_DEVICE_ID, 2))) return undefined;
	const addresses = [...config.subarray(VMD_BARS.start, VMD_BARS.end)];
	// The low bits of a BAR say what it is.
	for (const low of [0, 8]) addresses[low] = (addresses[low] ?? 0) & 0xf0;
	return {
		id: PCI_CAP_ID_VNDR,
		body: [VMD_SIZE, VMD_VERSION, ...VMD_SIGNATURE, ...addresses],
		places: [0xe8],
		what: "the VMD shadow capability",
	};
}

/** @throws VfioError `invalid-argument` */
export function checkClique(clique: number | undefined): void {
	if (clique !== undefined && !(Number.isInteger(clique) && clique >= 0 && clique <= 15))
		throw new VfioError("invalid-argument", `Cannot use ${clique} for gpuDirectClique: it is a number from 0 to 15`);
}
