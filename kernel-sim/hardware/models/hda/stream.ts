/**
 * A stream's DMA engine (High Definition Audio Specification 1.0a, sections 3.3.35 and 3.6): a cyclic buffer in pieces, at the
 * pace of its format.
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import * as registers from "./registers.ts";

/** How often it moves data, nanoseconds. */
const PERIOD = 1e6;
const SECOND = 1e9;
/** Most that one period moves: 192 kHz, 16 channels of 32 bits is 12 KiB; a clock that was late has lost the rest. */
const BYTES_AT_ONCE = 0x10000;
/** A list has at most 256 entries; empty ones must not keep us longer than that. */
const ENTRIES_AT_ONCE = 256;
const ENTRY_SIZE = 16;
const ENTRY_INTERRUPT = 1;
const SAMPLE_BYTES: readonly number[] = [1, 2, 4, 4, 4];
const CONTROL_WRITABLE = 0x1f;
const STATUS_CLEARABLE = registers.SD_STS_COMPLETION | registers.SD_STS_FIFO | registers.SD_STS_DESCRIPTOR;

/** What a stream needs of its controller. */
export interface StreamHost {
	readonly port: DevicePort | undefined;
	/** Something that may interrupt has changed. */
	changed(): void;
	/** Data of an output stream. It is only valid in the call. @param tag the stream number that codecs know it by */
	play(tag: number, data: Uint8Array): void;
	/** Data for an input stream. */
	record(tag: number, into: Uint8Array): void;
	/** Where the position is to be written too; undefined when nobody wants it. */
	positionAddress(stream: number): bigint | undefined;
}

/** A stream. */
export class Stream {
	readonly #host: StreamHost;
	readonly #index: number;
	readonly #output: boolean;
	readonly #entry = new Uint8Array(ENTRY_SIZE);
	readonly #entryView = new DataView(this.#entry.buffer);
	readonly #positionBytes = new Uint8Array(4);
	readonly #buffer = new Uint8Array(BYTES_AT_ONCE);
	#control = 0;
	#tag = 0;
	#status = 0;
	#position = 0;
	#length = 0;
	#lastEntry = 0;
	#format = 0;
	#list = 0n;
	/** Where the engine is: entry, bytes of it that are done. */
	#current = 0;
	#done = 0;
	#left = -1;
	#since = 0;
	/** Fractions of a byte, in bytes times nanoseconds. */
	#owed = 0;
	#timer: Disposable | undefined;

	/** @param index its place among all streams @param output it plays */
	constructor(host: StreamHost, index: number, output: boolean) {
		this.#host = host;
		this.#index = index;
		this.#output = output;
	}

	/** Everything as at power-on; CRST does that, and SRST to this stream alone. */
	reset(): void {
		this.#stop();
		this.#control = 0;
		this.#tag = 0;
		this.#status = 0;
		this.#position = 0;
		this.#length = 0;
		this.#lastEntry = 0;
		this.#format = 0;
		this.#list = 0n;
		this.#rewind();
	}

