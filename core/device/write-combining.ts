/**
 * BARs whose writes the processor may put together on their way, as framebuffers and doorbell pages want them. VFIO itself
 * maps every BAR uncached; x86 and others have a second file of each prefetchable BAR in sysfs.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { PciSysfs, unlessGone } from "../host/sysfs.ts";
import type { Kernel, Mapping } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EACCES, EINVAL, ENOENT, EPERM } from "../uapi/errno.ts";
import { MAP_SHARED, O_CLOEXEC, O_RDWR } from "../uapi/fcntl.ts";
import { VFIO_PCI_BAR5_REGION_INDEX } from "../uapi/vfio.ts";
import type { NamedDevice } from "./kind.ts";
import { regionName } from "./region.ts";

/** How a region is mapped. */
export interface MapOptions {
	/**
	 * `write-combining`: the processor may put writes together and reorder them. It is a hint: where it is refused, that is
	 * reported, and the region is mapped `uncached`, which is the default.
	 */
	readonly memoryType?: "uncached" | "write-combining";
	/** A refused `memoryType` is an error. */
	readonly required?: boolean;
}

/** `IORESOURCE_PREFETCH` of `linux/ioport.h`. */
const PREFETCH = 0x2000n;
const PCI_NAME = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/**
 * Maps a part of a BAR for write combining. VFIO must have the BAR mapped already: Linux lets a driver that takes a BAR
 * later take it away from whoever has it mapped through sysfs, and the next touch would end this process.
 *
 * @param protection `PROT_*` bits
 * @throws VfioError `write-combining-refused`
 */
export function mapWriteCombining(
	kernel: Kernel,
	device: NamedDevice,
	index: number,
	offset: number,
	length: number,
	protection: number,
): Mapping {
	const { name, kind } = device;
	const refuse = (reason: string, cause?: unknown, remedy: readonly string[] = []) =>
		new VfioError(
			"write-combining-refused",
			`Cannot map ${regionName(index, kind)} of ${name} for write combining: ${reason}`,
			{ device: name, remedy, ...(cause === undefined ? {} : { cause }) },
		);
	if (kind !== "pci" || !PCI_NAME.test(name)) throw refuse("it is no function of PCI that has its BARs in sysfs");
	if (index > VFIO_PCI_BAR5_REGION_INDEX) throw refuse("only BARs can be mapped so");
	const path = `${new PciSysfs(kernel).path(name)}/resource${index}_wc`;
	let fd: number;
	try {
		fd = retry(() => kernel.open(path, O_RDWR | O_CLOEXEC));
	} catch (cause) {
		if (isErrno(cause, ENOENT)) throw refuse(whyNoFile(kernel, name, index), cause);
		if (isErrno(cause, EACCES, EPERM))
			throw refuse(`${path} may not be opened by this user`, cause, [`sudo chown $USER ${path}`]);
		throw refuse((cause as Error).message, cause);
	}
	const file = new Releases();
	const made = new Releases();
	try {
		file.defer(() => kernel.close(fd));
		const mapping = made.use(retry(() => kernel.mmap(fd, length, protection, MAP_SHARED, offset)));
		file[Symbol.dispose]();
		// The mapping holds the file from here on.
		made.move();
		return mapping;
	} catch (cause) {
		if (isErrno(cause, EINVAL))
			throw refuse("this kernel lets nobody map it beside its driver (CONFIG_IO_STRICT_DEVMEM)", cause, [
				"Add iomem=relaxed to the kernel command line; any root process may then map what drivers use.",
			]);
		if (isErrno(cause, EPERM)) throw refuse("this kernel is locked down", cause);
		throw refuse((cause as Error).message, cause);
	} finally {
		made[Symbol.dispose]();
		file[Symbol.dispose]();
	}
}

function whyNoFile(kernel: Kernel, device: string, index: number): string {
	const resource = unlessGone(() => new PciSysfs(kernel).resources(device)[index]);
	if (!resource) return "it is not there any more";
	if ((resource.flags & PREFETCH) === 0n) return "it is not prefetchable";
	return "this kernel offers it on no BAR, as on processors that cannot do it";
}
