import type { Mapping, Memory } from "../../core/kernel.ts";
import { Releases } from "../../core/release.ts";
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE } from "../../core/uapi/fcntl.ts";
import { requestName, type VfioFileKind, vfioFileKind } from "../../core/uapi/requests.ts";
import * as vfio from "../../core/uapi/vfio.ts";
import { type Answer, answer, bytesOf, cString, hex, inWords, must, numberOf, unhex } from "./calls.ts";
import type { HostDescription, HostDevice } from "./host.ts";
import { Observations } from "./observations.ts";
import type { OtherProcess, SpawnOptions, Target, Version } from "./target.ts";

/** A page, bytes. */
export const PAGE = 4096;
/** The index of the region that is the config space. */
export const CONFIG = vfio.VFIO_PCI_CONFIG_REGION_INDEX;
/** The nodes of character devices, but for their numbers. */
const CDEV = "/dev/vfio/devices/vfio";
/** Where regions begin in a device's file. */
const REGION = 2 ** 40;

/** A device that is open, and what it was opened through. */
export interface Opened {
	readonly name: string;
	readonly container: number;
	readonly group: number;
	readonly fd: number;
}

/** A mapping request; what is left out makes a valid one. */
export interface MapRequest {
	readonly vaddr?: bigint;
	readonly iova?: bigint;
	readonly size?: bigint | number;
	readonly flags?: number;
	readonly argsz?: number;
}

/** An unmapping request. */
export interface UnmapRequest {
	readonly iova?: bigint;
	readonly size?: bigint | number;
	readonly flags?: number;
	readonly argsz?: number;
	readonly bitmap?: { readonly pgsize: bigint; readonly size: bigint; readonly data: bigint };
}

/** VFIO_DEVICE_SET_IRQS. */
export interface IrqRequest {
	readonly index: number;
	readonly flags: number;
	readonly start?: number;
	readonly count?: number;
	/** Descriptors, or booleans as bytes: what the data flag says. */
	readonly data?: readonly number[];
	readonly argsz?: number;
}

/** What one run of a case has in its hands: calls with short names, all of them written down, and everything given back at the end. */
export class Trial {
	readonly target: Target;
	readonly host: HostDescription;
	readonly observations = new Observations();
	readonly releases = new Releases();
	readonly failures: string[] = [];
	readonly #processes: OtherProcess[] = [];
	readonly #closed = new Set<number>();
	readonly #asynchronous: (() => Promise<unknown>)[] = [];

	constructor(target: Target, host: HostDescription) {
		this.target = target;
		this.host = host;
	}

	get version(): Version {
		return this.target.version;
	}

	/** What one of two versions answers. */
	by<T>(answers: Readonly<Record<Version, T>>): T {
		return answers[this.version];
	}

	// ---- judging ----

	/** A promise: a mismatch is noted, and the case goes on. */
	is(actual: unknown, expected: unknown, what = this.observations.last): void {
		const [is, should] = [inWords(actual), inWords(expected)];
		if (is !== should) this.failures.push(`${what}: ${is}, not ${should}`);
	}

	/** The same for a condition. */
	holds(condition: boolean, what: string): void {
		if (!condition) this.failures.push(what);
	}

	// ---- files ----

	open(path: string, flags = O_RDWR): Answer {
		const fd = answer(() => this.target.kernel.open(path, flags));
		// The numbers of character devices depend on what was bound before.
		const shown = path.startsWith(CDEV) ? `${CDEV}X` : path;
		this.observations.add("open", shown, typeof fd === "number" ? "fd" : fd);
		const kind = vfioFileKind(path);
		if (typeof fd === "number")
			this.own(fd, shown !== path ? "cdev" : kind === "device" ? (path.split("/").pop() ?? path) : kind);
		return fd;
	}

	/** A call that has no name here. @returns what it returned, or the error's name */
	attempt(call: string, words: string, make: () => number): Answer {
		const result = answer(make);
		this.observations.add(call, words, result);
		return result;
	}

	/** The node of a device's character device. */
	cdevPath(device: { readonly name: string }, bus = "pci"): string {
		const names = this.target.kernel.readDirectory(`/sys/bus/${bus}/devices/${device.name}/vfio-dev`);
		return `${CDEV}${names[0]?.slice("vfio".length)}`;
	}

