/**
 * An opened VFIO device.
 *
 * @module
 */
import { ALL_ONES_64, allOnes } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import type { DeviceReference } from "../host/location.ts";
import type { Iommu } from "../iommu/iommu.ts";
import type { AccessWidth, Kernel, Mapping } from "../kernel.ts";
import type { DmaBuf } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import { retry } from "../retry.ts";
import {
	VFIO_DEVICE_FLAGS_PCI,
	VFIO_DEVICE_FLAGS_PLATFORM,
	VFIO_DEVICE_FLAGS_RESET,
	VFIO_DEVICE_GET_INFO,
	VFIO_PCI_CONFIG_REGION_INDEX,
	VFIO_PCI_INTX_IRQ_INDEX,
	VFIO_PCI_MSIX_IRQ_INDEX,
	vfio_device_info,
} from "../uapi/vfio.ts";
import type { Container } from "./container.ts";
import type { DeviceFile } from "./device-file.ts";
import { exportDmaBuf } from "./dma-buf.ts";
import type { Group } from "./group.ts";
import { type HotResetDevice, hotReset, hotResetInfo } from "./hot-reset.ts";
import { setIoeventfd } from "./ioeventfd.ts";
import { type Irq, irqName, queryIrq } from "./irq.ts";
import { IrqSetup } from "./irq-setup.ts";
import type { DeviceKind } from "./kind.ts";
import { noteOpen } from "./open-devices.ts";
import { type OpenedBy, openFile } from "./open-file.ts";
import type { OpenOptions, PassedDevice } from "./open-options.ts";
import { queryRegion, type Region } from "./region.ts";
import { RegionAccess } from "./region-access.ts";
import { RegionMappings } from "./region-mappings.ts";
import { resetDevice } from "./reset.ts";
import type { MapOptions } from "./write-combining.ts";

/**
 * A device opened through VFIO: its regions, its interrupts, its resets.
 *
 * Everything it opened is given back by disposing it, in reverse order. Accesses to regions never throw, since a guest
 * makes them: one that fails reads all ones and is reported.
 *
 * @example
 * ```ts
 * const device = VfioDevice.open(kernel, "0000:05:00.0");
 * const vendor = device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, PCI_VENDOR_ID, 2);
 * device[Symbol.dispose]();
 * ```
 */
export class VfioDevice implements Disposable {
	readonly kernel: Kernel;
	/** Such as `0000:05:00.0`. */
	readonly name: string;
	/** The device's file descriptor, closed when the device is disposed. */
	readonly fd: number;
	/** Where its DMA goes; the devices of one address space share it. */
	readonly iommu: Iommu;
	/** Which way it was opened, and why. */
	readonly opened: OpenedBy;
	/** The number of its IOMMU group, where sysfs says it. */
	readonly groupId: number | undefined;
	/** Its IOMMU group, when it was opened through that. */
	readonly group: Group | undefined;
	/** The container that its group is in, when it was opened through that. */
	readonly container: Container | undefined;
	/** `VFIO_DEVICE_FLAGS_*` bits. */
	readonly flags: number;
	/** What it was opened as. */
	readonly kind: DeviceKind;
	/** Regions have the indices below this one. */
	readonly regionCount: number;
	/** Interrupts have the indices below this one. */
	readonly irqCount: number;
	/** Learns of each access that failed, with the device's name in the message. */
	onReport: (message: string) => void;

	readonly #file: DeviceFile;
	readonly #releases: Releases;
	readonly #regions: (Region | undefined)[] = [];
	readonly #irqs: (Irq | undefined)[] = [];
	readonly #access: RegionAccess;
	readonly #mappings: RegionMappings;
	readonly #irqSetup: IrqSetup;
	#open = true;

	private constructor(
		kernel: Kernel,
		file: DeviceFile,
		opened: OpenedBy,
		info: DeviceInfo,
		releases: Releases,
		options: OpenOptions,
	) {
		this.opened = opened;
		this.kernel = kernel;
		this.#file = file;
		this.name = file.identity.name;
		this.fd = file.fd;
		this.iommu = file.iommu;
		this.groupId = file.identity.groupId;
		this.group = file.group;
		this.container = file.container;
		this.flags = info.flags;
		this.kind = options.kind ?? "pci";
		this.regionCount = info.regions;
		this.irqCount = info.irqs;
		this.onReport = options.onReport ?? (() => {});
		this.#access = new RegionAccess(kernel, this.fd, this, (message) => this.onReport(message));
		this.#mappings = releases.use(new RegionMappings(kernel, this.fd, this, (message) => this.onReport(message)));
		this.#irqSetup = new IrqSetup(kernel, this.fd, this);
		this.#releases = releases.move();
	}

