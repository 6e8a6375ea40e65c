/**
 * `linux/iommufd.h`: requests, flags and structures of `/dev/iommu`, under the header's own names.
 *
 * @module
 */
import { struct } from "./struct.ts";

// Requests
export const IOMMU_DESTROY = 0x3b80;
export const IOMMU_IOAS_ALLOC = 0x3b81;
export const IOMMU_IOAS_ALLOW_IOVAS = 0x3b82;
export const IOMMU_IOAS_COPY = 0x3b83;
export const IOMMU_IOAS_IOVA_RANGES = 0x3b84;
export const IOMMU_IOAS_MAP = 0x3b85;
export const IOMMU_IOAS_UNMAP = 0x3b86;
export const IOMMU_OPTION = 0x3b87;
export const IOMMU_VFIO_IOAS = 0x3b88;
export const IOMMU_HWPT_ALLOC = 0x3b89;
export const IOMMU_GET_HW_INFO = 0x3b8a;
export const IOMMU_HWPT_SET_DIRTY_TRACKING = 0x3b8b;
export const IOMMU_HWPT_GET_DIRTY_BITMAP = 0x3b8c;
export const IOMMU_HWPT_INVALIDATE = 0x3b8d;
export const IOMMU_FAULT_QUEUE_ALLOC = 0x3b8e;
export const IOMMU_IOAS_MAP_FILE = 0x3b8f;
export const IOMMU_VIOMMU_ALLOC = 0x3b90;
export const IOMMU_VDEVICE_ALLOC = 0x3b91;
export const IOMMU_IOAS_CHANGE_PROCESS = 0x3b92;
export const IOMMU_VEVENTQ_ALLOC = 0x3b93;
export const IOMMU_HW_QUEUE_ALLOC = 0x3b94;

// IOMMU_IOAS_MAP and IOMMU_IOAS_COPY
export const IOMMU_IOAS_MAP_FIXED_IOVA = 1;
export const IOMMU_IOAS_MAP_WRITEABLE = 2;
export const IOMMU_IOAS_MAP_READABLE = 4;

// IOMMU_OPTION
export const IOMMU_OPTION_RLIMIT_MODE = 0;
export const IOMMU_OPTION_HUGE_PAGES = 1;
export const IOMMU_OPTION_OP_SET = 0;
export const IOMMU_OPTION_OP_GET = 1;

// IOMMU_VFIO_IOAS
export const IOMMU_VFIO_IOAS_GET = 0;
export const IOMMU_VFIO_IOAS_SET = 1;
export const IOMMU_VFIO_IOAS_CLEAR = 2;

// IOMMU_HWPT_ALLOC
export const IOMMU_HWPT_ALLOC_NEST_PARENT = 1;
export const IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 2;
export const IOMMU_HWPT_FAULT_ID_VALID = 4;
export const IOMMU_HWPT_ALLOC_PASID = 8;
export const IOMMU_HWPT_DATA_NONE = 0;

// IOMMU_GET_HW_INFO
export const IOMMU_HW_INFO_TYPE_NONE = 0;
export const IOMMU_HW_INFO_TYPE_INTEL_VTD = 1;
export const IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = 2;
export const IOMMU_HW_INFO_TYPE_AMD = 4;
export const IOMMU_HW_CAP_DIRTY_TRACKING = 1;
export const IOMMU_HW_CAP_PCI_PASID_EXEC = 2;
export const IOMMU_HW_CAP_PCI_PASID_PRIV = 4;
export const IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED = 8;

// Dirty tracking
export const IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 1;
export const IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1;

