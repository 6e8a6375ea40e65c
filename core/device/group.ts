/**
 * An IOMMU group's file, `/dev/vfio/<group>`.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { descriptorTarget, wrongDescriptor } from "../host/descriptor.ts";
import { explainGroupNode, explainNotBound } from "../host/node-errors.ts";
import { readText } from "../host/sysfs.ts";
import { explainNotViable } from "../host/viability.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EACCES, EAGAIN, ENODEV, EPERM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_RDWR } from "../uapi/fcntl.ts";
import {
	VFIO_GROUP_FLAGS_CONTAINER_SET,
	VFIO_GROUP_FLAGS_VIABLE,
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_GROUP_GET_STATUS,
	vfio_group_status,
} from "../uapi/vfio.ts";
import type { Container } from "./container.ts";

/**
 * Linux gives a group's file to one opener in the whole system, so a process that wants a second device of the group has
 * to find the file it has open. A `Kernel` is one process's view, and what it has open belongs to it.
 */
const openGroups = new WeakMap<Kernel, Map<number, Group>>();

/** What `VFIO_GROUP_GET_STATUS` says. */
export interface GroupStatus {
	/** Every device of the group is with a VFIO driver, or with one that leaves DMA alone. */
	readonly viable: boolean;
	/** The group is in a container. */
	readonly containerSet: boolean;
}

/** How a group is opened. */
export interface GroupOptions {
	/** Take one without an IOMMU as well, whose devices do DMA to physical addresses, unprotected. */
	readonly noIommu?: boolean;
}

/** An open IOMMU group, counted by the devices that use it. */
export class Group implements Disposable {
	readonly kernel: Kernel;
	/** The group's number. */
	readonly id: number;
	/** Its file descriptor, as `VFIO_DEVICE_PCI_HOT_RESET` and KVM want it. */
	readonly fd: number;
	/** What was opened, such as `/dev/vfio/25`. */
	readonly node: string;
	/** VFIO made the group for a device without an IOMMU. */
	readonly noIommu: boolean;
	/** The devices of the group that are open here. */
	readonly devices: ReadonlySet<string>;
	readonly #devices: Set<string>;
	#container: Container | undefined;
	#references = 1;
	/** Whoever passed the descriptor has a reference, which disposing gives back. */
	#held = false;
	readonly #users = new Releases();

	private constructor(kernel: Kernel, id: number, fd: number, node: string, noIommu: boolean) {
		this.kernel = kernel;
		this.id = id;
		this.fd = fd;
		this.node = node;
		this.noIommu = noIommu;
		this.devices = this.#devices = new Set();
	}

	/**
	 * Opens a group, or takes another reference to it when this process has it open.
	 *
	 * @param device whom it is for, for errors
	 * @throws VfioError `not-bound`, `no-vfio`, `no-permission`, `device-in-use`, `group-not-viable`, `kernel`
	 */
	static acquire(kernel: Kernel, id: number, device: string, options: GroupOptions = {}): Group {
		const open = Group.find(kernel, id);
		if (open) {
			open.#references++;
			return open;
		}
		const noIommu = hasNoIommu(kernel, id);
		const path = `/dev/vfio/${noIommu ? "noiommu-" : ""}${id}`;
		if (noIommu && !options.noIommu) throw refuseNoIommu(id, device, path);
		let fd: number;
		try {
			fd = retry(() => kernel.open(path, O_RDWR | O_CLOEXEC));
		} catch (error) {
			throw noIommu && isErrno(error, EPERM)
				? needsRawIo(id, device, error)
				: explainGroupNode(kernel, path, id, device, error);
		}
		const group = new Group(kernel, id, fd, path, noIommu);
		try {
			group.#requireViable(device);
		} catch (error) {
			kernel.close(fd);
			throw error;
		}
		return group.#registered();
	}

	/**
	 * Takes a group as somebody else has opened it, such as a launcher with more privileges. The descriptor belongs to the
	 * object from then on, and is closed with it; one that turns out to be something else is left open. Devices of the group
	 * are then opened as always, and find it.
	 *
	 * @param id the group's number, where `/proc/self/fd` does not show it
	 * @throws VfioError `invalid-argument` when it is something else, or its number is not known
	 */
	static fromFd(kernel: Kernel, fd: number, id?: number): Group {
		const remedy = "Pass one that was opened from /dev/vfio/<group>.";
		const [, noIommu, digits] = /\/(noiommu-)?(\d+)$/.exec(descriptorTarget(kernel, fd) ?? "") ?? [];
		const number = id ?? (digits === undefined ? undefined : Number(digits));
		const group = new Group(kernel, number ?? -1, fd, `descriptor ${fd}`, noIommu !== undefined);
		try {
			group.status();
		} catch (cause) {
			throw wrongDescriptor(kernel, fd, "an IOMMU group", remedy, cause);
		}
		if (number === undefined)
			throw new VfioError(
				"invalid-argument",
				`Cannot use descriptor ${fd}: it is an IOMMU group, and its number is not known`,
				{
					remedy: ["Give the number of the group, as in /dev/vfio/<number>."],
				},
			);
		if (Group.find(kernel, number))
			throw new VfioError("already-attached", `Cannot use descriptor ${fd}: IOMMU group ${number} is open already`);
		group.#held = true;
		return group.#registered();
	}

