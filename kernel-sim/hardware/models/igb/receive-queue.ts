/**
 * Receive queues with legacy and advanced one-buffer descriptors (82576 datasheet, sections 7.1.4 and 7.1.5): a frame fills as
 * many buffers as it needs. Header splitting is not here: a queue that asks for it puts the whole frame into the packet
 * buffers. There is no checksum and no hash in what is written back.
 *
 * @module
 */
import { Queue } from "./queue.ts";
import * as registers from "./registers.ts";

const DESCRIPTOR_TYPE_SHIFT = 25;
const DONE = 1;
const END_OF_PACKET = 2;
/** Without SRRCTL.BSIZEPACKET buffers have this many bytes (section 8.10.2). */
const DEFAULT_BUFFER = 2048;

/** A receive queue. */
export class ReceiveQueue extends Queue {
	/** SRRCTL. */
	#split = 0;
	#dropped = 0;

	override reset(): void {
		super.reset();
		this.#split = 0;
		this.#dropped = 0;
	}

	override readRegister(register: number): number {
		if (register === registers.Q_SPLIT) return this.#split;
		if (register !== registers.Q_DROPPED) return super.readRegister(register);
		const dropped = this.#dropped;
		this.#dropped = 0;
		return dropped;
	}

	override writeRegister(register: number, value: number): void {
		if (register === registers.Q_SPLIT) this.#split = value >>> 0;
		else super.writeRegister(register, value);
	}

	/**
	 * A frame for this queue.
	 *
	 * @param frame with the frame check sequence when the driver wants that
	 * @returns false when it was dropped for want of descriptors, or since memory could not be reached
	 */
	receive(frame: Uint8Array): boolean {
		if (!this.enabled) return false;
		const buffer = (this.#split & 0x7f) * 1024 || DEFAULT_BUFFER;
		if (Math.ceil(frame.length / buffer) > this.available) {
			this.#dropped += 1;
			return false;
		}
		for (let done = 0; done < frame.length; done += buffer) {
			const part = frame.subarray(done, done + buffer);
			if (!this.#fill(part, done + buffer >= frame.length)) {
				this.stop();
				return false;
			}
		}
		return true;
	}

	#fill(part: Uint8Array, last: boolean): boolean {
		if (!this.fetch() || !this.owner?.dmaWrite(this.view.getBigUint64(0, true), part)) return false;
		const status = DONE | (last ? END_OF_PACKET : 0);
		const legacy = ((this.#split >>> DESCRIPTOR_TYPE_SHIFT) & 7) === 0;
		if (legacy) {
			this.view.setUint32(8, part.length, true);
			this.view.setUint32(12, status, true);
		} else {
			this.view.setBigUint64(0, 0n, true);
			this.view.setUint32(8, status, true);
			this.view.setUint32(12, part.length, true);
		}
		const written = this.owner.dmaWrite(this.address(), this.descriptor);
		this.advance();
		return written;
	}
}
