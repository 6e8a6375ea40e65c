/**
 * Access to a device's regions on a guest's behalf: it never throws.
 *
 * @module
 */
import { ALL_ONES_64 } from "../bytes.ts";
import { KernelError } from "../errors.ts";
import type { AccessWidth, Kernel } from "../kernel.ts";
import { ATTEMPTS } from "../retry.ts";
import { EAGAIN, EINTR } from "../uapi/errno.ts";
import type { NamedDevice } from "./kind.ts";
import { type Region, regionName } from "./region.ts";

/**
 * Reads and writes regions through pread(2) and pwrite(2), one system call of exactly the register's width each.
 * A failed read is all ones, as on a bus where nobody answers, and a failed access is reported.
 */
export class RegionAccess {
	readonly #kernel: Kernel;
	readonly #fd: number;
	readonly #device: NamedDevice;
	readonly #report: (message: string) => void;
	// One buffer for each width, since the length of the buffer is the width of the access.
	readonly #one = new Uint8Array(1);
	readonly #two = new Uint8Array(2);
	readonly #four = new Uint8Array(4);
	readonly #eight = new Uint8Array(8);
	readonly #view16 = new DataView(this.#two.buffer);
	readonly #view32 = new DataView(this.#four.buffer);
	readonly #view64 = new DataView(this.#eight.buffer);

	/** @param report learns of each access that failed */
	constructor(kernel: Kernel, fd: number, device: NamedDevice, report: (message: string) => void) {
		this.#kernel = kernel;
		this.#fd = fd;
		this.#device = device;
		this.#report = report;
	}

	/** @param offset bytes in the region @returns the little-endian value, unsigned; all ones when it failed */
	read(region: Region, offset: number, width: AccessWidth): number {
		if (width === 1) return this.#pread(region, offset, this.#one) ? (this.#one[0] as number) : 0xff;
		if (width === 2) return this.#pread(region, offset, this.#two) ? this.#view16.getUint16(0, true) : 0xffff;
		return this.#pread(region, offset, this.#four) ? this.#view32.getUint32(0, true) : 0xffff_ffff;
	}

	/** @param offset bytes in the region @returns all ones when it failed */
	read64(region: Region, offset: number): bigint {
		return this.#pread(region, offset, this.#eight) ? this.#view64.getBigUint64(0, true) : ALL_ONES_64;
	}

	/** @param offset bytes in the region */
	write(region: Region, offset: number, width: AccessWidth, value: number): void {
		if (width === 1) {
			this.#one[0] = value;
			this.#pwrite(region, offset, this.#one);
		} else if (width === 2) {
			this.#view16.setUint16(0, value, true);
			this.#pwrite(region, offset, this.#two);
		} else {
			this.#view32.setUint32(0, value, true);
			this.#pwrite(region, offset, this.#four);
		}
	}

	/** @param offset bytes in the region */
	write64(region: Region, offset: number, value: bigint): void {
		this.#view64.setBigUint64(0, value, true);
		this.#pwrite(region, offset, this.#eight);
	}

	/** Reads many bytes. @returns how many: fewer at the end of the region, or after a failure, which is reported */
	readBytes(region: Region, offset: number, into: Uint8Array): number {
		const wanted = Math.max(0, Math.min(into.length, region.size - offset));
		let done = 0;
		while (done < wanted) {
			const got = this.#transfer(region, offset + done, into.subarray(done, wanted), false);
			if (got < 0) break;
			if (got === 0) {
				this.#failed("read", region, offset + done, wanted - done, "the kernel read 0 bytes");
				break;
			}
			done += got;
		}
		return done;
	}

	#pread(region: Region, offset: number, buffer: Uint8Array): boolean {
		return this.#exact(region, offset, buffer, false);
	}

	#pwrite(region: Region, offset: number, buffer: Uint8Array): boolean {
		return this.#exact(region, offset, buffer, true);
	}

	#exact(region: Region, offset: number, buffer: Uint8Array, write: boolean): boolean {
		const width = buffer.length;
		if (!(offset >= 0) || offset + width > region.size) {
			this.#failed(write ? "write" : "read", region, offset, width, `it has ${region.size} bytes`);
			return false;
		}
		const done = this.#transfer(region, offset, buffer, write);
		if (done === width) return true;
		if (done >= 0)
			this.#failed(write ? "write" : "read", region, offset, width, `the kernel did ${done} of ${width} bytes`);
		return false;
	}

	/** @returns the bytes transferred, or -1 after a failure that is reported */
	#transfer(region: Region, offset: number, buffer: Uint8Array, write: boolean): number {
		for (let attempt = 1; ; attempt++) {
			try {
				return write
					? this.#kernel.pwrite(this.#fd, buffer, region.offset + offset)
					: this.#kernel.pread(this.#fd, buffer, region.offset + offset);
			} catch (error) {
				if (!(error instanceof KernelError)) throw error;
				const again = error.errno === EINTR || error.errno === EAGAIN;
				if (again && attempt < ATTEMPTS) continue;
				this.#failed(write ? "write" : "read", region, offset, buffer.length, error.message);
				return -1;
			}
		}
	}

	#failed(action: string, region: Region, offset: number, width: number, reason: string): void {
		const where = `${width} bytes at 0x${offset.toString(16)} of ${regionName(region.index, this.#device.kind)} of ${this.#device.name}`;
		this.#report(`Cannot ${action} ${where}: ${reason}`);
	}
}
