/**
 * One client's conversation.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { COMMANDS, type QmpRequest, readRequest, requestId } from "./commands.ts";
import type { DialectRules, QmpVersion } from "./dialect.ts";
import type { MachineEvent } from "./events.ts";
import { QmpError, type QmpFault } from "./fault.ts";
import { JsonInput, type JsonItem, type JsonLimits } from "./json-input.ts";
import type { DeviceRequest, QmpMachine } from "./machine.ts";
import { RequestRate } from "./request-rate.ts";

/** What a session needs of the world around it. */
export interface SessionOptions {
	readonly machine: QmpMachine;
	readonly rules: DialectRules;
	readonly version: QmpVersion;
	/** Microseconds since 1970. */
	readonly now: () => number;
	readonly limits?: JsonLimits;
	/**
	 * Sends text to the client.
	 *
	 * @returns a promise when the client does not read as fast as it is written to; it settles when there is room again
	 */
	readonly send: (text: string) => Promise<void> | undefined;
}

/** Events that wait for a client that does not read; of more, the oldest are dropped. */
const EVENTS_KEPT = 50;

/** Answers requests one after the other, and tells of events in between. */
export class QmpSession {
	readonly #options: SessionOptions;
	readonly #input: JsonInput;
	readonly #rate: RequestRate | undefined;
	readonly #items: JsonItem[] = [];
	#running: Promise<void> | undefined;
	#negotiated: boolean;
	#ended = false;
	/** Settles when the client reads again. */
	#congested: Promise<void> | undefined;
	/** Events for later: the client does not read, or an answer comes first. */
	readonly #events: string[] = [];
	#holding = false;
	#dropped = 0;

	/** @internal */
	constructor(options: SessionOptions) {
		this.#options = options;
		this.#input = new JsonInput(options.limits);
		const { negotiates, requestsPerSecond, greeting } = options.rules;
		this.#negotiated = !negotiates;
		this.#rate = requestsPerSecond === undefined ? undefined : new RequestRate(requestsPerSecond);
		this.#send(greeting(options.version));
	}

	/** How many events a client that did not read has missed. */
	get droppedEvents(): number {
		return this.#dropped;
	}

	/**
	 * Takes what came in, in whatever pieces. Read no more from the client until it settles: that is what bounds the memory
	 * of a session.
	 *
	 * @returns when everything that is whole has been answered
	 */
	receive(text: string): Promise<void> {
		if (this.#ended) return Promise.resolve();
		this.#items.push(...this.#input.push(text));
		this.#running ??= this.#run().finally(() => {
			this.#running = undefined;
		});
		return this.#running;
	}

	/** The client has gone: nothing is sent any more, and what was asked for and has not begun is not done. */
	end(): void {
		this.#ended = true;
		this.#items.length = 0;
		this.#events.length = 0;
	}

	/** @internal Something happened in the machine. */
	tell(event: MachineEvent): void {
		// QEMU tells nothing before the client has said what it understands.
		if (!this.#negotiated || this.#ended) return;
		const { rules, now } = this.#options;
		this.#events.push(rules.event(event, now()));
		if (this.#events.length > EVENTS_KEPT) {
			this.#events.shift();
			this.#dropped++;
		}
		this.#flush();
	}

	async #run(): Promise<void> {
		for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) {
			// What a client does not want to hear the end of, nothing is added to.
			await this.#room();
			const answer = await this.#answer(item);
			await this.#room();
			this.#send(answer);
			this.#holding = false;
			this.#flush();
		}
	}

	async #room(): Promise<void> {
		while (this.#congested) await this.#congested;
	}

	async #answer(item: JsonItem): Promise<string> {
		const { rules, now } = this.#options;
		if (item.type === "fault") return rules.failure(item.fault, undefined);
		const id = rules.stringIds && item.value["id"] === null ? undefined : requestId(item.text);
		try {
			if (this.#rate?.admit(now()) === false)
				throw new QmpError({ type: "throttled", requests: rules.requestsPerSecond as number });
			return rules.result(await this.#execute(readRequest(item.value, rules.stringIds)), id);
		} catch (error) {
			return rules.failure(faultOf(error), id);
		}
	}

	async #execute(request: QmpRequest): Promise<unknown> {
		const { machine, rules, version } = this.#options;
		if (request.command === "qmp_capabilities") return this.#negotiate(request);
		if (!this.#negotiated) throw new QmpError({ type: "not-negotiated" });
		switch (request.command) {
			case "query-version":
				return rules.version(version);
			case "query-commands":
				return Object.keys(COMMANDS).map((name) => ({ name }));
			case "query-status":
				return rules.status(machine.state);
			case "query-pci":
				return machine.pci();
			case "stop":
				await machine.stop();
				return {};
			case "cont":
				await machine.cont();
				return {};
			case "system_reset":
				await machine.reset();
				return {};
			case "quit":
				await machine.quit();
				return {};
			case "device_add":
				await machine.addDevice(this.#deviceRequest(request));
				return {};
			case "device_del":
				return await this.#deleteDevice(request.arguments["id"] as string);
		}
	}

	#negotiate(request: QmpRequest): unknown {
		if (this.#negotiated && this.#options.rules.negotiates) throw new QmpError({ type: "negotiated-already" });
		const [wanted] = (request.arguments["enable"] as string[] | undefined) ?? [];
		if (wanted !== undefined) throw new QmpError({ type: "unknown-capability", name: wanted });
		this.#negotiated = true;
		return {};
	}

	#deviceRequest({ arguments: given }: QmpRequest): DeviceRequest {
		const { driver, id, ...properties } = given as Record<string, string | number | boolean>;
		if (id === undefined && !this.#options.rules.idOptional)
			throw new QmpError({ type: "missing-argument", name: "id", hasArguments: true });
		if (id === "") throw new QmpError({ type: "empty-id" });
		return { driver: driver as string, id: id as string | undefined, properties };
	}

	async #deleteDevice(id: string): Promise<unknown> {
		const { machine, rules } = this.#options;
		// Where the answer comes first, so it does when the device leaves at once.
		this.#holding = !rules.waitsForUnplug;
		const gone = machine.deleteDevice(id);
		if (rules.waitsForUnplug) await gone;
		else gone.catch(() => {}); // that the guest keeps it, an event says
		return {};
	}

	#send(text: string): void {
		if (this.#ended) return;
		const congested = this.#options.send(text);
		if (congested === undefined) return;
		const over = () => {
			if (this.#congested !== relief) return;
			this.#congested = undefined;
			this.#flush();
		};
		const relief: Promise<void> = congested.then(over, () => {
			this.end();
			over();
		});
		this.#congested = relief;
	}

	#flush(): void {
		while (!this.#congested && !this.#holding) {
			const event = this.#events.shift();
			if (event === undefined) return;
			this.#send(event);
		}
	}
}

/** What an error of the machine means to the client: what failed, why, and what to do about it. */
function faultOf(error: unknown): QmpFault {
	if (error instanceof QmpError) return error.fault;
	if (!(error instanceof Error)) return { type: "failed", reason: String(error) };
	const sentences = [error.message];
	if (error.cause instanceof Error && !error.message.includes(error.cause.message)) sentences.push(error.cause.message);
	if (error instanceof AggregateError) sentences.push(...error.errors.map((one) => (one as Error).message));
	const remedy = error instanceof VfioError && error.remedy.length > 0 ? ` To mend it: ${error.remedy.join("; ")}` : "";
	return { type: "failed", reason: `${sentences.join(": ")}${remedy && `.${remedy}`}` };
}
