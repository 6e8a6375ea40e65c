/**
 * One request of VFIO_DEVICE_SET_IRQS after its validation.
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import {
	VFIO_IRQ_SET_ACTION_TYPE_MASK,
	VFIO_IRQ_SET_DATA_BOOL,
	VFIO_IRQ_SET_DATA_EVENTFD,
	VFIO_IRQ_SET_DATA_NONE,
	VFIO_IRQ_SET_DATA_TYPE_MASK,
	vfio_irq_set,
} from "../../../core/uapi/vfio.ts";
import { EventFd } from "../eventfd.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";

/** One validated request. */
export interface IrqRequest {
	/** One of `VFIO_IRQ_SET_ACTION_*`, several, or 0. */
	readonly action: number;
	readonly index: number;
	readonly start: number;
	readonly count: number;
	/** One of `VFIO_IRQ_SET_DATA_*`. */
	readonly data: number;
	/** The data behind the header. */
	readonly bytes: Uint8Array;
	readonly process: SimProcess;
}

const KNOWN_FLAGS = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;

/**
 * Validates the argument as every driver of VFIO does (contract B.3).
 *
 * @param indexes how many interrupt indexes the device has
 * @param available how many interrupts an index has
 * @returns the request, or a negative errno
 */
export function readIrqRequest(
	process: SimProcess,
	argument: IoctlArgument,
	indexes: number,
	available: (index: number) => number,
): IrqRequest | number {
	const header = argument.read(vfio_irq_set.size);
	if (!header) return -EFAULT;
	const { argsz, flags, index, start, count } = vfio_irq_set.view(header);
	if (argsz < vfio_irq_set.size || index >= indexes || count >= 0xffffffff - start) return -EINVAL;
	if ((flags & ~KNOWN_FLAGS) !== 0) return -EINVAL;
	const limit = available(index);
	if (start >= limit || start + count > limit) return -EINVAL;
	const data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	const width = dataWidth(data);
	if (width < 0 || argsz - vfio_irq_set.size < count * width) return -EINVAL;
	const bytes = argument.read(count * width, vfio_irq_set.size);
	if (!bytes) return -EFAULT;
	return { action: flags & VFIO_IRQ_SET_ACTION_TYPE_MASK, index, start, count, data, bytes, process };
}

/** Bytes for each interrupt, or -1 when it is not exactly one type. */
function dataWidth(data: number): number {
	switch (data) {
		case VFIO_IRQ_SET_DATA_NONE:
			return 0;
		case VFIO_IRQ_SET_DATA_BOOL:
			return 1;
		case VFIO_IRQ_SET_DATA_EVENTFD:
			return 4;
		default:
			return -1;
	}
}

/** Without data every interrupt is meant, with booleans those that are not zero. */
export function isSet(request: IrqRequest, index: number): boolean {
	return request.data === VFIO_IRQ_SET_DATA_NONE || request.bytes[index] !== 0;
}

/** The file descriptor of an interrupt. */
export function fdAt(request: IrqRequest, index: number): number {
	const { bytes } = request;
	const at = 4 * index;
	return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
}

/** The eventfd that is asked for; undefined for a negative descriptor; or a negative errno. */
export function eventAt(request: IrqRequest, index: number): EventFd | undefined | number {
	const fd = fdAt(request, index);
	return fd < 0 ? undefined : EventFd.fromFd(request.process, fd);
}
