/**
 * `/dev/iommu`: the objects of iommufd.
 *
 * @module
 */
import { KernelError, VfioError } from "../errors.ts";
import { wrongDescriptor } from "../host/descriptor.ts";
import { explainIommuNode } from "../host/node-errors.ts";
import type { Kernel, Memory } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { ENOENT } from "../uapi/errno.ts";
import { O_CLOEXEC, O_RDWR } from "../uapi/fcntl.ts";
import {
	IOMMU_DESTROY,
	IOMMU_GET_HW_INFO,
	IOMMU_HW_CAP_DIRTY_TRACKING,
	IOMMU_HW_INFO_TYPE_INTEL_VTD,
	iommu_destroy,
	iommu_hw_info,
	iommu_hw_info_vtd,
} from "../uapi/iommufd.ts";

const PATH = "/dev/iommu";
/** Room for what the kernel writes by address: ranges, or what is said about the hardware. */
const SCRATCH = 4096;
/** VT-d's Extended Capability Register: Snoop Control (specification of VT-d, 11.4.3). */
const ECAP_SNOOP_CONTROL = 1n << 7n;

/** What the IOMMU in front of a device can do. */
export interface IommuHardware {
	/** `IOMMU_HW_INFO_TYPE_*` */
	readonly type: number;
	/** It records which pages were written. */
	readonly dirtyTracking: boolean;
	/** DMA snoops the caches even when the device asks not to, as far as the kernel says it. */
	readonly enforcesSnooping: boolean;
}

/**
 * An open `/dev/iommu`. It is counted: whoever opened it has one reference, and so has every address space in it and every
 * device that is bound to it. It closes with the last of them.
 *
 * Devices that are opened with the same object can share an address space; those of different ones are apart. A group's
 * devices have to be with one.
 *
 * @example
 * ```ts
 * const iommufd = Iommufd.open(kernel);
 * const device = VfioDevice.open(kernel, "05:00.0", { iommufd });
 * iommufd[Symbol.dispose](); // the device keeps it
 * ```
 */
export class Iommufd implements Disposable {
	readonly kernel: Kernel;
	/** Its file descriptor. */
	readonly fd: number;
	#references = 1;
	#held = true;
	#scratch: Memory | undefined;

	private constructor(kernel: Kernel, fd: number) {
		this.kernel = kernel;
		this.fd = fd;
	}

	/**
	 * Opens `/dev/iommu`.
	 *
	 * @throws VfioError `no-vfio`, `no-permission`, `kernel`
	 */
	static open(kernel: Kernel): Iommufd {
		try {
			return new Iommufd(
				kernel,
				retry(() => kernel.open(PATH, O_RDWR | O_CLOEXEC)),
			);
		} catch (error) {
			throw explainIommuNode(PATH, error);
		}
	}

	/**
	 * Takes `/dev/iommu` as somebody else has opened it, such as a launcher with more privileges. The descriptor belongs to
	 * the object from then on, and is closed with it; one that turns out to be something else is left open.
	 *
	 * @throws VfioError `invalid-argument` when it is something else
	 */
	static fromFd(kernel: Kernel, fd: number): Iommufd {
		// No object has the number 0, so that freeing it changes nothing, and only an iommufd answers that it is not there.
		const request = iommu_destroy.create();
		request.size = iommu_destroy.size;
		let answer: unknown;
		try {
			retry(() => kernel.ioctl(fd, IOMMU_DESTROY, request.bytes));
		} catch (cause) {
			if (isErrno(cause, ENOENT)) return new Iommufd(kernel, fd);
			answer = cause;
		}
		throw wrongDescriptor(kernel, fd, "an iommufd", `Pass one that was opened from ${PATH}.`, answer);
	}

	/** Another reference. @returns dispose it, once, to give it back @throws VfioError `disposed` */
	retain(): Disposable {
		this.#requireOpen();
		this.#references++;
		let kept = true;
		return {
			[Symbol.dispose]: () => {
				if (kept) this.#release();
				kept = false;
			},
		};
	}

	/**
	 * What the IOMMU in front of a bound device can do; undefined where there is none, as with mediated devices.
	 *
	 * @throws VfioError `disposed`
	 */
	hardware(devid: number): IommuHardware | undefined {
		const scratch = this.scratch();
		const info = iommu_hw_info.create();
		info.size = iommu_hw_info.size;
		info.dev_id = devid;
		info.data_len = iommu_hw_info_vtd.size;
		info.data_uptr = scratch.address;
		try {
			retry(() => this.kernel.ioctl(this.fd, IOMMU_GET_HW_INFO, info.bytes));
		} catch (error) {
			if (error instanceof KernelError) return undefined;
			throw error;
		}
		const vtd = info.out_data_type === IOMMU_HW_INFO_TYPE_INTEL_VTD;
		const ecap = vtd ? iommu_hw_info_vtd.view(scratch.bytes).ecap_reg : 0n;
		return {
			type: info.out_data_type,
			dirtyTracking: (info.out_capabilities & BigInt(IOMMU_HW_CAP_DIRTY_TRACKING)) !== 0n,
			enforcesSnooping: !vtd || (ecap & ECAP_SNOOP_CONTROL) !== 0n,
		};
	}

	/** Frees an object. @throws VfioError `kernel` */
	destroy(id: number, what: string): void {
		const request = iommu_destroy.create();
		request.size = iommu_destroy.size;
		request.id = id;
		this.call(IOMMU_DESTROY, request.bytes, `free ${what}`);
	}

	/** Makes a call. @param action for the error, such as `free an address space` @throws VfioError `kernel`, `disposed` */
	call(request: number, argument: Uint8Array, action: string): void {
		this.#requireOpen();
		try {
			retry(() => this.kernel.ioctl(this.fd, request, argument));
		} catch (cause) {
			throw new VfioError("kernel", `Cannot ${action} of ${PATH}: ${(cause as Error).message}`, { cause });
		}
	}

	/** A page that the kernel can write by its address; what is in it lasts until the next call. @throws VfioError `kernel`, `disposed` */
	scratch(): Memory {
		this.#requireOpen();
		try {
			this.#scratch ??= this.kernel.allocate(SCRATCH);
		} catch (cause) {
			throw new VfioError("kernel", `Cannot ask ${PATH}: ${(cause as Error).message}`, { cause });
		}
		return this.#scratch;
	}

	/** Gives back the reference of whoever opened it. */
	[Symbol.dispose](): void {
		if (!this.#held) return;
		this.#held = false;
		this.#release();
	}

	/** The descriptor's number may belong to something else by now. */
	#requireOpen(): void {
		if (this.#references === 0) throw new VfioError("disposed", `Cannot use ${PATH}: it is closed`);
	}

	#release(): void {
		if (--this.#references > 0) return;
		const releases = new Releases();
		releases.defer(() => this.kernel.close(this.fd));
		if (this.#scratch) releases.use(this.#scratch);
		releases[Symbol.dispose]();
	}
}
