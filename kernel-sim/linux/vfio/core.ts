/**
 * VFIO's core: which devices its drivers offer, in which groups, and the nodes in /dev/vfio.
 *
 * @module
 */
import type { Clock } from "../../../core/kernel.ts";
import { ENODEV } from "../../../core/uapi/errno.ts";
import { type FileSystem, parentOf, relativeLink } from "../filesystem.ts";
import type { IommuGroup } from "../iommu-group.ts";
import { IommufdFile } from "../iommufd/file.ts";
import type { IommufdPlatform } from "../iommufd/platform.ts";
import { andThen, type Sleep } from "../sleep.ts";
import { Container, ContainerFile } from "./container.ts";
import type { VfioDeviceOps } from "./device.ts";
import { VfioGroup } from "./group.ts";
import { RegisteredDevice } from "./registered-device.ts";
import type { Type1Platform } from "./type1.ts";

const DIRECTORY = "/dev/vfio";
/** Leads to every device of VFIO by the name of its character device. */
const CLASS = "/sys/class/vfio-dev";
/** The major number of character devices. */
const CDEV_MAJOR = 511;

/** What VFIO knows. */
export class Vfio {
	/** Containers that are open or have groups in them. */
	readonly containers = new Set<Container>();
	readonly #platform: Type1Platform;
	readonly #files: FileSystem;
	readonly #clock: Clock;
	readonly #groups = new Map<number, VfioGroup>();
	readonly #devices = new Map<VfioDeviceOps, RegisteredDevice>();
	/** Numbers that are taken, by devices whose driver still waits to leave as well. */
	readonly #indexes = new Set<number>();
	readonly #iommufd: IommufdPlatform | undefined;

	/** @param iommufd undefined where the kernel has neither /dev/iommu nor character devices of VFIO's */
	constructor(platform: Type1Platform, files: FileSystem, clock: Clock, iommufd?: IommufdPlatform) {
		this.#platform = platform;
		this.#iommufd = iommufd;
		this.#files = files;
		this.#clock = clock;
	}

	/** The module is loaded: containers can be opened. */
	load(): void {
		const iommufd = this.#iommufd;
		const path = `${DIRECTORY}/vfio`;
		this.#files.device(path, 0o666, () =>
			iommufd?.standsForContainers
				? new IommufdFile(iommufd, path)
				: new ContainerFile(new Container(this.#platform, this.containers)),
		);
		if (iommufd) this.#files.device("/dev/iommu", 0o660, () => new IommufdFile(iommufd));
	}

	/** The groups that have devices, by id. */
	get groups(): ReadonlyMap<number, VfioGroup> {
		return this.#groups;
	}

	/** The record of a device, while its driver offers it. */
	device(ops: VfioDeviceOps): RegisteredDevice | undefined {
		return this.#devices.get(ops);
	}

	/** A driver offers a device: it can be opened through its group from now on. @returns 0 */
	register(ops: VfioDeviceOps, iommuGroup: IommuGroup): number {
		let group = this.#groups.get(iommuGroup.id);
		if (!group) {
			const created = new VfioGroup(iommuGroup, this.#platform.enforcesCoherency);
			group = created;
			this.#groups.set(iommuGroup.id, created);
			this.#files.device(group.path, 0o600, (process) => created.open(process));
		}
		let index = 0;
		while (this.#indexes.has(index)) index++;
		this.#indexes.add(index);
		const device = new RegisteredDevice(ops, group, index, {
			clock: this.#clock,
			version: this.#platform.version,
			hasCharacterDevices: this.#iommufd !== undefined,
		});
		this.#devices.set(ops, device);
		group.members++;
		group.devices.push(device);
		const directory = `${ops.device.syspath}/vfio-dev/vfio${device.index}`;
		this.#files.directory(directory);
		const link = `${CLASS}/vfio${device.index}`;
		this.#files.link(link, relativeLink(link, directory));
		if (this.#iommufd && !iommuGroup.noIommu) {
			this.#files.text(`${directory}/dev`, `${CDEV_MAJOR}:${device.index}`);
			this.#files.device(device.path, 0o600, () => device.openCdev());
		}
		return 0;
	}

	/**
	 * A driver takes a device back. It cannot be opened any more; whoever has it open keeps it and is asked to let go.
	 *
	 * @returns 0, or a sleep until the last user has closed it
	 */
	unregister(ops: VfioDeviceOps): number | Sleep {
		const device = this.#devices.get(ops);
		if (!device) return -ENODEV;
		this.#devices.delete(ops);
		const { group } = device;
		group.devices.splice(group.devices.indexOf(device), 1);
		this.#files.remove(`${ops.device.syspath}/vfio-dev`);
		this.#files.remove(`${CLASS}/vfio${device.index}`);
		this.#removeNode(device.path);
		return andThen(device.leave(), () => {
			this.#indexes.delete(device.index);
			if (--group.members === 0) this.#drop(group);
			return 0;
		});
	}

	/** devtmpfs takes a directory away with the last node in it. */
	#removeNode(path: string): void {
		this.#files.remove(path);
		const directory = parentOf(path);
		const left = this.#files.readDirectory(directory);
		if (typeof left !== "number" && left.length === 0) this.#files.remove(directory);
	}

	#drop(group: VfioGroup): void {
		this.#groups.delete(group.iommuGroup.id);
		this.#files.remove(group.path);
		group.vanish();
	}
}
