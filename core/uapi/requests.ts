/**
 * Names and decodes the ioctl requests of VFIO, iommufd and KVM, for error messages and traces.
 *
 * @module
 */
import * as iommufd from "./iommufd.ts";
import * as kvm from "./kvm.ts";
import type { Fields, Struct } from "./struct.ts";
import * as vfio from "./vfio.ts";

/**
 * Which kind of file a request is for: container and device requests share numbers. `iommufd` is /dev/iommu, which takes
 * a container's requests too.
 */
export type VfioFileKind = "container" | "group" | "device" | "iommufd";

interface Request {
	readonly number: number;
	readonly name: string;
	readonly kind: VfioFileKind | "kvm";
	readonly struct?: Struct<Fields>;
	/** The header's flags of this structure, by name without their prefix. */
	readonly flags?: Readonly<Record<string, number>>;
}

const TYPE1_MAP = {
	READ: vfio.VFIO_DMA_MAP_FLAG_READ,
	WRITE: vfio.VFIO_DMA_MAP_FLAG_WRITE,
	VADDR: vfio.VFIO_DMA_MAP_FLAG_VADDR,
};
const IRQ_SET = {
	DATA_NONE: vfio.VFIO_IRQ_SET_DATA_NONE,
	DATA_BOOL: vfio.VFIO_IRQ_SET_DATA_BOOL,
	DATA_EVENTFD: vfio.VFIO_IRQ_SET_DATA_EVENTFD,
	ACTION_MASK: vfio.VFIO_IRQ_SET_ACTION_MASK,
	ACTION_UNMASK: vfio.VFIO_IRQ_SET_ACTION_UNMASK,
	ACTION_TRIGGER: vfio.VFIO_IRQ_SET_ACTION_TRIGGER,
};

const IRQFD = { DEASSIGN: kvm.KVM_IRQFD_FLAG_DEASSIGN, RESAMPLE: kvm.KVM_IRQFD_FLAG_RESAMPLE };
const IOEVENTFD = {
	DATAMATCH: kvm.KVM_IOEVENTFD_FLAG_DATAMATCH,
	PIO: kvm.KVM_IOEVENTFD_FLAG_PIO,
	DEASSIGN: kvm.KVM_IOEVENTFD_FLAG_DEASSIGN,
};

