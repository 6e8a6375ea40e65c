/**
 * A VFIO group: /dev/vfio/<group>.
 *
 * @module
 */
import { EBADF, EBADFD, EBUSY, EFAULT, EINVAL, EMFILE, ENODEV, ENOTTY, EPERM } from "../../../core/uapi/errno.ts";
import {
	VFIO_GROUP_FLAGS_CONTAINER_SET,
	VFIO_GROUP_FLAGS_VIABLE,
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_GROUP_GET_STATUS,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	vfio_group_status,
} from "../../../core/uapi/vfio.ts";
import { PAGE_SIZE } from "../address-space.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { IommuGroup } from "../iommu-group.ts";
import { IommufdFile } from "../iommufd/file.ts";
import { admitGroup, admitGroupWithoutIommu } from "../iommufd/vfio-compat.ts";
import type { SimProcess } from "../process.ts";
import { type Container, ContainerFile } from "./container.ts";
import type { RegisteredDevice } from "./registered-device.ts";

/** The devices of an IOMMU group that VFIO drivers have. One user at a time opens it. */
export class VfioGroup {
	readonly iommuGroup: IommuGroup;
	readonly coherent: boolean;
	/** Devices that can be opened through the group. */
	readonly devices: RegisteredDevice[] = [];
	/** All devices, those whose driver is leaving included. */
	members = 0;
	#file: GroupFile | undefined;
	#container: Container | undefined;
	/** Devices that are open through their character devices: the group cannot be opened then. */
	exclusiveUsers = 0;
	#iommufd: IommufdFile | undefined;
	/** Devices that are open. */
	#users = 0;
	#gone = false;

	/** @param coherent whether the IOMMU can force its DMA to be coherent */
	constructor(iommuGroup: IommuGroup, coherent: boolean) {
		this.iommuGroup = iommuGroup;
		this.coherent = coherent;
	}

	get path(): string {
		return `/dev/vfio/${this.iommuGroup.noIommu ? "noiommu-" : ""}${this.iommuGroup.id}`;
	}

	get container(): Container | undefined {
		return this.#container;
	}

	/** The open /dev/iommu that stands for its container. */
	get iommufd(): IommufdFile | undefined {
		return this.#iommufd;
	}

	/** Whether somebody has its node open. */
	get isOpen(): boolean {
		return this.#file !== undefined;
	}

	/** open(2) of the node. */
	open(process: SimProcess): GroupFile | number {
		if (this.#gone) return -ENODEV;
		if (!this.#allows(process)) return -EPERM;
		if (this.exclusiveUsers > 0 || this.#file) return -EBUSY;
		this.#file = new GroupFile(this);
		return this.#file;
	}

	/** Whoever uses a device without an IOMMU can do anything to the machine. */
	#allows(process: SimProcess): boolean {
		return !this.iommuGroup.noIommu || process.capable("CAP_SYS_RAWIO");
	}

	/** The last reference to its file has gone. */
	closed(): void {
		this.#leaveContainer();
		this.#file = undefined;
	}

	/** The last device has gone: whoever has the group open finds it empty. */
	vanish(): void {
		this.#gone = true;
		this.#leaveContainer();
	}

	/** A device is opened: the group, its container and its IOMMU stay until it is closed. @returns 0, or -EINVAL without them */
	use(): number {
		if (!this.#container?.ready) return -EINVAL;
		this.#users++;
		this.#file?.reference();
		return 0;
	}

	/** A device was closed for the last time. */
	unuse(): void {
		this.#users--;
		this.#file?.unreference();
	}

	status(argument: IoctlArgument): number {
		const bytes = argument.read(vfio_group_status.size);
		if (!bytes) return -EFAULT;
		const { argsz } = vfio_group_status.view(bytes);
		if (argsz < vfio_group_status.size) return -EINVAL;
		if (this.#gone) return -ENODEV;
		const answer = vfio_group_status.create();
		answer.argsz = argsz;
		if (this.#container || this.#iommufd) answer.flags = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
		else if (!this.iommuGroup.owned) answer.flags = VFIO_GROUP_FLAGS_VIABLE;
		return argument.write(answer.bytes) ? 0 : -EFAULT;
	}

	setContainer(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(4);
		if (!bytes) return -EFAULT;
		const file = process.file(new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true));
		if (!file) return -EBADF;
		if (this.#container || this.#iommufd) return -EINVAL;
		if (this.#gone) return -ENODEV;
		if (file instanceof IommufdFile) return this.#setIommufd(file);
		if (!(file instanceof ContainerFile)) return -EBADFD;
		if (!this.#allows(process)) return -EPERM;
		const result = file.container.attach(this);
		if (result === 0) this.#container = file.container;
		return result;
	}

	#setIommufd(file: IommufdFile): number {
		const admitted = this.iommuGroup.noIommu ? admitGroupWithoutIommu(file.context) : admitGroup(file.context);
		if (admitted === 0) this.#iommufd = file.reference();
		return admitted;
	}

	unsetContainer(): number {
		if (!this.#container && !this.#iommufd) return -EINVAL;
		// An open device keeps a container's group in it, but needs /dev/iommu alone.
		if (this.#users > 0) return -EBUSY;
		this.#leaveContainer();
		return 0;
	}

	getDeviceFd(process: SimProcess, argument: IoctlArgument): number {
		const name = readString(argument);
		if (typeof name === "number") return name;
		const device = this.#find(name);
		if (typeof device === "number") return device;
		if (!this.#container?.ready && !this.#iommufd) return -EINVAL;
		if (!this.#allows(process)) return -EPERM;
		if (process.descriptorsExhausted) return -EMFILE;
		const file = device.open();
		return typeof file === "number" ? file : process.installFile(file);
	}

	#find(name: string): RegisteredDevice | number {
		for (const device of this.devices) {
			const match = device.ops.match(name);
			if (match === "yes") return device;
			if (match !== "no") return match;
		}
		return -ENODEV;
	}

	#leaveContainer(): void {
		const container = this.#container;
		const iommufd = this.#iommufd;
		this.#container = undefined;
		this.#iommufd = undefined;
		container?.detach(this);
		iommufd?.unreference();
	}
}

/** The opened node of a group. An open device of the group holds a reference to it. */
export class GroupFile extends OpenFile {
	readonly group: VfioGroup;

	constructor(group: VfioGroup) {
		super(group.path);
		this.group = group;
		this.coherent = group.coherent;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		switch (request) {
			case VFIO_GROUP_GET_STATUS:
				return this.group.status(argument);
			case VFIO_GROUP_SET_CONTAINER:
				return this.group.setContainer(process, argument);
			case VFIO_GROUP_UNSET_CONTAINER:
				return this.group.unsetContainer();
			case VFIO_GROUP_GET_DEVICE_FD:
				return this.group.getDeviceFd(process, argument);
			default:
				return -ENOTTY;
		}
	}

	protected override release(): void {
		this.group.closed();
	}
}

/** A C string of the caller. @returns -EFAULT when it runs into nothing, -EINVAL when it is longer than a page */
function readString(argument: IoctlArgument): string | number {
	let text = "";
	for (let at = 0; at < PAGE_SIZE; at++) {
		const byte = argument.read(1, at)?.[0];
		if (byte === undefined) return -EFAULT;
		if (byte === 0) return text;
		text += String.fromCharCode(byte);
	}
	return -EINVAL;
}
