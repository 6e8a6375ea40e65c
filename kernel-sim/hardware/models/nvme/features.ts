/**
 * Features, NVM Express 1.4 sections 5.14 and 5.21: values that the host sets and reads by number.
 *
 * @module
 */
import {
	COMMAND_SEQUENCE_ERROR,
	FEATURE_NOT_CHANGEABLE,
	FEATURE_NOT_SAVEABLE,
	INVALID_FIELD,
	SUCCESS,
} from "./status.ts";

const ARBITRATION = 0x01;
const POWER_MANAGEMENT = 0x02;
const TEMPERATURE_THRESHOLD = 0x04;
const ERROR_RECOVERY = 0x05;
const VOLATILE_WRITE_CACHE = 0x06;
const NUMBER_OF_QUEUES = 0x07;
const INTERRUPT_COALESCING = 0x08;
const INTERRUPT_VECTOR = 0x09;
const WRITE_ATOMICITY = 0x0a;
const ASYNC_EVENTS = 0x0b;

/** Degrees Kelvin: when the drive calls itself hot, until the host says otherwise. */
const HOT = 343;

/** What Get Features selects (SEL). */
const SELECT_CURRENT = 0;
const SELECT_CAPABILITIES = 3;
const CHANGEABLE = 0x4;

/** Features that are one word of which every bit in the mask may be set. */
const PLAIN: ReadonlyMap<number, { readonly mask: number; readonly initial: number }> = new Map([
	[ARBITRATION, { mask: 0xffffff07, initial: 0 }],
	[POWER_MANAGEMENT, { mask: 0xff, initial: 0 }],
	[ERROR_RECOVERY, { mask: 0xffff, initial: 0 }],
	[VOLATILE_WRITE_CACHE, { mask: 0x1, initial: 1 }],
	[INTERRUPT_COALESCING, { mask: 0xffff, initial: 0 }],
	[WRITE_ATOMICITY, { mask: 0x1, initial: 0 }],
	[ASYNC_EVENTS, { mask: 0xff, initial: 0 }],
]);

/** What the features need to know of the controller around them. */
export interface FeatureLimits {
	/** I/O queue pairs there are. */
	readonly queues: number;
	/** Interrupt vectors a completion queue may use. */
	readonly vectors: number;
}

/** The features of one controller. */
export class Features {
	readonly #values = new Map<number, number>();
	readonly #limits: FeatureLimits;
	/** Vectors with interrupt coalescing switched off. */
	readonly #uncoalesced = new Set<number>();
	/** Composite temperature thresholds, degrees Kelvin: above which, below which the host wants to know. */
	#over = HOT;
	#under = 0;
	/** I/O queue pairs the host was granted: submission and completion queues, each. */
	#submissionQueues: number;
	#completionQueues: number;

	constructor(limits: FeatureLimits) {
		this.#limits = limits;
		this.#submissionQueues = limits.queues;
		this.#completionQueues = limits.queues;
	}

