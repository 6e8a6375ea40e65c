/**
 * The capability chains behind VFIO's info structures.
 *
 * @module
 */
import { vfio_info_cap_header } from "./vfio.ts";

/** One capability of a chain. */
export interface InfoCapability {
	readonly id: number;
	readonly version: number;
	/** Where its header starts, in bytes from the start of the info structure. */
	readonly offset: number;
}

/**
 * Walks a capability chain. A kernel that hands out a loop, or an offset outside the structure, ends the walk there.
 *
 * @param bytes the info structure and everything behind it
 * @param first `cap_offset`; 0 for no chain
 */
export function infoCapabilities(bytes: Uint8Array, first: number): InfoCapability[] {
	const found: InfoCapability[] = [];
	const visited = new Set<number>();
	let offset = first;
	while (offset !== 0 && offset + vfio_info_cap_header.size <= bytes.length && !visited.has(offset)) {
		visited.add(offset);
		const header = vfio_info_cap_header.view(bytes, offset);
		found.push({ id: header.id, version: header.version, offset });
		offset = header.next;
	}
	return found;
}

/** Room for a chain, in bytes: more than those of PCI devices and of type 1 need, so that asking once is enough. */
const ROOM = 512;

/**
 * Asks for an info structure, again with more room while the kernel says that it needs more.
 *
 * @param size bytes of the structure without a chain
 * @param prepare fills in the fields of the request
 * @param ask makes the call; the answer's `argsz` is its first field
 * @returns the answer with its chain
 */
export function askWithRoom(
	size: number,
	prepare: (bytes: Uint8Array) => void,
	ask: (bytes: Uint8Array) => void,
): Uint8Array {
	// A chain is a few hundred bytes; an answer that grows with each question is not a chain, and is taken as it is.
	const LIMIT = 1 << 20;
	let bytes = new Uint8Array(size + ROOM);
	for (let round = 0; ; round++) {
		const view = new DataView(bytes.buffer);
		prepare(bytes);
		view.setUint32(0, bytes.length, true);
		ask(bytes);
		const needed = view.getUint32(0, true);
		if (needed <= bytes.length || needed > LIMIT || round === 3) return bytes;
		bytes = new Uint8Array(needed);
	}
}