	/** read(2). @returns hexadecimal digits, or the error's name */
	readAll(fd: number, length: number): string {
		const buffer = new Uint8Array(length);
		const count = answer(() => this.target.kernel.read(fd, buffer));
		const digits = typeof count === "number" ? hex(buffer.subarray(0, count)) : count;
		this.observations.add("read", `${this.observations.fd(fd)} len ${length}`, digits);
		return digits;
	}

	/** write(2). @param digits hexadecimal */
	writeAll(fd: number, digits: string): Answer {
		const result = answer(() => this.target.kernel.write(fd, unhex(digits)));
		this.observations.add("write", `${this.observations.fd(fd)} ${digits}`, result);
		return result;
	}

	close(fd: number): Answer {
		this.#closed.add(fd);
		const result = answer(() => this.target.kernel.close(fd)) ?? 0;
		this.observations.add("close", this.observations.fd(fd), result);
		return result;
	}

	/** ioctl(2). @param show what is recorded of the argument, and whether the bytes are afterwards */
	ioctl(
		fd: number,
		request: number,
		argument: Uint8Array | number = 0,
		kind: VfioFileKind = this.#kind(fd),
		show?: string,
		bytes = false,
	): Answer {
		const result = answer(() => this.target.kernel.ioctl(fd, request, argument));
		const words = show ?? (typeof argument === "number" ? String(argument) : hex(argument.subarray(0, 64)));
		const makesFd = request === vfio.VFIO_GROUP_GET_DEVICE_FD && kind === "group" && typeof result === "number";
		const after = bytes && typeof argument !== "number" ? hex(argument) : undefined;
		this.observations.add(requestName(request, kind), words, makesFd ? "fd" : result, after);
		return result;
	}

	/** pread(2) of a region. @returns hexadecimal digits, or the error's name */
	pread(fd: number, region: number, offset: number, length: number): string {
		const buffer = new Uint8Array(length);
		const count = answer(() => this.target.kernel.pread(fd, buffer, region * REGION + offset));
		const digits = typeof count === "number" ? hex(buffer.subarray(0, count)) : count;
		this.observations.add("pread", `region ${region} +0x${offset.toString(16)} len ${length}`, digits);
		return digits;
	}

	/** pwrite(2) of a region. @param digits hexadecimal */
	pwrite(fd: number, region: number, offset: number, digits: string): Answer {
		const result = answer(() => this.target.kernel.pwrite(fd, unhex(digits), region * REGION + offset));
		this.observations.add("pwrite", `region ${region} +0x${offset.toString(16)} ${digits}`, result);
		return result;
	}

	/** Reads a register of a region that can be read. */
	read(fd: number, region: number, offset: number, width: number): number {
		const digits = this.pread(fd, region, offset, width);
		if (digits.startsWith("E")) throw new Error(`${this.observations.last}: ${digits}`);
		return numberOf(unhex(digits));
	}

	/** Writes a register. */
	write(fd: number, region: number, offset: number, width: number, value: number): Answer {
		return this.pwrite(fd, region, offset, hex(bytesOf(value, width)));
	}

	/** mmap(2) of a region. @returns the mapping or the error's name */
	mmap(
		fd: number,
		region: number,
		offset: number,
		length: number,
		protection = PROT_READ | PROT_WRITE,
		flags = MAP_SHARED,
	): Mapping | string {
		const mapping = answer(() => this.target.kernel.mmap(fd, length, protection, flags, region * REGION + offset));
		const args = `region ${region} +0x${offset.toString(16)} size 0x${length.toString(16)} prot ${protection} flags ${flags}`;
		this.observations.add("mmap", args, typeof mapping === "string" ? mapping : "mapped");
		if (typeof mapping !== "string") this.releases.use(mapping);
		return mapping;
	}

	// ---- container and group ----

	container(): number {
		return must(this.open("/dev/vfio/vfio"), "open /dev/vfio/vfio");
	}

	group(device: HostDevice): number {
		this.bind(device);
		return must(this.open(`/dev/vfio/${device.group}`), `open group ${device.group}`);
	}

	setContainer(group: number, container: number): Answer {
		const words = this.observations.fd(container);
		return this.ioctl(group, vfio.VFIO_GROUP_SET_CONTAINER, bytesOf(container, 4), "group", words);
	}

	unsetContainer(group: number): Answer {
		return this.ioctl(group, vfio.VFIO_GROUP_UNSET_CONTAINER, 0, "group", "");
	}

