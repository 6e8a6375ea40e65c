import { O_RDWR } from "../../core/uapi/fcntl.ts";
import * as vfio from "../../core/uapi/vfio.ts";
import { type Answer, bytesOf, must, numberOf, unhex } from "./calls.ts";
import type { Trial } from "./trial.ts";

/** A mediated device that exists until the end of the case. */
export interface Mediated {
	/** Its name. */
	readonly uuid: string;
	readonly group: number;
}

/** The same, opened. */
export interface OpenMediated extends Mediated {
	readonly container: number;
	readonly fd: number;
}

const { VFIO_DEVICE_FEATURE_GET: GET, VFIO_DEVICE_FEATURE_SET: SET } = vfio;

/** The name of the n-th device of a case. */
export function uuidOf(n: number): string {
	return `83b8f4f2-509f-382f-3c1e-e6bfe0fa1${String(n).padStart(3, "0")}`;
}

/** The file that makes devices of a type. */
export function createFile(type: string, parent = "mtty"): string {
	return `/sys/class/mdev_bus/${parent}/mdev_supported_types/${type}/create`;
}

/** Makes a device. @returns 0 or the error's name */
export function create(t: Trial, type: string, uuid: string): Answer {
	const result = t.echo(uuid, createFile(type));
	const file = `/sys/bus/mdev/devices/${uuid.trim().toLowerCase()}/remove`;
	if (result === 0)
		t.releases.defer(() => {
			if (t.exists(file)) t.target.kernel.writeFile(file, "1");
		});
	return result;
}

/** A new mtty device. @param n which of the case */
export function mttyDevice(t: Trial, ports = 1, n = 1): Mediated {
	const uuid = uuidOf(n);
	const made = create(t, `mtty-${ports}`, uuid);
	if (made !== 0) throw new Error(`create ${uuid}: ${made}`);
	return { uuid, group: Number(t.link(`/sys/bus/mdev/devices/${uuid}/iommu_group`)) };
}

/** A new mtty device, opened in a container of its own. */
export function openMtty(t: Trial, ports = 1, n = 1): OpenMediated {
	const device = mttyDevice(t, ports, n);
	const container = t.container();
	const group = must(t.open(`/dev/vfio/${device.group}`, O_RDWR), "open the group");
	must(t.setContainer(group, container), "SET_CONTAINER");
	must(t.setIommu(container), "SET_IOMMU");
	return { ...device, container, fd: must(t.deviceFd(group, device.uuid), "GET_DEVICE_FD") };
}

/** The character device of a new mtty device, opened. */
export function openMttyCdev(t: Trial): number {
	const { uuid } = mttyDevice(t);
	return must(t.open(t.cdevPath({ name: uuid }, "mdev"), O_RDWR), "open the character device");
}

/** Bytes behind VFIO_DEVICE_FEATURE's header, as the kernel leaves them. */
export function featureData(
	t: Trial,
	fd: number,
	flags: number,
	data: Uint8Array,
	argsz = 8 + data.length,
): { readonly answer: Answer; readonly data: Uint8Array } {
	const feature = vfio.vfio_device_feature.create(data.length);
	feature.argsz = argsz;
	feature.flags = flags;
	feature.bytes.set(data, 8);
	const words = `argsz ${argsz} flags 0x${flags.toString(16)}`;
	const answer = t.ioctl(fd, vfio.VFIO_DEVICE_FEATURE, feature.bytes, "device", words);
	return { answer, data: feature.bytes.subarray(8) };
}

/** VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, GET. @returns state and descriptor */
export function migrationState(t: Trial, fd: number): [state: number, stream: number] {
	const got = featureData(t, fd, GET | vfio.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, new Uint8Array(8));
	if (got.answer !== 0) throw new Error(`MIG_DEVICE_STATE: ${got.answer}`);
	const state = vfio.vfio_device_feature_mig_state.view(got.data);
	return [state.device_state, state.data_fd];
}

/** The same, SET. @returns the stream's descriptor; -1 when there is none */
export function migrate(t: Trial, fd: number, state: number): { readonly answer: Answer; readonly stream: number } {
	const wanted = vfio.vfio_device_feature_mig_state.create();
	wanted.device_state = state;
	wanted.data_fd = 77;
	const set = featureData(t, fd, SET | vfio.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, wanted.bytes);
	const stream = vfio.vfio_device_feature_mig_state.view(set.data).data_fd;
	if (set.answer === 0 && stream >= 0) t.own(stream, "stream");
	return { answer: set.answer, stream };
}

/** VFIO_MIG_GET_PRECOPY_INFO. */
export function precopyInfo(t: Trial, stream: number, argsz = vfio.vfio_precopy_info.size) {
	const info = vfio.vfio_precopy_info.create();
	info.argsz = argsz;
	const answer = t.ioctl(stream, vfio.VFIO_MIG_GET_PRECOPY_INFO, info.bytes, "device", `argsz ${argsz}`, true);
	return { answer, initial: Number(info.initial_bytes), dirty: Number(info.dirty_bytes) };
}

/** One register of a port. */
export function readPort(t: Trial, fd: number, offset: number, port = 0): number {
	return numberOf(unhex(t.pread(fd, port, offset, 1)));
}

/** Sends bytes, one after another. */
export function send(t: Trial, fd: number, bytes: readonly number[], port = 0): void {
	for (const byte of bytes) t.write(fd, port, 0, 1, byte);
}

/** Takes what has arrived. */
export function receive(t: Trial, fd: number, port = 0): number[] {
	const bytes: number[] = [];
	while (bytes.length < 32 && (readPort(t, fd, 5, port) & 1) !== 0) bytes.push(readPort(t, fd, 0, port));
	return bytes;
}

/** A structure of DMA logging with its ranges. */
export function loggingControl(pageSize: bigint, count: number, ranges: bigint): Uint8Array {
	const control = vfio.vfio_device_feature_dma_logging_control.create();
	Object.assign(control, { page_size: pageSize, num_ranges: count, ranges });
	return control.bytes;
}

/** Ranges for {@link loggingControl}, one after another. */
export function rangeBytes(...ranges: readonly (readonly [iova: bigint, length: bigint])[]): Uint8Array {
	return Uint8Array.from(ranges.flatMap(([iova, length]) => [...bytesOf(iova, 8), ...bytesOf(length, 8)]));
}
