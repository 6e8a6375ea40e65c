/**
 * A device that has no DMA of its own, such as a mediated one: its driver pins or copies what it needs of an address space.
 *
 * @module
 */
import { EFAULT, ENOENT, EOVERFLOW, EPERM } from "../../../core/uapi/errno.ts";
import { DMA_WRITE, type DmaTarget } from "../../hardware/iommu-domain.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { Area } from "./area.ts";
import type { IommufdBinding } from "./binding.ts";
import type { IommufdFile } from "./file.ts";
import { Ioas } from "./ioas.ts";
import { LAST_ADDRESS } from "./iova-allocation.ts";
import { IommufdObject } from "./object.ts";

/** A stretch of memory that a driver has pinned. */
export interface PinnedPart {
	readonly target: DmaTarget;
	/** Where in the target it starts, bytes. */
	readonly offset: number;
	/** Bytes. */
	readonly length: number;
}

/** What a driver has pinned, until it lets go. */
export interface AccessPin {
	readonly iova: bigint;
	/** In address order, one behind the other. */
	readonly parts: readonly PinnedPart[];
	release(): void;
}

/** Addresses are about to be unmapped: the driver must release what it has pinned there before it returns. */
export type UnmapCallback = (iova: bigint, length: bigint) => void;

/** The binding of a device without DMA of its own. It attaches to address spaces only. */
export class IommufdAccess extends IommufdObject implements IommufdBinding {
	readonly file: IommufdFile;
	/** Drivers pin whole pages. */
	readonly alignment = BigInt(PAGE_SIZE);
	readonly #unmap: UnmapCallback;
	#ioas: Ioas | undefined;

	private constructor(file: IommufdFile, unmap: UnmapCallback) {
		super();
		this.file = file;
		this.#unmap = unmap;
		this.users = 1;
	}

	static bindTo(file: IommufdFile, unmap: UnmapCallback): IommufdAccess {
		file.reference();
		return file.context.add(new IommufdAccess(file, unmap));
	}

	/** @returns the same number, -ENOENT when it is no address space, or -EADDRINUSE */
	attach(id: number): number {
		const ioas = this.file.context.find(id, Ioas);
		if (!ioas) return -ENOENT;
		if (ioas === this.#ioas) return id;
		const added = ioas.addAccess(this);
		if (added < 0) return added;
		this.detach();
		ioas.users++;
		this.#ioas = ioas;
		return id;
	}

	detach(): void {
		const ioas = this.#ioas;
		if (!ioas) return;
		this.#ioas = undefined;
		this.#unmap(0n, LAST_ADDRESS);
		ioas.removeAccess(this);
		ioas.users--;
	}

	unbind(): void {
		this.detach();
		this.users = 0;
		this.file.context.remove(this);
		this.file.unreference();
	}

	override destroy(): void {}

	/** The address space wants to unmap an area. */
	reclaim(area: Area): void {
		this.#unmap(area.iova, area.size);
	}

	/**
	 * Pins memory for the driver.
	 *
	 * @param length bytes, not 0
	 * @returns -ENOENT where nothing is mapped, -EPERM for a write where only reads are, -EFAULT, -ENOMEM
	 */
	pin(iova: bigint, length: bigint, write: boolean): AccessPin | number {
		const last = iova + length - 1n;
		if (last > LAST_ADDRESS) return -EOVERFLOW;
		const borrowed: Area[] = [];
		const releases: (() => void)[] = [];
		const release = () => {
			for (const area of borrowed.splice(0)) area.borrowed--;
			for (const giveBack of releases.splice(0).reverse()) giveBack();
		};
		const parts: PinnedPart[] = [];
		let next = iova;
		for (const area of this.#ioas?.areas ?? []) {
			if (area.last < next || area.iova > last) continue;
			if (area.iova > next) break;
			if (write && (area.access & DMA_WRITE) === 0) {
				release();
				return -EPERM;
			}
			const end = area.last < last ? area.last : last;
			const pinned = area.pages.pin(area.offset + next - area.iova, end - next + 1n);
			if (typeof pinned === "number") {
				release();
				return pinned;
			}
			area.borrowed++;
			borrowed.push(area);
			releases.push(() => pinned.release());
			parts.push({ target: pinned.target, offset: pinned.offset, length: Number(end - next + 1n) });
			next = end + 1n;
		}
		if (next <= last) {
			release();
			return -ENOENT;
		}
		return { iova, parts, release };
	}

	/** Copies from what is mapped. @returns 0 or -errno */
	read(iova: bigint, into: Uint8Array): number {
		return this.#copy(iova, into, false);
	}

	/** Copies to what is mapped. @returns 0 or -errno */
	write(iova: bigint, from: Uint8Array): number {
		return this.#copy(iova, from, true);
	}

	#copy(iova: bigint, buffer: Uint8Array, write: boolean): number {
		const pin = this.pin(iova, BigInt(buffer.length), write);
		if (typeof pin === "number") return pin;
		let done = 0;
		for (const { target, offset, length } of pin.parts) {
			const bytes = target.bytes();
			if (offset + length > bytes.length) {
				pin.release();
				return -EFAULT;
			}
			const part = buffer.subarray(done, done + length);
			if (write) bytes.set(part, offset);
			else part.set(bytes.subarray(offset, offset + length));
			done += length;
		}
		pin.release();
		return 0;
	}
}
