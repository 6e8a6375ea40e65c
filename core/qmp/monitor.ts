/**
 * The server's side of the protocol, without a socket.
 *
 * @module
 */
import { dialectRules, type QmpDialect, type QmpVersion } from "./dialect.ts";
import type { MachineEvent } from "./events.ts";
import type { JsonLimits } from "./json-input.ts";
import type { QmpMachine } from "./machine.ts";
import { QmpSession, type SessionOptions } from "./session.ts";

/** Options of a {@link QmpMonitor}. */
export interface QmpMonitorOptions {
	/** What is controlled. */
	readonly machine: QmpMachine;
	/** `wire` when left out. */
	readonly dialect?: QmpDialect;
	/** Who speaks. */
	readonly version: QmpVersion;
	/** Microseconds since 1970, for events. */
	readonly now: () => number;
	/** Bounds of one request. */
	readonly limits?: JsonLimits;
}

/**
 * A machine's monitor. One client at a time has it, as in QEMU; who owns the sockets has a second one wait.
 *
 * @example
 * ```ts
 * const monitor = new QmpMonitor({
 *   machine,
 *   version: { major: 10, minor: 0, micro: 0, package: "my VMM 1.0" },
 *   now: () => Date.now() * 1000,
 * });
 * const session = monitor.connect((text) => void socket.write(text)); // the greeting is out
 * await session.receive('{"execute": "qmp_capabilities"}\n');
 * monitor.tell({ type: "stop" });
 * session.end();
 * ```
 */
export class QmpMonitor {
	readonly #options: QmpMonitorOptions;
	#session: QmpSession | undefined;

	constructor(options: QmpMonitorOptions) {
		this.#options = options;
	}

	/**
	 * A client is there: it is greeted. One that was there before is not told anything any more.
	 *
	 * @param send sends text to it; see {@link SessionOptions.send}
	 */
	connect(send: SessionOptions["send"]): QmpSession {
		const { dialect = "wire", ...options } = this.#options;
		this.#session?.end();
		this.#session = new QmpSession({ ...options, rules: dialectRules(dialect), send });
		return this.#session;
	}

	/** Tells the client, if there is one, what happened. */
	tell(event: MachineEvent): void {
		this.#session?.tell(event);
	}
}
