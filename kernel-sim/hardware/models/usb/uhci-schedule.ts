/**
 * One frame of a UHCI schedule: from the frame list through transfer descriptors and queue heads (Universal Host Controller
 * Interface Design Guide 1.1, section 3.4). A frame ends, whatever the lists say: after as many steps and bytes as fit a
 * millisecond.
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import { PID_IN, PID_OUT, PID_SETUP, type UsbDevice } from "./device.ts";
import * as uhci from "./uhci-registers.ts";

/** Descriptors and queue heads looked at in a frame. */
const STEPS_PER_FRAME = 512;
/** 12 Mb/s for a millisecond. */
const BYTES_PER_FRAME = 1500;
/** What a transaction takes besides its data: token, handshake, turn-around. */
const TRANSACTION_OVERHEAD = 13;

/** What happened in a frame: bits of USBSTS, and whether a completion or a short packet is behind the interrupt. */
export interface FrameResult {
	readonly status: number;
	readonly completion: boolean;
	readonly short: boolean;
}

/** Executes frames. */
export class UhciSchedule {
	readonly #device: (address: number) => UsbDevice | undefined;
	readonly #link = new Uint8Array(4);
	readonly #linkView = new DataView(this.#link.buffer);
	readonly #queue = new Uint8Array(8);
	readonly #queueView = new DataView(this.#queue.buffer);
	readonly #td = new Uint8Array(16);
	readonly #tdView = new DataView(this.#td.buffer);
	readonly #status = new Uint8Array(4);
	readonly #statusView = new DataView(this.#status.buffer);
	readonly #data = new Uint8Array(uhci.LONGEST_PACKET);
	#result = 0;
	#completion = false;
	#short = false;
	#bytes = 0;

	/** @param device who answers to an address, on a port that is enabled */
	constructor(device: (address: number) => UsbDevice | undefined) {
		this.#device = device;
	}

