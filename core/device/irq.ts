/**
 * What the kernel says about a device's interrupts.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { EINVAL } from "../uapi/errno.ts";
import {
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_IRQ_INFO_AUTOMASKED,
	VFIO_IRQ_INFO_MASKABLE,
	VFIO_IRQ_INFO_NORESIZE,
	vfio_irq_info,
} from "../uapi/vfio.ts";
import type { DeviceKind, NamedDevice } from "./kind.ts";

/** An interrupt index of a VFIO device. One that does not exist has count 0. */
export interface Irq {
	readonly index: number;
	/** `VFIO_IRQ_INFO_*` bits. */
	readonly flags: number;
	/** How many vectors it has. */
	readonly count: number;
	/** Vectors can be added while others are in use (`VFIO_IRQ_INFO_NORESIZE` is clear: Linux 6.5 and newer, MSI-X only). */
	readonly resizable: boolean;
	readonly maskable: boolean;
	/** The kernel masks it when it fires, as it does with INTx; unmask it to get the next one. */
	readonly automasked: boolean;
}

const NAMES = ["INTx", "MSI", "MSI-X", "the error interrupt", "the request interrupt"];

/**
 * What a person calls an interrupt index of a device, such as `MSI-X`.
 *
 * @param index `VFIO_PCI_*_IRQ_INDEX`
 * @param kind of which the device is; `pci` when left out
 */
export function irqName(index: number, kind: DeviceKind = "pci"): string {
	return (kind === "pci" ? NAMES[index] : undefined) ?? `interrupt ${index}`;
}

/**
 * `VFIO_DEVICE_GET_IRQ_INFO`. An index that the kernel refuses with EINVAL, as it does for the error interrupt of a device
 * without PCI Express, has count 0.
 *
 * @param device for errors
 * @throws VfioError `kernel`
 */
export function queryIrq(kernel: Kernel, fd: number, index: number, device: NamedDevice): Irq {
	const { name, kind } = device;
	const info = vfio_irq_info.create();
	info.argsz = vfio_irq_info.size;
	info.index = index;
	try {
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, info.bytes));
	} catch (cause) {
		if (isErrno(cause, EINVAL)) return irq(index, 0, 0);
		throw new VfioError("kernel", `Cannot query ${irqName(index, kind)} of ${name}: ${(cause as Error).message}`, {
			device: name,
			cause,
		});
	}
	return irq(index, info.flags, info.count);
}

function irq(index: number, flags: number, count: number): Irq {
	return {
		index,
		flags,
		count,
		resizable: count > 0 && (flags & VFIO_IRQ_INFO_NORESIZE) === 0,
		maskable: (flags & VFIO_IRQ_INFO_MASKABLE) !== 0,
		automasked: (flags & VFIO_IRQ_INFO_AUTOMASKED) !== 0,
	};
}
