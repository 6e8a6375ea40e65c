/**
 * Transmit queues with legacy and advanced data descriptors (82576 datasheet, section 7.2.2): frames out of several buffers,
 * reports by descriptor or by head write-back. Checksum insertion, VLAN insertion and segmentation are not here: a frame that
 * asks for segmentation is dropped and counted.
 *
 * @module
 */
import { SHORTEST_FRAME } from "../network.ts";
import { Queue, type QueueOwner } from "./queue.ts";
import * as registers from "./registers.ts";

/** The longest frame that the transmit buffer takes (section 7.2.1.1). */
const LONGEST_FRAME = 9728;
/** Bits of the command byte, in the dword that legacy and advanced descriptors have it in. */
const END_OF_PACKET = 1 << 24;
const REPORT_STATUS = 1 << 27;
const EXTENSION = 1 << 29;
const SEGMENTATION = 1 << 31;
const TYPE_MASK = 0xf << 20;
const TYPE_CONTEXT = 2 << 20;
const DONE = 1;
const HEAD_WRITEBACK_ENABLE = 1;

/** What a transmit queue tells the controller. */
export interface TransmitSink {
	/** A frame leaves. It is only valid in the call. */
	transmit(queue: number, frame: Uint8Array): void;
	/** Descriptors that asked for it were reported. */
	transmitted(queue: number): void;
}

/** A transmit queue. */
export class TransmitQueue extends Queue {
	/** Frames that asked for what is not here, or were too long. */
	refused = 0;
	readonly #sink: TransmitSink;
	readonly #frame = new Uint8Array(LONGEST_FRAME);
	readonly #done = new Uint8Array(4);
	readonly #doneView = new DataView(this.#done.buffer);
	#length = 0;
	#bad = false;
	#writebackLow = 0;
	#writebackHigh = 0;

	constructor(index: number, owner: (index: number) => QueueOwner | undefined, sink: TransmitSink) {
		super(index, owner);
		this.#sink = sink;
	}

	override reset(): void {
		super.reset();
		this.#length = 0;
		this.#bad = false;
		this.#writebackLow = 0;
		this.#writebackHigh = 0;
	}

	override readRegister(register: number): number {
		if (register === registers.Q_HEAD_WRITEBACK_LOW) return this.#writebackLow;
		if (register === registers.Q_HEAD_WRITEBACK_HIGH) return this.#writebackHigh;
		return super.readRegister(register);
	}

	override writeRegister(register: number, value: number): void {
		if (register === registers.Q_HEAD_WRITEBACK_LOW) this.#writebackLow = value >>> 0;
		else if (register === registers.Q_HEAD_WRITEBACK_HIGH) this.#writebackHigh = value >>> 0;
		else super.writeRegister(register, value);
	}

	/**
	 * Sends what there is.
	 *
	 * @param budget descriptors at most
	 * @param padShort frames shorter than Ethernet allows are filled up
	 * @returns descriptors taken
	 */
	run(budget: number, padShort: boolean): number {
		let taken = 0;
		let reported = false;
		while (taken < budget && this.enabled && this.available > 0) {
			if (!this.fetch()) {
				this.stop();
				break;
			}
			taken += 1;
			const command = this.view.getUint32(8, true);
			const extended = (command & EXTENSION) !== 0;
			if (!extended || (command & TYPE_MASK) !== TYPE_CONTEXT) this.#data(command, padShort);
			reported = this.#report(command, extended) || reported;
		}
		if (reported) this.#sink.transmitted(this.index);
		return taken;
	}

	#data(command: number, padShort: boolean): void {
		const length = command & 0xffff;
		if ((command & SEGMENTATION) !== 0 || this.#length + length > LONGEST_FRAME) this.#bad = true;
		if (!this.#bad && length > 0) {
			const part = this.#frame.subarray(this.#length, this.#length + length);
			if (this.owner?.dmaRead(this.view.getBigUint64(0, true), part)) this.#length += length;
			else this.#bad = true;
		}
		if ((command & END_OF_PACKET) === 0) return;
		let end = this.#length;
		const bad = this.#bad || end === 0;
		this.#length = 0;
		this.#bad = false;
		if (bad) {
			this.refused += 1;
			return;
		}
		if (padShort && end < SHORTEST_FRAME) {
			this.#frame.fill(0, end, SHORTEST_FRAME);
			end = SHORTEST_FRAME;
		}
		this.#sink.transmit(this.index, this.#frame.subarray(0, end));
	}

	/** Marks the descriptor as done, or writes the head, and goes on to the next. */
	#report(command: number, extended: boolean): boolean {
		const wanted = (command & REPORT_STATUS) !== 0;
		const headWriteback = (this.#writebackLow & HEAD_WRITEBACK_ENABLE) !== 0;
		const place = this.address(12);
		const kept = extended ? 0 : this.view.getUint32(12, true);
		this.advance();
		if (!wanted) return false;
		this.#doneView.setUint32(0, headWriteback ? this.head : kept | DONE, true);
		const head = (BigInt(this.#writebackHigh) << 32n) | BigInt((this.#writebackLow & ~3) >>> 0);
		if (!this.owner?.dmaWrite(headWriteback ? head : place, this.#done)) this.stop();
		return true;
	}
}