	setIommu(container: number, type = vfio.VFIO_TYPE1v2_IOMMU): Answer {
		return this.ioctl(container, vfio.VFIO_SET_IOMMU, type, "container");
	}

	extension(container: number, extension: number): Answer {
		return this.ioctl(container, vfio.VFIO_CHECK_EXTENSION, extension, "container");
	}

	/** VFIO_GROUP_GET_STATUS. @returns the flags, or the error's name */
	status(group: number, argsz = vfio.vfio_group_status.size): Answer {
		const status = vfio.vfio_group_status.create();
		status.argsz = argsz;
		const result = this.ioctl(group, vfio.VFIO_GROUP_GET_STATUS, status.bytes, "group", `argsz ${argsz}`, true);
		return result === 0 ? status.flags : result;
	}

	/** VFIO_GROUP_GET_DEVICE_FD. */
	deviceFd(group: number, name: string): Answer {
		const words = name.length > 100 ? `${name.length} characters` : name;
		const fd = this.ioctl(group, vfio.VFIO_GROUP_GET_DEVICE_FD, cString(name), "group", words);
		if (typeof fd === "number") this.own(fd, "device");
		return fd;
	}

	/** Container, group and IOMMU of a device, opened and joined. */
	attach(device: HostDevice, type = vfio.VFIO_TYPE1v2_IOMMU): { container: number; group: number } {
		const container = this.container();
		const group = this.group(device);
		must(this.setContainer(group, container), "SET_CONTAINER");
		must(this.setIommu(container, type), "SET_IOMMU");
		return { container, group };
	}

	/** The device as well. */
	device(device: HostDevice, type = vfio.VFIO_TYPE1v2_IOMMU): Opened {
		const { container, group } = this.attach(device, type);
		return { name: device.name, container, group, fd: must(this.deviceFd(group, device.name), "GET_DEVICE_FD") };
	}

	// ---- memory and type 1 ----

	/** Memory for DMA. */
	buffer(length = PAGE, protection?: number): Memory {
		const memory = this.target.kernel.allocate(length, protection === undefined ? {} : { protection });
		this.observations.remember(memory);
		return this.releases.use(memory);
	}

	map(container: number, request: MapRequest): Answer {
		const view = vfio.vfio_iommu_type1_dma_map.create();
		view.argsz = request.argsz ?? vfio.vfio_iommu_type1_dma_map.size;
		view.flags = request.flags ?? vfio.VFIO_DMA_MAP_FLAG_READ | vfio.VFIO_DMA_MAP_FLAG_WRITE;
		view.vaddr = request.vaddr ?? 0n;
		view.iova = request.iova ?? 0n;
		view.size = BigInt(request.size ?? PAGE);
		const words = [
			...(request.argsz === undefined ? [] : [`argsz ${request.argsz}`]),
			`va=${this.observations.address(view.vaddr)} iova=0x${view.iova.toString(16)} size=0x${view.size.toString(16)} flags=${view.flags}`,
		].join(" ");
		return this.ioctl(container, vfio.VFIO_IOMMU_MAP_DMA, view.bytes, "container", words);
	}

	/** VFIO_IOMMU_UNMAP_DMA. @returns its answer, and the size that stands in the structure afterwards */
	unmap(container: number, request: UnmapRequest): { readonly answer: Answer; readonly size: number } {
		const { bitmap } = request;
		const view = vfio.vfio_iommu_type1_dma_unmap.create(bitmap ? vfio.vfio_bitmap.size : 0);
		view.argsz = request.argsz ?? view.bytes.length;
		view.flags = request.flags ?? 0;
		view.iova = request.iova ?? 0n;
		view.size = BigInt(request.size ?? PAGE);
		let words = `${request.argsz === undefined ? "" : `argsz ${request.argsz} `}iova=0x${view.iova.toString(16)} size=0x${view.size.toString(16)} flags=${view.flags}`;
		if (bitmap) {
			Object.assign(vfio.vfio_bitmap.view(view.bytes, vfio.vfio_iommu_type1_dma_unmap.size), bitmap);
			words += ` bitmap pgsize=0x${bitmap.pgsize.toString(16)} size=${bitmap.size} data=${this.observations.address(bitmap.data)}`;
		}
		const result = answer(() => this.target.kernel.ioctl(container, vfio.VFIO_IOMMU_UNMAP_DMA, view.bytes));
		this.observations.add("VFIO_IOMMU_UNMAP_DMA", words, result, `0x${view.size.toString(16)}`);
		return { answer: result, size: Number(view.size) };
	}

