/**
 * What sysfs says about the host's PCI functions (`/sys/bus/pci/devices`).
 *
 * @module
 */

import { KernelError, VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { ENODEV, ENOENT } from "../uapi/errno.ts";
import { PCI_HEADER_TYPE, PCI_HEADER_TYPE_MASK, PCI_HEADER_TYPE_NORMAL } from "../uapi/pci_regs.ts";

const DEVICES = "/sys/bus/pci/devices";
const DRIVERS = "/sys/bus/pci/drivers";
/** The directory of a function, as opposed to that of its root bus: `pci0000:00`. */
const ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** Identification registers of a function. */
export interface PciIds {
	readonly vendor: number;
	readonly device: number;
	readonly subsystemVendor: number;
	readonly subsystemDevice: number;
	readonly revision: number;
	/** Class, subclass and programming interface: 24 bits. */
	readonly class: number;
}

/** A line of a function's `resource` file: 0 to 5 are the BARs, 6 is the ROM. */
export interface PciResource {
	readonly start: bigint;
	/** The last address, not the one after it. */
	readonly end: bigint;
	/** `IORESOURCE_*` bits: 0x100 I/O ports, 0x200 memory, 0x2000 prefetchable, 0x100000 64-bit. */
	readonly flags: bigint;
}

/** Bytes of sysfs or procfs as text: those files are ASCII. */
export function latin1(bytes: Uint8Array): string {
	let text = "";
	for (const byte of bytes) text += String.fromCharCode(byte);
	return text;
}

/** Makes a call to read what is at `path`. @throws VfioError `kernel` with the kernel's answer as its cause */
export function reading<T>(path: string, call: () => T): T {
	try {
		return retry(call);
	} catch (cause) {
		if (!(cause instanceof KernelError)) throw cause;
		throw new VfioError("kernel", `Cannot read ${path}: ${cause.message}`, { cause });
	}
}

/** The same; undefined when there is nothing at `path`. @throws VfioError `kernel` */
export function readingIfThere<T>(path: string, call: () => T): T | undefined {
	try {
		return reading(path, call);
	} catch (error) {
		if (error instanceof VfioError && error.errno === ENOENT) return undefined;
		throw error;
	}
}

/**
 * A file in sysfs or procfs as text, without the newline at its end.
 *
 * @param path absolute
 * @throws VfioError `kernel`
 */
export function readText(kernel: Kernel, path: string): string {
	return latin1(reading(path, () => kernel.readFile(path))).replace(/\n$/, "");
}

/**
 * Looks at a device of a list; undefined when it has gone since the list was made, as virtual functions do, and what was
 * unplugged.
 */
export function unlessGone<T>(look: () => T): T | undefined {
	try {
		return look();
	} catch (error) {
		if (error instanceof VfioError && isErrno(error.cause, ENOENT, ENODEV)) return undefined;
		throw error;
	}
}

function malformed(path: string, text: string): VfioError {
	return new VfioError("kernel", `Cannot make sense of ${path}: "${text}"`);
}

/** The names in a directory, or undefined when it does not exist. @throws VfioError `kernel` */
export function readNames(kernel: Kernel, path: string): string[] | undefined {
	return readingIfThere(path, () => kernel.readDirectory(path));
}

/**
 * The host's PCI functions. Functions are named as sysfs names them, such as `0000:05:00.0`.
 *
 * @example
 * ```ts
 * const pci = new PciSysfs(kernel);
 * for (const name of pci.devices()) console.log(name, pci.driver(name) ?? "no driver");
 * ```
 */
export class PciSysfs {
	readonly #kernel: Kernel;

	constructor(kernel: Kernel) {
		this.#kernel = kernel;
	}

	/** The directory of a function. */
	path(name: string): string {
		return `${DEVICES}/${name}`;
	}

	/** The directory of a driver. */
	driverPath(driver: string): string {
		return `${DRIVERS}/${driver}`;
	}

	/** All functions, in address order; none when the host has no PCI. @throws VfioError `kernel` */
	devices(): string[] {
		return readNames(this.#kernel, DEVICES) ?? [];
	}

	/** @throws VfioError `kernel` */
	exists(name: string): boolean {
		return readNames(this.#kernel, this.path(name)) !== undefined;
	}

	/** @throws VfioError `kernel` */
	ids(name: string): PciIds {
		const number = (file: string) => this.#number(`${this.path(name)}/${file}`);
		return {
			vendor: number("vendor"),
			device: number("device"),
			subsystemVendor: number("subsystem_vendor"),
			subsystemDevice: number("subsystem_device"),
			revision: number("revision"),
			class: number("class"),
		};
	}

	/** The driver that has the function, or undefined. @throws VfioError `kernel` */
	driver(name: string): string | undefined {
		return this.#linkName(`${this.path(name)}/driver`);
	}

	/** Whether a driver of that name is registered. @throws VfioError `kernel` */
	driverExists(driver: string): boolean {
		return readNames(this.#kernel, this.driverPath(driver)) !== undefined;
	}

	/** The function's IOMMU group, or undefined when it has none. @throws VfioError `kernel` */
	group(name: string): number | undefined {
		const path = `${this.path(name)}/iommu_group`;
		const group = this.#linkName(path);
		if (group !== undefined && !/^\d{1,9}$/.test(group)) throw malformed(path, group);
		return group === undefined ? undefined : Number(group);
	}

	/** The BARs, the ROM and what else the function decodes. @throws VfioError `kernel` */
	resources(name: string): PciResource[] {
		const path = `${this.path(name)}/resource`;
		const lines = readText(this.#kernel, path).split("\n");
		return lines
			.filter((line) => line !== "")
			.map((line) => {
				const [, start, end, flags] = /^(0x[0-9a-f]+) (0x[0-9a-f]+) (0x[0-9a-f]+)$/i.exec(line) ?? [];
				if (start === undefined || end === undefined || flags === undefined) throw malformed(path, line);
				return { start: BigInt(start), end: BigInt(end), flags: BigInt(flags) };
			});
	}

	/** Config space: 256 or 4096 bytes, or the first 64 without CAP_SYS_ADMIN. @throws VfioError `kernel` */
	config(name: string): Uint8Array {
		const path = `${this.path(name)}/config`;
		return reading(path, () => this.#kernel.readFile(path));
	}

	/** Only a driver of this name may bind; "" when any may; undefined on a kernel without the file. @throws VfioError `kernel` */
	driverOverride(name: string): string | undefined {
		const path = `${this.path(name)}/driver_override`;
		const bytes = readingIfThere(path, () => this.#kernel.readFile(path));
		const text = bytes && latin1(bytes).replace(/\n$/, "");
		return text === "(null)" ? "" : text;
	}

	/** A bridge or a port: a function that vfio-pci refuses and that DMA passes through (header type 1 or 2). @throws VfioError `kernel` */
	isBridge(name: string): boolean {
		return ((this.config(name)[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK) !== PCI_HEADER_TYPE_NORMAL;
	}

	/** The bridges and ports between a function and the root, the nearest first. @throws VfioError `kernel` */
	bridgesAbove(name: string): string[] {
		const path = this.path(name);
		const directories = readingIfThere(path, () => this.#kernel.readLink(path))?.split("/") ?? [];
		return directories.filter((directory) => ADDRESS.test(directory) && directory !== name).reverse();
	}

	/** A virtual function of an SR-IOV device. @throws VfioError `kernel` */
	isVirtualFunction(name: string): boolean {
		return this.#linkName(`${this.path(name)}/physfn`) !== undefined;
	}

	#number(path: string): number {
		const text = readText(this.#kernel, path);
		if (!/^0x[0-9a-f]+$/i.test(text)) throw malformed(path, text);
		return Number(text);
	}

	#linkName(path: string): string | undefined {
		return readingIfThere(path, () => this.#kernel.readLink(path))
			?.split("/")
			.at(-1);
	}
}
