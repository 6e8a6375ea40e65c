/**
 * Migration of an mtty device: all states there are, and the streams that belong to them.
 *
 * @module
 */
import { EINVAL } from "../../../../core/uapi/errno.ts";
import type { OpenFile } from "../../file.ts";
import {
	MIGRATION_P2P,
	MIGRATION_PRE_COPY,
	MIGRATION_STATES,
	MIGRATION_STOP_COPY,
	type MigrationOps,
	nextState,
} from "../../vfio/migration.ts";
import { portStates, ResumingStream, SavingStream, stateHeader, stateSize } from "./migration-stream.ts";
import type { SerialPort } from "./serial-port.ts";

const { running, stop, stopCopy, resuming, preCopy, preCopyP2p } = MIGRATION_STATES;
/** The states that share one stream. */
const SAVING: ReadonlySet<number> = new Set([stopCopy, preCopy, preCopyP2p]);

/** The migration of one device. */
export class MttyMigration implements MigrationOps {
	readonly flags = MIGRATION_STOP_COPY | MIGRATION_P2P | MIGRATION_PRE_COPY;
	readonly #ports: readonly SerialPort[];
	#state: number = running;
	#saving: SavingStream | undefined;
	#resuming: ResumingStream | undefined;

	constructor(ports: readonly SerialPort[]) {
		this.#ports = ports;
	}

	get state(): number {
		return this.#state;
	}

	/** How many ports the device has. */
	get ports(): number {
		return this.#ports.length;
	}

	get dataSize(): number {
		return stateSize(this.ports);
	}

	setState(wanted: number): OpenFile | undefined | number {
		let stream: OpenFile | undefined;
		while (this.#state !== wanted) {
			const next = nextState(this.flags, this.#state, wanted);
			if (next < 0) return next;
			const made = this.#step(next);
			if (typeof made === "number") return made;
			this.#state = next;
			stream = made;
		}
		return stream;
	}

	/** The device is reset, or closed: what was under way ends. */
	reset(): void {
		this.#end();
		this.#state = running;
	}

	/** @returns the stream that a step opens */
	#step(next: number): OpenFile | undefined | number {
		if (this.#state === resuming && next !== resuming) {
			const loaded = this.#load();
			if (loaded < 0) return loaded;
			this.#end();
		}
		if (SAVING.has(this.#state) && !SAVING.has(next)) this.#end();
		if (next === resuming && this.#state === stop) {
			this.#resuming = new ResumingStream(this.ports);
			return this.#resuming;
		}
		return SAVING.has(next) ? this.#save(next) : undefined;
	}

	/** The header can be sent while the device runs, the ports only once it has stopped. */
	#save(next: number): OpenFile | undefined {
		const fresh = this.#saving === undefined;
		const stream = this.#saving ?? new SavingStream(stateHeader(this.ports), () => this.#precopying);
		this.#saving = stream;
		if (next === stopCopy && this.#state !== stopCopy) for (const port of this.#ports) stream.append(port.save());
		return fresh ? stream : undefined;
	}

	get #precopying(): boolean {
		return this.#state === preCopy || this.#state === preCopyP2p;
	}

	#load(): number {
		const state = this.#resuming?.state;
		if (!state) return -EINVAL;
		for (const [port, bytes] of portStates(state, this.ports).entries()) this.#ports[port]?.load(bytes);
		return 0;
	}

	#end(): void {
		this.#saving?.end();
		this.#resuming?.end();
		this.#saving = undefined;
		this.#resuming = undefined;
	}
}
