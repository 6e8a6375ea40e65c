/**
 * The IOMMU: every DMA of every device goes through here, and faults when it must.
 *
 * @module
 */
import type { DmaSource } from "./dma-source.ts";
import type { InterruptController } from "./interrupts.ts";
import { DMA_READ, DMA_WRITE, type DmaMapping, type IommuDomain } from "./iommu-domain.ts";

export { type DirtyLog, DMA_READ, DMA_WRITE, DmaMapping, type DmaTarget, IommuDomain } from "./iommu-domain.ts";

/** A DMA that did not go through. */
export interface IommuFault {
	/** The first address that could not be reached. */
	readonly address: bigint;
	/** Who tried, such as `0000:05:00.0`. */
	readonly device: string;
	readonly direction: "read" | "write";
	/** `blocked`: the device has no domain, or the address takes only interrupt messages. */
	readonly reason: "not-mapped" | "not-permitted" | "blocked";
}

/** The addresses whose writes are interrupt messages on x86 (Intel SDM volume 3, section 11.11). */
export const MESSAGE_WINDOW_START = 0xfee00000;
export const MESSAGE_WINDOW_END = 0xfef00000;

/** Options of {@link Iommu}. */
export interface IommuOptions {
	/** A bit for each page size, in bytes; 4 KiB, 2 MiB and 1 GiB when left out. */
	readonly pageSizes?: bigint;
	/** Bits of an I/O virtual address; 48 when left out. */
	readonly addressWidth?: number;
}

/** Up to this many bytes a loop beats a typed-array copy, which has to allocate a view. */
const SHORT_COPY = 32;
/** A device that runs wild must not fill the host's memory: beyond this faults are only counted. */
const FAULT_LIMIT = 1024;

class Attachment {
	domain: IommuDomain | undefined;
	bytesRead = 0;
	bytesWritten = 0;
}

/** Translates and polices the DMA of a machine's devices. */
export class Iommu {
	readonly pageSizes: bigint;
	readonly addressWidth: number;
	/** How many DMAs faulted since {@link clearFaults}, also those too many to be recorded. */
	faultCount = 0;
	/** Called at each fault. */
	onFault: ((fault: IommuFault) => void) | undefined;
	readonly #interrupts: InterruptController;
	readonly #attachments = new Map<DmaSource, Attachment>();
	readonly #faults: IommuFault[] = [];

	constructor(interrupts: InterruptController, options: IommuOptions = {}) {
		this.#interrupts = interrupts;
		this.pageSizes = options.pageSizes ?? 0x40201000n;
		this.addressWidth = options.addressWidth ?? 48;
	}

	/** The first faults since {@link clearFaults}, oldest first. */
	get faults(): readonly IommuFault[] {
		return this.#faults;
	}

	clearFaults(): void {
		this.#faults.length = 0;
		this.faultCount = 0;
	}

	/** @param domain what the source's DMA goes through; undefined blocks it, which is how one starts */
	attach(source: DmaSource, domain: IommuDomain | undefined): void {
		this.#attachment(source).domain = domain;
	}

	/** The domain a source is attached to. */
	domainOf(source: DmaSource): IommuDomain | undefined {
		return this.#attachments.get(source)?.domain;
	}

	/** Forgets a source that is gone. */
	detach(source: DmaSource): void {
		this.#attachments.delete(source);
	}

	/** Bytes that a source has read from memory. */
	bytesRead(source: DmaSource): number {
		return this.#attachments.get(source)?.bytesRead ?? 0;
	}

	/** Bytes that a source has written to memory. */
	bytesWritten(source: DmaSource): number {
		return this.#attachments.get(source)?.bytesWritten ?? 0;
	}

	/**
	 * A memory read by a source.
	 *
	 * @returns false when it faulted; what lay before the fault has then been read
	 */
	read(source: DmaSource, address: bigint, into: Uint8Array): boolean {
		return this.#transfer(source, address, into, DMA_READ);
	}

	/**
	 * A memory write by a source. Four bytes to the message window are an interrupt.
	 *
	 * @returns false when it faulted; what lay before the fault has then been written
	 */
	write(source: DmaSource, address: bigint, from: Uint8Array): boolean {
		return this.#transfer(source, address, from, DMA_WRITE);
	}

	#transfer(source: DmaSource, address: bigint, buffer: Uint8Array, access: number): boolean {
		const start = Number(address);
		if (start < MESSAGE_WINDOW_END && start + buffer.length > MESSAGE_WINDOW_START)
			return this.#messageWindow(source, address, buffer, access);
		const attachment = this.#attachment(source);
		const domain = attachment.domain;
		if (!domain) return this.#fault(source, address, access, "blocked");
		for (let done = 0; done < buffer.length; ) {
			const at = done === 0 ? address : address + BigInt(done);
			const mapping = domain.find(at);
			if (!mapping) return this.#fault(source, at, access, "not-mapped");
			if ((mapping.access & access) === 0) return this.#fault(source, at, access, "not-permitted");
			const offset = mapping.offsetOf(at);
			const length = Math.min(buffer.length - done, mapping.end - mapping.first - offset);
			const part = length === buffer.length ? buffer : buffer.subarray(done, done + length);
			if (!move(mapping, mapping.targetOffset + offset, part, access))
				return this.#fault(source, at, access, "not-mapped");
			if (access === DMA_READ) attachment.bytesRead += length;
			else {
				attachment.bytesWritten += length;
				domain.dirty?.mark(at, length);
			}
			done += length;
		}
		return true;
	}

	#messageWindow(source: DmaSource, address: bigint, buffer: Uint8Array, access: number): boolean {
		const start = Number(address);
		const whole = buffer.length === 4 && (start & 3) === 0 && start >= MESSAGE_WINDOW_START;
		if (access === DMA_READ || !whole) return this.#fault(source, address, access, "blocked");
		const [b0 = 0, b1 = 0, b2 = 0, b3 = 0] = buffer;
		this.#interrupts.deliver(source, address, (b0 | (b1 << 8) | (b2 << 16) | (b3 << 24)) >>> 0);
		return true;
	}

	#fault(source: DmaSource, address: bigint, access: number, reason: IommuFault["reason"]): false {
		const direction = access === DMA_READ ? "read" : "write";
		const fault = { address, device: source.name, direction, reason } as const;
		this.faultCount++;
		if (this.#faults.length < FAULT_LIMIT) this.#faults.push(fault);
		this.onFault?.(fault);
		return false;
	}

	#attachment(source: DmaSource): Attachment {
		let attachment = this.#attachments.get(source);
		if (!attachment) {
			attachment = new Attachment();
			this.#attachments.set(source, attachment);
		}
		return attachment;
	}
}

/** Copies between a device's buffer and what is mapped. @returns false when the target does not reach that far */
function move(mapping: DmaMapping, offset: number, buffer: Uint8Array, access: number): boolean {
	const target = mapping.target;
	if (access === DMA_READ && target.read) return target.read(offset, buffer);
	if (access === DMA_WRITE && target.write) return target.write(offset, buffer);
	const bytes = target.bytes();
	const length = buffer.length;
	if (offset + length > bytes.length) return false;
	if (length > SHORT_COPY) {
		if (access === DMA_READ) buffer.set(bytes.subarray(offset, offset + length));
		else bytes.set(buffer, offset);
	} else if (access === DMA_READ) {
		for (let index = 0; index < length; index++) buffer[index] = bytes[offset + index] as number;
	} else {
		for (let index = 0; index < length; index++) bytes[offset + index] = buffer[index] as number;
	}
	return true;
}
