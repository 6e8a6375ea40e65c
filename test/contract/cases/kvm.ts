import * as kvm from "../../../core/uapi/kvm.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import type { Case } from "../case.ts";
import { KvmCalls } from "../kvm-calls.ts";
import { edu, needs, needsKvm, of } from "../roles.ts";
import { NONE, TRIGGER } from "../trial.ts";

const MSI = vfio.VFIO_PCI_MSI_IRQ_INDEX;
const { KVM_IRQFD_FLAG_DEASSIGN: DEASSIGN, KVM_IRQFD_FLAG_RESAMPLE: RESAMPLE } = kvm;
const { KVM_IOEVENTFD_FLAG_DATAMATCH: DATAMATCH, KVM_IOEVENTFD_FLAG_PIO: PIO } = kvm;
/** The bit that says so of an ioeventfd. */
const REMOVE = kvm.KVM_IOEVENTFD_FLAG_DEASSIGN;
const AT = 0xfd000000n;
/** A descriptor that is not open. */
const CLOSED = 999;

const message = (gsi: number, data: number): number[] => [gsi, kvm.KVM_IRQ_ROUTING_MSI, 0, 0xfee00000, 0, data];
const pin = (gsi: number, chip: number, number: number): number[] => [
	gsi,
	kvm.KVM_IRQ_ROUTING_IRQCHIP,
	0,
	chip,
	number,
];

