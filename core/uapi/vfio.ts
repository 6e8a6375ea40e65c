/**
 * `linux/vfio.h`: requests, flags and structures of VFIO's container, group and device files, under the header's own names.
 *
 * @module
 */
import { struct } from "./struct.ts";

// Container
export const VFIO_API_VERSION = 0;
export const VFIO_GET_API_VERSION = 0x3b64;
export const VFIO_CHECK_EXTENSION = 0x3b65;
export const VFIO_SET_IOMMU = 0x3b66;
export const VFIO_IOMMU_GET_INFO = 0x3b70;
export const VFIO_IOMMU_MAP_DMA = 0x3b71;
export const VFIO_IOMMU_UNMAP_DMA = 0x3b72;
export const VFIO_IOMMU_DIRTY_PAGES = 0x3b75;

// What VFIO_CHECK_EXTENSION asks for, and the types VFIO_SET_IOMMU takes
export const VFIO_TYPE1_IOMMU = 1;
export const VFIO_SPAPR_TCE_IOMMU = 2;
export const VFIO_TYPE1v2_IOMMU = 3;
export const VFIO_DMA_CC_IOMMU = 4;
export const VFIO_EEH = 5;
export const VFIO_SPAPR_TCE_v2_IOMMU = 7;
export const VFIO_NOIOMMU_IOMMU = 8;
export const VFIO_UNMAP_ALL = 9;
export const VFIO_UPDATE_VADDR = 10;
export const VFIO_TYPE1_NESTING_IOMMU = 6;

// Group
export const VFIO_GROUP_GET_STATUS = 0x3b67;
export const VFIO_GROUP_SET_CONTAINER = 0x3b68;
export const VFIO_GROUP_UNSET_CONTAINER = 0x3b69;
export const VFIO_GROUP_GET_DEVICE_FD = 0x3b6a;
export const VFIO_GROUP_FLAGS_VIABLE = 1;
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 2;

// Device
export const VFIO_DEVICE_GET_INFO = 0x3b6b;
export const VFIO_DEVICE_GET_REGION_INFO = 0x3b6c;
export const VFIO_DEVICE_GET_IRQ_INFO = 0x3b6d;
export const VFIO_DEVICE_SET_IRQS = 0x3b6e;
export const VFIO_DEVICE_RESET = 0x3b6f;
export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = 0x3b70;
export const VFIO_DEVICE_PCI_HOT_RESET = 0x3b71;
export const VFIO_DEVICE_IOEVENTFD = 0x3b74;
export const VFIO_DEVICE_FEATURE = 0x3b75;
export const VFIO_DEVICE_BIND_IOMMUFD = 0x3b76;
export const VFIO_DEVICE_ATTACH_IOMMUFD_PT = 0x3b77;
export const VFIO_DEVICE_DETACH_IOMMUFD_PT = 0x3b78;
export const VFIO_MIG_GET_PRECOPY_INFO = 0x3b79;

// vfio_pci_hot_reset_info.flags, vfio_device_bind_iommufd.flags and vfio_device_attach_iommufd_pt.flags
export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1;
export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 2;
export const VFIO_DEVICE_BIND_FLAG_TOKEN = 1;
export const VFIO_DEVICE_ATTACH_PASID = 1;

// vfio_device_info.flags
export const VFIO_DEVICE_FLAGS_RESET = 1;
export const VFIO_DEVICE_FLAGS_PCI = 2;
export const VFIO_DEVICE_FLAGS_PLATFORM = 4;
export const VFIO_DEVICE_FLAGS_CAPS = 128;

// vfio_region_info.flags and capability ids
export const VFIO_REGION_INFO_FLAG_READ = 1;
export const VFIO_REGION_INFO_FLAG_WRITE = 2;
export const VFIO_REGION_INFO_FLAG_MMAP = 4;
export const VFIO_REGION_INFO_FLAG_CAPS = 8;
export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
export const VFIO_REGION_INFO_CAP_TYPE = 2;
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;

