/**
 * A device's region mapped into a process: the simulated counterpart of a VM_PFNMAP area.
 *
 * @module
 */
import { KernelError } from "../../core/errors.ts";
import type { AccessWidth, Mapping } from "../../core/kernel.ts";
import { EFAULT, EINVAL, EIO } from "../../core/uapi/errno.ts";
import { PROT_READ, PROT_WRITE } from "../../core/uapi/fcntl.ts";
import type { DmaTarget } from "../hardware/iommu-domain.ts";
import type { OpenFile } from "./file.ts";

/**
 * The registers or memory that a mapping leads to, in bytes from the start of the mapping. Each call is one access to
 * the device. It goes to the hardware and not through the file: peer-to-peer DMA outlives both mapping and file.
 */
export interface MappedRegion {
	/** @returns the value, unsigned; -EIO when nobody answers (decoding is off, the device is gone): SIGBUS on Linux */
	read(offset: number, width: AccessWidth): number;
	/** @returns the value, unsigned; negative when nobody answers */
	read64(offset: number): bigint;
	/** @returns 0, or -EIO when nobody answers */
	write(offset: number, width: AccessWidth, value: number): number;
	/** @returns 0, or -EIO when nobody answers */
	write64(offset: number, value: bigint): number;
	/** What another device's DMA reaches through the mapping, and where in it; made from the accesses when left out. */
	readonly dma?: { readonly target: DmaTarget; readonly offset: number };
}

/**
 * What mmap(2) of a device's file returns. It holds its file until it is unmapped.
 *
 * @example
 * ```ts
 * class RegistersFile extends OpenFile {
 *   override mmap(_process: SimProcess, length: number, protection: number, flags: number): RegionMapping | number {
 *     if ((flags & MAP_SHARED) === 0) return -EINVAL;
 *     return new RegionMapping(this, registers, length, protection);
 *   }
 * }
 * ```
 */
export class RegionMapping implements Mapping {
	readonly file: OpenFile;
	readonly region: MappedRegion;
	/** Bytes, as asked for; the address space rounds it up to whole pages. */
	readonly length: number;
	readonly protection: number;
	#address: bigint | undefined;
	#unmap: (() => void) | undefined;

	constructor(file: OpenFile, region: MappedRegion, length: number, protection: number) {
		this.file = file;
		this.region = region;
		this.length = length;
		this.protection = protection;
	}

	/** The address space has placed it. @param unmap removes it from there */
	place(address: bigint, unmap: () => void): void {
		this.file.reference();
		this.#address = address;
		this.#unmap = unmap;
	}

	/** The same for a forked process; the address space has to place it. */
	duplicate(): RegionMapping {
		return new RegionMapping(this.file, this.region, this.length, this.protection);
	}

	get address(): bigint {
		if (this.#address === undefined) throw new KernelError(EFAULT, "mmap", this.file.path);
		return this.#address;
	}

	read(offset: number, width: AccessWidth): number {
		this.#check("read", PROT_READ, offset, width);
		const value = this.region.read(offset, width);
		if (value < 0) throw new KernelError(-value, "read", this.file.path);
		return value;
	}

	read64(offset: number): bigint {
		this.#check("read", PROT_READ, offset, 8);
		const value = this.region.read64(offset);
		if (value < 0n) throw new KernelError(EIO, "read", this.file.path);
		return value;
	}

	write(offset: number, width: AccessWidth, value: number): void {
		this.#check("write", PROT_WRITE, offset, width);
		const result = this.region.write(offset, width, value);
		if (result < 0) throw new KernelError(-result, "write", this.file.path);
	}

	write64(offset: number, value: bigint): void {
		this.#check("write", PROT_WRITE, offset, 8);
		const result = this.region.write64(offset, value);
		if (result < 0) throw new KernelError(-result, "write", this.file.path);
	}

	/** munmap(2). */
	[Symbol.dispose](): void {
		const unmap = this.#unmap;
		if (!unmap) return;
		this.#unmap = undefined;
		unmap();
		this.file.unreference();
	}

	#check(call: string, access: number, offset: number, width: number): void {
		// On Linux these are signals: SIGSEGV for an access outside or against the protection, SIGBUS for EIO.
		if (!this.#unmap || (this.protection & access) === 0 || offset < 0 || offset + width > this.length)
			throw new KernelError(EFAULT, call, this.file.path);
		if (offset % width !== 0) throw new KernelError(EINVAL, call, this.file.path);
	}
}

/** A mapped region as the target of another device's DMA. */
export class RegionDmaTarget implements DmaTarget {
	readonly #region: MappedRegion;

	constructor(region: MappedRegion) {
		this.#region = region;
	}

	bytes(): Uint8Array {
		return new Uint8Array(0);
	}

	read(offset: number, into: Uint8Array): boolean {
		for (let done = 0; done < into.length; ) {
			const width = accessWidth(offset + done, into.length - done);
			const value = this.#region.read(offset + done, width);
			if (value < 0) return false;
			for (let byte = 0; byte < width; byte++) into[done + byte] = (value >>> (8 * byte)) & 0xff;
			done += width;
		}
		return true;
	}

	write(offset: number, from: Uint8Array): boolean {
		for (let done = 0; done < from.length; ) {
			const width = accessWidth(offset + done, from.length - done);
			let value = 0;
			for (let byte = 0; byte < width; byte++) value += (from[done + byte] as number) * 2 ** (8 * byte);
			if (this.#region.write(offset + done, width, value) < 0) return false;
			done += width;
		}
		return true;
	}
}

/** The widest aligned access that moves no more than is left. */
export function accessWidth(offset: number, left: number): AccessWidth {
	if (left >= 4 && offset % 4 === 0) return 4;
	return left >= 2 && offset % 2 === 0 ? 2 : 1;
}
