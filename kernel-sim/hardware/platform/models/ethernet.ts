/**
 * What the models of platform network controllers share: who a frame is for.
 *
 * @module
 */
import { isBroadcast, isMulticast } from "../../models/network.ts";

/** A station address in the two registers that hold one: the first byte is the lowest of `low`. */
export interface StationAddress {
	readonly high: number;
	readonly low: number;
}

/** What of a MAC's frame filter is looked at. */
export interface FrameFilter {
	/** Every frame is taken. */
	readonly promiscuous: boolean;
	readonly allMulticast: boolean;
	readonly noBroadcast: boolean;
	readonly addresses: readonly StationAddress[];
}

/** Whether a MAC takes a frame. Hash filters are not modelled. */
export function takesFrame(frame: Uint8Array, filter: FrameFilter): boolean {
	if (filter.promiscuous) return true;
	if (isBroadcast(frame)) return !filter.noBroadcast;
	if (isMulticast(frame) && filter.allMulticast) return true;
	return filter.addresses.some(({ high, low }) => {
		for (let index = 0; index < 4; index++) if (frame[index] !== ((low >>> (8 * index)) & 0xff)) return false;
		return frame[4] === (high & 0xff) && frame[5] === ((high >>> 8) & 0xff);
	});
}

/** The two registers of a station address. */
export function stationAddress(mac: Uint8Array): StationAddress {
	const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac;
	return { high: (f << 8) | e, low: (a | (b << 8) | (c << 16) | (d << 24)) >>> 0 };
}

/** The frame as a receiver stores it: with its frame check sequence. */
export function withCheckSequence(frame: Uint8Array, fcs: number): Uint8Array {
	const whole = new Uint8Array(frame.length + 4);
	whole.set(frame);
	new DataView(whole.buffer).setUint32(frame.length, fcs, true);
	return whole;
}