	/**
	 * Opens a device: through its IOMMU group and a container, or by its character device and iommufd. That is how it is
	 * done when `iommufd`, `ioas` or a descriptor is given, and also when the kernel has no other way, which is reported.
	 * What was opened is given back when a step fails.
	 *
	 * A descriptor that is passed belongs to the device once the kernel has bound it: it is closed with the device, or when
	 * a later step fails. Before that it is left as it was.
	 *
	 * @param reference such as `0000:05:00.0`, `{ sysfsdev: "/sys/bus/mdev/devices/<uuid>" }` or `{ fd: 5 }`
	 * @throws VfioError `malformed-address`, `invalid-argument`, `no-such-device`, `no-iommu-group`, `no-vfio`, `not-bound`, `no-permission`,
	 *   `group-not-viable`, `device-in-use`, `already-attached`, `unsupported-iommu`, `unassignable-device`, `kernel`
	 */
	static open(kernel: Kernel, reference: DeviceReference | PassedDevice, options: OpenOptions = {}): VfioDevice {
		const releases = new Releases();
		try {
			const { file, opened } = openFile(kernel, reference, options, releases);
			const info = deviceInfo(kernel, file.fd, file.identity.name, options.kind ?? "pci");
			releases.use(noteOpen(kernel, file.identity));
			return new VfioDevice(kernel, file, opened, info, releases, options);
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/**
	 * Whether its DMA snoops the processor's caches, so that none has to be flushed.
	 *
	 * @throws VfioError `kernel`
	 */
	get coherent(): boolean {
		return this.#file.coherent();
	}

	/** `VFIO_DEVICE_RESET` works. */
	get resettable(): boolean {
		return (this.flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
	}

	/**
	 * A region; asked of the kernel once. One that does not exist has size 0.
	 *
	 * @param index `VFIO_PCI_*_REGION_INDEX`, or of a device-specific region
	 * @throws VfioError `kernel`, `disposed`
	 */
	region(index: number): Region {
		const known = this.#regions[index];
		if (known) return known;
		this.#requireOpen("query a region of");
		const region = queryRegion(this.kernel, this.fd, index, this);
		this.#regions[index] = region;
		return region;
	}

	/**
	 * An interrupt index; asked of the kernel once. One that does not exist has count 0.
	 *
	 * @param index `VFIO_PCI_*_IRQ_INDEX`
	 * @throws VfioError `kernel`, `disposed`
	 */
	irq(index: number): Irq {
		const known = this.#irqs[index];
		if (known) return known;
		this.#requireOpen("query an interrupt of");
		const irq = queryIrq(this.kernel, this.fd, index, this);
		this.#irqs[index] = irq;
		return irq;
	}

	/** One read of that width. @param offset bytes in the region @returns unsigned; all ones, and a report, when it fails */
	readRegion(index: number, offset: number, width: AccessWidth): number {
		const region = this.#forAccess(index);
		return region ? this.#access.read(region, offset, width) : allOnes(width);
	}

	/** One write of that width; a report when it fails. @param offset bytes in the region */
	writeRegion(index: number, offset: number, width: AccessWidth, value: number): void {
		const region = this.#forAccess(index);
		if (region) this.#access.write(region, offset, width, value);
	}

	/** One 64-bit read; the kernel may split it in two. @returns all ones, and a report, when it fails */
	readRegion64(index: number, offset: number): bigint {
		const region = this.#forAccess(index);
		return region ? this.#access.read64(region, offset) : ALL_ONES_64;
	}

	/** One 64-bit write; the kernel may split it in two. A report when it fails. */
	writeRegion64(index: number, offset: number, value: bigint): void {
		const region = this.#forAccess(index);
		if (region) this.#access.write64(region, offset, value);
	}

	/** Many bytes. @returns how many were read: fewer at the region's end, or after a failure, which is reported */
	readBytes(index: number, offset: number, into: Uint8Array): number {
		const region = this.#forAccess(index);
		return region ? this.#access.readBytes(region, offset, into) : 0;
	}

	/**
	 * Maps a region, or a part of it, into this process.
	 *
	 * @param offset bytes in the region, page aligned
	 * @param length bytes; to the region's end when left out
	 * @returns dispose it to unmap; the device's disposal unmaps what is left
	 * @throws VfioError `mapping-failed`, `disposed`; `write-combining-refused` when that is required
	 * @example
	 * ```ts
	 * const doorbells = device.mapRegion(0, 0, 4096, { memoryType: "write-combining" });
	 * ```
	 */
	mapRegion(index: number, offset = 0, length?: number, options: MapOptions = {}): Mapping {
		this.#requireOpen("map a region of");
		return this.#mappings.map(this.region(index), offset, length, options);
	}

	/**
	 * Exports a part of a BAR as a file, which other drivers can import: an address space of iommufd maps it, so that other
	 * devices reach the BAR. Importers lose the memory, for good, whenever the device stops decoding memory, leaves D0 or is
	 * reset: the part must be exported anew then.
	 *
	 * @param index of the BAR, 0 to 5
	 * @param offset bytes in the BAR, page aligned
	 * @param length bytes, whole pages; to the BAR's end when left out
	 * @returns dispose it to close the file; the device does not
	 * @throws VfioError `no-dma-buf` when the kernel, or the device's driver in it, cannot do that; `invalid-argument` when
	 *   that is not a BAR, or not whole pages within it; `mapping-failed` when the kernel does not have the BAR as memory;
	 *   `kernel`, `disposed`
	 * @example
	 * ```ts
	 * const registers = device.exportDmaBuf(0, 0, 4096);
	 * console.log(registers.fd, registers.length);
	 * registers[Symbol.dispose]();
	 * ```
	 */
	exportDmaBuf(index: number, offset = 0, length?: number): DmaBuf {
		this.#requireOpen("export a BAR of");
		const region = this.region(index);
		return exportDmaBuf(this.kernel, this.fd, this, region, offset, length ?? region.size - offset);
	}

	/**
	 * Has the kernel write a register whenever an eventfd is signalled. {@link NO_EVENTFD} ends that.
	 *
	 * @param offset bytes in the region
	 * @throws VfioError `kernel`, `disposed`
	 */
	setIoeventfd(index: number, offset: number, width: AccessWidth, value: number, fd: number): void {
		this.#requireOpen("let an eventfd write a register of");
		setIoeventfd(this.kernel, this.fd, this, this.region(index), offset, width, value, fd);
	}

	/**
	 * Has vectors `start` and following signal these eventfds, and enables the interrupt when it is not. {@link NO_EVENTFD}
	 * switches a vector off.
	 *
	 * @returns 0; or, when the host has fewer vectors than asked for, how many it has, and nothing was set up
	 * @throws VfioError `interrupt-failed`, `disposed`
	 */
	setEventfds(index: number, start: number, fds: readonly number[]): number {
		this.#requireOpen("set up an interrupt of");
		return this.#irqSetup.eventfds("trigger", index, start, fds);
	}

	/** One vector's eventfd, or {@link NO_EVENTFD}. @returns as {@link setEventfds} @throws VfioError `interrupt-failed`, `disposed` */
	setEventfd(index: number, vector: number, fd: number): number {
		this.#requireOpen("set up an interrupt of");
		return this.#irqSetup.eventfd(index, vector, fd);
	}

	/** Disables an interrupt; one that does not exist is disabled. @throws VfioError `interrupt-failed`, `disposed` */
	disableIrq(index: number): void {
		this.#requireOpen("disable an interrupt of");
		if (this.irq(index).count > 0) this.#irqSetup.disable(index);
	}

	/** Fires a vector, as a self-test of the way to its eventfd. @throws VfioError `interrupt-failed`, `disposed` */
	triggerIrq(index: number, vector = 0): void {
		this.#requireOpen("trigger an interrupt of");
		this.#irqSetup.trigger(index, vector);
	}

	/** Masks an interrupt; Linux has that for INTx, and for the levels of a platform device. @throws VfioError `interrupt-failed`, `disposed` */
	maskIrq(index: number): void {
		this.#requireOpen("mask an interrupt of");
		this.#requireMaskable("mask", index);
		this.#irqSetup.mask(index);
	}

	/** Unmasks an interrupt; Linux has that for INTx, and for the levels of a platform device. @throws VfioError `interrupt-failed`, `disposed` */
	unmaskIrq(index: number): void {
		this.#requireOpen("unmask an interrupt of");
		this.#requireMaskable("unmask", index);
		this.#irqSetup.unmask(index);
	}

	/**
	 * Has an eventfd unmask an interrupt when it is signalled, or {@link NO_EVENTFD}.
	 *
	 * @param index INTx when left out
	 * @throws VfioError `interrupt-failed`, `disposed`
	 */
	setUnmaskEventfd(fd: number, index = VFIO_PCI_INTX_IRQ_INDEX): void {
		this.#requireOpen("set up an interrupt of");
		this.#irqSetup.eventfds("unmask", index, 0, [fd]);
	}

	/** Resets the function alone. @throws VfioError `reset-failed`, `disposed` */
	reset(): void {
		this.#requireOpen("reset");
		resetDevice(this.kernel, this.fd, this);
	}

	/** What a hot reset would reset, this function included. @throws VfioError `reset-failed`, `disposed` */
	hotResetInfo(): HotResetDevice[] {
		this.#requireOpen("hot reset");
		return hotResetInfo(this.kernel, this.fd, this.#file.identity);
	}

	/** Resets the slot or bus, with everything on it. @throws VfioError `reset-failed`, `disposed` */
	hotReset(): void {
		this.#requireOpen("hot reset");
		hotReset(this.kernel, this.fd, this.#file.identity);
	}

	/** Unmaps its regions, closes it, and gives back its group and container. */
	[Symbol.dispose](): void {
		this.#open = false;
		this.#releases[Symbol.dispose]();
	}

	/** The file descriptor's number may belong to something else once the device is closed. */
	#requireOpen(action: string): void {
		if (!this.#open)
			throw new VfioError("disposed", `Cannot ${action} ${this.name}: it is closed`, { device: this.name });
	}

	#requireMaskable(action: string, index: number): void {
		if (this.irq(index).maskable) return;
		const message = `Cannot ${action} ${irqName(index, this.kind)} of ${this.name}: the kernel does not support that for it`;
		throw new VfioError("interrupt-failed", message, { device: this.name });
	}

	#forAccess(index: number): Region | undefined {
		const known = this.#regions[index];
		if (known && this.#open) return known;
		try {
			this.#requireOpen("access a region of");
			return this.region(index);
		} catch (error) {
			this.onReport((error as Error).message);
			return undefined;
		}
	}
}

interface DeviceInfo {
	readonly flags: number;
	readonly regions: number;
	readonly irqs: number;
}

function deviceInfo(kernel: Kernel, fd: number, name: string, kind: DeviceKind): DeviceInfo {
	const info = vfio_device_info.create();
	info.argsz = vfio_device_info.size;
	try {
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_GET_INFO, info.bytes));
	} catch (cause) {
		throw new VfioError("kernel", `Cannot query ${name}: ${(cause as Error).message}`, { device: name, cause });
	}
	const refuse = (reason: string) =>
		new VfioError("unassignable-device", `Cannot use ${name}: ${reason}`, { device: name });
	const counts = { flags: info.flags, regions: info.num_regions, irqs: info.num_irqs };
	if (kind === "platform") {
		if ((info.flags & VFIO_DEVICE_FLAGS_PLATFORM) !== 0) return counts;
		throw refuse("the kernel says that it is not a platform device");
	}
	if ((info.flags & VFIO_DEVICE_FLAGS_PCI) === 0) throw refuse("the kernel says that it is not a PCI device");
	// Newer kernels add regions and interrupts at the end, so more than these is fine.
	const regions = VFIO_PCI_CONFIG_REGION_INDEX + 1;
	const irqs = VFIO_PCI_MSIX_IRQ_INDEX + 1;
	if (info.num_regions < regions)
		throw refuse(`it has ${info.num_regions} regions, a PCI device has at least ${regions}`);
	if (info.num_irqs < irqs) throw refuse(`it has ${info.num_irqs} interrupts, a PCI device has at least ${irqs}`);
	return counts;
}
