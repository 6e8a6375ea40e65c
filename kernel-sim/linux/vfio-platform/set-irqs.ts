/**
 * VFIO_DEVICE_SET_IRQS of a platform device: each index is one interrupt (contract B.9).
 *
 * @module
 */
import { EINVAL, ENOTTY } from "../../../core/uapi/errno.ts";
import {
	VFIO_IRQ_SET_ACTION_MASK,
	VFIO_IRQ_SET_ACTION_TRIGGER,
	VFIO_IRQ_SET_ACTION_UNMASK,
	VFIO_IRQ_SET_DATA_EVENTFD,
	VFIO_IRQ_SET_DATA_NONE,
} from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { EventHook } from "../vfio/event-hook.ts";
import { eventAt, type IrqRequest, isSet, readIrqRequest } from "../vfio/irq-request.ts";
import type { PlatformIrq } from "./irq.ts";

/** Validates the argument and carries it out. @returns 0 or a negative errno */
export function setIrqs(irqs: readonly PlatformIrq[], process: SimProcess, argument: IoctlArgument): number {
	// The common check is given the number of indices for what an index has, too; one is all that is taken below.
	const request = readIrqRequest(process, argument, irqs.length, () => irqs.length);
	if (typeof request === "number") return request;
	const irq = irqs[request.index];
	if (!irq) return -EINVAL;
	if (irq.failure !== 0) return irq.failure;
	switch (request.action) {
		case VFIO_IRQ_SET_ACTION_MASK:
			return setMask(irq, request, irq.maskEvent, () => irq.mask());
		case VFIO_IRQ_SET_ACTION_UNMASK:
			return setMask(irq, request, irq.unmaskEvent, () => irq.unmask());
		case VFIO_IRQ_SET_ACTION_TRIGGER:
			return setTrigger(irq, request);
		default:
			return -ENOTTY;
	}
}

function setMask(irq: PlatformIrq, request: IrqRequest, hook: EventHook, act: () => void): number {
	if (request.start !== 0 || request.count !== 1 || !irq.automasked) return -EINVAL;
	if (request.data !== VFIO_IRQ_SET_DATA_EVENTFD) {
		if (isSet(request, 0)) act();
		return 0;
	}
	const event = eventAt(request, 0);
	if (typeof event === "number") return event;
	if (event) return hook.set(event);
	hook.remove();
	return 0;
}

function setTrigger(irq: PlatformIrq, request: IrqRequest): number {
	if (request.count === 0 && request.data === VFIO_IRQ_SET_DATA_NONE) {
		irq.setTrigger(undefined);
		return 0;
	}
	if (request.start !== 0 || request.count !== 1) return -EINVAL;
	if (request.data !== VFIO_IRQ_SET_DATA_EVENTFD) {
		if (isSet(request, 0)) irq.handle();
		return 0;
	}
	// The old eventfd goes first, whatever becomes of the new one.
	irq.setTrigger(undefined);
	const event = eventAt(request, 0);
	if (typeof event === "number") return event;
	irq.setTrigger(event);
	return 0;
}