// Regions and interrupts of a PCI device
export const VFIO_PCI_BAR0_REGION_INDEX = 0;
export const VFIO_PCI_BAR1_REGION_INDEX = 1;
export const VFIO_PCI_BAR2_REGION_INDEX = 2;
export const VFIO_PCI_BAR3_REGION_INDEX = 3;
export const VFIO_PCI_BAR4_REGION_INDEX = 4;
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
export const VFIO_PCI_ROM_REGION_INDEX = 6;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_VGA_REGION_INDEX = 8;
export const VFIO_PCI_NUM_REGIONS = 9;
export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
export const VFIO_PCI_NUM_IRQS = 5;

// vfio_irq_info.flags and vfio_irq_set.flags
export const VFIO_IRQ_INFO_EVENTFD = 1;
export const VFIO_IRQ_INFO_MASKABLE = 2;
export const VFIO_IRQ_INFO_AUTOMASKED = 4;
export const VFIO_IRQ_INFO_NORESIZE = 8;
export const VFIO_IRQ_SET_DATA_NONE = 1;
export const VFIO_IRQ_SET_DATA_BOOL = 2;
export const VFIO_IRQ_SET_DATA_EVENTFD = 4;
export const VFIO_IRQ_SET_ACTION_MASK = 8;
export const VFIO_IRQ_SET_ACTION_UNMASK = 16;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 32;
export const VFIO_IRQ_SET_DATA_TYPE_MASK = 7;
export const VFIO_IRQ_SET_ACTION_TYPE_MASK = 56;

// VFIO_DEVICE_FEATURE
export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
export const VFIO_DEVICE_FEATURE_GET = 0x10000;
export const VFIO_DEVICE_FEATURE_SET = 0x20000;
export const VFIO_DEVICE_FEATURE_PROBE = 0x40000;
export const VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;
export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;
export const VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP = 7;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;
export const VFIO_DEVICE_FEATURE_MIG_DATA_SIZE = 9;
export const VFIO_DEVICE_FEATURE_BUS_MASTER = 10;
export const VFIO_DEVICE_FEATURE_DMA_BUF = 11;
export const VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 = 12;

// VFIO_DEVICE_IOEVENTFD
export const VFIO_DEVICE_IOEVENTFD_8 = 1;
export const VFIO_DEVICE_IOEVENTFD_16 = 2;
export const VFIO_DEVICE_IOEVENTFD_32 = 4;
export const VFIO_DEVICE_IOEVENTFD_64 = 8;
export const VFIO_DEVICE_IOEVENTFD_SIZE_MASK = 15;

// Type 1 IOMMU: flags and capability ids
export const VFIO_IOMMU_INFO_PGSIZES = 1;
export const VFIO_IOMMU_INFO_CAPS = 2;
export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
export const VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;
export const VFIO_DMA_MAP_FLAG_READ = 1;
export const VFIO_DMA_MAP_FLAG_WRITE = 2;
export const VFIO_DMA_MAP_FLAG_VADDR = 4;
export const VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 1;
export const VFIO_DMA_UNMAP_FLAG_ALL = 2;
export const VFIO_DMA_UNMAP_FLAG_VADDR = 4;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 1;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 2;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 4;