	/** Unmaps and expects that many bytes to be gone. */
	unmaps(container: number, request: UnmapRequest, size: number): void {
		const result = this.unmap(container, request);
		this.is([result.answer, result.size], [0, size]);
	}

	/** Unmaps and expects an error, with the structure as it was. */
	unmapFails(container: number, request: UnmapRequest, error: string): void {
		const result = this.unmap(container, request);
		this.is([result.answer, result.size], [error, Number(request.size ?? PAGE)]);
	}

	/** VFIO_IOMMU_GET_INFO with that much room. */
	iommuInfo(container: number, argsz: number, room = argsz): { readonly answer: Answer; readonly bytes: Uint8Array } {
		const bytes = new Uint8Array(Math.max(room, 4)).fill(0xa5);
		bytes.set(bytesOf(argsz, 4));
		const result = this.ioctl(container, vfio.VFIO_IOMMU_GET_INFO, bytes, "container", `argsz ${argsz}`, true);
		return { answer: result, bytes };
	}

	/** How many entries are left for mappings. */
	available(container: number): number {
		const { bytes } = this.iommuInfo(container, 1024);
		const entry = capabilities(bytes, vfio.vfio_iommu_type1_info.offsets.cap_offset).find(
			(one) => one.id === vfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
		);
		return entry ? numberOf(bytes.subarray(entry.at + 8, entry.at + 12)) : -1;
	}

	/** Where DMA may go, as VFIO_IOMMU_GET_INFO says. */
	iovaRanges(container: number): [first: bigint, last: bigint][] {
		const { bytes } = this.iommuInfo(container, 1024);
		const entry = capabilities(bytes, vfio.vfio_iommu_type1_info.offsets.cap_offset).find(
			(one) => one.id === vfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
		);
		if (!entry) return [];
		const view = new DataView(bytes.buffer, bytes.byteOffset + entry.at);
		return Array.from({ length: view.getUint32(8, true) }, (_, index) => [
			view.getBigUint64(16 + 16 * index, true),
			view.getBigUint64(24 + 16 * index, true),
		]);
	}

	/** VFIO_IOMMU_DIRTY_PAGES, START or STOP or whatever. */
	dirty(container: number, flags: number, argsz = 8): Answer {
		const bytes = new Uint8Array(8);
		bytes.set(bytesOf(argsz, 4));
		bytes.set(bytesOf(flags, 4), 4);
		return this.ioctl(container, vfio.VFIO_IOMMU_DIRTY_PAGES, bytes, "container", `argsz ${argsz} flags ${flags}`);
	}

	/** VFIO_IOMMU_DIRTY_PAGES, GET_BITMAP. */
	dirtyBitmap(
		container: number,
		request: {
			iova: bigint;
			size: number | bigint;
			bitmap: Memory;
			bitmapSize?: number;
			pgsize?: number;
			argsz?: number;
		},
	): Answer {
		const get = vfio.vfio_iommu_type1_dirty_bitmap_get.create();
		get.iova = request.iova;
		get.size = BigInt(request.size);
		get.bitmap_pgsize = BigInt(request.pgsize ?? PAGE);
		get.bitmap_size = BigInt(request.bitmapSize ?? 8);
		get.bitmap_data = request.bitmap.address;
		const argsz = request.argsz ?? 48;
		const bytes = new Uint8Array(48);
		bytes.set(bytesOf(argsz, 4));
		bytes.set(bytesOf(vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, 4), 4);
		bytes.set(get.bytes, 8);
		const words = `argsz ${argsz} GET iova=0x${get.iova.toString(16)} size=0x${get.size.toString(16)} pgsize=${get.bitmap_pgsize} bitmap size=${get.bitmap_size}`;
		const result = answer(() => this.target.kernel.ioctl(container, vfio.VFIO_IOMMU_DIRTY_PAGES, bytes));
		this.observations.add("VFIO_IOMMU_DIRTY_PAGES", words, result, hex(request.bitmap.bytes.subarray(0, 16)));
		return result;
	}

	// ---- device ----

