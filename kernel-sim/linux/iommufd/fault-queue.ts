/**
 * Where faults of a page table are read that its user is to resolve: IOMMU_FAULT_QUEUE_ALLOC. Only devices that can ask for
 * pages have such faults, and no device here can.
 *
 * @module
 */
import { EINVAL, ESPIPE } from "../../../core/uapi/errno.ts";
import { OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { IommufdObject } from "./object.ts";

/** Bytes of `iommu_hwpt_pgfault` and of `iommu_hwpt_page_response`. */
const FAULT_SIZE = 40;
const RESPONSE_SIZE = 8;

/** The queue. It is in use while its descriptor is open. */
export class FaultQueue extends IommufdObject {
	override destroy(): void {}
}

/** What faults are read from, and answers written to. */
export class FaultQueueFile extends OpenFile {
	readonly #queue: FaultQueue;
	readonly #context: OpenFile;

	/** @param context the /dev/iommu of the queue, which stays open for as long */
	constructor(queue: FaultQueue, context: OpenFile) {
		super("anon_inode:[iommufd-pgfault]");
		this.#queue = queue;
		this.#context = context.reference();
		queue.users++;
	}

	/** @returns 0: there is no fault; -ESPIPE for what is no multiple of a fault's size */
	override pread(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		return offset !== 0 || buffer.length % FAULT_SIZE !== 0 ? -ESPIPE : 0;
	}

	/** @returns -EINVAL: no fault waits for this answer; -ESPIPE for what is no multiple of an answer's size */
	override pwrite(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		if (offset !== 0 || buffer.length % RESPONSE_SIZE !== 0) return -ESPIPE;
		return buffer.length === 0 ? 0 : -EINVAL;
	}

	protected override release(): void {
		this.#queue.users--;
		this.#context.unreference();
	}
}