/** I.11: KVM. */
export const kvmCases: readonly Case[] = [
	{
		id: "I.11/235",
		name: "a machine has one VFIO device, and can have another when that is closed",
		needs: needsKvm,
		run(t) {
			const calls = new KvmCalls(t);
			const vm = calls.machine();
			t.is(calls.device(vm, kvm.KVM_DEV_TYPE_VFIO, kvm.KVM_CREATE_DEVICE_TEST), 0);
			t.is(calls.device(vm, 99), "ENODEV");
			const device = calls.device(vm);
			t.holds(typeof device === "number", "CREATE_DEVICE makes a descriptor");
			t.is(calls.device(vm), "EBUSY");
			t.is(calls.device(vm, kvm.KVM_DEV_TYPE_VFIO, kvm.KVM_CREATE_DEVICE_TEST), 0);
			t.close(Number(device));
			t.holds(typeof calls.device(vm) === "number", "CREATE_DEVICE makes another after the close");
		},
	},
	{
		id: "I.11/235b",
		name: "what /dev/kvm answers",
		needs: needsKvm,
		run(t) {
			const calls = new KvmCalls(t);
			const system = calls.system();
			t.is(t.ioctl(system, kvm.KVM_GET_API_VERSION, 0, "device"), 12);
			t.is(t.ioctl(system, kvm.KVM_GET_API_VERSION, 1, "device"), "EINVAL");
			t.is(t.ioctl(system, kvm.KVM_GET_VCPU_MMAP_SIZE, 1, "device"), "EINVAL");
			t.is(t.ioctl(system, kvm.KVM_CREATE_VM, 7, "device"), "EINVAL");
			t.is(t.ioctl(system, 0xae99, 0, "device"), "EINVAL");
			for (const capability of [32, 36, 77, 82, 89, 100, 122]) t.is(calls.extension(system, capability), 1);
			t.is(calls.extension(system, kvm.KVM_CAP_IRQ_ROUTING), 4096);
			t.is(calls.extension(system, 9999), 0);
			const vm = calls.machine();
			t.is(t.ioctl(vm, 0xae99, 0, "device"), "ENOTTY");
			t.is(t.ioctl(vm, kvm.KVM_CREATE_IRQCHIP, 0, "device"), "EEXIST");
			t.is(calls.extension(vm, kvm.KVM_CAP_IRQ_ROUTING), 4096);
		},
	},
	{
		id: "I.11/236",
		name: "KVM's VFIO device takes a group and a device, each once, and nothing else",
		needs: (host) => needsKvm(host) ?? needs(edu)(host),
		run(t) {
			const calls = new KvmCalls(t);
			const device = Number(calls.device(calls.machine()));
			const opened = t.device(of(edu, t.host));
			t.is(calls.add(device, t.eventfd()), "EINVAL");
			t.is(calls.add(device, CLOSED), "EBADF");
			for (const fd of [opened.group, opened.fd]) {
				t.is(calls.add(device, fd), 0);
				t.is(calls.add(device, fd), "EEXIST");
			}
			t.is(calls.add(device, opened.container), "EINVAL");
			t.is(calls.remove(device, opened.container), "ENOENT");
			t.is(calls.remove(device, CLOSED), "EBADF");
			t.is(calls.remove(device, opened.fd), 0);
			t.is(calls.remove(device, opened.fd), "ENOENT");
			t.is(calls.attribute(device, kvm.KVM_SET_DEVICE_ATTR, 9, opened.fd), "ENXIO");
			t.is(calls.attribute(device, kvm.KVM_SET_DEVICE_ATTR, 1, opened.fd, 9), "ENXIO");
			t.is(calls.attribute(device, kvm.KVM_SET_DEVICE_ATTR, 1, undefined), "EFAULT");
			t.is(calls.attribute(device, kvm.KVM_GET_DEVICE_ATTR, 1, opened.fd), "EPERM");
			for (const attr of [1, 2]) t.is(calls.attribute(device, kvm.KVM_HAS_DEVICE_ATTR, attr, opened.fd), 0);
			t.is(calls.attribute(device, kvm.KVM_HAS_DEVICE_ATTR, 3, opened.fd), "ENXIO");
			t.is(t.ioctl(device, 0xae99, 0, "device"), "ENOTTY");
		},
	},
	{
		id: "I.11/236b",
		name: "a group that KVM has stays open after its own descriptor is closed",
		needs: (host) => needsKvm(host) ?? needs(edu)(host),
		run(t) {
			const calls = new KvmCalls(t);
			const device = Number(calls.device(calls.machine()));
			const role = of(edu, t.host);
			const group = t.group(role);
			t.is(calls.add(device, group), 0);
			t.close(group);
			t.is(t.open(`/dev/vfio/${role.group}`), "EBUSY");
			t.close(device);
			t.holds(typeof t.open(`/dev/vfio/${role.group}`) === "number", "the group can be opened again");
		},
	},
	{
		id: "I.11/237",
		name: "KVM_IRQFD checks flags, interrupt controllers, descriptors and owners, in this order",
		needs: needsKvm,
		run(t) {
			const calls = new KvmCalls(t);
			const bare = calls.machine(false);
			const [event, resample] = [t.eventfd(), t.eventfd()];
			t.is(calls.irqfd(bare, event, 5), "EINVAL");
			t.is(calls.irqfd(bare, CLOSED, 5), "EINVAL");
			t.is(calls.irqfd(bare, event, 5, DEASSIGN), 0);
			const vm = calls.machine();
			t.is(calls.irqfd(vm, event, 5, 4), "EINVAL");
			t.is(calls.irqfd(vm, CLOSED, 5), "EBADF");
			t.is(calls.irqfd(vm, bare, 5), "EINVAL");
			t.is(calls.irqfd(vm, event, 5, RESAMPLE, CLOSED), "EBADF");
			t.is(calls.irqfd(vm, event, 5, RESAMPLE, bare), "EINVAL");
			t.is(calls.irqfd(vm, event, 5, RESAMPLE, resample), 0);
			t.is(calls.irqfd(vm, event, 6), "EBUSY");
			t.is(calls.irqfd(vm, event, 6, DEASSIGN), 0);
			t.is(calls.irqfd(vm, event, 6), "EBUSY");
			t.is(calls.irqfd(vm, CLOSED, 5, DEASSIGN), "EBADF");
			t.is(calls.irqfd(vm, bare, 5, DEASSIGN), "EINVAL");
			t.is(calls.irqfd(vm, event, 5, DEASSIGN), 0);
			t.is(calls.irqfd(vm, event, 4000), 0);
		},
	},
	{
		id: "I.11/237b",
		name: "an eventfd is an irqfd of one machine; before 6.18, of several",
		needs: needsKvm,
		run(t) {
			const calls = new KvmCalls(t);
			const event = t.eventfd();
			t.is(calls.irqfd(calls.machine(), event, 5), 0);
			t.is(calls.irqfd(calls.machine(), event, 5), t.by<number | string>({ "6.12": 0, "7.2": "EBUSY" }));
		},
	},
	{
		id: "I.11/238",
		name: "KVM_SET_GSI_ROUTING takes a table that is right in every entry, or nothing",
		needs: needsKvm,
		run(t) {
			const calls = new KvmCalls(t);
			t.is(calls.routing(calls.machine(false), []), "EINVAL");
			const vm = calls.machine();
			const last = Number(calls.extension(vm, kvm.KVM_CAP_IRQ_ROUTING)) - 1;
			t.is(calls.routing(vm, []), 0);
			t.is(calls.routing(vm, [], 1), "EINVAL");
			t.is(calls.routing(vm, [], 0, last + 2), "EINVAL");
			t.is(calls.routing(vm, [message(last, 1)]), 0);
			t.is(calls.routing(vm, [message(last + 1, 1)]), "EINVAL");
			t.is(calls.routing(vm, [message(24, 1), message(24, 1)]), "EINVAL");
			t.is(calls.routing(vm, [pin(5, 2, 5), message(5, 1)]), "EINVAL");
			t.is(calls.routing(vm, [pin(5, 2, 5), pin(5, 2, 6)]), "EINVAL");
			t.is(calls.routing(vm, [pin(5, 2, 5), pin(5, 0, 5), message(24, 1)]), 0);
			for (const wrong of [
				pin(5, 3, 5),
				pin(5, 2, 24),
				pin(5, 0, 8),
				[5, 9, 0, 0, 0],
				[5, 3, 0, 0, 0],
				[5, 1, 1, 2, 5],
			])
				t.is(calls.routing(vm, [wrong]), "EINVAL");
			for (const right of [pin(5, 1, 7), [5, 4, 0, 0, 0], [5, 2, 1, 0, 0], [5, 2, 0, 0, 0xff]])
				t.is(calls.routing(vm, [right]), 0);
			t.is(calls.routing(vm, [[5, 2, 2, 0, 0]]), "EINVAL");
		},
	},
	{
		id: "I.11/238b",
		name: "lines and messages without a processor",
		needs: needsKvm,
		run(t) {
			const calls = new KvmCalls(t);
			const bare = calls.machine(false);
			t.is([calls.line(bare, 5, 1), calls.message(bare, 0xfee00000, 0x41)], ["ENXIO", "EINVAL"]);
			const vm = calls.machine();
			for (const gsi of [5, 4095, 5000]) for (const level of [1, 0]) t.is(calls.line(vm, gsi, level), 0);
			t.is(calls.message(vm, 0xfee00000, 0x41), "EPERM");
		},
	},
	{
		id: "I.11/239",
		name: "KVM_IOEVENTFD checks lengths, flags and collisions, and has no limit",
		needs: needsKvm,
		run(t) {
			const calls = new KvmCalls(t);
			const vm = calls.machine(false);
			const [event, other] = [t.eventfd(), t.eventfd()];
			t.is(calls.ioeventfd(vm, event, AT, 3), "EINVAL");
			t.is(calls.ioeventfd(vm, event, 0xfffffffffffffffcn, 4), "EINVAL");
			t.is(calls.ioeventfd(vm, event, AT, 4, 32), "EINVAL");
			t.is(calls.ioeventfd(vm, event, AT, 0, DATAMATCH), "EINVAL");
			t.is(calls.ioeventfd(vm, CLOSED, AT, 4), "EBADF");
			t.is(calls.ioeventfd(vm, vm, AT, 4), "EINVAL");
			t.is(calls.ioeventfd(vm, event, AT + 64n, 4, 16), 0);
			t.is(calls.ioeventfd(vm, event, AT, 4, DATAMATCH, 5n), 0);
			t.is(calls.ioeventfd(vm, event, AT, 4, DATAMATCH, 5n), "EEXIST");
			t.is(calls.ioeventfd(vm, event, AT, 4, DATAMATCH, 6n), 0);
			t.is(calls.ioeventfd(vm, event, AT, 4), "EEXIST");
			t.is(calls.ioeventfd(vm, event, AT, 0), "EEXIST");
			t.is(calls.ioeventfd(vm, event, AT, 2), 0);
			t.is(calls.ioeventfd(vm, event, AT, 4, PIO), 0);
			t.is(calls.ioeventfd(vm, other, AT, 4, DATAMATCH | REMOVE, 5n), "ENOENT");
			t.is(calls.ioeventfd(vm, event, AT, 4, DATAMATCH | REMOVE, 7n), "ENOENT");
			t.is(calls.ioeventfd(vm, event, AT, 3, REMOVE), "ENOENT");
			t.is(calls.ioeventfd(vm, event, AT, 4, REMOVE | 32), "ENOENT");
			t.is(calls.ioeventfd(vm, CLOSED, AT, 4, REMOVE), "EBADF");
			t.is(calls.ioeventfd(vm, event, AT, 4, DATAMATCH | REMOVE, 5n), 0);
			t.is(calls.ioeventfd(vm, event, AT, 4, DATAMATCH | REMOVE, 5n), "ENOENT");
			const many = t.quietly(() =>
				Array.from({ length: 1100 }, (_, index) => calls.ioeventfd(vm, event, AT + 4096n + 8n * BigInt(index), 4)),
			);
			t.is(new Set(many).size === 1 && many[0] === 0, true, "1100 ioeventfds");
		},
	},
	{
		id: "I.11/240",
		name: "what a device signals goes to KVM alone while an irqfd has the eventfd",
		needs: (host) => needsKvm(host) ?? needs(edu)(host),
		async run(t) {
			const calls = new KvmCalls(t);
			const vm = calls.machine();
			const { fd } = t.device(of(edu, t.host));
			const event = t.eventfd();
			t.trigger(fd, MSI, [event]);
			const loopback = () => t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, start: 0, count: 1 });
			t.is(calls.routing(vm, [message(24, 0x41)]), 0);
			t.is(calls.irqfd(vm, event, 24), 0);
			t.is(loopback(), 0);
			t.is(await t.quiet(event), 0);
			t.is(calls.irqfd(vm, event, 24, DEASSIGN), 0);
			t.is(loopback(), 0);
			t.is(await t.signalled(event), 1);
		},
	},
];
