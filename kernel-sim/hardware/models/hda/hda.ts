/**
 * The Intel High Definition Audio controller of the ICH9 (82801I, 8086:293e; Intel I/O Controller Hub 9 Datasheet, section 19;
 * High Definition Audio Specification 1.0a).
 *
 * Here are: reset, codec discovery, CORB and RIRB with DMA, immediate commands, wall clock, four input and four output streams
 * with their buffer lists, position registers and position buffer, interrupts by pin and MSI. Not here: unsolicited responses,
 * wake-up events, stream synchronization (SSYNC is kept and does nothing), traffic classes.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";
import { msi } from "../../capabilities.ts";
import type { FunctionDescription } from "../../description.ts";
import type { DeviceModel, DevicePort } from "../../model.ts";
import { BasicCodec, type HdaCodec } from "./codec.ts";
import * as registers from "./registers.ts";
import { Rings, type RingsHost } from "./rings.ts";
import { Stream, type StreamHost } from "./stream.ts";

/** Options of {@link Hda}. */
export interface HdaOptions {
	/** What is at address 0 of the link; a {@link BasicCodec} when left out. */
	readonly codec?: HdaCodec;
	/** Gets what output streams play. `data` is only valid in the call. @param stream the number codecs know it by, 1 to 15 */
	readonly sink?: (stream: number, data: Uint8Array) => void;
	/** Fills what input streams record; silence when left out. */
	readonly source?: (stream: number, into: Uint8Array) => void;
}

const INPUTS = 4;
const OUTPUTS = 4;
const STREAMS = INPUTS + OUTPUTS;
const STREAMS_END = registers.STREAMS + STREAMS * registers.STREAM_SIZE;
/** Four of each, 64-bit addresses. */
const CAPABILITIES = (OUTPUTS << 12) | (INPUTS << 8) | 1;
/** Ticks of the wall clock in a nanosecond: 24 MHz. */
const WALL_CLOCK = 24e6 / 1e9;
const INTERRUPT_ENABLES = 0xc00000ff;
const CODEC_0 = 1;

/**
 * The controller.
 *
 * @example
 * ```ts
 * const played: number[] = [];
 * const hda = new Hda({ sink: (_stream, data) => played.push(...data) });
 * machine.plug("0000:00:1b.0", new PciFunction(Hda.description(), hda));
 * ```
 */
export class Hda implements DeviceModel, RingsHost, StreamHost {
	/** The codec at address 0. */
	readonly #codec: HdaCodec;
	readonly #options: HdaOptions;
	readonly #rings = new Rings(this);
	readonly #streams: readonly Stream[];
	#port: DevicePort | undefined;
	#running = false;
	#wakeEnable = 0;
	#stateStatus = 0;
	#interruptControl = 0;
	#sync = 0;
	#immediateCommand = 0;
	#immediateResponse = 0;
	#immediateStatus = 0;
	#positionBase = 0;
	#positionUpper = 0;
	#clockStart = 0;
	/** A message was sent for what is pending. */
	#announced = 0;

	constructor(options: HdaOptions = {}) {
		this.#options = options;
		this.#codec = options.codec ?? new BasicCodec();
		this.#streams = Array.from({ length: STREAMS }, (_, index) => new Stream(this, index, index >= INPUTS));
	}

	/** The function it lives in, with the registers that `test/fixtures/lspci/hda.txt` recorded. */
	static description(): FunctionDescription {
		return {
			name: "hda",
			vendor: 0x8086,
			device: 0x293e,
			revision: 3,
			classCode: 0x040300,
			subsystemVendor: 0x1af4,
			subsystemDevice: 0x1100,
			interruptPin: 1,
			bars: [{ index: 0, kind: "mem32", size: 0x4000, backing: "registers" }],
			capabilities: [msi({ offset: 0x60 })],
			// HDCTL: the link is in High Definition Audio mode (ICH9, section 19.1.19).
			registers: [{ offset: 0x40, bytes: Uint8Array.of(1) }],
		};
	}

	get port(): DevicePort | undefined {
		return this.#port;
	}

