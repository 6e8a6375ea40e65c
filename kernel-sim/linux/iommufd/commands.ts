/**
 * The requests of /dev/iommu: which kernels have them, and what they take.
 *
 * @module
 */
import * as uapi from "../../../core/uapi/iommufd.ts";
import type { Fields, Struct, StructView } from "../../../core/uapi/struct.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { IommufdContext } from "./context.ts";
import * as general from "./context-commands.ts";
import type { IommufdFile } from "./file.ts";
import * as hwpt from "./hwpt-commands.ts";
import * as ioas from "./ioas-commands.ts";
import { readUserStruct } from "./user-struct.ts";

/** A call with its structure, which is a copy. */
export interface Call<F extends Fields> {
	/** The opened node. */
	readonly file: IommufdFile;
	readonly context: IommufdContext;
	readonly process: SimProcess;
	readonly view: StructView<F>;
	/** Gives the structure back. @returns 0 or -EFAULT */
	respond(): number;
}

/** A request. */
export interface Command {
	readonly versions: readonly ("6.12" | "7.2")[];
	run(file: IommufdFile, process: SimProcess, argument: IoctlArgument): number;
}

function command<F extends Fields>(
	layout: Struct<F>,
	answer: (call: Call<F>) => number,
	options: { readonly minimum?: number; readonly versions?: Command["versions"] } = {},
): Command {
	const { minimum = layout.size, versions = ["6.12", "7.2"] } = options;
	return {
		versions,
		run(file, process, argument) {
			const read = readUserStruct(argument, layout, minimum);
			if (typeof read === "number") return read;
			return answer({ file, context: file.context, process, view: read.view, respond: read.respond });
		},
	};
}

const NEWER = { versions: ["7.2"] } as const;
/** Bytes of structures as they were first. */
const HWPT_ALLOC_MINIMUM = uapi.iommu_hwpt_alloc.offsets.data_type;
const HW_INFO_MINIMUM = uapi.iommu_hw_info.offsets.out_capabilities;
const VIOMMU_MINIMUM = uapi.iommu_viommu_alloc.offsets.data_len;
const EVENT_QUEUE_MINIMUM = uapi.iommu_veventq_alloc.offsets.__reserved;

/** By request number. */
export const COMMANDS: ReadonlyMap<number, Command> = new Map([
	[uapi.IOMMU_DESTROY, command(uapi.iommu_destroy, ({ context, view }) => context.destroy(view.id))],
	[uapi.IOMMU_IOAS_ALLOC, command(uapi.iommu_ioas_alloc, ioas.allocate)],
	[uapi.IOMMU_IOAS_IOVA_RANGES, command(uapi.iommu_ioas_iova_ranges, ioas.iovaRanges)],
	[uapi.IOMMU_IOAS_ALLOW_IOVAS, command(uapi.iommu_ioas_allow_iovas, ioas.allowIovas)],
	[uapi.IOMMU_IOAS_MAP, command(uapi.iommu_ioas_map, ioas.map)],
	[uapi.IOMMU_IOAS_COPY, command(uapi.iommu_ioas_copy, ioas.copy)],
	[uapi.IOMMU_IOAS_UNMAP, command(uapi.iommu_ioas_unmap, ioas.unmap)],
	[uapi.IOMMU_IOAS_MAP_FILE, command(uapi.iommu_ioas_map_file, ioas.mapFile, NEWER)],
	[uapi.IOMMU_IOAS_CHANGE_PROCESS, command(uapi.iommu_ioas_change_process, general.changeProcess, NEWER)],
	[uapi.IOMMU_OPTION, command(uapi.iommu_option, general.option)],
	[uapi.IOMMU_VFIO_IOAS, command(uapi.iommu_vfio_ioas, general.vfioIoas)],
	[uapi.IOMMU_GET_HW_INFO, command(uapi.iommu_hw_info, general.hwInfo, { minimum: HW_INFO_MINIMUM })],
	[uapi.IOMMU_FAULT_QUEUE_ALLOC, command(uapi.iommu_fault_alloc, general.faultQueue)],
	[uapi.IOMMU_HWPT_ALLOC, command(uapi.iommu_hwpt_alloc, hwpt.allocate, { minimum: HWPT_ALLOC_MINIMUM })],
	[uapi.IOMMU_HWPT_SET_DIRTY_TRACKING, command(uapi.iommu_hwpt_set_dirty_tracking, hwpt.setDirtyTracking)],
	[uapi.IOMMU_HWPT_GET_DIRTY_BITMAP, command(uapi.iommu_hwpt_get_dirty_bitmap, hwpt.getDirtyBitmap)],
	[uapi.IOMMU_HWPT_INVALIDATE, command(uapi.iommu_hwpt_invalidate, hwpt.invalidate)],
	[
		uapi.IOMMU_VIOMMU_ALLOC,
		command(uapi.iommu_viommu_alloc, hwpt.allocateViommu, { ...NEWER, minimum: VIOMMU_MINIMUM }),
	],
	[uapi.IOMMU_VDEVICE_ALLOC, command(uapi.iommu_vdevice_alloc, hwpt.allocateVdevice, NEWER)],
	[
		uapi.IOMMU_VEVENTQ_ALLOC,
		command(uapi.iommu_veventq_alloc, hwpt.allocateEventQueue, { ...NEWER, minimum: EVENT_QUEUE_MINIMUM }),
	],
	[uapi.IOMMU_HW_QUEUE_ALLOC, command(uapi.iommu_hw_queue_alloc, hwpt.allocateHardwareQueue, NEWER)],
]);
