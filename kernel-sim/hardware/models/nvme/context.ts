/**
 * What the commands of a controller work on.
 *
 * @module
 */
import type { AsyncEvents } from "./events.ts";
import type { Features } from "./features.ts";
import type { ControllerIdentity } from "./identify.ts";
import type { Log } from "./log.ts";
import type { Namespace } from "./namespace.ts";
import type { PrpTransfer } from "./prp.ts";
import type { QueueSet } from "./queue-set.ts";

/** An enabled controller, from its enabling to its reset. */
export interface ControllerContext {
	readonly identity: ControllerIdentity;
	/** Namespace n is at n - 1. */
	readonly namespaces: readonly Namespace[];
	readonly queues: QueueSet;
	readonly features: Features;
	readonly events: AsyncEvents;
	readonly log: Log;
	readonly transfer: PrpTransfer;
	/** Bytes of a memory page. */
	readonly pageSize: number;
	/** Bytes of an I/O submission and completion queue entry, as CC has them now. */
	readonly submissionEntrySize: number;
	readonly completionEntrySize: number;
	/** Interrupt vectors a completion queue may use now. */
	readonly vectors: number;
	/** Whole hours since power on. */
	readonly hours: number;
	/** The buffer a command's data passes through. @param length bytes, at most `identity.maximumTransfer` */
	data(length: number): Uint8Array;
}