	deviceInfo(fd: number, argsz = vfio.vfio_device_info.size): { readonly answer: Answer; readonly bytes: Uint8Array } {
		const bytes = new Uint8Array(vfio.vfio_device_info.size);
		bytes.set(bytesOf(argsz, 4));
		const result = this.ioctl(fd, vfio.VFIO_DEVICE_GET_INFO, bytes, "device", `argsz ${argsz}`, true);
		return { answer: result, bytes };
	}

	/** VFIO_DEVICE_GET_REGION_INFO. */
	regionInfo(fd: number, index: number, argsz = 32, capOffset = 0) {
		const info = vfio.vfio_region_info.create(Math.max(0, argsz - 32));
		info.argsz = argsz;
		info.index = index;
		info.cap_offset = capOffset;
		const words = `region ${index} argsz ${argsz}${capOffset ? ` cap_offset ${capOffset}` : ""}`;
		const result = this.ioctl(fd, vfio.VFIO_DEVICE_GET_REGION_INFO, info.bytes, "device", words, true);
		return { answer: result, info, size: Number(info.size), flags: info.flags };
	}

	/** VFIO_DEVICE_GET_IRQ_INFO. */
	irqInfo(fd: number, index: number, argsz = 16) {
		const info = vfio.vfio_irq_info.create();
		info.argsz = argsz;
		info.index = index;
		const words = `index ${index} argsz ${argsz}`;
		const result = this.ioctl(fd, vfio.VFIO_DEVICE_GET_IRQ_INFO, info.bytes, "device", words, true);
		return { answer: result, flags: info.flags, count: info.count };
	}

	/** VFIO_DEVICE_SET_IRQS. */
	setIrqs(fd: number, request: IrqRequest): Answer {
		const { data = [] } = request;
		const width =
			request.flags & vfio.VFIO_IRQ_SET_DATA_EVENTFD ? 4 : request.flags & vfio.VFIO_IRQ_SET_DATA_BOOL ? 1 : 4;
		const set = vfio.vfio_irq_set.create(data.length * width);
		set.argsz = request.argsz ?? vfio.vfio_irq_set.size + data.length * width;
		set.flags = request.flags;
		set.index = request.index;
		set.start = request.start ?? 0;
		set.count = request.count ?? data.length;
		for (const [index, value] of data.entries())
			set.bytes.set(bytesOf(BigInt.asUintN(32, BigInt(value)), width), vfio.vfio_irq_set.size + index * width);
		const shown = data.map((value) => this.observations.fd(value));
		const words = `${request.argsz === undefined ? "" : `argsz ${request.argsz} `}index ${set.index} flags 0x${set.flags.toString(16)} start ${set.start} count ${set.count} data [${shown}]`;
		return this.ioctl(fd, vfio.VFIO_DEVICE_SET_IRQS, set.bytes, "device", words);
	}

	/** Gives vectors their eventfds. */
	trigger(fd: number, index: number, fds: readonly number[], start = 0): Answer {
		return this.setIrqs(fd, { index, flags: EVENTFD | TRIGGER, start, data: fds });
	}

	/** Turns an interrupt index off. */
	disable(fd: number, index: number): Answer {
		return this.setIrqs(fd, { index, flags: NONE | TRIGGER, count: 0 });
	}

	/** VFIO_DEVICE_FEATURE. */
	feature(fd: number, flags: number, data: Uint8Array = new Uint8Array(0), argsz = 8 + data.length): Answer {
		const feature = vfio.vfio_device_feature.create(data.length);
		feature.argsz = argsz;
		feature.flags = flags;
		feature.bytes.set(data, 8);
		const result = this.ioctl(fd, vfio.VFIO_DEVICE_FEATURE, feature.bytes, "device", featureWords(flags, argsz));
		return result;
	}

	/** VFIO_DEVICE_IOEVENTFD. */
	ioeventfd(
		fd: number,
		request: { flags: number; region?: number; offset?: number; data?: bigint; eventfd: number; argsz?: number },
	): Answer {
		const { region = 0, offset = 0, data = 0n, eventfd } = request;
		const view = vfio.vfio_device_ioeventfd.create();
		view.argsz = request.argsz ?? vfio.vfio_device_ioeventfd.size;
		view.flags = request.flags;
		view.offset = BigInt(region * REGION + offset);
		view.data = data;
		view.fd = eventfd;
		const words = `argsz ${view.argsz} flags ${view.flags} region ${region} +0x${offset.toString(16)} data ${data} fd ${this.observations.fd(eventfd)}`;
		return this.ioctl(fd, vfio.VFIO_DEVICE_IOEVENTFD, view.bytes, "device", words);
	}

