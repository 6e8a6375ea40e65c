/**
 * `linux/kvm.h`, as far as assigned devices use KVM, under the header's own names.
 *
 * @module
 */
import { struct } from "./struct.ts";

// Requests
export const KVM_GET_API_VERSION = 0xae00;
export const KVM_CREATE_VM = 0xae01;
export const KVM_CHECK_EXTENSION = 0xae03;
export const KVM_GET_VCPU_MMAP_SIZE = 0xae04;
export const KVM_CREATE_VCPU = 0xae41;
export const KVM_SET_USER_MEMORY_REGION = 0x4020ae46;
export const KVM_CREATE_IRQCHIP = 0xae60;
export const KVM_IRQ_LINE = 0x4008ae61;
export const KVM_SET_GSI_ROUTING = 0x4008ae6a;
export const KVM_IRQFD = 0x4020ae76;
export const KVM_IOEVENTFD = 0x4040ae79;
export const KVM_SIGNAL_MSI = 0x4020aea5;
export const KVM_CREATE_DEVICE = 0xc00caee0;
export const KVM_SET_DEVICE_ATTR = 0x4018aee1;
export const KVM_GET_DEVICE_ATTR = 0x4018aee2;
export const KVM_HAS_DEVICE_ATTR = 0x4018aee3;

// KVM_CHECK_EXTENSION
export const KVM_API_VERSION = 12;
export const KVM_CAP_IRQ_ROUTING = 25;
export const KVM_CAP_IRQFD = 32;
export const KVM_CAP_IOEVENTFD = 36;
export const KVM_CAP_SIGNAL_MSI = 77;
export const KVM_CAP_IRQFD_RESAMPLE = 82;
export const KVM_CAP_DEVICE_CTRL = 89;
export const KVM_CAP_IOEVENTFD_NO_LENGTH = 100;
export const KVM_CAP_IOEVENTFD_ANY_LENGTH = 122;

// KVM_SET_GSI_ROUTING
export const KVM_IRQ_ROUTING_IRQCHIP = 1;
export const KVM_IRQ_ROUTING_MSI = 2;
export const KVM_MSI_VALID_DEVID = 1;

// KVM_IRQFD
export const KVM_IRQFD_FLAG_DEASSIGN = 1;
export const KVM_IRQFD_FLAG_RESAMPLE = 2;

// KVM_IOEVENTFD
export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1;
export const KVM_IOEVENTFD_FLAG_PIO = 2;
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 4;
export const KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY = 8;
export const KVM_IOEVENTFD_VALID_FLAG_MASK = 31;

// KVM's VFIO device
export const KVM_CREATE_DEVICE_TEST = 1;
export const KVM_DEV_TYPE_VFIO = 4;
export const KVM_DEV_VFIO_FILE = 1;
export const KVM_DEV_VFIO_FILE_ADD = 1;
export const KVM_DEV_VFIO_FILE_DEL = 2;

export const kvm_userspace_memory_region = struct({
	slot: "u32",
	flags: "u32",
	guest_phys_addr: "u64",
	memory_size: "u64",
	userspace_addr: "u64",
});
export const kvm_irq_routing = struct({
	nr: "u32",
	flags: "u32",
});
export const kvm_irq_routing_entry = struct(
	{
		gsi: "u32",
		type: "u32",
		flags: "u32",
		u_irqchip_irqchip: ["u32", 16],
		u_irqchip_pin: ["u32", 20],
		u_msi_address_lo: ["u32", 16],
		u_msi_address_hi: ["u32", 20],
		u_msi_data: ["u32", 24],
		u_msi_devid: ["u32", 28],
	},
	48,
);
export const kvm_irqfd = struct(
	{
		fd: "u32",
		gsi: "u32",
		flags: "u32",
		resamplefd: "u32",
	},
	32,
);
export const kvm_ioeventfd = struct(
	{
		datamatch: "u64",
		addr: "u64",
		len: "u32",
		fd: "s32",
		flags: "u32",
	},
	64,
);
export const kvm_msi = struct(
	{
		address_lo: "u32",
		address_hi: "u32",
		data: "u32",
		flags: "u32",
		devid: "u32",
	},
	32,
);
export const kvm_create_device = struct({
	type: "u32",
	fd: "u32",
	flags: "u32",
});
export const kvm_device_attr = struct({
	flags: "u32",
	group: "u32",
	attr: "u64",
	addr: "u64",
});
