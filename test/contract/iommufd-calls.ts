import * as uapi from "../../core/uapi/iommufd.ts";
import type { Fields, Struct, StructView } from "../../core/uapi/struct.ts";
import * as vfio from "../../core/uapi/vfio.ts";
import { type Answer, must } from "./calls.ts";
import type { HostDescription, HostDevice } from "./host.ts";
import { PAGE, type Trial } from "./trial.ts";

/** The role of a kernel with /dev/iommu and character devices. */
export function iommufd(host: HostDescription): true | undefined {
	return host.iommufd || undefined;
}

export const FIXED = uapi.IOMMU_IOAS_MAP_FIXED_IOVA;
export const RW = uapi.IOMMU_IOAS_MAP_READABLE | uapi.IOMMU_IOAS_MAP_WRITEABLE;
/** What unmaps everything. */
export const ALL = 2n ** 64n - 1n;

/** How a request differs from the usual. */
export interface Unusual {
	/** What stands in front of the structure; its size when left out. */
	readonly size?: number;
	/** Bytes behind it. */
	readonly tail?: readonly number[];
	/** What the report says of fields that differ from run to run. */
	readonly words?: string;
	/** Fields of the answer that are recorded. */
	readonly shows?: readonly string[];
}

/** A request of /dev/iommu. @returns its answer, and the structure afterwards */
export function command<F extends Fields>(
	t: Trial,
	fd: number,
	request: number,
	layout: Struct<F>,
	fields: Partial<StructView<F>>,
	unusual: Unusual = {},
): { readonly answer: Answer; readonly view: StructView<F> } {
	const { tail = [], shows = [] } = unusual;
	const view = layout.create(tail.length);
	Object.assign(view, { size: unusual.size ?? layout.size + tail.length, ...fields });
	view.bytes.set(tail, layout.size);
	const given = Object.entries(fields).map(([name, value]) => `${name}=${inWords(t, value as number | bigint)}`);
	if (unusual.size !== undefined || tail.length > 0)
		given.unshift(`size=${unusual.size ?? view.bytes.length}`, `tail=${tail.join(",")}`);
	const answer = t.ioctl(fd, request, view.bytes, "iommufd", unusual.words ?? given.join(" "));
	const record = view as unknown as Record<string, number | bigint>;
	for (const name of shows) t.observations.add(name, "afterwards", inWords(t, record[name] ?? 0));
	return { answer, view };
}

function inWords(t: Trial, value: number | bigint): string {
	return typeof value === "bigint" ? t.observations.address(value) : String(value);
}

/** IOMMU_IOAS_ALLOC. @returns the number */
export function ioas(t: Trial, fd: number): number {
	const { answer, view } = command(t, fd, uapi.IOMMU_IOAS_ALLOC, uapi.iommu_ioas_alloc, {});
	must(answer, "IOAS_ALLOC");
	return view.out_ioas_id;
}

/** A mapping; what is left out makes a valid one at a free place. */
export interface IoasMapping {
	readonly user_va: bigint;
	readonly length?: bigint | number;
	/** Fixed when it is given. */
	readonly iova?: bigint;
	readonly flags?: number;
	readonly __reserved?: number;
}

/** IOMMU_IOAS_MAP. */
export function map(t: Trial, fd: number, id: number, mapping: IoasMapping): { answer: Answer; iova: bigint } {
	const { iova, length = PAGE, flags = RW | (iova === undefined ? 0 : FIXED), ...rest } = mapping;
	const fields = { flags, ioas_id: id, length: BigInt(length), iova: iova ?? 0n, ...rest };
	const { answer, view } = command(t, fd, uapi.IOMMU_IOAS_MAP, uapi.iommu_ioas_map, fields);
	return { answer, iova: view.iova };
}

/** IOMMU_IOAS_UNMAP. */
export function unmap(
	t: Trial,
	fd: number,
	id: number,
	iova: bigint,
	length: bigint | number = PAGE,
): { answer: Answer; length: bigint } {
	const fields = { ioas_id: id, iova, length: BigInt(length) };
	const { answer, view } = command(t, fd, uapi.IOMMU_IOAS_UNMAP, uapi.iommu_ioas_unmap, fields, { shows: ["length"] });
	return { answer, length: view.length };
}

