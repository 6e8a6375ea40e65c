/**
 * VFIO_DEVICE_IOEVENTFD: an eventfd that writes a register when it is signalled, with nobody in user space involved.
 *
 * @module
 */
import { EEXIST, EFAULT, EINVAL, ENODEV, ENOSPC } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_IOEVENTFD_SIZE_MASK,
	VFIO_PCI_BAR5_REGION_INDEX,
	vfio_device_ioeventfd,
} from "../../../core/uapi/vfio.ts";
import type { PciFunction } from "../../hardware/function.ts";
import { type EventConsumer, EventFd } from "../eventfd.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { REGION_STRIDE } from "../vfio/region-offset.ts";
import type { Regions } from "./regions.ts";

/** Bytes up to the descriptor: what has to be there. */
const MINIMUM = 28;
const LIMIT = 1000;

/** What the writes go to. */
export interface IoEventFdHost {
	readonly fn: PciFunction;
	readonly regions: Regions;
	readonly memoryUsable: boolean;
	/** A BAR is used from now on. */
	claim(bar: number): void;
	/** This kernel takes registers of 8 bytes. */
	readonly wideIoEventFd: boolean;
}

/** The ioeventfds of an open device. */
export class IoEventFds {
	readonly #host: IoEventFdHost;
	#entries: Entry[] = [];

	constructor(host: IoEventFdHost) {
		this.#host = host;
	}

	/** Adds or removes one. @returns 0 or a negative errno */
	set(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(MINIMUM);
		if (!bytes) return -EFAULT;
		const request = vfio_device_ioeventfd.create();
		request.bytes.set(bytes);
		const { flags, fd, data } = request;
		if (request.argsz < MINIMUM || (flags & ~VFIO_DEVICE_IOEVENTFD_SIZE_MASK) !== 0) return -EINVAL;
		// The size bits have the values of the sizes.
		const size = flags;
		if (size === 0 || (size & (size - 1)) !== 0 || fd < -1) return -EINVAL;
		const offset = Number(request.offset);
		const bar = Math.floor(offset / REGION_STRIDE);
		const position = offset % REGION_STRIDE;
		const { regions, fn } = this.#host;
		if (bar > VFIO_PCI_BAR5_REGION_INDEX || position + size > regions.size(bar)) return -EINVAL;
		if (regions.touchesTable(bar, position, size)) return -EINVAL;
		if (size === 8 && !this.#host.wideIoEventFd) return -EINVAL;
		const found = this.#entries.find(
			(entry) => entry.bar === bar && entry.position === position && entry.size === size && entry.data === data,
		);
		if (found && fd >= 0) return -EEXIST;
		if (found) return this.#remove(found);
		if (fd < 0) return -ENODEV;
		if (this.#entries.length >= LIMIT) return -ENOSPC;
		const event = EventFd.fromFd(process, fd);
		if (typeof event === "number") return event;
		this.#host.claim(bar);
		const io = fn.bar(bar)?.kind === "io";
		const write = () => {
			if (!io && !this.#host.memoryUsable) return;
			if (size === 8) fn.write64(bar, position, data);
			else fn.write(bar, position, size as 1 | 2 | 4, Number(BigInt.asUintN(32, data)));
		};
		const entry: Entry = new Entry(bar, position, size, data, event, write, () => this.#remove(entry));
		this.#entries.push(entry);
		return 0;
	}

	/** Drops all. */
	close(): void {
		for (const entry of [...this.#entries]) this.#remove(entry);
	}

	#remove(entry: Entry): number {
		this.#entries = this.#entries.filter((other) => other !== entry);
		entry.drop();
		return 0;
	}
}

class Entry implements EventConsumer {
	readonly bar: number;
	readonly position: number;
	readonly size: number;
	readonly data: bigint;
	readonly signalled: () => void;
	readonly closed: () => void;
	readonly #event: EventFd;
	#consumer: Disposable | undefined;

	constructor(
		bar: number,
		position: number,
		size: number,
		data: bigint,
		event: EventFd,
		write: () => void,
		closed: () => void,
	) {
		this.bar = bar;
		this.position = position;
		this.size = size;
		this.data = data;
		this.signalled = write;
		this.closed = closed;
		this.#event = event;
		this.#consumer = event.consume(this);
	}

	drop(): void {
		if (!this.#consumer) return;
		this.#consumer[Symbol.dispose]();
		this.#consumer = undefined;
		this.#event.unreference();
	}
}