const REQUESTS: readonly Request[] = [
	{ number: vfio.VFIO_GET_API_VERSION, name: "VFIO_GET_API_VERSION", kind: "container" },
	{ number: vfio.VFIO_CHECK_EXTENSION, name: "VFIO_CHECK_EXTENSION", kind: "container" },
	{ number: vfio.VFIO_SET_IOMMU, name: "VFIO_SET_IOMMU", kind: "container" },
	{
		number: vfio.VFIO_IOMMU_GET_INFO,
		name: "VFIO_IOMMU_GET_INFO",
		kind: "container",
		struct: vfio.vfio_iommu_type1_info,
		flags: { PGSIZES: vfio.VFIO_IOMMU_INFO_PGSIZES, CAPS: vfio.VFIO_IOMMU_INFO_CAPS },
	},
	{
		number: vfio.VFIO_IOMMU_MAP_DMA,
		name: "VFIO_IOMMU_MAP_DMA",
		kind: "container",
		struct: vfio.vfio_iommu_type1_dma_map,
		flags: TYPE1_MAP,
	},
	{
		number: vfio.VFIO_IOMMU_UNMAP_DMA,
		name: "VFIO_IOMMU_UNMAP_DMA",
		kind: "container",
		struct: vfio.vfio_iommu_type1_dma_unmap,
		flags: {
			GET_DIRTY_BITMAP: vfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
			ALL: vfio.VFIO_DMA_UNMAP_FLAG_ALL,
			VADDR: vfio.VFIO_DMA_UNMAP_FLAG_VADDR,
		},
	},
	{
		number: vfio.VFIO_IOMMU_DIRTY_PAGES,
		name: "VFIO_IOMMU_DIRTY_PAGES",
		kind: "container",
		struct: vfio.vfio_iommu_type1_dirty_bitmap,
		flags: {
			START: vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
			STOP: vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
			GET_BITMAP: vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
		},
	},
	{
		number: vfio.VFIO_GROUP_GET_STATUS,
		name: "VFIO_GROUP_GET_STATUS",
		kind: "group",
		struct: vfio.vfio_group_status,
		flags: { VIABLE: vfio.VFIO_GROUP_FLAGS_VIABLE, CONTAINER_SET: vfio.VFIO_GROUP_FLAGS_CONTAINER_SET },
	},
	{ number: vfio.VFIO_GROUP_SET_CONTAINER, name: "VFIO_GROUP_SET_CONTAINER", kind: "group" },
	{ number: vfio.VFIO_GROUP_UNSET_CONTAINER, name: "VFIO_GROUP_UNSET_CONTAINER", kind: "group" },
	{ number: vfio.VFIO_GROUP_GET_DEVICE_FD, name: "VFIO_GROUP_GET_DEVICE_FD", kind: "group" },
	{
		number: vfio.VFIO_DEVICE_GET_INFO,
		name: "VFIO_DEVICE_GET_INFO",
		kind: "device",
		struct: vfio.vfio_device_info,
		flags: {
			RESET: vfio.VFIO_DEVICE_FLAGS_RESET,
			PCI: vfio.VFIO_DEVICE_FLAGS_PCI,
			PLATFORM: vfio.VFIO_DEVICE_FLAGS_PLATFORM,
			CAPS: vfio.VFIO_DEVICE_FLAGS_CAPS,
		},
	},
	{
		number: vfio.VFIO_DEVICE_GET_REGION_INFO,
		name: "VFIO_DEVICE_GET_REGION_INFO",
		kind: "device",
		struct: vfio.vfio_region_info,
		flags: {
			READ: vfio.VFIO_REGION_INFO_FLAG_READ,
			WRITE: vfio.VFIO_REGION_INFO_FLAG_WRITE,
			MMAP: vfio.VFIO_REGION_INFO_FLAG_MMAP,
			CAPS: vfio.VFIO_REGION_INFO_FLAG_CAPS,
		},
	},
	{
		number: vfio.VFIO_DEVICE_GET_IRQ_INFO,
		name: "VFIO_DEVICE_GET_IRQ_INFO",
		kind: "device",
		struct: vfio.vfio_irq_info,
		flags: {
			EVENTFD: vfio.VFIO_IRQ_INFO_EVENTFD,
			MASKABLE: vfio.VFIO_IRQ_INFO_MASKABLE,
			AUTOMASKED: vfio.VFIO_IRQ_INFO_AUTOMASKED,
			NORESIZE: vfio.VFIO_IRQ_INFO_NORESIZE,
		},
	},
	{
		number: vfio.VFIO_DEVICE_SET_IRQS,
		name: "VFIO_DEVICE_SET_IRQS",
		kind: "device",
		struct: vfio.vfio_irq_set,
		flags: IRQ_SET,
	},
	{ number: vfio.VFIO_DEVICE_RESET, name: "VFIO_DEVICE_RESET", kind: "device" },
	{
		number: vfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
		name: "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
		kind: "device",
		struct: vfio.vfio_pci_hot_reset_info,
	},
	{
		number: vfio.VFIO_DEVICE_PCI_HOT_RESET,
		name: "VFIO_DEVICE_PCI_HOT_RESET",
		kind: "device",
		struct: vfio.vfio_pci_hot_reset,
	},
	{
		number: vfio.VFIO_DEVICE_IOEVENTFD,
		name: "VFIO_DEVICE_IOEVENTFD",
		kind: "device",
		struct: vfio.vfio_device_ioeventfd,
	},
	{
		number: vfio.VFIO_DEVICE_FEATURE,
		name: "VFIO_DEVICE_FEATURE",
		kind: "device",
		struct: vfio.vfio_device_feature,
		flags: {
			GET: vfio.VFIO_DEVICE_FEATURE_GET,
			SET: vfio.VFIO_DEVICE_FEATURE_SET,
			PROBE: vfio.VFIO_DEVICE_FEATURE_PROBE,
		},
	},
	{
		number: vfio.VFIO_DEVICE_BIND_IOMMUFD,
		name: "VFIO_DEVICE_BIND_IOMMUFD",
		kind: "device",
		struct: vfio.vfio_device_bind_iommufd,
	},
	{
		number: vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT,
		name: "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
		kind: "device",
		struct: vfio.vfio_device_attach_iommufd_pt,
	},
	{
		number: vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT,
		name: "VFIO_DEVICE_DETACH_IOMMUFD_PT",
		kind: "device",
		struct: vfio.vfio_device_detach_iommufd_pt,
	},
	...iommufdRequests(),
	...kvmRequests(),
];

