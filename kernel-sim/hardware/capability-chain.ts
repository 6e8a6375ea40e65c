/**
 * Where the capabilities of a description go, and the pointers from one to the next.
 *
 * @module
 */
import { VfioError } from "../../core/errors.ts";
import {
	PCI_CAPABILITY_LIST,
	PCI_CFG_SPACE_SIZE,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
	PCI_STD_HEADER_SIZEOF,
} from "../../core/uapi/pci_regs.ts";
import type { Capability, ExtendedCapability } from "./description.ts";
import { setBits, store } from "./little-endian.ts";

/** Which dwords are taken, and the first gap that is free. */
class Space {
	readonly #taken: boolean[] = [];
	readonly #start: number;
	readonly #end: number;

	constructor(start: number, end: number) {
		this.#start = start;
		this.#end = end;
	}

	take(capability: { id: number; offset?: number; bytes: Uint8Array }, offset: number): number {
		const end = offset + capability.bytes.length;
		if (offset % 4 !== 0 || offset < this.#start || end > this.#end || !this.#free(offset, capability.bytes.length))
			throw new VfioError(
				"invalid-argument",
				`Cannot lay out capability 0x${capability.id.toString(16)}: 0x${offset.toString(16)} to 0x${end.toString(16)} is not free`,
			);
		for (let dword = offset >>> 2; dword * 4 < end; dword++) this.#taken[dword] = true;
		return offset;
	}

	find(length: number): number {
		let offset = this.#start;
		while (offset < this.#end && !this.#free(offset, length)) offset += 4;
		return offset;
	}

	#free(offset: number, length: number): boolean {
		for (let dword = offset >>> 2; dword * 4 < offset + length; dword++) if (this.#taken[dword]) return false;
		return true;
	}
}

/** Where each capability goes: the ones with a place first, the others into the gaps. */
function place(space: Space, capabilities: readonly (Capability | ExtendedCapability)[]): number[] {
	const offsets = capabilities.map((capability) =>
		capability.offset === undefined ? -1 : space.take(capability, capability.offset),
	);
	return offsets.map((offset, index) => {
		const capability = capabilities[index];
		return offset >= 0 || !capability ? offset : space.take(capability, space.find(capability.bytes.length));
	});
}

/** Lays capabilities out in the first 256 bytes and chains them in the order given. @throws VfioError `invalid-argument` */
export function chainCapabilities(config: Uint8Array, capabilities: readonly Capability[]): void {
	const offsets = place(new Space(PCI_STD_HEADER_SIZEOF, PCI_CFG_SPACE_SIZE), capabilities);
	if (capabilities.length > 0) setBits(config, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	store(config, PCI_CAPABILITY_LIST, 1, offsets[0] ?? 0);
	capabilities.forEach((capability, index) => {
		const offset = offsets[index] as number;
		config.set(capability.bytes, offset);
		store(config, offset, 1, capability.id);
		store(config, offset + 1, 1, offsets[index + 1] ?? 0);
	});
}

/** The same from 0x100 on. @throws VfioError `invalid-argument` */
export function chainExtendedCapabilities(config: Uint8Array, capabilities: readonly ExtendedCapability[]): void {
	const offsets = place(new Space(PCI_CFG_SPACE_SIZE, config.length), capabilities);
	if (offsets.length > 0 && offsets[0] !== PCI_CFG_SPACE_SIZE)
		throw new VfioError("invalid-argument", "Cannot lay out the extended capabilities: the first one must be at 0x100");
	capabilities.forEach((capability, index) => {
		const offset = offsets[index] as number;
		config.set(capability.bytes, offset);
		const header = capability.id | (capability.version << 16) | ((offsets[index + 1] ?? 0) << 20);
		store(config, offset, 4, header);
	});
}
