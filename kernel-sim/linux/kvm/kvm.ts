/**
 * The KVM of a simulated Linux: /dev/kvm, and the virtual machines there are.
 *
 * @module
 */
import { EINVAL, EMFILE } from "../../../core/uapi/errno.ts";
import {
	KVM_API_VERSION,
	KVM_CHECK_EXTENSION,
	KVM_CREATE_VM,
	KVM_GET_API_VERSION,
	KVM_GET_VCPU_MMAP_SIZE,
} from "../../../core/uapi/kvm.ts";
import type { EventFd } from "../eventfd.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { FileSystem } from "../filesystem.ts";
import type { SimProcess } from "../process.ts";
import { extension } from "./extensions.ts";
import { VirtualMachine } from "./virtual-machine.ts";
import { VirtualMachineFile } from "./virtual-machine-file.ts";

const PATH = "/dev/kvm";
/** Three pages: the shared structure, port data, and the ring of coalesced writes. */
const VCPU_MMAP_SIZE = 3 * 4096;

/**
 * KVM.
 *
 * @example
 * ```ts
 * const linux = new SimulatedLinux({ host: Host.reference() });
 * const kernel = linux.process();
 * const vm = KvmVm.create(kernel);
 * const [machine] = linux.kvm.machines;
 * if (machine) machine.guest = { message: (address, data) => console.log(address, data) };
 * vm[Symbol.dispose]();
 * ```
 */
export class Kvm {
	/** Those that have an open file. */
	readonly machines = new Set<VirtualMachine>();
	readonly #version: "6.12" | "7.2";

	constructor(version: "6.12" | "7.2") {
		this.#version = version;
	}

	/** The module of the processor's vendor is loaded. */
	load(files: FileSystem): void {
		files.device(PATH, 0o666, () => new KvmFile(this));
	}

	/** Whether an eventfd is an irqfd already. Older kernels only ask the machine itself. */
	taken(event: EventFd, machine: VirtualMachine): boolean {
		const asked = this.#version === "6.12" ? [machine] : this.machines;
		for (const other of asked) if (other.irqfds.has(event)) return true;
		return false;
	}
}

/** /dev/kvm, opened. */
class KvmFile extends OpenFile {
	readonly #kvm: Kvm;

	constructor(kvm: Kvm) {
		super(PATH);
		this.#kvm = kvm;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		switch (request) {
			case KVM_GET_API_VERSION:
				return argument.value === 0 ? KVM_API_VERSION : -EINVAL;
			case KVM_CREATE_VM:
				return this.#create(process, argument.value);
			case KVM_CHECK_EXTENSION:
				return extension(argument.value);
			case KVM_GET_VCPU_MMAP_SIZE:
				return argument.value === 0 ? VCPU_MMAP_SIZE : -EINVAL;
			default:
				return -EINVAL;
		}
	}

	/** @param type of the machine; x86 has the one that everybody has */
	#create(process: SimProcess, type: number): number {
		if (process.descriptorsExhausted) return -EMFILE;
		if (type !== 0) return -EINVAL;
		const machine = new VirtualMachine(this.#kvm, process);
		this.#kvm.machines.add(machine);
		return process.installFile(new VirtualMachineFile(machine));
	}
}