	#registered(): this {
		const groups = openGroups.get(this.kernel) ?? new Map<number, Group>();
		openGroups.set(this.kernel, groups.set(this.id, this));
		return this;
	}

	/** The group, when this process has it open: what a hot reset asks to know what it owns. */
	static find(kernel: Kernel, id: number): Group | undefined {
		return openGroups.get(kernel)?.get(id);
	}

	/** The container it is in, or undefined. */
	get container(): Container | undefined {
		return this.#container;
	}

	/** `VFIO_GROUP_GET_STATUS`. @throws KernelError */
	status(): GroupStatus {
		const status = vfio_group_status.create();
		status.argsz = vfio_group_status.size;
		retry(() => this.kernel.ioctl(this.fd, VFIO_GROUP_GET_STATUS, status.bytes));
		// Two independent bits: a group in a container has both set.
		return {
			viable: (status.flags & VFIO_GROUP_FLAGS_VIABLE) !== 0,
			containerSet: (status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0,
		};
	}

	/** Puts the group into a container. It leaves it with the last reference. @throws VfioError as {@link Container.attach} */
	join(container: Container, device: string): void {
		container.attach(this, device);
		this.#container = container;
	}

	/**
	 * `VFIO_GROUP_GET_DEVICE_FD`.
	 *
	 * @param name such as `0000:05:00.0`
	 * @param vfToken a UUID, for a virtual function whose physical function is assigned too
	 * @returns the device's file descriptor
	 * @throws VfioError `already-attached`, `not-bound`, `no-permission`, `device-in-use`, `kernel`
	 */
	openDevice(name: string, vfToken?: string): number {
		if (this.#devices.has(name))
			throw new VfioError("already-attached", `Cannot open ${name}: it is attached already`, { device: name });
		const text = vfToken === undefined ? name : `${name} vf_token=${vfToken}`;
		const argument = Uint8Array.from(`${text}\0`, (character) => character.charCodeAt(0));
		try {
			// EAGAIN: a reset of a neighbour holds the lock that opening takes.
			const fd = retry(() => this.kernel.ioctl(this.fd, VFIO_GROUP_GET_DEVICE_FD, argument), EAGAIN);
			this.#devices.add(name);
			return fd;
		} catch (cause) {
			throw this.#explainDevice(name, cause);
		}
	}

	/** Closes a device's file. @param fd what {@link openDevice} returned */
	closeDevice(name: string, fd: number): void {
		this.#devices.delete(name);
		this.kernel.close(fd);
	}

	/** Has something released before the group is left and closed. @returns the resource */
	use<T extends Disposable>(resource: T): T {
		return this.#users.use(resource);
	}

	/** Gives back the reference of whoever passed its descriptor. */
	[Symbol.dispose](): void {
		if (!this.#held) return;
		this.#held = false;
		this.release();
	}

	/** Gives a reference back. With the last one the group leaves its container and is closed. */
	release(): void {
		if (--this.#references > 0) return;
		openGroups.get(this.kernel)?.delete(this.id);
		const releases = new Releases();
		releases.defer(() => {
			this.#container = undefined;
			this.kernel.close(this.fd);
		});
		releases.defer(() => this.#container?.detach(this));
		releases.use(this.#users);
		releases[Symbol.dispose]();
	}

	#requireViable(device: string): void {
		let status: GroupStatus;
		try {
			status = this.status();
		} catch (cause) {
			throw new VfioError("kernel", `Cannot query IOMMU group ${this.id} of ${device}: ${(cause as Error).message}`, {
				device,
				cause,
			});
		}
		if (!status.viable) throw explainNotViable(this.kernel, this.id, device);
	}

	#explainDevice(device: string, cause: unknown): unknown {
		if (isErrno(cause, ENODEV)) return explainNotBound(this.kernel, this.id, device, cause);
		if (isErrno(cause, EACCES, EPERM))
			return new VfioError(
				"no-permission",
				`Cannot open ${device}: a virtual function needs the token of its physical one`,
				{
					device,
					cause,
					remedy: ["Pass the UUID that the owner of the physical function has set, as vfToken."],
				},
			);
		if (isErrno(cause, EAGAIN))
			return new VfioError("device-in-use", `Cannot open ${device}: a reset of it, or of a neighbour, is under way`, {
				device,
				cause,
				remedy: ["Try again in a moment."],
			});
		return new VfioError("kernel", `Cannot open ${device}: ${(cause as Error).message}`, { device, cause });
	}
}

/**
 * VFIO itself makes groups for devices without an IOMMU: for mediated ones, whose driver does their DMA, and, when
 * `enable_unsafe_noiommu_mode` is on, for others. Only the nodes of the latter have another name.
 */
function hasNoIommu(kernel: Kernel, id: number): boolean {
	try {
		if (readText(kernel, `/sys/kernel/iommu_groups/${id}/name`) !== "vfio-noiommu") return false;
		return kernel.readDirectory("/dev/vfio").includes(`noiommu-${id}`);
	} catch {
		return false;
	}
}

function refuseNoIommu(id: number, device: string, path: string): VfioError {
	return new VfioError(
		"unsupported-iommu",
		`Cannot open ${device}: its IOMMU group ${id} has no IOMMU, so nothing protects memory from its DMA`,
		{
			device,
			remedy: [
				"Enable the IOMMU in the firmware setup: VT-d on Intel, AMD-Vi or IOMMU on AMD, SMMU on Arm.",
				`Or accept that, with the option noIommu, which opens ${path}; memory cannot be mapped then.`,
			],
		},
	);
}

function needsRawIo(id: number, device: string, cause: unknown): VfioError {
	return new VfioError(
		"no-permission",
		`Cannot open IOMMU group ${id} of ${device}: a group without an IOMMU needs CAP_SYS_RAWIO`,
		{ device, cause, remedy: ["Run it as root, or: sudo setcap cap_sys_rawio+ep <program>"] },
	);
}
