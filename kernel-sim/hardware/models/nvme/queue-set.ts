/**
 * The queues of a controller: what exists, and what Create and Delete (NVM Express 1.4, sections 5.3 to 5.6) may do to it.
 *
 * @module
 */
import { INVALID_DOORBELL, INVALID_DOORBELL_VALUE } from "./events.ts";
import { CompletionQueue, type QueuePlace, SubmissionQueue } from "./queues.ts";
import {
	COMPLETION_QUEUE_INVALID,
	INVALID_FIELD,
	INVALID_QUEUE_DELETION,
	INVALID_QUEUE_ID,
	INVALID_QUEUE_SIZE,
	INVALID_VECTOR,
	PRP_OFFSET_INVALID,
	SUCCESS,
} from "./status.ts";

/** A Create command, decoded. */
export interface QueueRequest extends QueuePlace {
	/** Bytes of an entry, as CC has them. */
	readonly entrySize: number;
	/** The memory is one piece (PC). */
	readonly contiguous: boolean;
}

/** How many I/O queues the host was granted; {@link Features} knows. */
export interface QueueLimits {
	readonly submissionQueues: number;
	readonly completionQueues: number;
}

/** Submission and completion queues by identifier; 0 is the admin pair. */
export class QueueSet {
	/** Most entries a queue may have. */
	readonly maximumEntries: number;
	readonly #limits: QueueLimits;
	#submissions: (SubmissionQueue | undefined)[] = [];
	#completions: (CompletionQueue | undefined)[] = [];
	/** The same without gaps, for the loop that runs at every doorbell. */
	#active: SubmissionQueue[] = [];

	constructor(limits: QueueLimits, maximumEntries: number) {
		this.#limits = limits;
		this.maximumEntries = maximumEntries;
	}

	/** Every submission queue there is, the admin queue first. */
	get active(): readonly SubmissionQueue[] {
		return this.#active;
	}
	get hasIoQueues(): boolean {
		return this.#completions.length > 1 && this.#completions.some((queue) => queue !== undefined && queue.id !== 0);
	}

	submission(id: number): SubmissionQueue | undefined {
		return this.#submissions[id];
	}
	completion(id: number): CompletionQueue | undefined {
		return this.#completions[id];
	}

	/** Whether a completion queue of this vector still has entries for the host. */
	hasCompletions(vector: number): boolean {
		return this.#completions.some((queue) => queue?.vector === vector && !queue.isEmpty);
	}

	/**
	 * A doorbell was written.
	 *
	 * @param doorbell counted from the first one: submission queues have the even ones, completion queues the odd ones
	 * @returns why the write is invalid (information of an error event), undefined when it was taken
	 */
	ring(doorbell: number, value: number): number | undefined {
		const id = doorbell >>> 1;
		return (doorbell & 1) === 0 ? this.#ringSubmission(id, value) : this.#ringCompletion(id, value);
	}

	#ringSubmission(id: number, tail: number): number | undefined {
		const queue = this.#submissions[id];
		if (queue === undefined) return INVALID_DOORBELL;
		if (tail >= queue.size) return INVALID_DOORBELL_VALUE;
		queue.tail = tail;
		return undefined;
	}

	/** The host cannot take what is not there. */
	#ringCompletion(id: number, head: number): number | undefined {
		const queue = this.#completions[id];
		if (queue === undefined) return INVALID_DOORBELL;
		const taken = (head - queue.head + queue.size) % queue.size;
		const there = (queue.tail - queue.head + queue.size) % queue.size;
		if (head >= queue.size || taken > there) return INVALID_DOORBELL_VALUE;
		queue.head = head;
		return undefined;
	}

	/** Makes the admin pair. */
	createAdmin(submission: QueuePlace, completion: QueuePlace): void {
		const completions = new CompletionQueue(completion, 0);
		this.#completions[0] = completions;
		this.#add(new SubmissionQueue(submission, completions));
	}

	/** @param vector undefined when the host wants no interrupts @param vectors how many there are */
	createCompletion(request: QueueRequest, vector: number | undefined, vectors: number, pageSize: number): number {
		if (!isFree(request.id, this.#completions, this.#limits.completionQueues)) return INVALID_QUEUE_ID;
		const status = this.#check(request, 16, pageSize);
		if (status !== SUCCESS) return status;
		if (vector !== undefined && vector >= vectors) return INVALID_VECTOR;
		this.#completions[request.id] = new CompletionQueue(request, vector);
		return SUCCESS;
	}

	createSubmission(request: QueueRequest, completionId: number, pageSize: number): number {
		const completions = completionId === 0 ? undefined : this.#completions[completionId];
		if (completions === undefined) return COMPLETION_QUEUE_INVALID;
		if (!isFree(request.id, this.#submissions, this.#limits.submissionQueues)) return INVALID_QUEUE_ID;
		const status = this.#check(request, 64, pageSize);
		if (status !== SUCCESS) return status;
		this.#add(new SubmissionQueue(request, completions));
		return SUCCESS;
	}

	deleteSubmission(id: number): number {
		const queue = id === 0 ? undefined : this.#submissions[id];
		if (queue === undefined) return INVALID_QUEUE_ID;
		queue.completions.users -= 1;
		this.#submissions[id] = undefined;
		this.#active = this.#active.filter((other) => other !== queue);
		return SUCCESS;
	}

	deleteCompletion(id: number): number {
		const queue = id === 0 ? undefined : this.#completions[id];
		if (queue === undefined) return INVALID_QUEUE_ID;
		if (queue.users > 0) return INVALID_QUEUE_DELETION;
		this.#completions[id] = undefined;
		return SUCCESS;
	}

	#add(queue: SubmissionQueue): void {
		queue.completions.users += 1;
		this.#submissions[queue.id] = queue;
		this.#active.push(queue);
	}

	#check(request: QueueRequest, entrySize: number, pageSize: number): number {
		if (request.size < 2 || request.size > this.maximumEntries) return INVALID_QUEUE_SIZE;
		if (request.entrySize !== entrySize) return INVALID_QUEUE_SIZE;
		// CAP.CQR is 1: a queue scattered over a PRP list is not taken.
		if (!request.contiguous) return INVALID_FIELD;
		return (request.base & BigInt(pageSize - 1)) === 0n ? SUCCESS : PRP_OFFSET_INVALID;
	}
}

function isFree(id: number, queues: readonly unknown[], highest: number): boolean {
	return id !== 0 && id <= highest && queues[id] === undefined;
}
