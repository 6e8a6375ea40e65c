/**
 * KVM_IOEVENTFD: a guest's writes to an address that KVM takes for signals of an eventfd.
 *
 * @module
 */
import { EEXIST, EFAULT, EINVAL, ENOENT } from "../../../core/uapi/errno.ts";
import {
	KVM_IOEVENTFD_FLAG_DATAMATCH,
	KVM_IOEVENTFD_FLAG_DEASSIGN,
	KVM_IOEVENTFD_FLAG_PIO,
	KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY,
	KVM_IOEVENTFD_VALID_FLAG_MASK,
	kvm_ioeventfd,
} from "../../../core/uapi/kvm.ts";
import { EventFd } from "../eventfd.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";

/** What a guest writes to. */
export type IoBus = "mmio" | "pio" | "ccw";

interface Entry {
	readonly bus: IoBus;
	readonly address: bigint;
	/** Bytes; 0: any. */
	readonly length: number;
	/** The only value that counts; undefined: any. */
	readonly match: bigint | undefined;
	readonly event: EventFd;
}

const LENGTHS = [0, 1, 2, 4, 8];

/** The ioeventfds of one machine. They do not count against the limit that a bus has for other devices. */
export class IoEventFds {
	#entries: Entry[] = [];

	/** @returns 0 or a negative errno */
	set(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(kvm_ioeventfd.size);
		if (!bytes) return -EFAULT;
		const { addr, len, fd, flags, datamatch } = kvm_ioeventfd.view(bytes);
		const match = (flags & KVM_IOEVENTFD_FLAG_DATAMATCH) !== 0 ? datamatch : undefined;
		const wanted = { bus: busOf(flags), address: addr, length: len, match };
		if (flags & KVM_IOEVENTFD_FLAG_DEASSIGN) return this.#deassign(process, fd, wanted);
		if (!LENGTHS.includes(len) || addr + BigInt(len) >= 1n << 64n) return -EINVAL;
		if ((flags & ~KVM_IOEVENTFD_VALID_FLAG_MASK) !== 0 || (len === 0 && match !== undefined)) return -EINVAL;
		const event = EventFd.fromFd(process, fd);
		if (typeof event === "number") return event;
		if (this.#entries.some((entry) => collide(entry, wanted))) {
			event.unreference();
			return -EEXIST;
		}
		this.#entries.push({ ...wanted, event });
		return 0;
	}

	/** A guest writes. @returns whether an eventfd has taken it, so that the VMM never hears of it */
	write(bus: IoBus, address: bigint, width: number, value: bigint): boolean {
		const taken = this.#entries.find(
			(entry) =>
				entry.bus === bus &&
				entry.address === address &&
				(entry.length === 0 || entry.length === width) &&
				(entry.match === undefined || BigInt.asUintN(width * 8, entry.match) === value),
		);
		taken?.event.signal();
		return taken !== undefined;
	}

	/** The machine is gone. */
	close(): void {
		for (const entry of this.#entries.splice(0)) entry.event.unreference();
	}

	#deassign(process: SimProcess, fd: number, wanted: Omit<Entry, "event">): number {
		const event = EventFd.fromFd(process, fd);
		if (typeof event === "number") return event;
		event.unreference();
		const { bus, address, length, match } = wanted;
		const at = this.#entries.findIndex(
			(entry) =>
				entry.event === event &&
				entry.bus === bus &&
				entry.address === address &&
				entry.length === length &&
				entry.match === match,
		);
		if (at < 0) return -ENOENT;
		for (const entry of this.#entries.splice(at, 1)) entry.event.unreference();
		return 0;
	}
}

function busOf(flags: number): IoBus {
	if (flags & KVM_IOEVENTFD_FLAG_PIO) return "pio";
	return flags & KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY ? "ccw" : "mmio";
}

/** Whether one write could be for both. */
function collide(one: Omit<Entry, "event">, other: Omit<Entry, "event">): boolean {
	if (one.bus !== other.bus || one.address !== other.address) return false;
	if (one.length === 0 || other.length === 0) return true;
	return (
		one.length === other.length && (one.match === undefined || other.match === undefined || one.match === other.match)
	);
}
