/**
 * What KVM_CREATE_VM returns a descriptor of.
 *
 * @module
 */
import { EBUSY, EEXIST, EFAULT, EINVAL, EIO, EMFILE, ENODEV, ENOTTY, ENXIO, EPERM } from "../../../core/uapi/errno.ts";
import {
	KVM_CHECK_EXTENSION,
	KVM_CREATE_DEVICE,
	KVM_CREATE_DEVICE_TEST,
	KVM_CREATE_IRQCHIP,
	KVM_DEV_TYPE_VFIO,
	KVM_IOEVENTFD,
	KVM_IRQ_LINE,
	KVM_IRQFD,
	KVM_SET_GSI_ROUTING,
	KVM_SIGNAL_MSI,
	kvm_create_device,
	kvm_irq_routing,
	kvm_irq_routing_entry,
	kvm_msi,
} from "../../../core/uapi/kvm.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { extension } from "./extensions.ts";
import { parseRouting, ROUTES } from "./routing.ts";
import { KvmVfioFile } from "./vfio-device.ts";
import type { VirtualMachine } from "./virtual-machine.ts";

/** Bytes of `kvm_irq_level`: the GSI and its level. */
const IRQ_LEVEL = 8;

/** A virtual machine, opened. */
export class VirtualMachineFile extends OpenFile {
	readonly machine: VirtualMachine;

	constructor(machine: VirtualMachine) {
		super("anon_inode:kvm-vm");
		this.machine = machine.hold();
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		const { machine } = this;
		if (!machine.isOf(process)) return -EIO;
		switch (request) {
			case KVM_CHECK_EXTENSION:
				return extension(argument.value);
			case KVM_CREATE_IRQCHIP:
				if (machine.controller) return -EEXIST;
				machine.createController();
				return 0;
			case KVM_IRQ_LINE:
				return this.#setLine(argument);
			case KVM_SET_GSI_ROUTING:
				return this.#setRouting(argument);
			case KVM_SIGNAL_MSI:
				return this.#signal(argument);
			case KVM_IRQFD:
				return machine.irqfds.set(process, argument);
			case KVM_IOEVENTFD:
				return machine.ioeventfds.set(process, argument);
			case KVM_CREATE_DEVICE:
				return this.#createDevice(process, argument);
			default:
				return -ENOTTY;
		}
	}

	#setLine(argument: IoctlArgument): number {
		const bytes = argument.read(IRQ_LEVEL);
		if (!bytes) return -EFAULT;
		const { controller } = this.machine;
		if (!controller) return -ENXIO;
		const view = new DataView(bytes.buffer, bytes.byteOffset);
		controller.set(view.getUint32(0, true), "user", view.getUint32(4, true) !== 0);
		return 0;
	}

	#setRouting(argument: IoctlArgument): number {
		const header = argument.read(kvm_irq_routing.size);
		if (!header) return -EFAULT;
		const { controller } = this.machine;
		if (!controller) return -EINVAL;
		const { nr, flags } = kvm_irq_routing.view(header);
		if (nr > ROUTES || flags !== 0) return -EINVAL;
		const entries = argument.read(nr * kvm_irq_routing_entry.size, kvm_irq_routing.size);
		if (!entries) return -EFAULT;
		const table = parseRouting(entries);
		if (typeof table === "number") return table;
		controller.routing = table;
		return 0;
	}

	#signal(argument: IoctlArgument): number {
		const bytes = argument.read(kvm_msi.size);
		if (!bytes) return -EFAULT;
		const message = kvm_msi.view(bytes);
		if (!this.machine.controller) return -EINVAL;
		const { guest } = this.machine;
		// Nobody to take it is -1 inside KVM, which comes out as this errno.
		if (!guest) return -EPERM;
		guest.message?.((BigInt(message.address_hi) << 32n) | BigInt(message.address_lo), message.data);
		return 1;
	}

	#createDevice(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(kvm_create_device.size);
		if (!bytes) return -EFAULT;
		const request = kvm_create_device.create();
		request.bytes.set(bytes);
		if (request.type !== KVM_DEV_TYPE_VFIO) return -ENODEV;
		if (request.flags & KVM_CREATE_DEVICE_TEST) return 0;
		if (this.machine.vfioDevice) return -EBUSY;
		if (process.descriptorsExhausted) return -EMFILE;
		const device = new KvmVfioFile(this.machine);
		this.machine.vfioDevice = device;
		request.fd = process.installFile(device);
		return argument.write(request.bytes) ? 0 : -EFAULT;
	}

	/** irqfds go with the file, whoever else holds the machine. */
	protected override release(): void {
		this.machine.irqfds.close();
		this.machine.release();
	}
}