/** IOMMU_DESTROY. */
export function destroy(t: Trial, fd: number, id: number): Answer {
	return command(t, fd, uapi.IOMMU_DESTROY, uapi.iommu_destroy, { id }).answer;
}

/** IOMMU_IOAS_IOVA_RANGES. */
export function ranges(t: Trial, fd: number, id: number, room = 8) {
	const buffer = t.buffer();
	const { answer, view } = command(
		t,
		fd,
		uapi.IOMMU_IOAS_IOVA_RANGES,
		uapi.iommu_ioas_iova_ranges,
		{ ioas_id: id, num_iovas: room, allowed_iovas: buffer.address },
		{ shows: ["num_iovas", "out_iova_alignment"] },
	);
	const list = Array.from({ length: Math.min(view.num_iovas, room) }, (_, index) => {
		const { start, last } = uapi.iommu_iova_range.view(buffer.bytes, index * uapi.iommu_iova_range.size);
		return [start.toString(16), last.toString(16)];
	});
	return { answer, count: view.num_iovas, alignment: view.out_iova_alignment, list };
}

/** VFIO_DEVICE_BIND_IOMMUFD; what is left out makes a valid one. */
export function bind(
	t: Trial,
	cdev: number,
	fd: number,
	options: { argsz?: number; flags?: number; token?: bigint; tail?: readonly number[] } = {},
): { answer: Answer; id: number } {
	const { tail = [], flags = 0, token = 0n } = options;
	const view = vfio.vfio_device_bind_iommufd.create(tail.length);
	const argsz = options.argsz ?? vfio.vfio_device_bind_iommufd.offsets.token_uuid_ptr;
	Object.assign(view, { argsz, flags, iommufd: fd, token_uuid_ptr: token });
	view.bytes.set(tail, vfio.vfio_device_bind_iommufd.size);
	const words = `${t.observations.fd(fd)} argsz ${argsz} flags ${flags}${tail.length > 0 ? ` tail ${tail.join(",")}` : ""}`;
	const answer = t.ioctl(cdev, vfio.VFIO_DEVICE_BIND_IOMMUFD, view.bytes, "device", words);
	return { answer, id: view.out_devid };
}

/** VFIO_DEVICE_ATTACH_IOMMUFD_PT. @returns what the structure names afterwards */
export function attach(
	t: Trial,
	cdev: number,
	id: number,
	options: { argsz?: number; flags?: number } = {},
): { answer: Answer; id: number } {
	const { argsz = 12, flags = 0 } = options;
	const view = vfio.vfio_device_attach_iommufd_pt.create();
	Object.assign(view, { argsz, flags, pt_id: id });
	const words = `pt ${id} argsz ${argsz} flags ${flags}`;
	const answer = t.ioctl(cdev, vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, view.bytes, "device", words);
	return { answer, id: view.pt_id };
}

/** VFIO_DEVICE_DETACH_IOMMUFD_PT. */
export function detach(t: Trial, cdev: number, options: { argsz?: number; flags?: number } = {}): Answer {
	const { argsz = 8, flags = 0 } = options;
	const view = vfio.vfio_device_detach_iommufd_pt.create();
	Object.assign(view, { argsz, flags });
	const words = `argsz ${argsz} flags ${flags}`;
	return t.ioctl(cdev, vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT, view.bytes, "device", words);
}

/** The character device, opened. */
export function openCdev(t: Trial, device: HostDevice): number {
	t.bind(device);
	return must(t.open(t.cdevPath(device)), `open the character device of ${device.name}`);
}

export function openIommu(t: Trial): number {
	return must(t.open("/dev/iommu"), "open /dev/iommu");
}

/** A device that is bound to a fresh /dev/iommu. */
export function bound(t: Trial, device: HostDevice): { iommu: number; cdev: number; id: number } {
	const cdev = openCdev(t, device);
	const iommu = openIommu(t);
	const { answer, id } = bind(t, cdev, iommu);
	must(answer, "BIND_IOMMUFD");
	return { iommu, cdev, id };
}

/** The same, with an address space that it is attached to. */
export function attached(t: Trial, device: HostDevice) {
	const { iommu, cdev, id } = bound(t, device);
	const space = ioas(t, iommu);
	const { answer, id: hwpt } = attach(t, cdev, space);
	must(answer, "ATTACH_IOMMUFD_PT");
	return { iommu, cdev, id, space, hwpt };
}