	/** @param entry address of the frame list's entry */
	run(port: DevicePort, entry: number): FrameResult {
		this.#result = 0;
		this.#completion = false;
		this.#short = false;
		this.#bytes = BYTES_PER_FRAME;
		if (port.dmaRead(BigInt(entry), this.#link)) this.#walk(port, this.#linkView.getUint32(0, true));
		else this.#result |= uhci.STS_SYSTEM_ERROR;
		return { status: this.#result, completion: this.#completion, short: this.#short };
	}

	get #failed(): boolean {
		return (this.#result & (uhci.STS_SYSTEM_ERROR | uhci.STS_PROCESS_ERROR)) !== 0;
	}

	#walk(port: DevicePort, first: number): void {
		let link = first;
		for (let step = 0; step < STEPS_PER_FRAME && (link & uhci.LINK_END) === 0; step++) {
			link = (link & uhci.LINK_QUEUE) !== 0 ? this.#queueHead(port, link) : this.#single(port, link);
			if (this.#failed || this.#bytes <= 0) return;
		}
	}

	/** A descriptor that is in no queue. @returns the next link */
	#single(port: DevicePort, link: number): number {
		this.#execute(port, address(link));
		return this.#tdView.getUint32(0, true);
	}

	/** @returns the next link: the same queue, the next one, or the one below */
	#queueHead(port: DevicePort, link: number): number {
		const at = address(link);
		if (!port.dmaRead(BigInt(at), this.#queue)) {
			this.#result |= uhci.STS_SYSTEM_ERROR;
			return uhci.LINK_END;
		}
		const next = this.#queueView.getUint32(0, true);
		const element = this.#queueView.getUint32(4, true);
		if ((element & uhci.LINK_END) !== 0) return next;
		if ((element & uhci.LINK_QUEUE) !== 0) return element;
		if (!this.#execute(port, address(element))) return next;
		this.#link.set(this.#td.subarray(0, 4));
		if (!port.dmaWrite(BigInt(at + 4), this.#link)) this.#result |= uhci.STS_SYSTEM_ERROR;
		const following = this.#tdView.getUint32(0, true);
		return (following & uhci.LINK_DEPTH_FIRST) !== 0 ? link : next;
	}

	/** @returns whether it was done, so that its queue goes on */
	#execute(port: DevicePort, at: number): boolean {
		if (!port.dmaRead(BigInt(at), this.#td)) {
			this.#result |= uhci.STS_SYSTEM_ERROR;
			return false;
		}
		const before = this.#tdView.getUint32(4, true);
		if ((before & uhci.TD_ACTIVE) === 0) return false;
		const token = this.#tdView.getUint32(8, true);
		const length = ((token >>> 21) + 1) & 0x7ff;
		const pid = token & 0xff;
		if (length > uhci.LONGEST_PACKET || (pid !== PID_IN && pid !== PID_OUT && pid !== PID_SETUP)) {
			this.#result |= uhci.STS_PROCESS_ERROR;
			return false;
		}
		const data = this.#data.subarray(0, length);
		const buffer = BigInt(this.#tdView.getUint32(12, true));
		const outcome = this.#transact(port, pid, token, buffer, data);
		this.#bytes -= TRANSACTION_OVERHEAD + (typeof outcome === "number" ? outcome : 0);
		if (outcome === "failed") return false;
		const after = this.#finish(before, outcome);
		const done = typeof outcome === "number";
		this.#statusView.setUint32(0, after, true);
		if (!port.dmaWrite(BigInt(at + 4), this.#status)) this.#result |= uhci.STS_SYSTEM_ERROR;
		const inactive = (after & uhci.TD_ACTIVE) === 0;
		if (inactive && (before & uhci.TD_INTERRUPT) !== 0) {
			this.#result |= uhci.STS_INTERRUPT;
			this.#completion = true;
		}
		if (done && pid === PID_IN && outcome < length && (before & uhci.TD_SHORT_PACKET) !== 0) {
			this.#result |= uhci.STS_INTERRUPT;
			this.#short = true;
			return false;
		}
		return done;
	}

	/** @returns bytes moved, or how the transaction went wrong; `failed` when memory did not answer */
	#transact(
		port: DevicePort,
		pid: number,
		token: number,
		buffer: bigint,
		data: Uint8Array,
	): number | "nak" | "stall" | "timeout" | "failed" {
		const device = this.#device((token >>> 8) & 0x7f);
		if (!device) return "timeout";
		const endpoint = (token >>> 15) & 0xf;
		if (pid === PID_IN) {
			const answer = device.in(endpoint, data);
			if (typeof answer !== "number" || port.dmaWrite(buffer, data.subarray(0, answer))) return answer;
		} else if (port.dmaRead(buffer, data)) {
			if (pid === PID_SETUP && data.length !== 8) return "timeout";
			const answer = pid === PID_SETUP ? device.setup(endpoint, data) : device.out(endpoint, data);
			return answer === "ack" ? data.length : answer;
		}
		this.#result |= uhci.STS_SYSTEM_ERROR;
		return "failed";
	}

	/** The status dword after a transaction (section 3.2.2). */
	#finish(before: number, outcome: number | "nak" | "stall" | "timeout"): number {
		if (outcome === "nak") return (before | uhci.TD_NAK) >>> 0;
		if (outcome === "stall") {
			this.#result |= uhci.STS_ERROR;
			return ((before & ~uhci.TD_ACTIVE) | uhci.TD_STALLED) >>> 0;
		}
		if (outcome !== "timeout") {
			const kept = before & ~(uhci.TD_ACTIVE | uhci.TD_NAK | uhci.TD_ACTUAL_LENGTH);
			return (kept | ((outcome - 1) & uhci.TD_ACTUAL_LENGTH)) >>> 0;
		}
		// Zero errors left to begin with: for ever.
		const errors = (before >>> uhci.TD_ERRORS_SHIFT) & 3;
		const left = Math.max(errors - 1, 0);
		const status = (before & ~(3 << uhci.TD_ERRORS_SHIFT)) | (left << uhci.TD_ERRORS_SHIFT) | uhci.TD_TIMEOUT;
		if (errors !== 1) return status >>> 0;
		this.#result |= uhci.STS_ERROR;
		return ((status & ~uhci.TD_ACTIVE) | uhci.TD_STALLED) >>> 0;
	}
}

function address(link: number): number {
	return (link & ~0xf) >>> 0;
}
