/**
 * A VFIO container, `/dev/vfio/vfio`: an I/O address space that IOMMU groups share.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { wrongDescriptor } from "../host/descriptor.ts";
import { explainContainerNode } from "../host/node-errors.ts";
import { FIRMWARE_REMEDY, firmwareRegions } from "../host/reserved-regions.ts";
import { explainNotViable } from "../host/viability.ts";
import { NoIommu } from "../iommu/no-iommu.ts";
import { Type1 } from "../iommu/type1.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EACCES, EBUSY, EINVAL, ENODEV, EPERM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_RDWR } from "../uapi/fcntl.ts";
import {
	VFIO_API_VERSION,
	VFIO_CHECK_EXTENSION,
	VFIO_DMA_CC_IOMMU,
	VFIO_GET_API_VERSION,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	VFIO_IOMMU_DIRTY_PAGES,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
	VFIO_NOIOMMU_IOMMU,
	VFIO_SET_IOMMU,
	VFIO_TYPE1_IOMMU,
	VFIO_TYPE1v2_IOMMU,
	VFIO_UNMAP_ALL,
	vfio_iommu_type1_dirty_bitmap,
} from "../uapi/vfio.ts";
import type { Group } from "./group.ts";

const PATH = "/dev/vfio/vfio";

/**
 * An open container. It is counted: whoever opened it has one reference, and so has every group in it. It closes with the
 * last of them, in whatever order they go.
 *
 * @example
 * ```ts
 * const container = Container.open(kernel);
 * const device = VfioDevice.open(kernel, "05:00.0", { container });
 * container[Symbol.dispose](); // the device keeps it
 * ```
 */
export class Container implements Disposable {
	readonly kernel: Kernel;
	/** Its file descriptor. */
	readonly fd: number;
	readonly #groups = new Set<Group>();
	/** Somebody else may have put groups into it, and given it an IOMMU. */
	readonly #passed: boolean;
	#iommu: Type1 | NoIommu | undefined;
	#type: number | undefined;
	#held = true;
	#closed = false;

	private constructor(kernel: Kernel, fd: number, passed: boolean) {
		this.kernel = kernel;
		this.fd = fd;
		this.#passed = passed;
	}

	/**
	 * Opens an empty container.
	 *
	 * @throws VfioError `no-vfio`, `no-permission`, `kernel`
	 */
	static open(kernel: Kernel): Container {
		let fd: number;
		try {
			fd = retry(() => kernel.open(PATH, O_RDWR | O_CLOEXEC));
		} catch (error) {
			throw explainContainerNode(PATH, error);
		}
		const container = new Container(kernel, fd, false);
		try {
			const version = container.#call("ask the version of", VFIO_GET_API_VERSION, 0);
			if (version !== VFIO_API_VERSION)
				throw new VfioError("no-vfio", `Cannot use ${PATH}: its API version is ${version}, not ${VFIO_API_VERSION}`);
		} catch (error) {
			container[Symbol.dispose]();
			throw error;
		}
		return container;
	}

	/**
	 * Takes a container as somebody else has opened it, groups and IOMMU in it or not. The descriptor belongs to the object
	 * from then on, and is closed with it; one that turns out to be something else is left open.
	 *
	 * @throws VfioError `invalid-argument` when it is something else
	 */
	static fromFd(kernel: Kernel, fd: number): Container {
		const remedy = `Pass one that was opened from ${PATH}.`;
		let version: number;
		try {
			version = retry(() => kernel.ioctl(fd, VFIO_GET_API_VERSION, 0));
		} catch (cause) {
			throw wrongDescriptor(kernel, fd, "a container", remedy, cause);
		}
		if (version !== VFIO_API_VERSION) throw wrongDescriptor(kernel, fd, "a container", remedy);
		return new Container(kernel, fd, true);
	}

	/** The groups in it. */
	get groups(): ReadonlySet<Group> {
		return this.#groups;
	}

	/** The IOMMU type in use: `VFIO_TYPE1v2_IOMMU`, `VFIO_TYPE1_IOMMU` or `VFIO_NOIOMMU_IOMMU`; undefined while it has no group. */
	get type(): number | undefined {
		return this.#type;
	}

