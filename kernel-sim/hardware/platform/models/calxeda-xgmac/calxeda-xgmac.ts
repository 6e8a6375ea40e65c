/**
 * The 10 Gb Ethernet controller of Calxeda's ECX-1000: MAC, one transmit and one receive ring, level interrupts.
 *
 * What it has: transmit and receive by DMA with frames over several buffers, the station addresses and the promiscuous,
 * multicast and broadcast bits of its filter, loop-back, its status register with all that it tells of rings, wake-up by
 * magic packet, the counters of good frames. What it has not: hash filters, VLANs, checksums, flow control, statistics
 * beyond those.
 *
 * @module
 */
import type { AccessWidth } from "../../../../../core/kernel.ts";
import { deviceTreeNode } from "../../../../../core/platform/device-tree/node.ts";
import { load, store } from "../../../little-endian.ts";
import { frameCheckSequence, type NetworkPeer } from "../../../models/network.ts";
import type { PlatformDescription } from "../../description.ts";
import type { PlatformModel, PlatformPort } from "../../model.ts";
import { type StationAddress, takesFrame, withCheckSequence } from "../ethernet.ts";
import * as reg from "./registers.ts";

const SIZE = 0x1000;
/** Synopsys version 1.0 of the core, and what Calxeda calls its own. */
const CORE_VERSION = 0x1012;
const HW_FEATURES = 0x00010000;
/** Interrupt lines, in the order of the binding. */
const MAIN = 0;
const POWER = 1;
/** More than any frame has: a ring that describes an endless one is an error of the driver's. */
const LONGEST_FRAME = 16384;
const MAGIC_REPEATS = 16;
/** How many descriptors are looked at in one go: a ring in something that never gives them back must end some time. */
const DESCRIPTOR_LIMIT = 65536;

/** Options of {@link CalxedaXgmac}. */
export interface CalxedaXgmacOptions {
	/** What is at the other end of the wire; nothing when left out. */
	readonly peer?: NetworkPeer;
}

/** Options of {@link CalxedaXgmac.description}. */
export interface CalxedaXgmacPlace {
	/** Physical address of its registers; 0xfff51000 when left out. */
	readonly address?: bigint;
	/** The numbers of its main, power management and low power interrupts; 80, 81, 82 when left out. */
	readonly interrupts?: readonly [number, number, number];
}

/**
 * Calxeda's XGMAC.
 *
 * @example
 * ```ts
 * const nic = new CalxedaXgmac({ peer: { receive: (frame) => console.log(frame.length) } });
 * machine.plugPlatform(new PlatformHardware(CalxedaXgmac.description(), nic));
 * nic.deliver(new Uint8Array(60)); // a frame arrives
 * ```
 */
export class CalxedaXgmac implements PlatformModel {
	/** Frames that came while nobody wanted them, or the filter refused them. */
	droppedFrames = 0;
	readonly #peer: NetworkPeer | undefined;
	readonly #registers = new Uint8Array(SIZE);
	readonly #descriptor = new Uint8Array(reg.DESC_SIZE);
	#port: PlatformPort | undefined;
	/** Where the rings go on. */
	#transmitAt = 0;
	#receiveAt = 0;
	/** A ring that sends to itself must not do so within itself. */
	#transmitting = false;
	#budget = 0;

	constructor(options: CalxedaXgmacOptions = {}) {
		this.#peer = options.peer;
		this.reset();
	}

	/** The device it lives in, with its node (`calxeda,hb-xgmac`). */
	static description(place: CalxedaXgmacPlace = {}): PlatformDescription {
		const { address = 0xfff51000n, interrupts: numbers = [80, 81, 82] } = place;
		const at = address.toString(16);
		const spi = (number: number) => [0, number, 4];
		return {
			name: `${at}.ethernet`,
			regions: [{ kind: "mmio", address, size: SIZE, backing: "registers" }],
			interrupts: numbers.map((number) => ({ number, trigger: "level" })),
			node: deviceTreeNode(`ethernet@${at}`, {
				compatible: "calxeda,hb-xgmac",
				reg: [Number(address), SIZE],
				interrupts: numbers.flatMap(spi),
				"dma-coherent": true,
			}),
		};
	}

	attach(port: PlatformPort): void {
		this.#port = port;
	}

	detach(): void {
		this.#port = undefined;
	}

