/** A virtual machine of the simulated KVM, as a VMM makes it, and what its guest gets. */
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import * as kvm from "../../../core/uapi/kvm.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";
import { boot, outcome } from "../linux/support.ts";

export function machine(options: Parameters<typeof boot>[0] & { readonly irqchip?: boolean } = {}) {
	const { irqchip = true, ...rest } = options;
	const linux = boot(rest);
	const kernel = linux.process();
	const vm = createVm(kernel, irqchip);
	const [made] = linux.kvm.machines;
	if (!made) throw new Error("There is no machine");
	const delivered: string[] = [];
	made.guest = {
		message: (address, data) => delivered.push(`${address.toString(16)}=${data.toString(16)}`),
		line: (chip, pin, asserted) => delivered.push(`${chip}.${pin} ${asserted ? "up" : "down"}`),
	};
	return { linux, kernel, vm, machine: made, take: () => delivered.splice(0), ...calls(kernel, vm) };
}

export function createVm(kernel: SimProcess, irqchip = true): number {
	const file = kernel.open("/dev/kvm", O_RDWR);
	const vm = kernel.ioctl(file, kvm.KVM_CREATE_VM, 0);
	kernel.close(file);
	if (irqchip) kernel.ioctl(vm, kvm.KVM_CREATE_IRQCHIP);
	return vm;
}

/** The calls of one machine; each answers with the errno's name when it fails. */
export function calls(kernel: SimProcess, vm: number) {
	const ioctl = (request: number, argument: Uint8Array | number = 0) =>
		outcome(() => kernel.ioctl(vm, request, argument));
	return {
		ioctl,
		irqfd: (fd: number, gsi: number, flags = 0, resamplefd = 0) => {
			const request = kvm.kvm_irqfd.create();
			Object.assign(request, { fd, gsi, flags, resamplefd });
			return ioctl(kvm.KVM_IRQFD, request.bytes);
		},
		/** @param entries GSI, type, flags, and the words of the union */
		routes: (entries: readonly (readonly number[])[], flags = 0, count = entries.length) => {
			const request = kvm.kvm_irq_routing.create(entries.length * 48);
			request.nr = count;
			request.flags = flags;
			const view = new DataView(request.bytes.buffer);
			for (const [index, words] of entries.entries())
				for (const [word, value] of words.entries())
					view.setUint32(8 + 48 * index + 4 * (word < 3 ? word : word + 1), value, true);
			return ioctl(kvm.KVM_SET_GSI_ROUTING, request.bytes);
		},
		ioeventfd: (fd: number, addr: bigint, len: number, flags = 0, datamatch = 0n) => {
			const request = kvm.kvm_ioeventfd.create();
			Object.assign(request, { fd, addr, len, flags, datamatch });
			return ioctl(kvm.KVM_IOEVENTFD, request.bytes);
		},
		signal: (address: number, data: number, flags = 0) => {
			const request = kvm.kvm_msi.create();
			Object.assign(request, { address_lo: address, data, flags });
			return ioctl(kvm.KVM_SIGNAL_MSI, request.bytes);
		},
		line: (gsi: number, level: number) => {
			const bytes = new Uint8Array(8);
			new DataView(bytes.buffer).setUint32(0, gsi, true);
			new DataView(bytes.buffer).setUint32(4, level, true);
			return ioctl(kvm.KVM_IRQ_LINE, bytes);
		},
		createDevice: (type = kvm.KVM_DEV_TYPE_VFIO, flags = 0) => {
			const request = kvm.kvm_create_device.create();
			Object.assign(request, { type, flags });
			const result = ioctl(kvm.KVM_CREATE_DEVICE, request.bytes);
			return result === 0 ? request.fd : result;
		},
	};
}

/** The attribute calls of KVM's VFIO device. */
export function fileCalls(kernel: SimProcess, device: number) {
	const memory = kernel.allocate(4096);
	const attribute = (request: number, attr: number, fd: number, group = kvm.KVM_DEV_VFIO_FILE) => {
		new DataView(memory.bytes.buffer, memory.bytes.byteOffset).setInt32(0, fd, true);
		const argument = kvm.kvm_device_attr.create();
		Object.assign(argument, { group, attr: BigInt(attr), addr: memory.address });
		return outcome(() => kernel.ioctl(device, request, argument.bytes));
	};
	return {
		attribute,
		add: (fd: number) => attribute(kvm.KVM_SET_DEVICE_ATTR, kvm.KVM_DEV_VFIO_FILE_ADD, fd),
		remove: (fd: number) => attribute(kvm.KVM_SET_DEVICE_ATTR, kvm.KVM_DEV_VFIO_FILE_DEL, fd),
		free: () => memory[Symbol.dispose](),
	};
}

export function signal(kernel: SimProcess, fd: number, value = 1n): void {
	const bytes = new Uint8Array(8);
	new DataView(bytes.buffer).setBigUint64(0, value, true);
	kernel.write(fd, bytes);
}

/** What a read of an eventfd gives. */
export function count(kernel: SimProcess, fd: number): number | string {
	const bytes = new Uint8Array(8);
	const read = outcome(() => kernel.read(fd, bytes));
	return read === 8 ? Number(new DataView(bytes.buffer).getBigUint64(0, true)) : read;
}
