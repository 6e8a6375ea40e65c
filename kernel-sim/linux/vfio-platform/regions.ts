/**
 * The regions of a platform device: what is said of them, and pread(2), pwrite(2) and mmap(2) on them (contract B.9).
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { EINVAL, EIO } from "../../../core/uapi/errno.ts";
import { PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_REGION_INFO_FLAG_MMAP,
	VFIO_REGION_INFO_FLAG_READ,
	VFIO_REGION_INFO_FLAG_WRITE,
} from "../../../core/uapi/vfio.ts";
import { load, store } from "../../hardware/little-endian.ts";
import type { PlatformHardware } from "../../hardware/platform/hardware.ts";
import { PAGE_SIZE } from "../address-space.ts";
import { accessWidth, type MappedRegion } from "../region-mapping.ts";
import { REGION_STRIDE } from "../vfio/region-offset.ts";

/** Reads and writes regions, in accesses of at most 4 bytes. */
export class PlatformRegions {
	readonly #hardware: PlatformHardware;

	constructor(hardware: PlatformHardware) {
		this.#hardware = hardware;
	}

	get count(): number {
		return this.#hardware.description.regions.length;
	}

	/** Bytes. */
	size(index: number): number {
		return this.#hardware.description.regions[index]?.size ?? 0;
	}

	/** `VFIO_REGION_INFO_FLAG_*`: a region is mapped in whole pages or not at all, and I/O ports cannot be reached. */
	flags(index: number): number {
		const region = this.#hardware.description.regions[index];
		if (region?.kind !== "mmio") return 0;
		const whole = region.address % BigInt(PAGE_SIZE) === 0n && region.size % PAGE_SIZE === 0;
		const write = region.readOnly ? 0 : VFIO_REGION_INFO_FLAG_WRITE;
		return VFIO_REGION_INFO_FLAG_READ | write | (whole ? VFIO_REGION_INFO_FLAG_MMAP : 0);
	}

	/** pread(2). @param offset bytes in the device's file @returns the bytes read, or -errno */
	read(offset: number, into: Uint8Array): number {
		const index = Math.floor(offset / REGION_STRIDE);
		const position = offset % REGION_STRIDE;
		const length = this.#length(index, position, into.length, VFIO_REGION_INFO_FLAG_READ);
		for (let done = 0; done < length; ) {
			const width = accessWidth(position + done, length - done);
			store(into, done, width, this.#hardware.read(index, position + done, width));
			done += width;
		}
		return length;
	}

	/** pwrite(2). @param offset bytes in the device's file @returns the bytes written, or -errno */
	write(offset: number, from: Uint8Array): number {
		const index = Math.floor(offset / REGION_STRIDE);
		const position = offset % REGION_STRIDE;
		const length = this.#length(index, position, from.length, VFIO_REGION_INFO_FLAG_WRITE);
		for (let done = 0; done < length; ) {
			const width = accessWidth(position + done, length - done);
			this.#hardware.write(index, position + done, width, load(from, done, width));
			done += width;
		}
		return length;
	}

	/** What mmap(2) maps. @param length bytes, as asked for @returns -EINVAL when that cannot be mapped */
	map(offset: number, length: number, protection: number): MappedRegion | number {
		const index = Math.floor(offset / REGION_STRIDE);
		const start = offset % REGION_STRIDE;
		const flags = this.flags(index);
		if ((flags & VFIO_REGION_INFO_FLAG_MMAP) === 0) return -EINVAL;
		if ((protection & PROT_READ) !== 0 && (flags & VFIO_REGION_INFO_FLAG_READ) === 0) return -EINVAL;
		if ((protection & PROT_WRITE) !== 0 && (flags & VFIO_REGION_INFO_FLAG_WRITE) === 0) return -EINVAL;
		if (start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE > this.size(index)) return -EINVAL;
		return new PlatformMemory(this.#hardware, index, start);
	}

	/** How much of an access lies in the region; -EINVAL for one that it does not take. */
	#length(index: number, position: number, wanted: number, flag: number): number {
		if ((this.flags(index) & flag) === 0 || position >= this.size(index)) return -EINVAL;
		return Math.min(wanted, this.size(index) - position);
	}
}

/** Part of a region in a process's memory. */
class PlatformMemory implements MappedRegion {
	readonly #hardware: PlatformHardware;
	readonly #region: number;
	readonly #start: number;

	/** @param start where in the region the mapping begins, bytes */
	constructor(hardware: PlatformHardware, region: number, start: number) {
		this.#hardware = hardware;
		this.#region = region;
		this.#start = start;
	}

	read(offset: number, width: AccessWidth): number {
		return this.#hardware.present ? this.#hardware.read(this.#region, this.#start + offset, width) : -EIO;
	}

	read64(offset: number): bigint {
		if (!this.#hardware.present) return BigInt(-EIO);
		const low = this.read(offset, 4);
		return (BigInt(this.read(offset + 4, 4)) << 32n) | BigInt(low);
	}

	write(offset: number, width: AccessWidth, value: number): number {
		if (!this.#hardware.present) return -EIO;
		this.#hardware.write(this.#region, this.#start + offset, width, value);
		return 0;
	}

	write64(offset: number, value: bigint): number {
		return this.write(offset, 4, Number(BigInt.asUintN(32, value))) || this.write(offset + 4, 4, Number(value >> 32n));
	}
}