	/** Writes may stay in a cache until a flush. */
	get writeCache(): boolean {
		return this.#plain(VOLATILE_WRITE_CACHE) !== 0;
	}
	/** The highest identifier of an I/O submission queue. */
	get submissionQueues(): number {
		return this.#submissionQueues;
	}
	/** The highest identifier of an I/O completion queue. */
	get completionQueues(): number {
		return this.#completionQueues;
	}
	/** Whether a temperature (degrees Kelvin) is outside what the host set. */
	isCritical(temperature: number): boolean {
		return temperature >= this.#over || temperature <= this.#under;
	}
	/** Whether the host asked for an event when this bit of the critical warning comes up. */
	wantsEvent(warning: number): boolean {
		return (this.#plain(ASYNC_EVENTS) & warning) !== 0;
	}

	/**
	 * Get Features.
	 *
	 * @param dword10 feature identifier and select
	 * @returns the value, or a negative status
	 */
	get(dword10: number, dword11: number): number {
		const id = dword10 & 0xff;
		const select = (dword10 >>> 8) & 7;
		if (select > SELECT_CAPABILITIES) return -INVALID_FIELD;
		if (!this.#exists(id)) return -INVALID_FIELD;
		if (select === SELECT_CAPABILITIES) return CHANGEABLE;
		// Nothing can be saved, so what is saved is the default (section 5.14).
		const defaults = select === SELECT_CURRENT ? this : new Features(this.#limits);
		return defaults.#read(id, dword11);
	}

	/**
	 * Set Features.
	 *
	 * @param queuesExist whether I/O queues were created: their number is settled then
	 * @returns the completion's dword 0, or a negative status
	 */
	set(dword10: number, dword11: number, queuesExist: boolean): number {
		const id = dword10 & 0xff;
		if (!this.#exists(id)) return -INVALID_FIELD;
		const save = dword10 >>> 31 !== 0;
		if (save) return -FEATURE_NOT_SAVEABLE;
		const plain = PLAIN.get(id);
		if (plain !== undefined) {
			// There is one power state.
			if (id === POWER_MANAGEMENT && (dword11 & 0x1f) !== 0) return -INVALID_FIELD;
			this.#values.set(id, (dword11 & plain.mask) >>> 0);
			return SUCCESS;
		}
		switch (id) {
			case TEMPERATURE_THRESHOLD:
				return this.#setThreshold(dword11);
			case NUMBER_OF_QUEUES:
				return this.#setQueues(dword11, queuesExist);
			case INTERRUPT_VECTOR:
				if ((dword11 & 0xffff) >= this.#limits.vectors) return -INVALID_FIELD;
				if ((dword11 & 0x10000) !== 0) this.#uncoalesced.add(dword11 & 0xffff);
				else this.#uncoalesced.delete(dword11 & 0xffff);
				return SUCCESS;
			default:
				return -FEATURE_NOT_CHANGEABLE;
		}
	}

	#exists(id: number): boolean {
		return PLAIN.has(id) || id === TEMPERATURE_THRESHOLD || id === NUMBER_OF_QUEUES || id === INTERRUPT_VECTOR;
	}

	#plain(id: number): number {
		return this.#values.get(id) ?? PLAIN.get(id)?.initial ?? 0;
	}

	#read(id: number, dword11: number): number {
		switch (id) {
			case TEMPERATURE_THRESHOLD:
				if (((dword11 >>> 16) & 0xf) !== 0) return -INVALID_FIELD;
				return ((dword11 >>> 20) & 3) === 0 ? this.#over : this.#under;
			case NUMBER_OF_QUEUES:
				return (this.#submissionQueues - 1) | ((this.#completionQueues - 1) << 16);
			case INTERRUPT_VECTOR: {
				const vector = dword11 & 0xffff;
				if (vector >= this.#limits.vectors) return -INVALID_FIELD;
				return vector | (this.#uncoalesced.has(vector) ? 0x10000 : 0);
			}
			default:
				return this.#plain(id);
		}
	}

	/** Sensor 0 is the composite temperature, the only one there is; 15 means all sensors. */
	#setThreshold(dword11: number): number {
		const sensor = (dword11 >>> 16) & 0xf;
		const type = (dword11 >>> 20) & 3;
		if ((sensor !== 0 && sensor !== 15) || type > 1) return -INVALID_FIELD;
		if (type === 0) this.#over = dword11 & 0xffff;
		else this.#under = dword11 & 0xffff;
		return SUCCESS;
	}

	/** Both numbers are given less one; 65535 is not a number of queues. */
	#setQueues(dword11: number, queuesExist: boolean): number {
		if (queuesExist) return -COMMAND_SEQUENCE_ERROR;
		const submission = dword11 & 0xffff;
		const completion = dword11 >>> 16;
		if (submission === 0xffff || completion === 0xffff) return -INVALID_FIELD;
		this.#submissionQueues = Math.min(submission + 1, this.#limits.queues);
		this.#completionQueues = Math.min(completion + 1, this.#limits.queues);
		return (this.#submissionQueues - 1) | ((this.#completionQueues - 1) << 16);
	}
}