	// ---- eventfds ----

	eventfd(initial = 0): number {
		const fd = this.target.kernel.eventfd(initial);
		this.own(fd, "eventfd");
		return fd;
	}

	/** Reads an eventfd. @returns its count, 0 when nothing was signalled */
	count(fd: number): number {
		const count = this.#count(fd);
		this.observations.add("count", this.observations.fd(fd), count);
		return count;
	}

	/** Lets an eventfd be signalled, for a second at most. @returns its count */
	async signalled(fd: number, limit = 1000): Promise<number> {
		let count = 0;
		for (let waited = 0; waited <= limit && count === 0; waited += 5) {
			count = this.#count(fd);
			if (count === 0) await this.target.sleep(5);
		}
		this.observations.add("count", this.observations.fd(fd), count);
		return count;
	}

	/** Sees to it that nothing more comes. @returns the count after a while */
	async quiet(fd: number): Promise<number> {
		await this.target.sleep(60);
		return this.count(fd);
	}

	/** Signals an eventfd. */
	signal(fd: number): void {
		this.target.kernel.write(fd, bytesOf(1, 8));
	}

	#count(fd: number): number {
		const buffer = new Uint8Array(8);
		const result = answer(() => this.target.kernel.read(fd, buffer));
		return typeof result === "number" ? numberOf(buffer) : 0;
	}

	/** Makes calls of which nothing is written down. */
	quietly<T>(calls: () => T): T {
		const { list } = this.observations;
		const before = list.length;
		try {
			return calls();
		} finally {
			list.length = before;
		}
	}

	/** Waits for something, for two seconds at most. */
	async until(condition: () => boolean, what: string, limit = 2000): Promise<void> {
		for (let waited = 0; !condition(); waited += 5) {
			if (waited > limit) {
				this.failures.push(`${what}: not within ${limit} ms`);
				return;
			}
			await this.target.sleep(5);
		}
	}

	async sleep(milliseconds: number): Promise<void> {
		await this.target.sleep(milliseconds);
	}

	// ---- other observers ----

	/** A file's text, without the last line feed; or the error's name. */
	text(path: string): string {
		const bytes = answer(() => this.target.kernel.readFile(path));
		const text = typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes).replace(/\n$/, "");
		return text;
	}

	/** The same, as an observation. */
	show(path: string): string {
		const text = this.text(path);
		this.observations.add("read", path, text);
		return text;
	}

	/** Writes a file of sysfs. @returns 0 or the error's name */
	echo(text: string, path: string): Answer {
		const result = answer(() => this.target.kernel.writeFile(path, text)) ?? 0;
		this.observations.add("echo", `${JSON.stringify(text)} > ${path}`, result);
		return result;
	}

	/** What a link points to: its last part, or the error's name. */
	link(path: string): string {
		return (
			answer(() => this.target.kernel.readLink(path))
				.split("/")
				.pop() ?? ""
		);
	}

	/** The driver a device has. */
	driver(name: string): string | undefined {
		const link = this.link(`/sys/bus/pci/devices/${name}/driver`);
		return link.startsWith("E") ? undefined : link;
	}

	/** Bytes of the hardware's config space, as sysfs shows them. */
	hardware(name: string, offset: number, length: number): string {
		const digits = hex(
			this.target.kernel.readFile(`/sys/bus/pci/devices/${name}/config`).subarray(offset, offset + length),
		);
		this.observations.add("sysfs config", `${name} +0x${offset.toString(16)} len ${length}`, digits);
		return digits;
	}

	/** Whether there is such a file. */
	exists(path: string): boolean {
		const at = path.lastIndexOf("/");
		const names = answer(() => this.target.kernel.readDirectory(path.slice(0, at)));
		return typeof names !== "string" && names.includes(path.slice(at + 1));
	}

	/** Locked memory of this process, KiB. */
	get locked(): number {
		return lockedOf(this.text("/proc/self/status"));
	}

	// ---- drivers ----

	/** Sees to it that a device is on vfio-pci, and its group viable. It stays there: binding takes long, and no case minds. */
	bind(device: HostDevice): void {
		for (const member of this.host.members(device.group)) {
			if (member.name === device.name) this.give(member.name, "vfio-pci");
			else if (![undefined, "vfio-pci", "pcieport", "pci-stub"].includes(this.driver(member.name)))
				this.give(member.name, undefined);
		}
	}

	/** Gives a device that driver, or none. */
	give(name: string, driver: string | undefined): void {
		const now = this.driver(name);
		if (now === driver) return;
		const path = `/sys/bus/pci/devices/${name}`;
		const kernel = this.target.kernel;
		if (now !== undefined) kernel.writeFile(`/sys/bus/pci/drivers/${now}/unbind`, name);
		kernel.writeFile(`${path}/driver_override`, `${driver ?? ""}\n`);
		if (driver !== undefined) kernel.writeFile(`/sys/bus/pci/drivers/${driver}/bind`, name);
	}

	/** The same until the end of the case. */
	lend(name: string, driver: string | undefined): void {
		const before = this.driver(name);
		this.releases.defer(() => this.give(name, before));
		this.give(name, driver);
	}

	/** Sets a file of sysfs until the end of the case. */
	setting(path: string, value: string): void {
		const before = this.text(path);
		this.releases.defer(() => this.target.kernel.writeFile(path, `${before}\n`));
		this.target.kernel.writeFile(path, value);
	}

	// ---- processes ----

	async spawn(options: SpawnOptions = {}): Promise<OtherProcess> {
		const process = await this.target.spawn(options);
		this.#processes.push(process);
		return process;
	}

	/** Runs something at the very end, after everything else was given back. */
	finally(work: () => Promise<unknown>): void {
		this.#asynchronous.push(work);
	}

	/** Gives everything back. */
	async end(): Promise<void> {
		for (const process of this.#processes) await process.kill();
		try {
			this.releases[Symbol.dispose]();
		} finally {
			for (const work of this.#asynchronous.reverse()) await work();
		}
	}

	/** A descriptor that is closed at the end, and what it is called. */
	own(fd: number, kind: string): void {
		this.observations.named(fd, kind);
		this.#closed.delete(fd);
		this.releases.defer(() => {
			if (this.#closed.has(fd)) return;
			this.#closed.add(fd);
			this.target.kernel.close(fd);
		});
	}

	#kind(fd: number): VfioFileKind {
		const name = this.observations.fd(fd);
		if (name.startsWith("iommufd")) return "iommufd";
		return name.startsWith("container") ? "container" : name.startsWith("group") ? "group" : "device";
	}
}

export const NONE = vfio.VFIO_IRQ_SET_DATA_NONE;
export const BOOL = vfio.VFIO_IRQ_SET_DATA_BOOL;
export const EVENTFD = vfio.VFIO_IRQ_SET_DATA_EVENTFD;
export const MASK = vfio.VFIO_IRQ_SET_ACTION_MASK;
export const UNMASK = vfio.VFIO_IRQ_SET_ACTION_UNMASK;
export const TRIGGER = vfio.VFIO_IRQ_SET_ACTION_TRIGGER;

/** A capability of a chain. */
export interface ChainEntry {
	readonly id: number;
	readonly version: number;
	readonly at: number;
	readonly next: number;
}

/** The capabilities of an information structure. @param field where its `cap_offset` is */
export function capabilities(bytes: Uint8Array, field: number): ChainEntry[] {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	const chain: ChainEntry[] = [];
	for (let at = view.getUint32(field, true); at !== 0 && chain.length < 16; at = chain.at(-1)?.next ?? 0) {
		const [id, version, next] = [view.getUint16(at, true), view.getUint16(at + 2, true), view.getUint32(at + 4, true)];
		chain.push({ id, version, at, next });
	}
	return chain;
}

/** VmLck of /proc/self/status, KiB. */
export function lockedOf(status: string): number {
	return Number(/^VmLck:\s*(\d+)/m.exec(status)?.[1]);
}

function featureWords(flags: number, argsz: number): string {
	const names = [
		flags & vfio.VFIO_DEVICE_FEATURE_PROBE ? "PROBE|" : "",
		flags & vfio.VFIO_DEVICE_FEATURE_GET ? "GET|" : "",
		flags & vfio.VFIO_DEVICE_FEATURE_SET ? "SET|" : "",
	].join("");
	return `argsz ${argsz} ${names}0x${(flags & ~0x70000).toString(16)}`;
}