	/** It has something to interrupt for. */
	get interrupting(): boolean {
		const enables =
			registers.SD_CTL_COMPLETION_INTERRUPT | registers.SD_CTL_FIFO_INTERRUPT | registers.SD_CTL_DESCRIPTOR_INTERRUPT;
		// The bits of control and status are in the same places.
		return (this.#control & enables & this.#status) !== 0;
	}

	/** @param register from the start of the stream's block */
	read(register: number): number {
		switch (register) {
			case registers.SD_CTL:
				return this.#control;
			case registers.SD_STREAM:
				return this.#tag << 4;
			case registers.SD_STS:
				return this.#status;
			case registers.SD_LPIB:
				return this.#position;
			case registers.SD_CBL:
				return this.#length;
			case registers.SD_LVI:
				return this.#lastEntry;
			case registers.SD_FIFOS:
				return this.#output ? 0xbf : 0x77;
			case registers.SD_FMT:
				return this.#format;
			case registers.SD_BDPL:
				return Number(this.#list & 0xffffffffn);
			case registers.SD_BDPU:
				return Number(this.#list >> 32n);
			default:
				return 0;
		}
	}

	write(register: number, value: number): void {
		switch (register) {
			case registers.SD_CTL:
				this.#writeControl(value & CONTROL_WRITABLE);
				break;
			case registers.SD_STREAM:
				this.#tag = (value >>> 4) & 0xf;
				return;
			case registers.SD_STS:
				this.#status &= ~(value & STATUS_CLEARABLE);
				break;
			case registers.SD_CBL:
				this.#length = value >>> 0;
				return;
			case registers.SD_LVI:
				this.#lastEntry = value & 0xff;
				return;
			case registers.SD_FMT:
				this.#format = value & 0x7f7f;
				return;
			case registers.SD_BDPL:
				this.#list = (this.#list & ~0xffffffffn) | BigInt((value & ~0x7f) >>> 0);
				return;
			case registers.SD_BDPU:
				this.#list = (this.#list & 0xffffffffn) | (BigInt(value >>> 0) << 32n);
				return;
		}
		this.#host.changed();
	}

	/** Gives the timer back. */
	detach(): void {
		this.#stop();
	}

	/** Bytes of a second of this format (section 3.7.1). */
	get #rate(): number {
		const base = (this.#format & 0x4000) !== 0 ? 44100 : 48000;
		const multiple = Math.min(((this.#format >>> 11) & 7) + 1, 4);
		const divisor = ((this.#format >>> 8) & 7) + 1;
		const sample = SAMPLE_BYTES[(this.#format >>> 4) & 7] ?? 4;
		return ((base * multiple) / divisor) * sample * ((this.#format & 0xf) + 1);
	}

	#writeControl(value: number): void {
		if ((value & registers.SD_CTL_RESET) !== 0) {
			this.reset();
			this.#control = registers.SD_CTL_RESET;
			return;
		}
		const runs = (value & registers.SD_CTL_RUN) !== 0;
		const ran = (this.#control & registers.SD_CTL_RUN) !== 0;
		this.#control = value;
		if (runs && !ran) this.#start();
		if (!runs && ran) this.#stop();
	}

	#rewind(): void {
		this.#current = 0;
		this.#done = 0;
		this.#left = -1;
		this.#owed = 0;
	}

	#start(): void {
		const { port } = this.#host;
		if (!port) return;
		this.#status |= registers.SD_STS_FIFO_READY;
		this.#since = port.clock.now();
		this.#schedule(port);
	}

	#schedule(port: DevicePort): void {
		this.#timer = port.clock.timer(PERIOD, () => this.#tick());
	}

	#stop(): void {
		this.#timer?.[Symbol.dispose]();
		this.#timer = undefined;
		this.#status &= ~registers.SD_STS_FIFO_READY;
	}

	#tick(): void {
		const { port } = this.#host;
		this.#timer = undefined;
		if (!port) return;
		const now = port.clock.now();
		this.#owed += (now - this.#since) * this.#rate;
		this.#since = now;
		const bytes = Math.floor(this.#owed / SECOND);
		this.#owed -= bytes * SECOND;
		this.#transfer(port, Math.min(bytes, BYTES_AT_ONCE));
		this.#writePosition(port);
		// The transfer may have ended it, or somebody in the middle of it.
		if ((this.#control & registers.SD_CTL_RUN) !== 0 && this.#timer === undefined) this.#schedule(port);
		this.#host.changed();
	}

	#transfer(port: DevicePort, bytes: number): void {
		let left = bytes;
		for (let entries = 0; left > 0 && (this.#control & registers.SD_CTL_RUN) !== 0; ) {
			if (this.#left < 0) {
				if (entries++ >= ENTRIES_AT_ONCE || !this.#fetch(port)) {
					this.#fail(registers.SD_STS_DESCRIPTOR);
					return;
				}
			}
			const length = Math.min(left, this.#left);
			if (length > 0 && !this.#move(port, length)) {
				this.#fail(registers.SD_STS_FIFO);
				return;
			}
			left -= length;
			this.#done += length;
			this.#left -= length;
			this.#position += length;
			if (this.#length > 0 && this.#position >= this.#length) this.#position %= this.#length;
			if (this.#left === 0) this.#finishEntry();
		}
	}

	#fetch(port: DevicePort): boolean {
		if (!port.dmaRead(this.#list + BigInt(ENTRY_SIZE * this.#current), this.#entry)) return false;
		this.#left = this.#entryView.getUint32(8, true);
		this.#done = 0;
		return true;
	}

	#move(port: DevicePort, length: number): boolean {
		const address = this.#entryView.getBigUint64(0, true) + BigInt(this.#done);
		const data = this.#buffer.subarray(0, length);
		if (this.#output) {
			if (!port.dmaRead(address, data)) return false;
			this.#host.play(this.#tag, data);
			return true;
		}
		data.fill(0);
		this.#host.record(this.#tag, data);
		return port.dmaWrite(address, data);
	}

	#finishEntry(): void {
		if ((this.#entryView.getUint32(12, true) & ENTRY_INTERRUPT) !== 0) this.#status |= registers.SD_STS_COMPLETION;
		this.#current = this.#current >= this.#lastEntry ? 0 : this.#current + 1;
		this.#left = -1;
	}

	/** What cannot go on stops, so that nobody waits for it for ever. */
	#fail(status: number): void {
		this.#status |= status;
		this.#control &= ~registers.SD_CTL_RUN;
		this.#stop();
	}

	#writePosition(port: DevicePort): void {
		const address = this.#host.positionAddress(this.#index);
		if (address === undefined) return;
		new DataView(this.#positionBytes.buffer).setUint32(0, this.#position, true);
		port.dmaWrite(address, this.#positionBytes);
	}
}
