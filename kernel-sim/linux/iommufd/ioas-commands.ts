/**
 * Requests about address spaces: IOMMU_IOAS_*.
 *
 * @module
 */
import { EBADF, EFAULT, EINVAL, EMSGSIZE, ENOENT, EOPNOTSUPP, EOVERFLOW } from "../../../core/uapi/errno.ts";
import {
	IOMMU_IOAS_MAP_FIXED_IOVA,
	IOMMU_IOAS_MAP_READABLE,
	IOMMU_IOAS_MAP_WRITEABLE,
	type iommu_ioas_alloc,
	type iommu_ioas_allow_iovas,
	type iommu_ioas_copy,
	type iommu_ioas_iova_ranges,
	type iommu_ioas_map,
	type iommu_ioas_map_file,
	type iommu_ioas_unmap,
	iommu_iova_range,
} from "../../../core/uapi/iommufd.ts";
import type { Struct } from "../../../core/uapi/struct.ts";
import { DMA_READ, DMA_WRITE } from "../../hardware/iommu-domain.ts";
import type { SimProcess } from "../process.ts";
import { LAST_ADDRESS } from "../vfio/iova-ranges.ts";
import { Account } from "./accounts.ts";
import type { Call } from "./commands.ts";
import type { IommufdContext } from "./context.ts";
import { FilePages } from "./file-pages.ts";
import { Ioas, type PagesPart } from "./ioas.ts";
import type { Span } from "./iova-allocation.ts";
import { Pages, UserPages } from "./pages.ts";

/** A call whose structure has this layout. */
export type CallOf<T> = T extends Struct<infer F> ? Call<F> : never;

const READ_WRITE = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
const MAP_FLAGS = IOMMU_IOAS_MAP_FIXED_IOVA | READ_WRITE;
/** More than a page of the largest address: what no length may reach. */
const LENGTH_LIMIT = LAST_ADDRESS - 4096n;

/** IOMMU_IOAS_ALLOC. */
export function allocate({ context, view, respond }: CallOf<typeof iommu_ioas_alloc>): number {
	if (view.flags !== 0) return -EOPNOTSUPP;
	const ioas = context.add(new Ioas(context));
	view.out_ioas_id = ioas.id;
	const answer = respond();
	if (answer < 0) context.remove(ioas);
	return answer;
}

/** IOMMU_IOAS_IOVA_RANGES. */
export function iovaRanges({ context, process, view, respond }: CallOf<typeof iommu_ioas_iova_ranges>): number {
	if (view.__reserved !== 0) return -EOPNOTSUPP;
	const ioas = context.find(view.ioas_id, Ioas);
	if (!ioas) return -ENOENT;
	const { ranges } = ioas;
	const room = view.num_iovas;
	for (const [index, range] of ranges.slice(0, room).entries()) {
		const entry = iommu_iova_range.create();
		Object.assign(entry, range);
		const address = view.allowed_iovas + BigInt(index * iommu_iova_range.size);
		if (!process.memory.write(address, entry.bytes)) return -EFAULT;
	}
	view.num_iovas = ranges.length;
	view.out_iova_alignment = ioas.alignment;
	return respond() || (ranges.length > room ? -EMSGSIZE : 0);
}

/** IOMMU_IOAS_ALLOW_IOVAS. */
export function allowIovas({ context, process, view }: CallOf<typeof iommu_ioas_allow_iovas>): number {
	if (view.__reserved !== 0) return -EOPNOTSUPP;
	const ioas = context.find(view.ioas_id, Ioas);
	if (!ioas) return -ENOENT;
	const spans: Span[] = [];
	for (let index = 0; index < view.num_iovas; index++) {
		const address = view.allowed_iovas + BigInt(index * iommu_iova_range.size);
		const bytes = process.memory.read(address, iommu_iova_range.size);
		if (!bytes) return -EFAULT;
		const { start, last } = iommu_iova_range.view(bytes);
		if (start >= last) return -EINVAL;
		spans.push({ start, last });
	}
	return ioas.allow(spans);
}

/** IOMMU_IOAS_MAP. */
export function map({ context, process, view, respond }: CallOf<typeof iommu_ioas_map>): number {
	const { flags, user_va, length } = view;
	if ((flags & ~MAP_FLAGS) !== 0 || view.__reserved !== 0) return -EOPNOTSUPP;
	if (view.iova >= LAST_ADDRESS || length >= LAST_ADDRESS) return -EOVERFLOW;
	if ((flags & READ_WRITE) === 0) return -EINVAL;
	const ioas = context.find(view.ioas_id, Ioas);
	if (!ioas) return -ENOENT;
	const fixed = (flags & IOMMU_IOAS_MAP_FIXED_IOVA) !== 0;
	const iova = mapUser(context, ioas, process, {
		address: user_va,
		length,
		iova: fixed ? view.iova : undefined,
		flags,
	});
	if (typeof iova === "number") return iova;
	view.iova = iova;
	return respond();
}

