/**
 * A queue head at work: its overlay, its transfer descriptors, the transactions with the device (Enhanced Host Controller
 * Interface Specification 1.0, sections 3.5, 3.6 and 4.10).
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import type { UsbDevice } from "./device.ts";
import * as ehci from "./ehci-registers.ts";

const PAGE = 4096;
const PAGE_MASK = 0xfff;
/** The longest packet of a high-speed endpoint. */
const LONGEST_PACKET = 1024;
/** Descriptors that one visit finishes at most. */
const DESCRIPTORS_PER_VISIT = 32;

/** What a visit found: the link to the next queue head, and bits of USBSTS. */
export interface QueueVisit {
	readonly next: number;
	readonly status: number;
}

/** How a packet went: more may follow, the descriptor is done, the device is not ready, it went wrong, memory did. */
type Packet = "more" | "done" | "nak" | "halted" | "failed";

/** Executes queue heads, one at a time. */
export class EhciQueue {
	readonly #device: (address: number) => UsbDevice | undefined;
	readonly #head = new Uint8Array(ehci.QH_SIZE);
	readonly #view = new DataView(this.#head.buffer);
	readonly #qtd = new Uint8Array(ehci.QTD_SIZE);
	readonly #qtdView = new DataView(this.#qtd.buffer);
	readonly #word = new Uint8Array(4);
	readonly #data = new Uint8Array(LONGEST_PACKET);
	#status = 0;
	#bytes = 0;

	/** @param device who answers to an address, on a port that is enabled */
	constructor(device: (address: number) => UsbDevice | undefined) {
		this.#device = device;
	}