export const iommu_destroy = struct({
	size: "u32",
	id: "u32",
});
export const iommu_ioas_alloc = struct({
	size: "u32",
	flags: "u32",
	out_ioas_id: "u32",
});
export const iommu_ioas_allow_iovas = struct({
	size: "u32",
	ioas_id: "u32",
	num_iovas: "u32",
	__reserved: "u32",
	allowed_iovas: "u64",
});
export const iommu_ioas_copy = struct({
	size: "u32",
	flags: "u32",
	dst_ioas_id: "u32",
	src_ioas_id: "u32",
	length: "u64",
	dst_iova: "u64",
	src_iova: "u64",
});
export const iommu_ioas_iova_ranges = struct({
	size: "u32",
	ioas_id: "u32",
	num_iovas: "u32",
	__reserved: "u32",
	allowed_iovas: "u64",
	out_iova_alignment: "u64",
});
export const iommu_ioas_map = struct({
	size: "u32",
	flags: "u32",
	ioas_id: "u32",
	__reserved: "u32",
	user_va: "u64",
	length: "u64",
	iova: "u64",
});
export const iommu_ioas_unmap = struct({
	size: "u32",
	ioas_id: "u32",
	iova: "u64",
	length: "u64",
});
export const iommu_option = struct({
	size: "u32",
	option_id: "u32",
	op: "u16",
	__reserved: "u16",
	object_id: "u32",
	val64: "u64",
});
export const iommu_vfio_ioas = struct({
	size: "u32",
	ioas_id: "u32",
	op: "u16",
	__reserved: "u16",
});
export const iommu_hwpt_alloc = struct({
	size: "u32",
	flags: "u32",
	dev_id: "u32",
	pt_id: "u32",
	out_hwpt_id: "u32",
	__reserved: "u32",
	data_type: "u32",
	data_len: "u32",
	data_uptr: "u64",
	fault_id: "u32",
	__reserved2: "u32",
});
export const iommu_hw_info = struct({
	size: "u32",
	flags: "u32",
	dev_id: "u32",
	data_len: "u32",
	data_uptr: "u64",
	out_data_type: "u32",
	out_max_pasid_log2: "u8",
	out_capabilities: "u64",
});
export const iommu_hwpt_set_dirty_tracking = struct({
	size: "u32",
	flags: "u32",
	hwpt_id: "u32",
	__reserved: "u32",
});
export const iommu_hwpt_get_dirty_bitmap = struct({
	size: "u32",
	hwpt_id: "u32",
	flags: "u32",
	__reserved: "u32",
	iova: "u64",
	length: "u64",
	page_size: "u64",
	data: "u64",
});
export const iommu_hwpt_invalidate = struct({
	size: "u32",
	hwpt_id: "u32",
	data_uptr: "u64",
	data_type: "u32",
	entry_len: "u32",
	entry_num: "u32",
	__reserved: "u32",
});
export const iommu_fault_alloc = struct({
	size: "u32",
	flags: "u32",
	out_fault_id: "u32",
	out_fault_fd: "u32",
});
export const iommu_ioas_map_file = struct({
	size: "u32",
	flags: "u32",
	ioas_id: "u32",
	fd: "s32",
	start: "u64",
	length: "u64",
	iova: "u64",
});
export const iommu_viommu_alloc = struct({
	size: "u32",
	flags: "u32",
	type: "u32",
	dev_id: "u32",
	hwpt_id: "u32",
	out_viommu_id: "u32",
	data_len: "u32",
	__reserved: "u32",
	data_uptr: "u64",
});
export const iommu_vdevice_alloc = struct({
	size: "u32",
	viommu_id: "u32",
	dev_id: "u32",
	out_vdevice_id: "u32",
	virt_id: "u64",
});
export const iommu_ioas_change_process = struct({
	size: "u32",
	__reserved: "u32",
});
export const iommu_veventq_alloc = struct({
	size: "u32",
	flags: "u32",
	viommu_id: "u32",
	type: "u32",
	veventq_depth: "u32",
	out_veventq_id: "u32",
	out_veventq_fd: "u32",
	__reserved: "u32",
});
export const iommu_hw_queue_alloc = struct({
	size: "u32",
	flags: "u32",
	viommu_id: "u32",
	type: "u32",
	index: "u32",
	out_hw_queue_id: "u32",
	nesting_parent_iova: "u64",
	length: "u64",
});
export const iommu_iova_range = struct({
	start: "u64",
	last: "u64",
});
export const iommu_hw_info_vtd = struct({
	flags: "u32",
	__reserved: "u32",
	cap_reg: "u64",
	ecap_reg: "u64",
});
