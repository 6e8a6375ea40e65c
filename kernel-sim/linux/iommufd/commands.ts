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
import * as ioas from "./ioas-commands.ts";
import { readUserStruct } from "./user-struct.ts";

/** A call with its structure, which is a copy. */
export interface Call<F extends Fields> {
	readonly context: IommufdContext;
	readonly process: SimProcess;
	readonly view: StructView<F>;
	/** Gives the structure back. @returns 0 or -EFAULT */
	respond(): number;
}

/** A request. */
export interface Command {
	readonly versions: readonly ("6.12" | "7.2")[];
	run(context: IommufdContext, process: SimProcess, argument: IoctlArgument): number;
}

function command<F extends Fields>(
	layout: Struct<F>,
	answer: (call: Call<F>) => number,
	options: { readonly minimum?: number; readonly versions?: Command["versions"] } = {},
): Command {
	const { minimum = layout.size, versions = ["6.12", "7.2"] } = options;
	return {
		versions,
		run(context, process, argument) {
			const read = readUserStruct(argument, layout, minimum);
			if (typeof read === "number") return read;
			return answer({ context, process, view: read.view, respond: read.respond });
		},
	};
}

/** By request number. */
export const COMMANDS: ReadonlyMap<number, Command> = new Map([
	[uapi.IOMMU_DESTROY, command(uapi.iommu_destroy, ({ context, view }) => context.destroy(view.id))],
	[uapi.IOMMU_IOAS_ALLOC, command(uapi.iommu_ioas_alloc, ioas.allocate)],
	[uapi.IOMMU_IOAS_IOVA_RANGES, command(uapi.iommu_ioas_iova_ranges, ioas.iovaRanges)],
	[uapi.IOMMU_IOAS_ALLOW_IOVAS, command(uapi.iommu_ioas_allow_iovas, ioas.allowIovas)],
	[uapi.IOMMU_IOAS_MAP, command(uapi.iommu_ioas_map, ioas.map)],
	[uapi.IOMMU_IOAS_COPY, command(uapi.iommu_ioas_copy, ioas.copy)],
	[uapi.IOMMU_IOAS_UNMAP, command(uapi.iommu_ioas_unmap, ioas.unmap)],
]);