	/**
	 * Does what the queue head at an address has to do.
	 *
	 * @param bytes that may be moved
	 */
	visit(port: DevicePort, address: number, bytes: number): QueueVisit {
		this.#status = 0;
		this.#bytes = bytes;
		if (!port.dmaRead(BigInt(address), this.#head)) return { next: ehci.LINK_END, status: ehci.STS_SYSTEM_ERROR };
		for (let left = DESCRIPTORS_PER_VISIT; left > 0 && this.#bytes > 0; left--) {
			if (!this.#advance(port, address)) break;
			const goesOn = this.#execute(port);
			this.#store(port, address);
			if (!goesOn || this.#failed) break;
		}
		return { next: this.#view.getUint32(0, true), status: this.#status };
	}

	get #failed(): boolean {
		return (this.#status & ehci.STS_SYSTEM_ERROR) !== 0;
	}

	get #token(): number {
		return this.#view.getUint32(ehci.QH_OVERLAY + ehci.QTD_TOKEN, true);
	}

	set #token(value: number) {
		this.#view.setUint32(ehci.QH_OVERLAY + ehci.QTD_TOKEN, value, true);
	}

	/** Takes the next descriptor over when the present one is done (section 4.10.2). @returns whether there is one to execute */
	#advance(port: DevicePort, address: number): boolean {
		const token = this.#token;
		if ((token & ehci.TOKEN_HALTED) !== 0) return false;
		if ((token & ehci.TOKEN_ACTIVE) !== 0) return true;
		const alternate = this.#view.getUint32(ehci.QH_OVERLAY + ehci.QTD_ALTERNATE, true);
		// Bytes that were not transferred: a short packet, after which another list goes on.
		const short = ((token >>> ehci.TOKEN_BYTES_SHIFT) & ehci.TOKEN_BYTES) !== 0 && (alternate & ehci.LINK_END) === 0;
		const link = short ? alternate : this.#view.getUint32(ehci.QH_OVERLAY + ehci.QTD_NEXT, true);
		if ((link & ehci.LINK_END) !== 0) return false;
		const at = (link & ~0x1f) >>> 0;
		if (!port.dmaRead(BigInt(at), this.#qtd)) {
			this.#status |= ehci.STS_SYSTEM_ERROR;
			return false;
		}
		if ((this.#qtdView.getUint32(ehci.QTD_TOKEN, true) & ehci.TOKEN_ACTIVE) === 0) return false;
		this.#head.set(this.#qtd, ehci.QH_OVERLAY);
		this.#view.setUint32(ehci.QH_CURRENT, at, true);
		const fromDescriptor = (this.#view.getUint32(ehci.QH_CHARACTERISTICS, true) & ehci.QH_TOGGLE_FROM_DESCRIPTOR) !== 0;
		if (!fromDescriptor) this.#token = (this.#token & ~ehci.TOKEN_TOGGLE) | (token & ehci.TOKEN_TOGGLE);
		if (!port.dmaWrite(BigInt(address + ehci.QH_CURRENT), this.#head.subarray(ehci.QH_CURRENT)))
			this.#status |= ehci.STS_SYSTEM_ERROR;
		return !this.#failed;
	}

	/** @returns whether the queue may go on with its next descriptor */
	#execute(port: DevicePort): boolean {
		const device = this.#device(this.#view.getUint32(ehci.QH_CHARACTERISTICS, true) & 0x7f);
		if (!device) return this.#transactionError();
		for (;;) {
			const packet = this.#packet(port, device);
			if (packet === "more" && this.#bytes > 0) continue;
			if (packet === "failed") this.#status |= ehci.STS_SYSTEM_ERROR;
			if (packet === "halted") this.#halt(0);
			if (packet === "done") {
				this.#token = this.#token & ~ehci.TOKEN_ACTIVE;
				if ((this.#token & ehci.TOKEN_INTERRUPT) !== 0) this.#status |= ehci.STS_INTERRUPT;
			}
			return packet === "done";
		}
	}

	#packet(port: DevicePort, device: UsbDevice): Packet {
		const characteristics = this.#view.getUint32(ehci.QH_CHARACTERISTICS, true);
		const endpoint = (characteristics >>> 8) & 0xf;
		const token = this.#token;
		const pid = (token >>> 8) & 3;
		const most = Math.min((characteristics >>> 16) & 0x7ff, LONGEST_PACKET);
		const left = (token >>> ehci.TOKEN_BYTES_SHIFT) & ehci.TOKEN_BYTES;
		const length = Math.min(left, most);
		// An endpoint without a packet size would never finish.
		if (pid > ehci.PID_SETUP || (most === 0 && left > 0) || (pid === ehci.PID_SETUP && left !== 8)) return "halted";
		const data = this.#data.subarray(0, length);
		this.#bytes -= length + 13;
		if (pid === ehci.PID_IN) {
			const answer = device.in(endpoint, data);
			if (answer === "nak") return "nak";
			if (answer === "stall") return "halted";
			const moved = this.#move(port, data.subarray(0, answer), true);
			if (moved !== "more") return moved;
			return answer < most || answer === left ? "done" : "more";
		}
		const page = this.#token;
		const buffer = this.#view.getUint32(ehci.QH_OVERLAY + ehci.QTD_BUFFERS, true);
		const moved = this.#move(port, data, false);
		if (moved !== "more") return moved;
		const answer = pid === ehci.PID_SETUP ? device.setup(endpoint, data) : device.out(endpoint, data);
		if (answer === "ack") return length === left ? "done" : "more";
		// What was not taken is sent again.
		this.#token = page;
		this.#view.setUint32(ehci.QH_OVERLAY + ehci.QTD_BUFFERS, buffer, true);
		return answer === "nak" ? "nak" : "halted";
	}

	/** Copies a packet between the device and the buffer pages, and counts it off. */
	#move(port: DevicePort, data: Uint8Array, toMemory: boolean): Packet {
		const first = ehci.QH_OVERLAY + ehci.QTD_BUFFERS;
		let token = this.#token;
		let page = (token >>> ehci.TOKEN_PAGE_SHIFT) & 7;
		let offset = this.#view.getUint32(first, true) & PAGE_MASK;
		for (let done = 0; done < data.length; ) {
			if (page >= ehci.QTD_PAGES) {
				this.#halt(ehci.TOKEN_BUFFER_ERROR);
				return "halted";
			}
			const part = data.subarray(done, done + PAGE - offset);
			const address = BigInt(((this.#view.getUint32(first + 4 * page, true) & ~PAGE_MASK) >>> 0) + offset);
			if (!(toMemory ? port.dmaWrite(address, part) : port.dmaRead(address, part))) return "failed";
			done += part.length;
			offset += part.length;
			if (offset === PAGE) {
				offset = 0;
				page += 1;
			}
		}
		const left = ((token >>> ehci.TOKEN_BYTES_SHIFT) & ehci.TOKEN_BYTES) - data.length;
		token =
			(token & ~((ehci.TOKEN_BYTES << ehci.TOKEN_BYTES_SHIFT) | (7 << ehci.TOKEN_PAGE_SHIFT))) ^ ehci.TOKEN_TOGGLE;
		this.#token = token | (left << ehci.TOKEN_BYTES_SHIFT) | (page << ehci.TOKEN_PAGE_SHIFT);
		this.#view.setUint32(first, (this.#view.getUint32(first, true) & ~PAGE_MASK) | offset, true);
		return "more";
	}

	/** Nobody answered: one error less to go, without limit when it was none to begin with. */
	#transactionError(): false {
		this.#bytes -= 13;
		const errors = (this.#token >>> ehci.TOKEN_ERRORS_SHIFT) & 3;
		if (errors === 0) return false;
		this.#token = (this.#token & ~(3 << ehci.TOKEN_ERRORS_SHIFT)) | ((errors - 1) << ehci.TOKEN_ERRORS_SHIFT);
		if (errors === 1) this.#halt(ehci.TOKEN_TRANSACTION_ERROR);
		return false;
	}

	#halt(reason: number): void {
		const before = this.#token;
		this.#token = (before & ~ehci.TOKEN_ACTIVE) | ehci.TOKEN_HALTED | reason;
		this.#status |= ehci.STS_ERROR;
	}

	/** Writes the overlay back, and the token into its descriptor once that is done. */
	#store(port: DevicePort, address: number): void {
		const overlay = this.#head.subarray(ehci.QH_OVERLAY);
		const current = this.#view.getUint32(ehci.QH_CURRENT, true);
		this.#word.set(overlay.subarray(ehci.QTD_TOKEN, ehci.QTD_TOKEN + 4));
		const done = (this.#token & ehci.TOKEN_ACTIVE) === 0;
		const written =
			port.dmaWrite(BigInt(address + ehci.QH_OVERLAY), overlay) &&
			(!done || port.dmaWrite(BigInt(current + ehci.QTD_TOKEN), this.#word));
		if (!written) this.#status |= ehci.STS_SYSTEM_ERROR;
	}
}