	/** What the software reset does: all registers, the rings' places. */
	reset(): void {
		this.#registers.fill(0);
		this.#set(reg.VERSION, CORE_VERSION);
		this.#set(reg.DMA_HW_FEATURE, HW_FEATURES);
		this.#transmitAt = 0;
		this.#receiveAt = 0;
		this.#updateLines();
	}

	/** The device decodes words; narrower accesses see a part of one. */
	read(_region: number, offset: number, width: AccessWidth): number {
		const value = load(this.#registers, offset, width);
		if (offset === reg.DMA_MISS_FRAME_CTR) this.#set(reg.DMA_MISS_FRAME_CTR, 0);
		if (offset === reg.PMT) {
			// Reading takes what has woken it.
			this.#set(reg.PMT, this.#get(reg.PMT) & ~reg.PMT_MAGIC_PKT);
			this.#set(reg.INT_STAT, this.#get(reg.INT_STAT) & ~reg.INT_STAT_PMT);
			this.#updateLines();
		}
		return value;
	}

	write(_region: number, offset: number, width: AccessWidth, value: number): void {
		if (width !== 4 || offset % 4 !== 0) return;
		switch (offset) {
			case reg.VERSION:
			case reg.DMA_HW_FEATURE:
			case reg.DMA_MISS_FRAME_CTR:
				return;
			case reg.DMA_BUS_MODE:
				if ((value & reg.DMA_BUS_MODE_SFT_RESET) !== 0) this.reset();
				this.#set(offset, value & ~reg.DMA_BUS_MODE_SFT_RESET);
				return;
			case reg.DMA_STATUS:
				this.#acknowledge(value);
				return;
			case reg.DMA_TX_BASE_ADDR:
				this.#set(offset, value);
				this.#transmitAt = value >>> 0;
				return;
			case reg.DMA_RX_BASE_ADDR:
				this.#set(offset, value);
				this.#receiveAt = value >>> 0;
				return;
			case reg.DMA_TX_POLL:
				this.#transmit();
				return;
			case reg.DMA_RX_POLL:
				return;
			case reg.INT_STAT:
				this.#set(offset, (this.#get(offset) & ~reg.INT_STAT_PMTIM) | (value & reg.INT_STAT_PMTIM));
				break;
			default:
				this.#set(offset, value);
		}
		if (offset === reg.CONTROL || offset === reg.DMA_CONTROL) this.#transmit();
		this.#updateLines();
	}

	/** A frame arrives from the wire, from the destination address on and without frame check sequence. */
	deliver(frame: Uint8Array): void {
		if ((this.#get(reg.PMT) & reg.PMT_POWERDOWN) !== 0) this.#wake(frame);
		else if (this.#receives && takesFrame(frame, this.#filter)) this.#receive(frame);
		else this.droppedFrames++;
	}

	get #receives(): boolean {
		const mac = (this.#get(reg.CONTROL) & reg.CONTROL_RE) !== 0;
		return mac && (this.#get(reg.DMA_CONTROL) & reg.DMA_CONTROL_SR) !== 0;
	}

	get #transmits(): boolean {
		const mac = (this.#get(reg.CONTROL) & reg.CONTROL_TE) !== 0;
		return mac && (this.#get(reg.DMA_CONTROL) & reg.DMA_CONTROL_ST) !== 0;
	}

	get #filter() {
		const bits = this.#get(reg.FRAME_FILTER);
		const addresses: StationAddress[] = [];
		for (let index = 0; index < reg.ADDR_COUNT; index++) {
			const high = this.#get(reg.ADDR_HIGH + 8 * index);
			// The first is always in use.
			if (index === 0 || (high & reg.ADDR_AE) !== 0)
				addresses.push({ high, low: this.#get(reg.ADDR_HIGH + 8 * index + 4) });
		}
		return {
			promiscuous: (bits & (reg.FRAME_FILTER_PR | reg.FRAME_FILTER_RA)) !== 0,
			allMulticast: (bits & reg.FRAME_FILTER_PM) !== 0,
			noBroadcast: (bits & reg.FRAME_FILTER_DBF) !== 0,
			addresses,
		};
	}

	/** Sends what the driver has given to the ring, one frame after the other. */
	#transmit(): void {
		if (this.#transmitting || !this.#transmits) return;
		this.#transmitting = true;
		this.#budget = DESCRIPTOR_LIMIT;
		try {
			while (this.#transmits && this.#transmitFrame());
		} finally {
			this.#transmitting = false;
		}
		this.#updateLines();
	}

	/** @returns false when there is nothing more to send */
	#transmitFrame(): boolean {
		const parts: Uint8Array[] = [];
		for (let length = 0; ; ) {
			const at = this.#transmitAt;
			if (this.#budget-- === 0 || !this.#readDescriptor(at)) return this.#busError(reg.DMA_CONTROL_ST);
			const flags = this.#word(0);
			if ((flags & reg.DESC_OWN) === 0) {
				this.#raise(reg.DMA_TU);
				return false;
			}
			for (const [size, address] of this.#buffers((flags & reg.TXDESC_2ND_ADDR_CHAINED) !== 0)) {
				const part = new Uint8Array(size);
				length += size;
				if (length > LONGEST_FRAME || !this.#port?.dmaRead(BigInt(address), part))
					return this.#busError(reg.DMA_CONTROL_ST);
				parts.push(part);
			}
			if (!this.#writeFlags(at, (flags & ~reg.DESC_OWN) >>> 0)) return this.#busError(reg.DMA_CONTROL_ST);
			const chained = (flags & reg.TXDESC_2ND_ADDR_CHAINED) !== 0;
			if ((flags & reg.TXDESC_END_RING) !== 0) this.#transmitAt = this.#get(reg.DMA_TX_BASE_ADDR);
			else this.#transmitAt = chained ? this.#word(12) : at + reg.DESC_SIZE;
			if ((flags & reg.TXDESC_LAST_SEG) === 0) continue;
			if ((flags & reg.TXDESC_INTERRUPT) !== 0) this.#raise(reg.DMA_TI);
			this.#send(parts);
			return true;
		}
	}

	#send(parts: readonly Uint8Array[]): void {
		const frame = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
		let at = 0;
		for (const part of parts) {
			frame.set(part, at);
			at += part.length;
		}
		this.#count(reg.MMC_TXFRAME_G, 1);
		this.#count(reg.MMC_TXOCTET_G, frame.length + 4);
		if ((this.#get(reg.CONTROL) & reg.CONTROL_LM) !== 0) this.deliver(frame);
		else this.#peer?.receive(frame);
	}

	/** Stores a frame, with its frame check sequence, in as many buffers as it takes. */
	#receive(frame: Uint8Array): void {
		const whole = withCheckSequence(frame, frameCheckSequence(frame));
		let interrupt = false;
		for (let done = 0; done < whole.length; ) {
			const at = this.#receiveAt;
			if (!this.#readDescriptor(at)) return void this.#busError(reg.DMA_CONTROL_SR);
			if ((this.#word(0) & reg.DESC_OWN) === 0) {
				this.droppedFrames++;
				this.#set(reg.DMA_MISS_FRAME_CTR, this.#get(reg.DMA_MISS_FRAME_CTR) + 1);
				this.#raise(reg.DMA_RU);
				this.#updateLines();
				return;
			}
			const first = done === 0;
			for (const [size, address] of this.#buffers(false)) {
				const part = whole.subarray(done, done + size);
				if (part.length === 0) break;
				if (!this.#port?.dmaWrite(BigInt(address), part)) return void this.#busError(reg.DMA_CONTROL_SR);
				done += part.length;
			}
			const last = done >= whole.length;
			const place = (first ? reg.RXDESC_FIRST_SEG : 0) | (last ? reg.RXDESC_LAST_SEG : 0);
			if (!this.#writeFlags(at, place | (last ? whole.length << reg.RXDESC_FRAME_LEN_SHIFT : 0)))
				return void this.#busError(reg.DMA_CONTROL_SR);
			interrupt ||= (this.#word(4) & reg.RXDESC1_DISABLE_INTERRUPT) === 0;
			const wrap = (this.#word(4) & reg.RXDESC1_END_RING) !== 0;
			this.#receiveAt = wrap ? this.#get(reg.DMA_RX_BASE_ADDR) : at + reg.DESC_SIZE;
			// A driver whose buffers have no bytes would be waited for endlessly.
			if (!last && this.#buffers(false).length === 0) return void this.#busError(reg.DMA_CONTROL_SR);
		}
		this.#count(reg.MMC_RXFRAME_GB, 1);
		this.#count(reg.MMC_RXOCTET_G, whole.length);
		if (interrupt) this.#raise(reg.DMA_RI);
		this.#updateLines();
	}

	/** The buffers of the descriptor that was read: size and address. @param chained the second address is a descriptor's */
	#buffers(chained: boolean): [size: number, address: number][] {
		const sizes = this.#word(4);
		const all: [number, number][] = [[sizes & reg.BUFFER1_MASK, this.#word(8)]];
		if (!chained) all.push([(sizes >>> 16) & reg.BUFFER1_MASK, this.#word(12)]);
		return all.filter(([size]) => size > 0);
	}

	/** A sleeping controller looks for its own address 16 times in a row, behind six bytes of ones. */
	#wake(frame: Uint8Array): void {
		if ((this.#get(reg.PMT) & reg.PMT_MAGIC_PKT_EN) === 0) return;
		const low = this.#get(reg.ADDR_HIGH + 4);
		const high = this.#get(reg.ADDR_HIGH);
		const own = [low, low >>> 8, low >>> 16, low >>> 24, high, high >>> 8].map((byte) => byte & 0xff);
		const wanted = [...new Array<number>(6).fill(0xff), ...new Array<number[]>(MAGIC_REPEATS).fill(own).flat()];
		const last = frame.length - wanted.length;
		for (let at = 0; at <= last; at++) {
			if (!wanted.every((byte, index) => frame[at + index] === byte)) continue;
			this.#set(reg.PMT, (this.#get(reg.PMT) | reg.PMT_MAGIC_PKT) & ~reg.PMT_POWERDOWN);
			this.#set(reg.INT_STAT, this.#get(reg.INT_STAT) | reg.INT_STAT_PMT);
			this.#updateLines();
			return;
		}
	}

	#acknowledge(value: number): void {
		const left = this.#get(reg.DMA_STATUS) & ~(value & (reg.DMA_NORMAL | reg.DMA_ABNORMAL));
		this.#set(reg.DMA_STATUS, left);
		this.#updateLines();
	}

	#raise(bits: number): void {
		this.#set(reg.DMA_STATUS, this.#get(reg.DMA_STATUS) | bits);
	}

	/** A descriptor or buffer could not be reached: the ring's process stops. @returns false */
	#busError(process: number): false {
		this.#set(reg.DMA_CONTROL, this.#get(reg.DMA_CONTROL) & ~process);
		this.#raise(reg.DMA_FBI | (process === reg.DMA_CONTROL_ST ? reg.DMA_TPS : reg.DMA_RPS));
		this.#updateLines();
		return false;
	}

	/** The summaries follow what is told and enabled; the line follows them. */
	#updateLines(): void {
		const enabled = this.#get(reg.DMA_INTR_ENA);
		const status = this.#get(reg.DMA_STATUS) & (reg.DMA_NORMAL | reg.DMA_ABNORMAL);
		const normal = (status & enabled & reg.DMA_NORMAL) !== 0 ? reg.DMA_NIS : 0;
		const abnormal = (status & enabled & reg.DMA_ABNORMAL) !== 0 ? reg.DMA_AIS : 0;
		this.#set(reg.DMA_STATUS, status | normal | abnormal);
		this.#port?.setLine(MAIN, ((normal | abnormal) & enabled) !== 0);
		const power = this.#get(reg.INT_STAT);
		this.#port?.setLine(POWER, (power & reg.INT_STAT_PMT) !== 0 && (power & reg.INT_STAT_PMTIM) === 0);
	}

	#count(register: number, more: number): void {
		const total = this.#get(register) + more;
		this.#set(register, total);
		if (total > 0xffffffff) this.#set(register + 4, this.#get(register + 4) + 1);
	}

	#readDescriptor(at: number): boolean {
		return this.#port?.dmaRead(BigInt(at), this.#descriptor) ?? false;
	}

	#writeFlags(at: number, flags: number): boolean {
		const bytes = new Uint8Array(4);
		store(bytes, 0, 4, flags);
		return this.#port?.dmaWrite(BigInt(at), bytes) ?? false;
	}

	#word(offset: number): number {
		return load(this.#descriptor, offset, 4);
	}

	#get(offset: number): number {
		return load(this.#registers, offset, 4);
	}

	#set(offset: number, value: number): void {
		store(this.#registers, offset, 4, value);
	}
}