/** What is to be mapped. */
export interface UserMapping {
	readonly address: bigint;
	/** Bytes. */
	readonly length: bigint;
	/** Where; a free place when undefined. */
	readonly iova: bigint | undefined;
	/** `IOMMU_IOAS_MAP_READABLE` and `IOMMU_IOAS_MAP_WRITEABLE`. */
	readonly flags: number;
}

/** Maps memory of a process. @returns where, or -errno */
export function mapUser(
	context: IommufdContext,
	ioas: Ioas,
	process: SimProcess,
	mapping: UserMapping,
): bigint | number {
	const { address, length, iova, flags } = mapping;
	if (address + length > LAST_ADDRESS) return -EOVERFLOW;
	if (length === 0n || length > LENGTH_LIMIT) return -EINVAL;
	const account = new Account(context.platform.users, process, context.accounting);
	const writable = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
	const pages = new Pages(new UserPages(process, address), address, length, writable, account);
	return ioas.map([{ pages, offset: 0n, length }], iova, accessOf(flags));
}

/** IOMMU_IOAS_MAP_FILE: of the files that can be mapped there are only exports of devices' memory (dma-bufs) here. */
export function mapFile({ context, process, view, respond }: CallOf<typeof iommu_ioas_map_file>): number {
	const { flags, length, start } = view;
	if ((flags & ~MAP_FLAGS) !== 0) return -EOPNOTSUPP;
	if (view.iova >= LAST_ADDRESS || length >= LAST_ADDRESS) return -EOVERFLOW;
	if ((flags & READ_WRITE) === 0) return -EINVAL;
	const ioas = context.find(view.ioas_id, Ioas);
	if (!ioas) return -ENOENT;
	if (length === 0n) return -EINVAL;
	if (start + length > LAST_ADDRESS) return -EOVERFLOW;
	const file = process.file(view.fd);
	if (!file) return -EBADF;
	const source = FilePages.of(file, start, length);
	if (typeof source === "number") return source;
	const pages = new Pages(source, start, length, (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0, undefined);
	const fixed = (flags & IOMMU_IOAS_MAP_FIXED_IOVA) !== 0;
	pages.use();
	const iova = ioas.map([{ pages, offset: 0n, length }], fixed ? view.iova : undefined, accessOf(flags));
	pages.unuse();
	if (typeof iova === "number") return iova;
	view.iova = iova;
	return respond();
}

/** IOMMU_IOAS_COPY. */
export function copy({ context, view, respond }: CallOf<typeof iommu_ioas_copy>): number {
	const { flags, length, src_iova, dst_iova } = view;
	if ((flags & ~MAP_FLAGS) !== 0) return -EOPNOTSUPP;
	if (length >= LAST_ADDRESS || src_iova >= LAST_ADDRESS || dst_iova >= LAST_ADDRESS) return -EOVERFLOW;
	if ((flags & READ_WRITE) === 0) return -EINVAL;
	const source = context.find(view.src_ioas_id, Ioas);
	if (!source) return -ENOENT;
	if (length === 0n) return -EINVAL;
	if (src_iova + length - 1n > LAST_ADDRESS) return -EOVERFLOW;
	const parts: PagesPart[] | number = source.parts(src_iova, length);
	if (typeof parts === "number") return parts;
	const destination = context.find(view.dst_ioas_id, Ioas);
	if (!destination) return -ENOENT;
	const fixed = (flags & IOMMU_IOAS_MAP_FIXED_IOVA) !== 0;
	const iova = destination.map(parts, fixed ? dst_iova : undefined, accessOf(flags));
	if (typeof iova === "number") return iova;
	view.dst_iova = iova;
	return respond();
}

/** IOMMU_IOAS_UNMAP. */
export function unmap({ context, view, respond }: CallOf<typeof iommu_ioas_unmap>): number {
	const { iova, length } = view;
	const ioas = context.find(view.ioas_id, Ioas);
	if (!ioas) return -ENOENT;
	if (iova === 0n && length === LAST_ADDRESS) {
		view.length = ioas.unmapAll();
		return respond();
	}
	if (iova >= LAST_ADDRESS || length >= LAST_ADDRESS) return -EOVERFLOW;
	if (length === 0n) return -EINVAL;
	if (iova + length - 1n > LAST_ADDRESS) return -EOVERFLOW;
	const { answer, bytes } = ioas.unmap(iova, iova + length - 1n);
	if (answer < 0) return answer;
	if (bytes === 0n) return -ENOENT;
	view.length = bytes;
	return respond();
}

/** What a device may do, as the page table says it. */
export function accessOf(flags: number): number {
	return (
		((flags & IOMMU_IOAS_MAP_READABLE) !== 0 ? DMA_READ : 0) |
		((flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0 ? DMA_WRITE : 0)
	);
}
