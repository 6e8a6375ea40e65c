/**
 * One DMA channel: a transmit and a receive ring.
 *
 * @module
 */
import { load, store } from "../../../little-endian.ts";
import * as reg from "./registers.ts";

/** More than any frame has: a ring that describes an endless one is an error of the driver's. */
const LONGEST_FRAME = 16384;
/** How many descriptors are looked at in one go: a ring in something that never gives them back must end some time. */
const DESCRIPTOR_LIMIT = 65536;

/** What a channel needs of its controller. */
export interface ChannelHost {
	dmaRead(address: bigint, into: Uint8Array): boolean;
	dmaWrite(address: bigint, from: Uint8Array): boolean;
	/** A frame leaves. */
	send(frame: Uint8Array): void;
	/** Whether the channel's queue is on. */
	transmits(channel: number): boolean;
	/** The channel's status has changed. @param event bits {@link reg.TI} and {@link reg.RI} that have just come */
	changed(channel: number, event: number): void;
	/** The bytes of the first buffer of a receive descriptor, where headers are split; undefined where they are not. */
	readonly headerSize: number;
}

/** The registers and rings of a channel. */
export class Channel {
	readonly index: number;
	readonly #host: ChannelHost;
	readonly #registers = new Uint8Array(reg.DMA_CH_INC);
	readonly #descriptor = new Uint8Array(reg.DESC_SIZE);
	/** Which descriptor of its ring comes next. */
	#transmitAt = 0;
	#receiveAt = 0;
	#transmitting = false;
	#budget = 0;

	constructor(index: number, host: ChannelHost) {
		this.index = index;
		this.#host = host;
	}

	reset(): void {
		this.#registers.fill(0);
		this.#transmitAt = 0;
		this.#receiveAt = 0;
	}

	/** Status that is enabled, with its summaries. */
	get interrupting(): boolean {
		const enabled = this.get(reg.IER);
		return (this.get(reg.SR) & enabled & (reg.NIS | reg.AIS)) !== 0;
	}

	get receives(): boolean {
		return (this.get(reg.RCR) & reg.RCR_SR) !== 0;
	}

