/**
 * Which register of which queue an offset is, in one number, since every access asks: direction, queue, register.
 *
 * @module
 */
import * as registers from "./registers.ts";

/** Which way the frames of a queue go. */
export type Direction = "receive" | "transmit";

const REGISTERS = 1 << registers.QUEUE_SHIFT;
const TRANSMIT = 1 << 16;
/** Queues that a virtual function has. */
const VF_QUEUES = 2;

/**
 * Decodes an offset.
 *
 * @param physical the physical function has all queues, and blocks of their own for them; a virtual one has two
 * @returns the place, or -1 when the offset is no queue's
 */
export function queuePlace(offset: number, physical: boolean): number {
	const {
		RECEIVE_QUEUES,
		TRANSMIT_QUEUES,
		RECEIVE_QUEUES_ALIAS,
		TRANSMIT_QUEUES_ALIAS,
		QUEUE_SHIFT,
		QUEUE_ALIAS_SHIFT,
	} = registers;
	const aliases = physical ? registers.QUEUE_ALIASES : VF_QUEUES;
	const receive = place(offset - RECEIVE_QUEUES_ALIAS, QUEUE_ALIAS_SHIFT, aliases);
	if (receive >= 0) return receive;
	const transmit = place(offset - TRANSMIT_QUEUES_ALIAS, QUEUE_ALIAS_SHIFT, aliases);
	if (transmit >= 0) return TRANSMIT | transmit;
	if (!physical) return -1;
	const own = place(offset - RECEIVE_QUEUES, QUEUE_SHIFT, registers.QUEUES);
	if (own >= 0) return own;
	const ownTransmit = place(offset - TRANSMIT_QUEUES, QUEUE_SHIFT, registers.QUEUES);
	return ownTransmit >= 0 ? TRANSMIT | ownTransmit : -1;
}

export function queueDirection(place: number): Direction {
	return place >= TRANSMIT ? "transmit" : "receive";
}

export function queueIndex(place: number): number {
	return (place & (TRANSMIT - 1)) >>> registers.QUEUE_SHIFT;
}

/** From the start of the queue's block. */
export function queueRegister(place: number): number {
	return place & (REGISTERS - 1);
}

function place(at: number, shift: number, count: number): number {
	const register = at & ((1 << shift) - 1);
	return at >= 0 && at >> shift < count && register < REGISTERS
		? ((at >> shift) << registers.QUEUE_SHIFT) | register
		: -1;
}