/** Heads every capability of a chain; `next` counts from the start of the structure that carries the chain, 0 ends it. */
export const vfio_info_cap_header = struct({ id: "u16", version: "u16", next: "u32" });
export const vfio_group_status = struct({ argsz: "u32", flags: "u32" });
export const vfio_device_info = struct({
	argsz: "u32",
	flags: "u32",
	num_regions: "u32",
	num_irqs: "u32",
	cap_offset: "u32",
	pad: "u32",
});
export const vfio_region_info = struct({
	argsz: "u32",
	flags: "u32",
	index: "u32",
	cap_offset: "u32",
	size: "u64",
	offset: "u64",
});
export const vfio_region_sparse_mmap_area = struct({ offset: "u64", size: "u64" });
export const vfio_region_info_cap_sparse_mmap = struct({
	id: "u16",
	version: "u16",
	next: "u32",
	nr_areas: "u32",
	reserved: "u32",
});
export const vfio_region_info_cap_type = struct({
	id: "u16",
	version: "u16",
	next: "u32",
	type: "u32",
	subtype: "u32",
});
export const vfio_irq_info = struct({ argsz: "u32", flags: "u32", index: "u32", count: "u32" });
export const vfio_irq_set = struct({ argsz: "u32", flags: "u32", index: "u32", start: "u32", count: "u32" });
export const vfio_pci_dependent_device = struct({ group_id: "u32", segment: "u16", bus: "u8", devfn: "u8" });
export const vfio_pci_hot_reset_info = struct({ argsz: "u32", flags: "u32", count: "u32" });
export const vfio_pci_hot_reset = struct({ argsz: "u32", flags: "u32", count: "u32" });
export const vfio_device_ioeventfd = struct({
	argsz: "u32",
	flags: "u32",
	offset: "u64",
	data: "u64",
	fd: "s32",
	reserved: "u32",
});
export const vfio_device_feature = struct({ argsz: "u32", flags: "u32" });
export const vfio_device_bind_iommufd = struct({
	argsz: "u32",
	flags: "u32",
	iommufd: "s32",
	out_devid: "u32",
	token_uuid_ptr: "u64",
});
export const vfio_device_attach_iommufd_pt = struct({ argsz: "u32", flags: "u32", pt_id: "u32", pasid: "u32" });
export const vfio_device_detach_iommufd_pt = struct({ argsz: "u32", flags: "u32", pasid: "u32" });
export const vfio_device_feature_migration = struct({ flags: "u64" });
export const vfio_device_feature_mig_state = struct({ device_state: "u32", data_fd: "s32" });
export const vfio_device_feature_mig_data_size = struct({ stop_copy_length: "u64" });
export const vfio_precopy_info = struct({ argsz: "u32", flags: "u32", initial_bytes: "u64", dirty_bytes: "u64" });
export const vfio_device_feature_dma_logging_control = struct({
	page_size: "u64",
	num_ranges: "u32",
	__reserved: "u32",
	ranges: "u64",
});
export const vfio_device_feature_dma_logging_range = struct({ iova: "u64", length: "u64" });
export const vfio_device_feature_dma_logging_report = struct({
	iova: "u64",
	length: "u64",
	page_size: "u64",
	bitmap: "u64",
});
export const vfio_device_low_power_entry_with_wakeup = struct({ wakeup_eventfd: "s32", reserved: "u32" });
/** `nr_ranges` times {@link vfio_region_dma_range} follow it. */
export const vfio_device_feature_dma_buf = struct({
	region_index: "u32",
	open_flags: "u32",
	flags: "u32",
	nr_ranges: "u32",
});
export const vfio_region_dma_range = struct({ offset: "u64", length: "u64" });
export const vfio_iommu_type1_info = struct({
	argsz: "u32",
	flags: "u32",
	iova_pgsizes: "u64",
	cap_offset: "u32",
	pad: "u32",
});
export const vfio_iommu_type1_info_cap_iova_range = struct({
	id: "u16",
	version: "u16",
	next: "u32",
	nr_iovas: "u32",
	reserved: "u32",
});
export const vfio_iova_range = struct({ start: "u64", end: "u64" });
export const vfio_iommu_type1_info_cap_migration = struct({
	id: "u16",
	version: "u16",
	next: "u32",
	flags: "u32",
	pgsize_bitmap: "u64",
	max_dirty_bitmap_size: "u64",
});
export const vfio_iommu_type1_info_dma_avail = struct({ id: "u16", version: "u16", next: "u32", avail: "u32" });
export const vfio_iommu_type1_dma_map = struct({ argsz: "u32", flags: "u32", vaddr: "u64", iova: "u64", size: "u64" });
export const vfio_iommu_type1_dma_unmap = struct({ argsz: "u32", flags: "u32", iova: "u64", size: "u64" });
export const vfio_bitmap = struct({ pgsize: "u64", size: "u64", data: "u64" });
export const vfio_iommu_type1_dirty_bitmap = struct({ argsz: "u32", flags: "u32" });
export const vfio_iommu_type1_dirty_bitmap_get = struct({
	iova: "u64",
	size: "u64",
	bitmap_pgsize: "u64",
	bitmap_size: "u64",
	bitmap_data: "u64",
});
