/**
 * The loop that executes what the submission queues hold, and tells the host.
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import { AdminCommands, HELD } from "./admin.ts";
import { Command } from "./command.ts";
import type { ControllerContext } from "./context.ts";
import type { InterruptSources } from "./interrupts.ts";
import { IoCommands } from "./io.ts";
import type { SubmissionQueue } from "./queues.ts";
import { INVALID_FIELD, SUCCESS } from "./status.ts";

/** FUSE and PSDT in a command's flags: fused operations and scatter-gather lists, which we do not have. */
const FUSED_OR_SCATTERED = 0xc3;

/**
 * What one doorbell may make us do before the event loop gets its turn. More than any driver asks at once, little enough
 * that a hostile guest cannot stop the VMM; the rest is done later.
 */
const COMMANDS_AT_ONCE = 1024;
const BYTES_AT_ONCE = 64 * 1024 * 1024;

/** What the loop asks of its controller. */
export interface LoopController extends ControllerContext {
	/** Commands may be executed: enabled, not shut down, not failed. */
	readonly isWorking: boolean;
	/** The host cannot be told of an error. */
	fail(): void;
}

/** One controller's loop. It does not nest: DMA may come back to our own doorbells (peer to peer). */
export class CommandLoop {
	readonly #controller: LoopController;
	readonly #port: DevicePort;
	readonly #interrupts: InterruptSources;
	readonly #admin: AdminCommands;
	readonly #io: IoCommands;
	readonly #command = new Command();
	#running = false;
	/** Counts the stops: a command whose own DMA reset the controller must not go on. */
	#epoch = 0;
	#later: Disposable | undefined;

	constructor(controller: LoopController, port: DevicePort, interrupts: InterruptSources) {
		this.#controller = controller;
		this.#port = port;
		this.#interrupts = interrupts;
		this.#admin = new AdminCommands(controller);
		this.#io = new IoCommands(controller);
	}

	/** The controller was reset: forgets what was left for later, and what is going on. */
	stop(): void {
		this.#epoch += 1;
		this.#later?.[Symbol.dispose]();
		this.#later = undefined;
	}

	/** Executes what there is. A loop that runs already sees it by itself. */
	run(): void {
		if (this.#running || !this.#controller.isWorking) return;
		this.#running = true;
		this.#later?.[Symbol.dispose]();
		this.#later = undefined;
		const epoch = this.#epoch;
		try {
			this.#work(epoch);
		} finally {
			this.#running = false;
		}
		if (this.#epoch === epoch) this.#deliverEvents();
	}

	/** Round robin, one command of each queue at a time. */
	#work(epoch: number): void {
		let commands = COMMANDS_AT_ONCE;
		this.#io.bytes = 0;
		for (let progress = true; progress; ) {
			progress = false;
			for (const queue of this.#controller.queues.active) {
				if (queue.isEmpty || queue.completions.isFull) continue;
				if (commands === 0 || this.#io.bytes >= BYTES_AT_ONCE) {
					this.#later = this.#port.clock.timer(0, () => this.run());
					return;
				}
				commands -= 1;
				progress = true;
				this.#execute(queue);
				if (this.#epoch !== epoch || !this.#controller.isWorking) return;
			}
		}
	}

	#execute(queue: SubmissionQueue): void {
		const epoch = this.#epoch;
		const command = this.#command;
		const fetched = queue.fetch(this.#port, command);
		if (this.#epoch !== epoch) return;
		if (!fetched) {
			this.#controller.fail();
			return;
		}
		const status = this.#perform(queue, command);
		if (status === HELD || this.#epoch !== epoch) return;
		if (status !== SUCCESS) this.#controller.log.error(queue.id, command, status);
		this.#complete(queue, command.id, status, status === SUCCESS ? command.result : 0);
	}

	#perform(queue: SubmissionQueue, command: Command): number {
		if ((command.flags & FUSED_OR_SCATTERED) !== 0) return INVALID_FIELD;
		return queue.id === 0 ? this.#admin.execute(command) : this.#io.execute(command);
	}

	#complete(queue: SubmissionQueue, commandId: number, status: number, result: number): void {
		const { completions } = queue;
		const epoch = this.#epoch;
		const posted = completions.post(this.#port, queue, commandId, status, result);
		if (this.#epoch !== epoch) return;
		if (!posted) this.#controller.fail();
		else if (completions.vector !== undefined) this.#interrupts.raise(completions.vector);
	}

	/** Requests that were held: an event came, or they were aborted. */
	#deliverEvents(): void {
		for (;;) {
			const queue = this.#controller.queues.submission(0);
			if (queue === undefined || queue.completions.isFull || !this.#controller.isWorking) return;
			const delivery = this.#controller.events.next();
			if (delivery === undefined) return;
			this.#complete(queue, delivery.commandId, delivery.status, delivery.result);
		}
	}
}