/** The requests of /dev/iommu. Where the flags of a structure are not worth a name they are shown as a number. */
function iommufdRequests(): Request[] {
	const request = (
		name: string,
		number: number,
		struct: Struct<Fields>,
		flags?: Readonly<Record<string, number>>,
	): Request => ({ number, name, kind: "iommufd", struct, ...(flags ? { flags } : {}) });
	const mapping = {
		FIXED_IOVA: iommufd.IOMMU_IOAS_MAP_FIXED_IOVA,
		WRITEABLE: iommufd.IOMMU_IOAS_MAP_WRITEABLE,
		READABLE: iommufd.IOMMU_IOAS_MAP_READABLE,
	};
	return [
		request("IOMMU_DESTROY", iommufd.IOMMU_DESTROY, iommufd.iommu_destroy),
		request("IOMMU_IOAS_ALLOC", iommufd.IOMMU_IOAS_ALLOC, iommufd.iommu_ioas_alloc),
		request("IOMMU_IOAS_ALLOW_IOVAS", iommufd.IOMMU_IOAS_ALLOW_IOVAS, iommufd.iommu_ioas_allow_iovas),
		request("IOMMU_IOAS_COPY", iommufd.IOMMU_IOAS_COPY, iommufd.iommu_ioas_copy, mapping),
		request("IOMMU_IOAS_IOVA_RANGES", iommufd.IOMMU_IOAS_IOVA_RANGES, iommufd.iommu_ioas_iova_ranges),
		request("IOMMU_IOAS_MAP", iommufd.IOMMU_IOAS_MAP, iommufd.iommu_ioas_map, mapping),
		request("IOMMU_IOAS_UNMAP", iommufd.IOMMU_IOAS_UNMAP, iommufd.iommu_ioas_unmap),
		request("IOMMU_OPTION", iommufd.IOMMU_OPTION, iommufd.iommu_option),
		request("IOMMU_VFIO_IOAS", iommufd.IOMMU_VFIO_IOAS, iommufd.iommu_vfio_ioas),
		request("IOMMU_HWPT_ALLOC", iommufd.IOMMU_HWPT_ALLOC, iommufd.iommu_hwpt_alloc, {
			NEST_PARENT: iommufd.IOMMU_HWPT_ALLOC_NEST_PARENT,
			DIRTY_TRACKING: iommufd.IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
			FAULT_ID_VALID: iommufd.IOMMU_HWPT_FAULT_ID_VALID,
			PASID: iommufd.IOMMU_HWPT_ALLOC_PASID,
		}),
		request("IOMMU_GET_HW_INFO", iommufd.IOMMU_GET_HW_INFO, iommufd.iommu_hw_info),
		request(
			"IOMMU_HWPT_SET_DIRTY_TRACKING",
			iommufd.IOMMU_HWPT_SET_DIRTY_TRACKING,
			iommufd.iommu_hwpt_set_dirty_tracking,
			{ ENABLE: iommufd.IOMMU_HWPT_DIRTY_TRACKING_ENABLE },
		),
		request("IOMMU_HWPT_GET_DIRTY_BITMAP", iommufd.IOMMU_HWPT_GET_DIRTY_BITMAP, iommufd.iommu_hwpt_get_dirty_bitmap, {
			NO_CLEAR: iommufd.IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
		}),
		request("IOMMU_HWPT_INVALIDATE", iommufd.IOMMU_HWPT_INVALIDATE, iommufd.iommu_hwpt_invalidate),
		request("IOMMU_FAULT_QUEUE_ALLOC", iommufd.IOMMU_FAULT_QUEUE_ALLOC, iommufd.iommu_fault_alloc),
		request("IOMMU_IOAS_MAP_FILE", iommufd.IOMMU_IOAS_MAP_FILE, iommufd.iommu_ioas_map_file, mapping),
		request("IOMMU_VIOMMU_ALLOC", iommufd.IOMMU_VIOMMU_ALLOC, iommufd.iommu_viommu_alloc),
		request("IOMMU_VDEVICE_ALLOC", iommufd.IOMMU_VDEVICE_ALLOC, iommufd.iommu_vdevice_alloc),
		request("IOMMU_IOAS_CHANGE_PROCESS", iommufd.IOMMU_IOAS_CHANGE_PROCESS, iommufd.iommu_ioas_change_process),
		request("IOMMU_VEVENTQ_ALLOC", iommufd.IOMMU_VEVENTQ_ALLOC, iommufd.iommu_veventq_alloc),
		request("IOMMU_HW_QUEUE_ALLOC", iommufd.IOMMU_HW_QUEUE_ALLOC, iommufd.iommu_hw_queue_alloc),
	];
}

