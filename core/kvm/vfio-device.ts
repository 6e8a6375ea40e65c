/**
 * KVM's VFIO device (`KVM_DEV_TYPE_VFIO`).
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel, Memory } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno } from "../retry.ts";
import { EBUSY, EEXIST } from "../uapi/errno.ts";
import {
	KVM_CREATE_DEVICE,
	KVM_DEV_TYPE_VFIO,
	KVM_DEV_VFIO_FILE,
	KVM_DEV_VFIO_FILE_ADD,
	KVM_DEV_VFIO_FILE_DEL,
	KVM_SET_DEVICE_ATTR,
	kvm_create_device,
	kvm_device_attr,
} from "../uapi/kvm.ts";
import { callKvm } from "./call.ts";

/** The one VFIO device of a virtual machine. */
export class KvmVfioDevice implements Disposable {
	readonly #kernel: Kernel;
	readonly #fd: number;
	/** The VMM has made it, and closes it. */
	readonly #given: boolean;
	/** The attribute is a pointer to a descriptor. */
	readonly #pointed: Memory;
	readonly #attribute = kvm_device_attr.create();
	readonly #releases: Releases;
	/** What KVM was told here. */
	readonly #files = new Set<number>();

	private constructor(kernel: Kernel, fd: number, given: boolean, pointed: Memory, releases: Releases) {
		this.#kernel = kernel;
		this.#fd = fd;
		this.#given = given;
		this.#pointed = pointed;
		this.#releases = releases;
		this.#attribute.group = KVM_DEV_VFIO_FILE;
		this.#attribute.addr = pointed.address;
	}

	/** @param vm the machine's descriptor @throws VfioError `kernel` */
	static create(kernel: Kernel, vm: number): KvmVfioDevice {
		const request = kvm_create_device.create();
		request.type = KVM_DEV_TYPE_VFIO;
		try {
			callKvm(kernel, vm, KVM_CREATE_DEVICE, request.bytes, "make KVM's VFIO device");
		} catch (error) {
			if (!(error instanceof VfioError) || !isErrno(error.cause, EBUSY)) throw error;
			throw new VfioError("kernel", "Cannot make KVM's VFIO device: the virtual machine has one already", {
				cause: error.cause,
				remedy: ["Pass the descriptor of that device as the option vfioDevice."],
			});
		}
		const releases = new Releases();
		releases.defer(() => kernel.close(request.fd));
		return KvmVfioDevice.#with(kernel, request.fd, false, releases);
	}

	/** Uses a device that the VMM has made, and keeps. @param fd the device's descriptor */
	static adopt(kernel: Kernel, fd: number): KvmVfioDevice {
		return KvmVfioDevice.#with(kernel, fd, true, new Releases());
	}

	static #with(kernel: Kernel, fd: number, given: boolean, releases: Releases): KvmVfioDevice {
		try {
			const pointed = releases.use(kernel.allocate(4));
			return new KvmVfioDevice(kernel, fd, given, pointed, releases.move());
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** @param file of a group or of a device @throws VfioError `kernel`, `already-attached` */
	add(file: number): void {
		try {
			this.#set(KVM_DEV_VFIO_FILE_ADD, file, `tell KVM of the VFIO file ${file}`);
			this.#files.add(file);
		} catch (error) {
			if (!(error instanceof VfioError) || !isErrno(error.cause, EEXIST)) throw error;
			throw new VfioError("already-attached", `Cannot tell KVM of the VFIO file ${file}: it knows it already`, {
				cause: error.cause,
			});
		}
	}

	/** @throws VfioError `kernel` */
	remove(file: number): void {
		this.#files.delete(file);
		this.#set(KVM_DEV_VFIO_FILE_DEL, file, `take the VFIO file ${file} from KVM`);
	}

	/** Closing it takes all files from KVM; one that stays open is told of each. @throws VfioError `kernel` */
	[Symbol.dispose](): void {
		if (this.#given) for (const file of this.#files) this.#releases.defer(() => this.remove(file));
		this.#releases[Symbol.dispose]();
	}

	#set(attribute: number, file: number, action: string): void {
		const { bytes } = this.#pointed;
		new DataView(bytes.buffer, bytes.byteOffset).setInt32(0, file, true);
		this.#attribute.attr = BigInt(attribute);
		callKvm(this.#kernel, this.#fd, KVM_SET_DEVICE_ATTR, this.#attribute.bytes, action);
	}
}
