/**
 * One request of VFIO_DEVICE_SET_IRQS after its validation.
 *
 * @module
 */
import { VFIO_IRQ_SET_DATA_NONE } from "../../../core/uapi/vfio.ts";
import { EventFd } from "../eventfd.ts";
import type { SimProcess } from "../process.ts";

/** One validated request. */
export interface IrqRequest {
	readonly index: number;
	readonly start: number;
	readonly count: number;
	/** One of `VFIO_IRQ_SET_DATA_*`. */
	readonly data: number;
	/** The data behind the header. */
	readonly bytes: Uint8Array;
	readonly process: SimProcess;
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