	attach(port: DevicePort): void {
		this.#port = port;
		this.#clockStart = port.clock.now();
	}

	detach(): void {
		for (const stream of this.#streams) stream.detach();
		this.#port = undefined;
	}

	reset(): void {
		this.#resetLink();
		this.#running = false;
		this.#stateStatus = 0;
		this.#wakeEnable = 0;
		this.changed();
	}

	/** A narrow or wide read gets the parts of the registers it reaches. */
	read(bar: number, offset: number, width: AccessWidth): number {
		if (bar !== 0) return 0;
		let value = 0;
		for (let index = 0; index < width; ) {
			const at = offset + index;
			const start = registerStart(at);
			const size = registers.registerWidth(start, STREAMS_END);
			if (size === 0) {
				index += 1;
				continue;
			}
			value |= (this.#read(start) >>> (8 * (at - start))) << (8 * index);
			index += start + size - at;
		}
		return value >>> 0;
	}

	/** Each register that the access reaches is written; one that it reaches in part keeps the rest, unless writing clears. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (bar !== 0) return;
		for (let index = 0; index < width; ) {
			const at = offset + index;
			const start = registerStart(at);
			const size = registers.registerWidth(start, STREAMS_END);
			if (size === 0) {
				index += 1;
				continue;
			}
			const shift = 8 * (at - start);
			const bytes = Math.min(start + size - at, width - index);
			const mask = bytes === 4 ? 0xffffffff : ((1 << (8 * bytes)) - 1) << shift;
			const part = ((value >>> (8 * index)) << shift) & mask;
			const kept = clears(start) ? 0 : this.#read(start) & ~mask;
			this.#write(start, (kept | part) >>> 0);
			index += bytes;
		}
	}

	codec(address: number): HdaCodec | undefined {
		return address === 0 ? this.#codec : undefined;
	}

	play(tag: number, data: Uint8Array): void {
		this.#options.sink?.(tag, data);
	}

	record(tag: number, into: Uint8Array): void {
		this.#options.source?.(tag, into);
	}

	positionAddress(stream: number): bigint | undefined {
		if ((this.#positionBase & registers.DPLBASE_ENABLE) === 0) return undefined;
		const base = (BigInt(this.#positionUpper) << 32n) | BigInt((this.#positionBase & ~0x7f) >>> 0);
		return base + BigInt(8 * stream);
	}

	/** Works out the interrupt: the pin, or a message for what is new. */
	changed(): void {
		const due = this.#due;
		const port = this.#port;
		if (!port) return;
		const fresh = due & ~this.#announced;
		this.#announced = due;
		if (fresh !== 0 && port.signal(0)) return;
		port.setIntx(due !== 0 && port.interruptMode === "intx");
	}

	/** INTSTS without its summary bit. */
	get #status(): number {
		let status =
			this.#rings.interrupting || (this.#stateStatus & this.#wakeEnable) !== 0 ? registers.INTCTL_CONTROLLER : 0;
		for (let index = 0; index < STREAMS; index++) if (this.#streams[index]?.interrupting) status |= 1 << index;
		return status;
	}

	get #due(): number {
		const enabled = (this.#interruptControl & registers.INTCTL_GLOBAL) !== 0;
		return enabled ? this.#status & this.#interruptControl : 0;
	}

	#read(register: number): number {
		if (register >= registers.STREAMS) {
			const at = register - registers.STREAMS;
			return this.#streams[Math.floor(at / registers.STREAM_SIZE)]?.read(at % registers.STREAM_SIZE) ?? 0;
		}
		switch (register) {
			case registers.GCAP:
				return CAPABILITIES;
			case registers.VMAJ:
				return 1;
			case registers.OUTPAY:
				return 0x3c;
			case registers.INPAY:
				return 0x1d;
			case registers.GCTL:
				return this.#running ? registers.GCTL_RUN : 0;
			case registers.WAKEEN:
				return this.#wakeEnable;
			case registers.STATESTS:
				return this.#stateStatus;
			case registers.INTCTL:
				return this.#interruptControl;
			case registers.INTSTS:
				return (this.#status | (this.#due !== 0 ? registers.INTCTL_GLOBAL : 0)) >>> 0;
			case registers.WALCLK:
				return Math.floor(((this.#port?.clock.now() ?? 0) - this.#clockStart) * WALL_CLOCK) % 2 ** 32;
			case registers.SSYNC:
				return this.#sync;
			case registers.ICOI:
				return this.#immediateCommand;
			case registers.ICII:
				return this.#immediateResponse;
			case registers.ICIS:
				return this.#immediateStatus;
			case registers.DPLBASE:
				return this.#positionBase;
			case registers.DPUBASE:
				return this.#positionUpper;
			default:
				return this.#rings.read(register) ?? 0;
		}
	}

	#write(register: number, value: number): void {
		// In reset only the bit that ends it, and what outlasts it, can be written (section 3.3.7).
		const outlasting = [registers.GCTL, registers.WAKEEN, registers.STATESTS];
		if (!this.#running && !outlasting.includes(register)) return;
		if (register >= registers.STREAMS) {
			const at = register - registers.STREAMS;
			this.#streams[Math.floor(at / registers.STREAM_SIZE)]?.write(at % registers.STREAM_SIZE, value);
			return;
		}
		switch (register) {
			case registers.GCTL:
				this.#writeControl((value & registers.GCTL_RUN) !== 0);
				break;
			case registers.WAKEEN:
				this.#wakeEnable = value & 0x7;
				break;
			case registers.STATESTS:
				this.#stateStatus &= ~value;
				break;
			case registers.INTCTL:
				this.#interruptControl = (value & INTERRUPT_ENABLES) >>> 0;
				break;
			case registers.SSYNC:
				this.#sync = value & 0xff;
				return;
			case registers.ICOI:
				this.#immediateCommand = value >>> 0;
				return;
			case registers.ICIS:
				this.#immediate(value);
				return;
			case registers.DPLBASE:
				this.#positionBase = (value & ~0x7e) >>> 0;
				return;
			case registers.DPUBASE:
				this.#positionUpper = value >>> 0;
				return;
			default:
				this.#rings.write(register, value);
				return;
		}
		this.changed();
	}

	/** CRST: leaving reset, codecs announce themselves. */
	#writeControl(run: boolean): void {
		if (run === this.#running) return;
		this.#running = run;
		if (run) {
			this.#stateStatus |= CODEC_0;
			this.#clockStart = this.#port?.clock.now() ?? 0;
		} else this.#resetLink();
	}

	#immediate(value: number): void {
		this.#immediateStatus &= ~(value & registers.ICIS_VALID);
		if ((value & registers.ICIS_BUSY) === 0) return;
		const codec = this.codec(this.#immediateCommand >>> 28);
		// Nobody answers: the command is busy for no time, and its response not valid.
		if (!codec) return;
		this.#immediateResponse = codec.execute(this.#immediateCommand) >>> 0;
		this.#immediateStatus |= registers.ICIS_VALID;
	}

	#resetLink(): void {
		this.#rings.reset();
		for (const stream of this.#streams) stream.reset();
		this.#codec.reset();
		this.#interruptControl = 0;
		this.#sync = 0;
		this.#immediateCommand = 0;
		this.#immediateResponse = 0;
		this.#immediateStatus = 0;
		this.#positionBase = 0;
		this.#positionUpper = 0;
	}
}

/** Where the register that an offset lies in starts; the offset itself when it lies in none. */
function registerStart(offset: number): number {
	for (let back = 0; back < 4 && back <= offset; back++) {
		const size = registers.registerWidth(offset - back, STREAMS_END);
		if (size > back) return offset - back;
	}
	return offset;
}

/** A bit of the register is cleared by writing one: what is not written must not be. */
function clears(register: number): boolean {
	const { STATESTS, CORBSTS, RIRBSTS, ICIS, STREAMS: first, STREAM_SIZE, SD_STS } = registers;
	if (register >= first) return (register - first) % STREAM_SIZE === SD_STS;
	return register === STATESTS || register === CORBSTS || register === RIRBSTS || register === ICIS;
}
