/**
 * The wire of a network controller: frames, and the checksum behind each.
 *
 * @module
 */

/** What is at the other end of a network controller's wire: a test, a switch, another controller. */
export interface NetworkPeer {
	/** A frame arrives, from the destination address on and without frame check sequence. It is only valid in the call. */
	receive(frame: Uint8Array): void;
}

/** Bytes of the frame check sequence. */
export const FCS_LENGTH = 4;
/** The shortest frame of Ethernet without its frame check sequence. */
export const SHORTEST_FRAME = 60;

/** The frame check sequence of IEEE 802.3, section 3.2.9: CRC-32, its lowest byte first on the wire. */
export function frameCheckSequence(frame: Uint8Array): number {
	let crc = 0xffffffff;
	for (const byte of frame) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * 0xedb88320);
	}
	return ~crc >>> 0;
}

/** Bit 0 of the first byte: the frame is for a group of stations. */
export function isMulticast(frame: Uint8Array): boolean {
	return ((frame[0] ?? 0) & 1) !== 0;
}

/** The frame is for all stations. */
export function isBroadcast(frame: Uint8Array): boolean {
	for (let index = 0; index < 6; index++) if (frame[index] !== 0xff) return false;
	return true;
}
