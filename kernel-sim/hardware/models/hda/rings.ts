/**
 * The command ring CORB and the response ring RIRB (High Definition Audio Specification 1.0a, section 4.4).
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import type { HdaCodec } from "./codec.ts";
import * as registers from "./registers.ts";

/** Size codes 0 to 2 of CORBSIZE and RIRBSIZE. */
const SIZES: readonly number[] = [2, 16, 256];
/** All three sizes exist; 256 entries to begin with. */
const SIZE_CAPABILITY = 0x70;
const LARGEST = 2;
/** More commands than the ring has entries are none that a driver waits for. */
const COMMANDS_AT_ONCE = 256;

/** What the rings need of their controller. */
export interface RingsHost {
	readonly port: DevicePort | undefined;
	/** Which codec answers at an address of the link. */
	codec(address: number): HdaCodec | undefined;
	/** Something that may interrupt has changed. */
	changed(): void;
}

/** Both rings and their engine. */
export class Rings {
	/** RIRBSTS. */
	status = 0;
	/** CORBSTS. */
	error = 0;
	readonly #host: RingsHost;
	readonly #command = new Uint8Array(4);
	readonly #commandView = new DataView(this.#command.buffer);
	readonly #response = new Uint8Array(8);
	readonly #responseView = new DataView(this.#response.buffer);
	readonly #bases = { command: 0n, response: 0n };
	#commandSize = LARGEST;
	#responseSize = LARGEST;
	#commandWrite = 0;
	#commandRead = 0;
	#resetting = 0;
	#commandControl = 0;
	#responseWrite = 0;
	#interruptCount = 0;
	#responseControl = 0;
	#responses = 0;
	#running = false;

	constructor(host: RingsHost) {
		this.#host = host;
	}

	reset(): void {
		this.status = 0;
		this.error = 0;
		this.#bases.command = 0n;
		this.#bases.response = 0n;
		this.#commandSize = LARGEST;
		this.#responseSize = LARGEST;
		this.#commandWrite = 0;
		this.#commandRead = 0;
		this.#resetting = 0;
		this.#commandControl = 0;
		this.#responseWrite = 0;
		this.#interruptCount = 0;
		this.#responseControl = 0;
		this.#responses = 0;
	}

