/**
 * The interrupt controller: INTx lines, and messages through a remapping table that knows who may send them.
 *
 * @module
 */

import type { DmaSource } from "./dma-source.ts";
import type { PciFunction } from "./function.ts";

/** One or more consecutive messages that a function may send. */
export interface AllocatedMessages {
	/** What goes into the function's message address register. */
	readonly address: bigint;
	/** What goes into its data register; message `n` of a block is sent as `data + n`. */
	readonly data: number;
	/** The place of the first one among all messages that are allocated; the others follow. */
	readonly index: number;
	free(): void;
}

/** A message that nobody gets. */
export interface DroppedMessage {
	readonly device: string;
	readonly address: bigint;
	readonly data: number;
	/** `wrong-source`: the message belongs to another function. */
	readonly reason: "not-allocated" | "wrong-source";
}

interface Entry {
	readonly fn: PciFunction;
	readonly handler: (index: number) => void;
	readonly index: number;
}

const MESSAGE_BASE = 0xfee00000;
/** Bits of a message address in remappable format (Intel VT-d 4.1, section 5.1.2.2). */
const REMAPPABLE = 0x10;
const SUBHANDLE_VALID = 0x08;
const HANDLE_BIT_15 = 0x04;
const HANDLES = 0x10000;
/** x86 vectors that devices may use, below the ones of the system. */
const FIRST_VECTOR = 0x30;
const LAST_VECTOR = 0xeb;
const VECTORS_PER_CPU = LAST_VECTOR - FIRST_VECTOR + 1;
const CPUS = 0x100;
const DROPPED_LIMIT = 256;

/**
 * Delivers interrupts to whoever asked for them.
 *
 * With remapping a message names an entry of a table, and an entry accepts one function only. Without it a message names
 * a CPU and a vector, anybody can send it, and a function has one message at most: so is x86.
 */
export class InterruptController {
	readonly remapping: boolean;
	/** How many messages were dropped. */
	droppedCount = 0;
	readonly #entries: (Entry | undefined)[] = [];
	/** Every entry below this one is taken. */
	#lowestFree = 0;
	readonly #lines = new Map<PciFunction, Set<(asserted: boolean) => void>>();
	readonly #dropped: DroppedMessage[] = [];

	constructor(options: { remapping?: boolean } = {}) {
		this.remapping = options.remapping ?? true;
	}

	/** The first messages that were dropped, oldest first. */
	get dropped(): readonly DroppedMessage[] {
		return this.#dropped;
	}

	/** How many messages are allocated. */
	get allocated(): number {
		return this.#entries.reduce((count, entry) => count + (entry ? 1 : 0), 0);
	}

	/**
	 * One message for a function: an MSI-X vector, or a single MSI.
	 *
	 * @param handler called inside the device's write of the message
	 * @throws RangeError when the table is full
	 */
	allocateMessage(fn: PciFunction, handler: () => void): AllocatedMessages {
		return this.#allocate(fn, 1, handler);
	}

	/**
	 * A block of messages under one address, for MSI with several vectors.
	 *
	 * @param handler receives which message of the block it is
	 * @returns undefined when there is no such block: always without remapping, as on x86
	 */
	allocateMessages(fn: PciFunction, count: number, handler: (index: number) => void): AllocatedMessages | undefined {
		return count > 1 && !this.remapping ? undefined : this.#allocate(fn, count, handler);
	}

	/** A message write of a function. */
	deliver(source: DmaSource, address: bigint, data: number): void {
		const entry = this.#entries[this.#slot(address, data)];
		if (!entry) this.#drop(source, address, data, "not-allocated");
		else if (this.remapping && entry.fn !== source) this.#drop(source, address, data, "wrong-source");
		else entry.handler(entry.index);
	}

	/** Calls back whenever the level of the function's INTx line changes. The present level is `fn.intxAsserted`. */
	onIntx(fn: PciFunction, handler: (asserted: boolean) => void): Disposable {
		let handlers = this.#lines.get(fn);
		if (!handlers) {
			handlers = new Set();
			this.#lines.set(fn, handlers);
		}
		const line = handlers;
		line.add(handler);
		return {
			[Symbol.dispose]: () => {
				line.delete(handler);
				if (line.size === 0 && this.#lines.get(fn) === line) this.#lines.delete(fn);
			},
		};
	}

	/** The level of a function's line changed: the machine says so. */
	line(fn: PciFunction, asserted: boolean): void {
		const handlers = this.#lines.get(fn);
		if (handlers) for (const handler of handlers) handler(asserted);
	}

	#allocate(fn: PciFunction, count: number, handler: (index: number) => void): AllocatedMessages {
		const first = this.#freeSlots(count);
		const mine: Entry[] = [];
		for (let index = 0; index < count; index++) {
			const entry = { fn, handler, index };
			this.#entries[first + index] = entry;
			mine.push(entry);
		}
		const [address, data] = this.remapping
			? [
					MESSAGE_BASE + ((first & 0x7fff) << 5) + REMAPPABLE + SUBHANDLE_VALID + (first > 0x7fff ? HANDLE_BIT_15 : 0),
					0,
				]
			: [MESSAGE_BASE + (Math.floor(first / VECTORS_PER_CPU) << 12), FIRST_VECTOR + (first % VECTORS_PER_CPU)];
		return {
			address: BigInt(address),
			data,
			index: first,
			free: () => {
				for (const entry of mine) {
					const slot = first + entry.index;
					// Freed twice: somebody else may have it by now.
					if (this.#entries[slot] !== entry) continue;
					this.#entries[slot] = undefined;
					this.#lowestFree = Math.min(this.#lowestFree, slot);
				}
			},
		};
	}

	#freeSlots(count: number): number {
		const limit = this.remapping ? HANDLES : CPUS * VECTORS_PER_CPU;
		while (this.#entries[this.#lowestFree]) this.#lowestFree++;
		let run = 0;
		for (let slot = this.#lowestFree; slot < limit; slot++) {
			run = this.#entries[slot] ? 0 : run + 1;
			if (run === count) return slot - count + 1;
		}
		throw new RangeError(`Cannot allocate ${count} interrupt messages: all are taken`);
	}

	/** The table index that a message names, or -1. */
	#slot(message: bigint, data: number): number {
		const address = Number(message);
		if (this.remapping) {
			// Without the format bit it is a compatibility message, which a remapping unit blocks.
			if ((address & REMAPPABLE) === 0) return -1;
			const handle = ((address >>> 5) & 0x7fff) | ((address & HANDLE_BIT_15) << 13);
			return (address & SUBHANDLE_VALID) === 0 ? handle : handle + (data & 0xffff);
		}
		const vector = data & 0xff;
		if (vector < FIRST_VECTOR || vector > LAST_VECTOR) return -1;
		return ((address >>> 12) & 0xff) * VECTORS_PER_CPU + vector - FIRST_VECTOR;
	}

	#drop(source: DmaSource, address: bigint, data: number, reason: DroppedMessage["reason"]): void {
		this.droppedCount++;
		if (this.#dropped.length < DROPPED_LIMIT) this.#dropped.push({ device: source.name, address, data, reason });
	}
}
