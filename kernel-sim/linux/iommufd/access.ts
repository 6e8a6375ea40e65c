/**
 * A device that has no DMA of its own, such as a mediated one: its driver pins or copies what it needs of an address space.
 *
 * @module
 */
import { Releases } from "../../../core/release.ts";
import { EFAULT, ENOENT, EPERM } from "../../../core/uapi/errno.ts";
import { DMA_READ, DMA_WRITE } from "../../hardware/iommu-domain.ts";
import { PAGE_SIZE, type PinnedMemory } from "../address-space.ts";
import type { EmulatedDma } from "../vfio/emulated-dma.ts";
import { LAST_ADDRESS } from "../vfio/iova-ranges.ts";
import type { Area } from "./area.ts";
import type { IommufdBinding } from "./binding.ts";
import type { IommufdFile } from "./file.ts";
import { Ioas } from "./ioas.ts";
import { IommufdObject } from "./object.ts";

/** A page that a driver has pinned. */
interface DriverPin {
	readonly area: Area;
	readonly memory: PinnedMemory;
	count: number;
}

const PAGE = BigInt(PAGE_SIZE);

/**
 * The binding of a device without DMA of its own: it attaches to address spaces only, and what its driver does goes
 * through them. `bindIommufd` of such a device returns what {@link bindTo} makes.
 */
export class IommufdAccess extends IommufdObject implements IommufdBinding, EmulatedDma {
	readonly file: IommufdFile;
	/** Drivers pin whole pages. */
	readonly alignment = PAGE;
	readonly #listeners = new Set<(iova: bigint, size: bigint) => void>();
	/** By the page's first address. */
	readonly #pins = new Map<bigint, DriverPin>();
	#ioas: Ioas | undefined;

	private constructor(file: IommufdFile) {
		super();
		this.file = file;
		this.users = 1;
	}

	/** The file stays open for as long. */
	static bindTo(file: IommufdFile): IommufdAccess {
		file.reference();
		return file.context.add(new IommufdAccess(file));
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
		const releases = new Releases();
		releases.defer(() => {
			this.#ioas = undefined;
			ioas.removeAccess(this);
			ioas.users--;
		});
		releases.defer(() => this.#takeBack(0n, LAST_ADDRESS));
		releases[Symbol.dispose]();
	}

	unbind(): void {
		const releases = new Releases();
		releases.defer(() => {
			this.users = 0;
			this.file.context.remove(this);
			this.file.unreference();
		});
		releases.defer(() => this.detach());
		releases[Symbol.dispose]();
	}

	override destroy(): void {}

	/** The address space wants to unmap an area. */
	reclaim(area: Area): void {
		this.#takeBack(area.iova, area.size);
	}

	/** @returns the page; -ENOENT where nothing is mapped, -EPERM for a write where only reads are, -EFAULT, -ENOMEM */
	pin(iova: bigint, access: number): PinnedMemory | number {
		const start = iova & ~(PAGE - 1n);
		const known = this.#pins.get(start);
		const area = known?.area ?? this.#ioas?.areaAt(start);
		if (!area) return -ENOENT;
		if ((access & DMA_WRITE & ~area.access) !== 0) return -EPERM;
		if (known) {
			known.count++;
			return known.memory;
		}
		const memory = area.pages.pin(area.offset + start - area.iova, PAGE);
		if (typeof memory === "number") return memory;
		area.borrowed++;
		this.#pins.set(start, { area, memory, count: 1 });
		return memory;
	}

	unpin(iova: bigint): void {
		const start = iova & ~(PAGE - 1n);
		const pin = this.#pins.get(start);
		if (pin && --pin.count === 0) this.#drop(start, pin);
	}

	/** @returns 0; -ENOENT where nothing is mapped, -EPERM where it may not be read, -EFAULT */
	read(iova: bigint, into: Uint8Array): number {
		return this.#copy(iova, into, DMA_READ);
	}

	/** @returns 0; -ENOENT where nothing is mapped, -EPERM where it may not be written, -EFAULT */
	write(iova: bigint, from: Uint8Array): number {
		return this.#copy(iova, from, DMA_WRITE);
	}

	onUnmap(listener: (iova: bigint, size: bigint) => void): Disposable {
		this.#listeners.add(listener);
		return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
	}

	/** The driver is told; a page that it keeps all the same, or when it throws, is taken from it. */
	#takeBack(iova: bigint, size: bigint): void {
		if (this.#pins.size === 0) return;
		const releases = new Releases();
		releases.defer(() => {
			for (const [start, pin] of this.#pins) if (start >= iova && start - iova < size) this.#drop(start, pin);
		});
		for (const listener of [...this.#listeners].reverse()) releases.defer(() => listener(iova, size));
		releases[Symbol.dispose]();
	}

	#drop(start: bigint, pin: DriverPin): void {
		this.#pins.delete(start);
		pin.area.borrowed--;
		pin.memory.release();
	}

	#copy(iova: bigint, buffer: Uint8Array, access: number): number {
		for (let done = 0; done < buffer.length; ) {
			const at = iova + BigInt(done);
			const area = this.#ioas?.areaAt(at);
			if (!area) return -ENOENT;
			if ((area.access & access) === 0) return -EPERM;
			const length = Math.min(buffer.length - done, Number(area.last - at) + 1);
			const memory = area.pages.pin(area.offset + at - area.iova, BigInt(length));
			if (typeof memory === "number") return memory;
			const bytes = memory.target.bytes().subarray(memory.offset, memory.offset + length);
			const part = buffer.subarray(done, done + length);
			if (bytes.length < length) {
				memory.release();
				return -EFAULT;
			}
			if (access === DMA_WRITE) bytes.set(part);
			else part.set(bytes);
			memory.release();
			done += length;
		}
		return 0;
	}
}