	/** The rings have something to interrupt for. */
	get interrupting(): boolean {
		const response = (this.#responseControl & registers.RIRBCTL_INTERRUPT) !== 0 && (this.status & 1) !== 0;
		const overrun = (this.#responseControl & registers.RIRBCTL_OVERRUN_INTERRUPT) !== 0 && (this.status & 4) !== 0;
		const error = (this.#commandControl & registers.CORBCTL_ERROR_INTERRUPT) !== 0 && this.error !== 0;
		return response || overrun || error;
	}

	/** @returns undefined when the register is none of the rings' */
	read(register: number): number | undefined {
		switch (register) {
			case registers.CORBLBASE:
				return Number(this.#bases.command & 0xffffffffn);
			case registers.CORBUBASE:
				return Number(this.#bases.command >> 32n);
			case registers.CORBWP:
				return this.#commandWrite;
			case registers.CORBRP:
				return this.#commandRead | this.#resetting;
			case registers.CORBCTL:
				return this.#commandControl;
			case registers.CORBSTS:
				return this.error;
			case registers.CORBSIZE:
				return SIZE_CAPABILITY | this.#commandSize;
			case registers.RIRBLBASE:
				return Number(this.#bases.response & 0xffffffffn);
			case registers.RIRBUBASE:
				return Number(this.#bases.response >> 32n);
			case registers.RIRBWP:
				return this.#responseWrite;
			case registers.RINTCNT:
				return this.#interruptCount;
			case registers.RIRBCTL:
				return this.#responseControl;
			case registers.RIRBSTS:
				return this.status;
			case registers.RIRBSIZE:
				return SIZE_CAPABILITY | this.#responseSize;
			default:
				return undefined;
		}
	}

	/** @returns false when the register is none of the rings' */
	write(register: number, value: number): boolean {
		switch (register) {
			case registers.CORBLBASE:
				this.#bases.command = low(this.#bases.command, value);
				break;
			case registers.CORBUBASE:
				this.#bases.command = high(this.#bases.command, value);
				break;
			case registers.CORBWP:
				this.#commandWrite = value & 0xff;
				break;
			case registers.CORBRP:
				// Software sets the bit, sees it set, clears it and sees it clear.
				this.#resetting = value & registers.POINTER_RESET;
				if (this.#resetting !== 0) this.#commandRead = 0;
				return true;
			case registers.CORBCTL:
				this.#commandControl = value & (registers.CORBCTL_RUN | registers.CORBCTL_ERROR_INTERRUPT);
				break;
			case registers.CORBSTS:
				this.error &= ~value;
				break;
			case registers.CORBSIZE:
				this.#commandSize = Math.min(value & 3, LARGEST);
				return true;
			case registers.RIRBLBASE:
				this.#bases.response = low(this.#bases.response, value);
				break;
			case registers.RIRBUBASE:
				this.#bases.response = high(this.#bases.response, value);
				break;
			case registers.RIRBWP:
				if ((value & registers.POINTER_RESET) !== 0) this.#responseWrite = 0;
				break;
			case registers.RINTCNT:
				this.#interruptCount = value & 0xff;
				return true;
			case registers.RIRBCTL:
				this.#responseControl = value & 7;
				break;
			case registers.RIRBSTS:
				this.status &= ~value;
				// Responses that waited for this one to be seen go on.
				if ((value & registers.RIRBSTS_RESPONSE) !== 0) this.#responses = 0;
				break;
			case registers.RIRBSIZE:
				this.#responseSize = Math.min(value & 3, LARGEST);
				return true;
			default:
				return false;
		}
		this.#run();
		this.#host.changed();
		return true;
	}

	/** Executes commands until the ring is empty, or as many responses as RINTCNT wait to be taken. It does not nest. */
	#run(): void {
		if (this.#running) return;
		this.#running = true;
		for (let left = COMMANDS_AT_ONCE; left > 0 && this.#mayRun; left--) this.#execute();
		this.#running = false;
	}

	get #mayRun(): boolean {
		const runs = (this.#commandControl & registers.CORBCTL_RUN) !== 0 && this.#resetting === 0;
		const responds = (this.#responseControl & registers.RIRBCTL_RUN) !== 0;
		const entries = SIZES[this.#commandSize] ?? 256;
		const due = this.#commandWrite % entries !== this.#commandRead % entries;
		return runs && responds && due && this.error === 0 && !this.#waiting;
	}

	/** RINTCNT responses were written and not acknowledged. */
	get #waiting(): boolean {
		return this.#responses >= (this.#interruptCount || 256);
	}

	#execute(): void {
		const { port } = this.#host;
		const entries = SIZES[this.#commandSize] ?? 256;
		this.#commandRead = (this.#commandRead + 1) % entries;
		if (!port?.dmaRead(this.#bases.command + BigInt(4 * this.#commandRead), this.#command)) {
			this.error |= registers.CORBSTS_ERROR;
			return;
		}
		const verb = this.#commandView.getUint32(0, true);
		const codec = this.#host.codec(verb >>> 28);
		if (codec) this.#respond(port, codec.execute(verb), verb >>> 28);
	}

	#respond(port: DevicePort, response: number, address: number): void {
		this.#responseWrite = (this.#responseWrite + 1) % (SIZES[this.#responseSize] ?? 256);
		this.#responseView.setUint32(0, response, true);
		this.#responseView.setUint32(4, address, true);
		if (!port.dmaWrite(this.#bases.response + BigInt(8 * this.#responseWrite), this.#response)) {
			this.status |= registers.RIRBSTS_OVERRUN;
			this.#responseControl &= ~registers.RIRBCTL_RUN;
			return;
		}
		this.#responses += 1;
		const entries = SIZES[this.#commandSize] ?? 256;
		const last = this.#commandWrite % entries === this.#commandRead;
		if (last || this.#waiting) this.status |= registers.RIRBSTS_RESPONSE;
	}
}

/** Rings are aligned to 128 bytes. */
function low(base: bigint, value: number): bigint {
	return (base & ~0xffffffffn) | BigInt((value & ~0x7f) >>> 0);
}

function high(base: bigint, value: number): bigint {
	return (base & 0xffffffffn) | (BigInt(value >>> 0) << 32n);
}