	get(offset: number): number {
		if (offset === reg.CATDR_LO) return Number(BigInt.asUintN(32, this.#transmitAddress));
		if (offset === reg.CARDR_LO) return Number(BigInt.asUintN(32, this.#receiveAddress));
		return load(this.#registers, offset, 4);
	}

	write(offset: number, value: number): void {
		if (offset === reg.SR) {
			this.#set(reg.SR, this.get(reg.SR) & ~(value & (reg.NORMAL | reg.ABNORMAL)));
			this.#update(0);
			return;
		}
		if (offset === reg.CATDR_LO || offset === reg.CARDR_LO) return;
		this.#set(offset, value);
		if (offset === reg.TDLR_LO) this.#transmitAt = 0;
		if (offset === reg.RDLR_LO) this.#receiveAt = 0;
		if (offset === reg.TDTR_LO || offset === reg.TCR) this.transmit();
		this.#update(0);
	}

	/** Sends what lies between its place and the tail of the ring. */
	transmit(): void {
		if (this.#transmitting) return;
		this.#transmitting = true;
		this.#budget = DESCRIPTOR_LIMIT;
		try {
			while (this.#sends && this.#transmitFrame());
		} finally {
			this.#transmitting = false;
		}
	}

	/** Stores a frame. @param length bytes that its last descriptor tells @returns false when there is no room */
	receive(frame: Uint8Array): boolean {
		for (let done = 0; done < frame.length; ) {
			const at = this.#receiveAddress;
			if (Number(BigInt.asUintN(32, at)) === this.get(reg.RDTR_LO)) return this.#noRoom();
			if (!this.#host.dmaRead(at, this.#descriptor)) return this.#busError(reg.RCR, reg.RCR_SR, reg.RPS);
			const flags = this.#word(12);
			if ((flags & reg.DESC3_OWN) === 0) return this.#noRoom();
			const first = done === 0;
			const before = done;
			for (const [address, size] of this.#receiveBuffers(flags)) {
				const part = frame.subarray(done, done + size);
				if (part.length === 0 || address === 0n) continue;
				if (!this.#host.dmaWrite(address, part)) return this.#busError(reg.RCR, reg.RCR_SR, reg.RPS);
				done += part.length;
			}
			if (done === before) return this.#busError(reg.RCR, reg.RCR_SR, reg.RPS);
			const last = done === frame.length;
			const written = new Uint8Array(reg.DESC_SIZE);
			store(written, 12, 4, (first ? reg.DESC3_FD : 0) | (last ? reg.DESC3_LD | frame.length : 0));
			if (!this.#host.dmaWrite(at, written)) return this.#busError(reg.RCR, reg.RCR_SR, reg.RPS);
			this.#receiveAt = this.#receiveAt === this.get(reg.RDRLR) ? 0 : this.#receiveAt + 1;
			if (last && (flags & reg.RX_DESC3_INTE) !== 0) this.#raise(reg.RI);
		}
		return true;
	}

	get #sends(): boolean {
		return (this.get(reg.TCR) & reg.TCR_ST) !== 0 && this.#host.transmits(this.index);
	}

	get #transmitAddress(): bigint {
		return address64(this.#raw(reg.TDLR_HI), this.#raw(reg.TDLR_LO)) + BigInt(this.#transmitAt * reg.DESC_SIZE);
	}

	get #receiveAddress(): bigint {
		return address64(this.#raw(reg.RDLR_HI), this.#raw(reg.RDLR_LO)) + BigInt(this.#receiveAt * reg.DESC_SIZE);
	}

	/** @returns false when there is nothing more to send */
	#transmitFrame(): boolean {
		const parts: Uint8Array[] = [];
		let interrupt = false;
		for (let length = 0; ; ) {
			const at = this.#transmitAddress;
			if (Number(BigInt.asUintN(32, at)) === this.get(reg.TDTR_LO)) return this.#starved();
			if (this.#budget-- === 0 || !this.#host.dmaRead(at, this.#descriptor))
				return this.#busError(reg.TCR, reg.TCR_ST, reg.TPS);
			const flags = this.#word(12);
			if ((flags & reg.DESC3_OWN) === 0) return this.#starved();
			const context = (flags & reg.DESC3_CTXT) !== 0;
			const part = new Uint8Array(context ? 0 : this.#word(8) & reg.TX_DESC2_LENGTH);
			length += part.length;
			if (length > LONGEST_FRAME || !this.#host.dmaRead(address64(this.#word(4), this.#word(0)), part))
				return this.#busError(reg.TCR, reg.TCR_ST, reg.TPS);
			parts.push(part);
			interrupt ||= !context && (this.#word(8) & reg.TX_DESC2_IC) !== 0;
			store(this.#descriptor, 12, 4, (flags & ~reg.DESC3_OWN) >>> 0);
			if (!this.#host.dmaWrite(at + 12n, this.#descriptor.subarray(12)))
				return this.#busError(reg.TCR, reg.TCR_ST, reg.TPS);
			this.#transmitAt = this.#transmitAt === this.get(reg.TDRLR) ? 0 : this.#transmitAt + 1;
			if (context || (flags & reg.DESC3_LD) === 0) continue;
			this.#host.send(join(parts));
			if (interrupt) this.#raise(reg.TI);
			return true;
		}
	}

	/** With split headers the first buffer is small; the second is where the rest goes. */
	#receiveBuffers(flags: number): [address: bigint, size: number][] {
		const size = (this.get(reg.RCR) >>> reg.RCR_RBSZ_SHIFT) & reg.RCR_RBSZ_MASK;
		const first = (this.get(reg.CR) & reg.CR_SPH) !== 0 ? this.#host.headerSize : size;
		return [
			[address64(this.#word(4), this.#word(0)), first],
			[address64(flags & reg.RX_DESC3_ADDRESS, this.#word(8)), size],
		];
	}

	#starved(): false {
		this.#raise(reg.TBU);
		return false;
	}

	#noRoom(): false {
		this.#raise(reg.RBU);
		return false;
	}

	/** A descriptor or buffer could not be reached: the ring stops. */
	#busError(control: number, start: number, stopped: number): false {
		this.#set(control, this.get(control) & ~start);
		this.#raise(reg.FBE | stopped);
		return false;
	}

	#raise(bits: number): void {
		this.#set(reg.SR, this.get(reg.SR) | bits);
		this.#update(bits & (reg.TI | reg.RI));
	}

	#update(event: number): void {
		const enabled = this.get(reg.IER);
		const status = this.get(reg.SR) & (reg.NORMAL | reg.ABNORMAL);
		const normal = (status & enabled & reg.NORMAL) !== 0 ? reg.NIS : 0;
		const abnormal = (status & enabled & reg.ABNORMAL) !== 0 ? reg.AIS : 0;
		this.#set(reg.SR, status | normal | abnormal);
		this.#host.changed(this.index, event);
	}

	#word(offset: number): number {
		return load(this.#descriptor, offset, 4);
	}

	#raw(offset: number): number {
		return load(this.#registers, offset, 4);
	}

	#set(offset: number, value: number): void {
		store(this.#registers, offset, 4, value);
	}
}

function address64(high: number, low: number): bigint {
	return (BigInt(high) << 32n) | BigInt(low);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
	const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}
