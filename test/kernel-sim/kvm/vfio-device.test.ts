import { describe, expect, it } from "vitest";
import {
	KVM_CHECK_EXTENSION,
	KVM_CREATE_DEVICE_TEST,
	KVM_CREATE_IRQCHIP,
	KVM_CREATE_VM,
	KVM_GET_API_VERSION,
	KVM_GET_DEVICE_ATTR,
	KVM_GET_VCPU_MMAP_SIZE,
	KVM_HAS_DEVICE_ATTR,
	KVM_SET_DEVICE_ATTR,
} from "../../../core/uapi/kvm.ts";
import { openCdev } from "../iommufd/support.ts";
import {
	bind,
	boot,
	deviceFd,
	EDU,
	groupOf,
	openContainer,
	openGroup,
	outcome,
	setContainer,
	setIommu,
} from "../linux/support.ts";
import { calls, createVm, fileCalls, machine, signal } from "./support.ts";

/** A machine with its VFIO device, and the group of a device. */
function withGroup(options: Parameters<typeof machine>[0] = {}) {
	const made = machine(options);
	const { kernel } = made;
	bind(kernel, EDU);
	const device = Number(made.createDevice());
	return { ...made, device, group: openGroup(kernel, EDU), ...fileCalls(kernel, device) };
}

describe("/dev/kvm", () => {
	it("answers as Linux does", () => {
		const linux = boot();
		const kernel = linux.process({ uid: 1000 });
		const kvm = kernel.open("/dev/kvm", 2);
		const ioctl = (request: number, argument = 0) => outcome(() => kernel.ioctl(kvm, request, argument));
		expect([ioctl(KVM_GET_API_VERSION), ioctl(KVM_GET_API_VERSION, 1)]).toEqual([12, "EINVAL"]);
		expect([ioctl(KVM_GET_VCPU_MMAP_SIZE), ioctl(KVM_GET_VCPU_MMAP_SIZE, 1)]).toEqual([12288, "EINVAL"]);
		expect([25, 32, 36, 77, 82, 89, 122, 9999].map((cap) => ioctl(KVM_CHECK_EXTENSION, cap))).toEqual([
			4096, 1, 1, 1, 1, 1, 1, 0,
		]);
		expect([ioctl(KVM_CREATE_VM, 7), ioctl(0xae99), ioctl(0x1234)]).toEqual(["EINVAL", "EINVAL", "EINVAL"]);
		const vm = Number(ioctl(KVM_CREATE_VM));
		expect([kernel.readLink(`/proc/self/fd/${vm}`), kernel.isCloseOnExec(vm)]).toEqual(["anon_inode:kvm-vm", true]);
		expect(calls(kernel, vm).ioctl(0xae99)).toBe("ENOTTY");
		expect([calls(kernel, vm).ioctl(KVM_CREATE_IRQCHIP), calls(kernel, vm).ioctl(KVM_CREATE_IRQCHIP)]).toEqual([
			0,
			"EEXIST",
		]);
	});

	it("is not there when the simulation has none", () => {
		expect(outcome(() => boot({ kvm: false }).process().open("/dev/kvm", 2))).toBe("ENOENT");
	});

	it("gives no descriptor to a process that has none left", () => {
		const kernel = boot().process({ openFilesLimit: 4 });
		const kvm = kernel.open("/dev/kvm", 2);
		expect(outcome(() => kernel.ioctl(kvm, KVM_CREATE_VM))).toBe("EMFILE");
	});
});

