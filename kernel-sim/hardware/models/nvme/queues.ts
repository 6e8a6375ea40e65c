/**
 * Submission and completion queues, NVM Express 1.4 section 4.1: rings in host memory, their heads, tails and phase.
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import { COMMAND_SIZE, type Command } from "./command.ts";
import { statusField } from "./status.ts";

/** Bytes of a completion queue entry. */
export const COMPLETION_SIZE = 16;

/** Where a queue is. */
export interface QueuePlace {
	readonly id: number;
	/** Its first byte in host memory. */
	readonly base: bigint;
	/** Entries. */
	readonly size: number;
}

/** A ring that the host fills with commands. */
export class SubmissionQueue {
	readonly id: number;
	readonly size: number;
	/** Where its commands' completions go. */
	readonly completions: CompletionQueue;
	/** The entry the controller fetches next. */
	head = 0;
	/** One past the last entry the host has filled. */
	tail = 0;
	readonly #base: bigint;

	constructor(place: QueuePlace, completions: CompletionQueue) {
		this.id = place.id;
		this.size = place.size;
		this.#base = place.base;
		this.completions = completions;
	}

	get isEmpty(): boolean {
		return this.head === this.tail;
	}

	/** Takes the next command. @returns false when the entry could not be read; it is consumed all the same */
	fetch(port: DevicePort, into: Command): boolean {
		const address = this.#base + BigInt(this.head * COMMAND_SIZE);
		this.head = (this.head + 1) % this.size;
		into.result = 0;
		return port.dmaRead(address, into.bytes);
	}
}

/** A ring that the controller fills with completions. */
export class CompletionQueue {
	readonly id: number;
	readonly size: number;
	/** The interrupt vector it signals, undefined when the host wants none. */
	readonly vector: number | undefined;
	/** The entry the host reads next. */
	head = 0;
	/** The entry the controller fills next. */
	tail = 0;
	/** How many submission queues complete here; it cannot be deleted before they are. */
	users = 0;
	readonly #base: bigint;
	#phase = 1;
	readonly #entry = new Uint8Array(COMPLETION_SIZE);
	readonly #view = new DataView(this.#entry.buffer);

	constructor(place: QueuePlace, vector: number | undefined) {
		this.id = place.id;
		this.size = place.size;
		this.#base = place.base;
		this.vector = vector;
	}

	get isEmpty(): boolean {
		return this.head === this.tail;
	}
	get isFull(): boolean {
		return (this.tail + 1) % this.size === this.head;
	}

	/**
	 * Writes a completion behind the last one.
	 *
	 * @param commandId the CID of the command that is done
	 * @param status a status of `status.ts`
	 * @returns false when host memory could not be written: the host will never learn of it
	 */
	post(port: DevicePort, from: SubmissionQueue, commandId: number, status: number, result: number): boolean {
		const view = this.#view;
		view.setUint32(0, result, true);
		view.setUint32(4, 0, true);
		view.setUint16(8, from.head, true);
		view.setUint16(10, from.id, true);
		view.setUint16(12, commandId, true);
		view.setUint16(14, (statusField(status) << 1) | this.#phase, true);
		const written = port.dmaWrite(this.#base + BigInt(this.tail * COMPLETION_SIZE), this.#entry);
		this.tail += 1;
		if (this.tail === this.size) {
			this.tail = 0;
			this.#phase ^= 1;
		}
		return written;
	}
}