/** The requests of KVM. Their numbers are their own on every file. */
function kvmRequests(): Request[] {
	const request = (
		name: string,
		number: number,
		struct?: Struct<Fields>,
		flags?: Readonly<Record<string, number>>,
	): Request => ({ number, name, kind: "kvm", ...(struct ? { struct } : {}), ...(flags ? { flags } : {}) });
	return [
		request("KVM_GET_API_VERSION", kvm.KVM_GET_API_VERSION),
		request("KVM_CREATE_VM", kvm.KVM_CREATE_VM),
		request("KVM_CHECK_EXTENSION", kvm.KVM_CHECK_EXTENSION),
		request("KVM_GET_VCPU_MMAP_SIZE", kvm.KVM_GET_VCPU_MMAP_SIZE),
		request("KVM_CREATE_VCPU", kvm.KVM_CREATE_VCPU),
		request("KVM_CREATE_IRQCHIP", kvm.KVM_CREATE_IRQCHIP),
		request("KVM_IRQ_LINE", kvm.KVM_IRQ_LINE),
		request("KVM_SET_GSI_ROUTING", kvm.KVM_SET_GSI_ROUTING, kvm.kvm_irq_routing),
		request("KVM_IRQFD", kvm.KVM_IRQFD, kvm.kvm_irqfd, IRQFD),
		request("KVM_IOEVENTFD", kvm.KVM_IOEVENTFD, kvm.kvm_ioeventfd, IOEVENTFD),
		request("KVM_SIGNAL_MSI", kvm.KVM_SIGNAL_MSI, kvm.kvm_msi),
		request("KVM_CREATE_DEVICE", kvm.KVM_CREATE_DEVICE, kvm.kvm_create_device),
		request("KVM_SET_DEVICE_ATTR", kvm.KVM_SET_DEVICE_ATTR, kvm.kvm_device_attr),
		request("KVM_GET_DEVICE_ATTR", kvm.KVM_GET_DEVICE_ATTR, kvm.kvm_device_attr),
		request("KVM_HAS_DEVICE_ATTR", kvm.KVM_HAS_DEVICE_ATTR, kvm.kvm_device_attr),
	];
}

/** Which kind of VFIO file a path names; an opened device has no path of its own, and is whatever is left. */
export function vfioFileKind(path: string): VfioFileKind {
	if (path === "/dev/vfio/vfio") return "container";
	if (path === "/dev/iommu") return "iommufd";
	return path.startsWith("/dev/vfio/") && !path.startsWith("/dev/vfio/devices/") ? "group" : "device";
}

function find(request: number, kind: VfioFileKind): Request | undefined {
	const kinds = kind === "iommufd" ? ["iommufd", "container"] : [kind];
	return REQUESTS.find(
		(candidate) => candidate.number === request && (kinds.includes(candidate.kind) || candidate.kind === "kvm"),
	);
}

/** The symbolic name of a request on a kind of file, such as `VFIO_IOMMU_MAP_DMA`; `ioctl 0x5401` when it is none of VFIO's or KVM's. */
export function requestName(request: number, kind: VfioFileKind): string {
	return find(request, kind)?.name ?? `ioctl 0x${request.toString(16)}`;
}

/**
 * A request's argument in words: `{argsz: 32, flags: READ|WRITE, vaddr: 0x7f0000000000, iova: 0x0, size: 0x1000}`.
 *
 * @param argument what was given to ioctl(2)
 */
export function describeArgument(
	request: number,
	kind: VfioFileKind,
	argument: Uint8Array | number | undefined,
): string {
	if (argument === undefined) return "";
	if (typeof argument === "number") return String(argument);
	const known = find(request, kind);
	if (known?.name === "VFIO_GROUP_GET_DEVICE_FD") {
		const end = argument.indexOf(0);
		return JSON.stringify(String.fromCharCode(...argument.subarray(0, end < 0 ? argument.length : end)));
	}
	if (!known?.struct || argument.length < known.struct.size) return `${argument.length} bytes`;
	const view = known.struct.view(argument) as unknown as Record<string, number | bigint>;
	const fields = Object.keys(known.struct.offsets).map(
		(name) => `${name}: ${describeField(name, view[name] ?? 0, known)}`,
	);
	if (known.name === "VFIO_DEVICE_SET_IRQS") fields.push(...describeIrqData(argument));
	return `{${fields.join(", ")}}`;
}

function describeField(name: string, value: number | bigint, request: Request): string {
	if (typeof value === "bigint") return `0x${value.toString(16)}`;
	if (name !== "flags" || !request.flags) return String(value);
	const names = Object.entries(request.flags).filter(([, bit]) => (value & bit) !== 0);
	const rest = names.reduce((left, [, bit]) => left & ~bit, value);
	return [...names.map(([flag]) => flag), ...(rest === 0 && names.length > 0 ? [] : [rest])].join("|");
}

function describeIrqData(argument: Uint8Array): string[] {
	const set = vfio.vfio_irq_set.view(argument);
	if ((set.flags & vfio.VFIO_IRQ_SET_DATA_EVENTFD) === 0) return [];
	const words = Math.min(set.count, Math.floor((argument.length - vfio.vfio_irq_set.size) / 4));
	const data = new DataView(argument.buffer, argument.byteOffset + vfio.vfio_irq_set.size, words * 4);
	return [`fds: [${Array.from({ length: words }, (_, index) => data.getInt32(index * 4, true)).join(", ")}]`];
}
