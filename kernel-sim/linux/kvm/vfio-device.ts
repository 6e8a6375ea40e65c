/**
 * KVM's VFIO device: a virtual machine learns which groups and devices are assigned to it.
 *
 * @module
 */
import { EBADF, EEXIST, EFAULT, EINVAL, EIO, ENOENT, ENOTTY, ENXIO, EPERM } from "../../../core/uapi/errno.ts";
import {
	KVM_DEV_VFIO_FILE,
	KVM_DEV_VFIO_FILE_ADD,
	KVM_DEV_VFIO_FILE_DEL,
	KVM_GET_DEVICE_ATTR,
	KVM_HAS_DEVICE_ATTR,
	KVM_SET_DEVICE_ATTR,
	kvm_device_attr,
} from "../../../core/uapi/kvm.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { VirtualMachine } from "./virtual-machine.ts";

/** The opened device. It holds the files that were added: a group stays open by it. */
export class KvmVfioFile extends OpenFile {
	readonly #machine: VirtualMachine;
	readonly #files: OpenFile[] = [];

	constructor(machine: VirtualMachine) {
		super("anon_inode:kvm-vfio");
		this.#machine = machine.hold();
	}

	/** What was added, in order. */
	get files(): readonly OpenFile[] {
		return this.#files;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		if (!this.#machine.isOf(process)) return -EIO;
		switch (request) {
			case KVM_SET_DEVICE_ATTR:
				return this.#set(process, argument);
			case KVM_GET_DEVICE_ATTR:
				return -EPERM;
			case KVM_HAS_DEVICE_ATTR:
				return this.#has(argument);
			default:
				return -ENOTTY;
		}
	}

	#has(argument: IoctlArgument): number {
		const bytes = argument.read(kvm_device_attr.size);
		if (!bytes) return -EFAULT;
		return isKnown(kvm_device_attr.view(bytes)) ? 0 : -ENXIO;
	}

	#set(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(kvm_device_attr.size);
		if (!bytes) return -EFAULT;
		const request = kvm_device_attr.view(bytes);
		if (!isKnown(request)) return -ENXIO;
		const pointed = process.memory.read(request.addr, 4);
		if (!pointed) return -EFAULT;
		const file = process.file(new DataView(pointed.buffer, pointed.byteOffset).getInt32(0, true));
		if (!file) return -EBADF;
		return Number(request.attr) === KVM_DEV_VFIO_FILE_ADD ? this.#add(file) : this.#remove(file);
	}

	#add(file: OpenFile): number {
		if (file.coherent === undefined) return -EINVAL;
		if (this.#files.includes(file)) return -EEXIST;
		this.#files.push(file.reference());
		return 0;
	}

	#remove(file: OpenFile): number {
		const at = this.#files.indexOf(file);
		if (at < 0) return -ENOENT;
		this.#files.splice(at, 1);
		file.unreference();
		return 0;
	}

	protected override release(): void {
		for (const file of this.#files.splice(0)) file.unreference();
		this.#machine.vfioDevice = undefined;
		this.#machine.release();
	}
}

function isKnown({ group, attr }: { readonly group: number; readonly attr: bigint }): boolean {
	const known = attr === BigInt(KVM_DEV_VFIO_FILE_ADD) || attr === BigInt(KVM_DEV_VFIO_FILE_DEL);
	return group === KVM_DEV_VFIO_FILE && known;
}
