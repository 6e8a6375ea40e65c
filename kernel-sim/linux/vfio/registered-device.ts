/**
 * VFIO's core record of a device: how often it is open, and what happens when its driver wants it back.
 *
 * @module
 */
import type { Clock } from "../../../core/kernel.ts";
import { Releases } from "../../../core/release.ts";
import { EBUSY, EINVAL, ENODEV, EPERM } from "../../../core/uapi/errno.ts";
import type { OpenFile } from "../file.ts";
import type { IommufdBinding } from "../iommufd/binding.ts";
import { IommufdDevice } from "../iommufd/device.ts";
import type { IommufdFile } from "../iommufd/file.ts";
import { Sleep } from "../sleep.ts";
import { CdevFile } from "./cdev-file.ts";
import type { VfioDeviceOps } from "./device.ts";
import type { EmulatedDma } from "./emulated-dma.ts";
import type { VfioGroup } from "./group.ts";

/** How often the user is asked again to let go of the device, nanoseconds. */
const REQUEST_INTERVAL = 10_000_000_000;

/** What a device needs of its kernel. */
export interface DeviceContext {
	readonly clock: Clock;
	readonly version: "6.12" | "7.2";
	readonly hasCharacterDevices: boolean;
}

/** A device in a group. Every file of it shares the one open device. */
export class RegisteredDevice {
	readonly ops: VfioDeviceOps;
	readonly group: VfioGroup;
	/** Its number in /sys/.../vfio-dev. */
	readonly index: number;
	readonly version: "6.12" | "7.2";
	/** The kernel gives devices character devices, which can be bound to an open /dev/iommu. */
	readonly hasCharacterDevices: boolean;
	readonly #clock: Clock;
	/** Files of its character device, bound or not, and of the open device: they keep its driver. */
	#files = 0;
	#openCount = 0;
	#binding: IommufdBinding | undefined;
	/** It is open through its character device. */
	#exclusive = false;
	/** It is open on /dev/iommu, and has no IOMMU. */
	#unbound = false;
	#leaving: Sleep | undefined;
	#nextRequest: Disposable | undefined;

	constructor(ops: VfioDeviceOps, group: VfioGroup, index: number, context: DeviceContext) {
		this.ops = ops;
		this.group = group;
		this.index = index;
		this.#clock = context.clock;
		this.version = context.version;
		this.hasCharacterDevices = context.hasCharacterDevices;
	}

	/** How many files of the open device there are. */
	get openCount(): number {
		return this.#openCount;
	}

	/** What it is bound to while it is open, unless that is a container. */
	get binding(): IommufdBinding | undefined {
		return this.#binding;
	}

	/** Whether it is open through its character device. */
	get exclusive(): boolean {
		return this.#exclusive;
	}

	/** Its character device. */
	get path(): string {
		return `/dev/vfio/devices/vfio${this.index}`;
	}

	/** What /proc/self/fdinfo shows of each of its descriptors, bound or not. */
	get fdinfo(): string {
		return this.version === "6.12" ? "" : `vfio-device-syspath: ${this.ops.device.syspath}\n`;
	}

	/** VFIO_GROUP_GET_DEVICE_FD: opens it, or opens it once more. @returns -errno when it cannot be */
	open(): OpenFile | number {
		if (this.#openCount === 0) {
			const { iommufd } = this.group;
			const opened = iommufd ? this.#openOnIommufd(iommufd) : this.#openInContainer();
			if (opened < 0) return opened;
		}
		return this.#file();
	}

	/** open(2) of its character device. */
	openCdev(): OpenFile {
		this.#files++;
		const file = new CdevFile(this.path, this);
		file.whenReleased(() => this.#gone());
		return file;
	}

	/** Whether a file of the character device can be bound. @param bound this one is already */
	mayBind(bound: boolean): number {
		if (this.group.isOpen) return -EBUSY;
		return bound ? -EINVAL : 0;
	}

	/** VFIO_DEVICE_BIND_IOMMUFD: opens it. @returns the open device, or -errno; -EINVAL when another file has it */
	bind(file: IommufdFile): OpenFile | number {
		if (this.#openCount > 0) return -EINVAL;
		const opened = this.#openBound(file);
		if (opened < 0) return opened;
		this.#exclusive = true;
		this.group.exclusiveUsers++;
		return this.#file();
	}

	#openInContainer(): number {
		const used = this.group.use();
		if (used < 0) return used;
		return this.#openOr(() => this.group.unuse(), this.group.container?.iommu?.dma);
	}

	/** The first open. When it fails, or a device model throws, what was taken for it is given back. */
	#openOr(undo: () => void, dma?: EmulatedDma): number {
		let opened = -ENODEV;
		try {
			opened = this.ops.open(dma);
			return opened;
		} finally {
			if (opened < 0) undo();
		}
	}

	#openOnIommufd(file: IommufdFile): number {
		if (!this.group.iommuGroup.noIommu) return this.#openBound(file) || this.#attachCompatible(file);
		// Who has made an address space expects that something is translated.
		if (file.context.compatible) return -EPERM;
		const opened = this.ops.open();
		this.#unbound = opened === 0;
		return opened;
	}

	#openBound(file: IommufdFile): number {
		const binding = this.ops.bindIommufd?.(file) ?? IommufdDevice.bindTo(file, this.ops.device);
		if (typeof binding === "number") return binding;
		const opened = this.#openOr(() => binding.unbind());
		if (opened === 0) this.#binding = binding;
		return opened;
	}

	/** Through a group it gets the address space of VFIO's own requests. */
	#attachCompatible({ context }: IommufdFile): number {
		const ioas = context.compatible;
		const attached = ioas ? (this.#binding?.attach(ioas.id) ?? -ENODEV) : -ENODEV;
		if (attached < 0) {
			this.ops.close();
			this.#unbind();
		}
		return Math.min(attached, 0);
	}

	#unbind(): void {
		const binding = this.#binding;
		this.#binding = undefined;
		binding?.unbind();
	}

	#file(): OpenFile {
		this.#openCount++;
		this.#files++;
		const file = this.ops.file(this);
		file.coherent = this.group.coherent;
		file.whenReleased(() => this.#fileReleased());
		return file;
	}

	/** The driver leaves: asks the user for the device, and goes on asking. @returns a sleep until it is closed, or 0 */
	leave(): number | Sleep {
		if (this.#files === 0) return 0;
		this.#leaving = new Sleep();
		this.#request(0);
		return this.#leaving;
	}

	#request(count: number): void {
		this.#nextRequest = this.#clock.timer(REQUEST_INTERVAL, () => this.#request(count + 1));
		this.ops.request?.(count);
	}

	#fileReleased(): void {
		const releases = new Releases();
		releases.defer(() => this.#gone());
		if (--this.#openCount === 0) {
			// A device model that throws while it is reset must not leave the group in use for ever.
			releases.defer(() => this.#closed());
			releases.defer(() => this.ops.close());
		}
		releases[Symbol.dispose]();
	}

	/** What it was opened with is given back. */
	#closed(): void {
		if (this.#exclusive) this.group.exclusiveUsers--;
		this.#exclusive = false;
		if (this.#binding) this.#unbind();
		else if (!this.#unbound) this.group.unuse();
		this.#unbound = false;
	}

	#gone(): void {
		if (--this.#files > 0) return;
		this.#nextRequest?.[Symbol.dispose]();
		this.#leaving?.wake();
	}
}