describe("KVM's VFIO device", () => {
	it("is one per machine, and can be made anew after its close", () => {
		const { kernel, createDevice } = machine();
		expect([createDevice(4, KVM_CREATE_DEVICE_TEST), createDevice(9)]).toEqual([0, "ENODEV"]);
		const device = Number(createDevice());
		expect(kernel.readLink(`/proc/self/fd/${device}`)).toBe("anon_inode:kvm-vfio");
		expect([createDevice(), createDevice(4, KVM_CREATE_DEVICE_TEST)]).toEqual(["EBUSY", 0]);
		kernel.close(device);
		expect(createDevice()).toBe(device);
	});

	it("takes groups and devices, each once", () => {
		const { kernel, add, remove, attribute, group } = withGroup();
		const event = kernel.eventfd();
		expect([add(event), add(99), add(group), add(group)]).toEqual(["EINVAL", "EBADF", 0, "EEXIST"]);
		expect([remove(event), remove(99), remove(group), remove(group)]).toEqual(["ENOENT", "EBADF", 0, "ENOENT"]);
		expect(attribute(KVM_SET_DEVICE_ATTR, 9, group)).toBe("ENXIO");
		expect(attribute(KVM_SET_DEVICE_ATTR, 1, group, 2)).toBe("ENXIO");
		expect(attribute(KVM_GET_DEVICE_ATTR, 1, group)).toBe("EPERM");
		expect([1, 2, 3].map((attr) => attribute(KVM_HAS_DEVICE_ATTR, attr, 0))).toEqual([0, 0, "ENXIO"]);
		const container = openContainer(kernel);
		setContainer(kernel, group, container);
		setIommu(kernel, container);
		expect(add(deviceFd(kernel, group, EDU))).toBe(0);
		const cdev = openCdev(kernel, EDU);
		expect([add(cdev), add(cdev), remove(cdev)]).toEqual([0, "EEXIST", 0]);
	});

	it("keeps a group open until it is removed or the device is closed", () => {
		const { kernel, device, add, group, linux } = withGroup();
		add(group);
		kernel.close(group);
		const node = `/dev/vfio/${groupOf(kernel, EDU)}`;
		expect(outcome(() => kernel.open(node, 2))).toBe("EBUSY");
		kernel.close(device);
		expect(typeof outcome(() => kernel.open(node, 2))).toBe("number");
		kernel.exit();
		expect(linux.leaks()).toMatchObject({ openFiles: 0, virtualMachines: 0, eventfds: 0 });
	});

	it.each([
		[false, true],
		[true, false],
	])("with snoop control %s, a device makes DMA that is not coherent: %s", (snoopControl, expected) => {
		const { add, remove, group, machine: vm } = withGroup({ snoopControl });
		expect(vm.nonCoherentDma).toBe(false);
		add(group);
		expect(vm.nonCoherentDma).toBe(expected);
		remove(group);
		expect(vm.nonCoherentDma).toBe(false);
	});
});

describe("a virtual machine", () => {
	it("answers EIO to a forked child", () => {
		const { kernel, vm, createDevice } = machine();
		const device = Number(createDevice());
		const child = kernel.fork();
		expect(calls(child, vm).irqfd(child.eventfd(), 5)).toBe("EIO");
		expect(fileCalls(child, device).add(0)).toBe("EIO");
	});

	it("lives as long as one of its files, and loses its irqfds with the first", () => {
		const { linux, kernel, vm, irqfd, ioeventfd, createDevice, take } = machine();
		const [event, other] = [kernel.eventfd(), kernel.eventfd()];
		irqfd(event, 5);
		ioeventfd(other, 0x1000n, 4);
		const device = Number(createDevice());
		kernel.close(vm);
		signal(kernel, event);
		expect([take(), linux.leaks().virtualMachines]).toEqual([[], 1]);
		kernel.close(device);
		expect(linux.leaks().virtualMachines).toBe(0);
		kernel.close(event);
		kernel.close(other);
		expect(linux.leaks().eventfds).toBe(0);
	});

	it("is gone with its process", () => {
		const { linux, kernel, irqfd } = machine();
		irqfd(kernel.eventfd(), 5, 2, kernel.eventfd());
		createVm(kernel);
		expect(linux.leaks().virtualMachines).toBe(2);
		kernel.exit();
		expect(linux.leaks()).toMatchObject({ openFiles: 0, virtualMachines: 0, eventfds: 0 });
	});
});
