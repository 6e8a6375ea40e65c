/**
 * A device's regions in this process's memory.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { holdersOfBar } from "../host/iomem.ts";
import type { AccessWidth, Kernel, Mapping } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EBUSY } from "../uapi/errno.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../uapi/fcntl.ts";
import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from "../uapi/vfio.ts";
import type { NamedDevice } from "./kind.ts";
import { type Region, regionName } from "./region.ts";
import { type MapOptions, mapWriteCombining } from "./write-combining.ts";

/**
 * The mappings that a device has handed out. A mapping keeps the device open in the kernel, and with it the group in its
 * container, so that none may outlive the device.
 */
export class RegionMappings implements Disposable {
	readonly #kernel: Kernel;
	readonly #fd: number;
	readonly #device: NamedDevice;
	readonly #report: (message: string) => void;
	readonly #live = new Set<RegionMapping>();

	/** @param report learns of hints that were refused */
	constructor(kernel: Kernel, fd: number, device: NamedDevice, report: (message: string) => void) {
		this.#kernel = kernel;
		this.#fd = fd;
		this.#device = device;
		this.#report = report;
	}

	/**
	 * @param offset bytes in the region, page aligned
	 * @param length bytes; to the region's end when left out
	 * @throws VfioError `mapping-failed`, `write-combining-refused`
	 */
	map(region: Region, offset: number, length = region.size - offset, options: MapOptions = {}): Mapping {
		const { name, kind } = this.#device;
		const what = `Cannot map ${regionName(region.index, kind)} of ${name}`;
		const details = { device: name };
		if (!region.mappable) throw new VfioError("mapping-failed", `${what}: it cannot be mapped`, details);
		if (offset < 0 || length <= 0 || offset + length > region.size)
			throw new VfioError(
				"mapping-failed",
				`${what}: ${length} bytes at ${offset} are not within its ${region.size} bytes`,
				details,
			);
		const protection =
			(region.flags & VFIO_REGION_INFO_FLAG_READ ? PROT_READ : 0) |
			(region.flags & VFIO_REGION_INFO_FLAG_WRITE ? PROT_WRITE : 0);
		let mapping: Mapping;
		try {
			mapping = retry(() => this.#kernel.mmap(this.#fd, length, protection, MAP_SHARED, region.offset + offset));
		} catch (cause) {
			const busy = isErrno(cause, EBUSY);
			const holders = busy && kind === "pci" ? holdersOfBar(this.#kernel, name, region.index) : [];
			const reason = holders.length > 0 ? `the host uses it (${holders.join(", ")})` : (cause as Error).message;
			const remedy = busy
				? [
						"Something of the host uses it, such as the boot framebuffer: sudo cat /proc/iomem shows what.",
						"For a framebuffer, add video=efifb:off or initcall_blacklist=sysfb_init to the kernel command line.",
					]
				: [];
			throw new VfioError("mapping-failed", `${what}: ${reason}`, { ...details, cause, remedy });
		}
		if (options.memoryType === "write-combining")
			mapping = this.#combining(mapping, region.index, offset, protection, options.required === true);
		const tracked = new RegionMapping(mapping, this.#live);
		this.#live.add(tracked);
		return tracked;
	}

	/** Puts another mapping in the place of an uncached one, which stays where that is refused. */
	#combining(uncached: Mapping, index: number, offset: number, protection: number, required: boolean): Mapping {
		const made = new Releases();
		const replaced = new Releases();
		replaced.use(uncached);
		try {
			const { length } = uncached;
			const mapping = made.use(mapWriteCombining(this.#kernel, this.#device, index, offset, length, protection));
			replaced[Symbol.dispose]();
			made.move();
			return mapping;
		} catch (error) {
			if (required || !(error instanceof VfioError)) throw error;
			replaced.move();
			this.#report(`${error.message}; it is mapped uncached`);
			return uncached;
		} finally {
			made[Symbol.dispose]();
			replaced[Symbol.dispose]();
		}
	}

	/** Unmaps what is mapped still. @throws what unmapping throws, after all were unmapped */
	[Symbol.dispose](): void {
		const releases = new Releases();
		for (const mapping of this.#live) releases.use(mapping);
		releases[Symbol.dispose]();
	}
}

/** A mapping that the device knows of until it is unmapped, once. */
class RegionMapping implements Mapping {
	readonly address: bigint;
	readonly length: number;
	readonly #mapping: Mapping;
	readonly #live: Set<RegionMapping>;

	constructor(mapping: Mapping, live: Set<RegionMapping>) {
		this.#mapping = mapping;
		this.#live = live;
		this.address = mapping.address;
		this.length = mapping.length;
	}

	read(offset: number, width: AccessWidth): number {
		return this.#mapping.read(offset, width);
	}
	read64(offset: number): bigint {
		return this.#mapping.read64(offset);
	}
	write(offset: number, width: AccessWidth, value: number): void {
		this.#mapping.write(offset, width, value);
	}
	write64(offset: number, value: bigint): void {
		this.#mapping.write64(offset, value);
	}
	[Symbol.dispose](): void {
		if (this.#live.delete(this)) this.#mapping[Symbol.dispose]();
	}
}