	/**
	 * Its DMA mappings.
	 *
	 * @throws VfioError `disposed` while no group is in it, since Linux gives a container its IOMMU with the first group
	 */
	get iommu(): Type1 | NoIommu {
		if (!this.#iommu) throw new VfioError("disposed", "Cannot map DMA in a container: it has no IOMMU group");
		return this.#iommu;
	}

	/**
	 * Whether DMA of its devices snoops the processor's caches, so that no cache has to be flushed.
	 *
	 * @throws VfioError `kernel`
	 */
	get coherent(): boolean {
		return this.#has(VFIO_DMA_CC_IOMMU);
	}

	/**
	 * Puts a group into the container, and gives the container its IOMMU when it is the first. {@link Group.join} calls it.
	 *
	 * @param device whom it is for, for errors
	 * @throws VfioError `group-not-viable`, `device-in-use`, `unsupported-iommu`, `kernel`, `disposed`
	 */
	attach(group: Group, device: string): void {
		if (this.#closed) throw new VfioError("disposed", `Cannot open ${device}: its container is closed`, { device });
		if (this.#groups.has(group)) return;
		if (!this.#passed || !isIn(group)) this.#setContainer(group, device);
		try {
			if (this.#groups.size === 0) this.#setIommu(group, device);
		} catch (error) {
			try {
				this.#unset(group);
			} catch {
				// Why it did not get its IOMMU is what matters; the group leaves with its file at the latest.
			}
			throw error;
		}
		this.#groups.add(group);
	}

	/**
	 * Takes a group out. DMA mappings are removed before the last one goes: the kernel forgets them with it, and would refuse
	 * to remove them afterwards.
	 *
	 * @throws VfioError `kernel`, `device-in-use` while a device of the group is open or one of its regions is mapped
	 */
	detach(group: Group): void {
		if (!this.#groups.delete(group)) return;
		const last = this.#groups.size === 0;
		const releases = new Releases();
		releases.defer(() => {
			if (last) this.#iommu = this.#type = undefined;
			this.#closeIfUnused();
		});
		// An unbind that waited for the device to be closed has taken the group apart by now, and the mappings with it.
		if (isIn(group)) releases.defer(() => this.#unset(group));
		else if (last) this.#iommu?.lost();
		if (last && this.#iommu) releases.use(this.#iommu);
		releases[Symbol.dispose]();
	}

	/** Gives back the reference of whoever opened it. */
	[Symbol.dispose](): void {
		this.#held = false;
		this.#closeIfUnused();
	}

	#closeIfUnused(): void {
		if (this.#closed || this.#held || this.#groups.size > 0) return;
		this.#closed = true;
		this.kernel.close(this.fd);
	}

	#setContainer(group: Group, device: string): void {
		const argument = new Uint8Array(4);
		new DataView(argument.buffer).setInt32(0, this.fd, true);
		try {
			retry(() => this.kernel.ioctl(group.fd, VFIO_GROUP_SET_CONTAINER, argument));
		} catch (cause) {
			throw explainSetContainer(this.kernel, group.id, device, cause);
		}
	}

	#setIommu(group: Group, device: string): void {
		const candidates = group.noIommu ? [VFIO_NOIOMMU_IOMMU] : [VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU];
		const type = candidates.find((candidate) => this.#has(candidate));
		if (type === undefined)
			throw new VfioError("unsupported-iommu", `Cannot open ${device}: this kernel offers no type 1 IOMMU`, {
				device,
				remedy: ["sudo modprobe vfio_iommu_type1"],
			});
		const unmapAll = this.#has(VFIO_UNMAP_ALL);
		this.#type = this.#choose(type, group.id, device);
		this.#iommu =
			type === VFIO_NOIOMMU_IOMMU
				? new NoIommu(this.kernel)
				: new Type1(this.kernel, this.fd, { version: this.#type === VFIO_TYPE1v2_IOMMU ? 2 : 1, unmapAll });
	}

	/** @returns the type that it has afterwards */
	#choose(type: number, group: number, device: string): number {
		try {
			retry(() => this.kernel.ioctl(this.fd, VFIO_SET_IOMMU, type));
			return type;
		} catch (cause) {
			// A container has its IOMMU once and for all; whoever passed it may have chosen.
			if (this.#passed && isErrno(cause, EINVAL)) return this.#present(type);
			throw explainSetIommu(this.kernel, group, device, cause);
		}
	}

	/** Only the second version of type 1 knows of dirty pages, and the first says so with an errno of its own. */
	#present(type: number): number {
		if (type === VFIO_NOIOMMU_IOMMU) return type;
		const request = vfio_iommu_type1_dirty_bitmap.create();
		request.argsz = request.bytes.length;
		request.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
		try {
			retry(() => this.kernel.ioctl(this.fd, VFIO_IOMMU_DIRTY_PAGES, request.bytes));
		} catch (error) {
			if (isErrno(error, EACCES)) return VFIO_TYPE1_IOMMU;
		}
		return VFIO_TYPE1v2_IOMMU;
	}

	#unset(group: Group): void {
		try {
			retry(() => this.kernel.ioctl(group.fd, VFIO_GROUP_UNSET_CONTAINER));
		} catch (cause) {
			const code = isErrno(cause, EBUSY) ? "device-in-use" : "kernel";
			throw new VfioError(
				code,
				`Cannot take IOMMU group ${group.id} out of its container: ${(cause as Error).message}`,
				{
					cause,
				},
			);
		}
	}

	#has(extension: number): boolean {
		return this.#call("ask for an extension of", VFIO_CHECK_EXTENSION, extension) > 0;
	}

	#call(action: string, request: number, argument: number): number {
		// The descriptor's number may belong to something else by now.
		if (this.#closed) throw new VfioError("disposed", `Cannot ${action} ${PATH}: it is closed`);
		try {
			return retry(() => this.kernel.ioctl(this.fd, request, argument));
		} catch (cause) {
			throw new VfioError("kernel", `Cannot ${action} ${PATH}: ${(cause as Error).message}`, { cause });
		}
	}
}

/** Whether the group is in its container still; a kernel that fails to say is asked to take it out. */
function isIn(group: Group): boolean {
	try {
		return group.status().containerSet;
	} catch (error) {
		return !isErrno(error, ENODEV);
	}
}

function explainSetContainer(kernel: Kernel, group: number, device: string, cause: unknown): VfioError {
	const claimed = explainFirmware(kernel, group, device, cause);
	if (claimed) return claimed;
	if (isErrno(cause, EPERM)) return explainNotViable(kernel, group, device, cause);
	if (isErrno(cause, EBUSY))
		return new VfioError("device-in-use", `Cannot open ${device}: IOMMU group ${group} has another owner`, {
			device,
			cause,
			remedy: [`sudo fuser -v /dev/vfio/${group} /dev/vfio/devices/* shows which process.`],
		});
	return new VfioError(
		"kernel",
		`Cannot open ${device}: IOMMU group ${group} does not join the container: ${(cause as Error).message}`,
		{ device, cause },
	);
}

/** The firmware's claim is refused at one call or the other, by the version of the kernel. */
function explainFirmware(kernel: Kernel, group: number, device: string, cause: unknown): VfioError | undefined {
	const ranges = isErrno(cause, EPERM, EINVAL) ? firmwareRegions(kernel, group) : undefined;
	if (ranges === undefined) return undefined;
	return new VfioError(
		"unsupported-iommu",
		`Cannot open ${device}: the firmware itself wants a device of IOMMU group ${group} to reach memory at ${ranges}, and Linux assigns none of those`,
		{ device, cause, remedy: FIRMWARE_REMEDY },
	);
}

function explainSetIommu(kernel: Kernel, group: number, device: string, cause: unknown): VfioError {
	const details = { device, cause };
	const claimed = explainFirmware(kernel, group, device, cause);
	if (claimed) return claimed;
	if (isErrno(cause, EPERM))
		return new VfioError("unsupported-iommu", `Cannot open ${device}: its IOMMU does not isolate interrupts`, {
			...details,
			remedy: [
				"Enable interrupt remapping (x2APIC, VT-d interrupt remapping) in the firmware setup.",
				"Or accept that the device can forge interrupts: echo Y | sudo tee /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
			],
		});
	return new VfioError(
		"unsupported-iommu",
		`Cannot open ${device}: the kernel refuses its IOMMU: ${(cause as Error).message}`,
		details,
	);
}
