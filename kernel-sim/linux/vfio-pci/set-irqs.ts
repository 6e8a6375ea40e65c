/**
 * VFIO_DEVICE_SET_IRQS: what is checked, in which order, and who then acts.
 *
 * @module
 */
import { EBUSY, EINVAL, ENOTTY, ERANGE } from "../../../core/uapi/errno.ts";
import {
	VFIO_IRQ_SET_ACTION_MASK,
	VFIO_IRQ_SET_ACTION_TRIGGER,
	VFIO_IRQ_SET_ACTION_UNMASK,
	VFIO_IRQ_SET_DATA_BOOL,
	VFIO_IRQ_SET_DATA_EVENTFD,
	VFIO_IRQ_SET_DATA_NONE,
	VFIO_PCI_ERR_IRQ_INDEX,
	VFIO_PCI_INTX_IRQ_INDEX,
	VFIO_PCI_MSI_IRQ_INDEX,
	VFIO_PCI_MSIX_IRQ_INDEX,
	VFIO_PCI_NUM_IRQS,
	VFIO_PCI_REQ_IRQ_INDEX,
} from "../../../core/uapi/vfio.ts";
import type { EventFd } from "../eventfd.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { eventAt, fdAt, type IrqRequest, isSet, readIrqRequest } from "../vfio/irq-request.ts";
import type { Interrupts } from "./interrupts.ts";
import type { Messages } from "./messages.ts";

/** Where the eventfds that outlive the device's close are: REQ belongs to the device, not to its interrupts. */
export interface RequestHolder {
	readonly interrupts: Interrupts;
	/** The eventfd that says the kernel wants the device back. */
	request: EventFd | undefined;
}

/**
 * Validates the argument (contract B.3) and carries it out (contract E.1).
 *
 * @returns 0; a positive number of vectors when fewer are available than asked for; or a negative errno
 */
export function setIrqs(device: RequestHolder, process: SimProcess, argument: IoctlArgument): number {
	const request = readIrqRequest(process, argument, VFIO_PCI_NUM_IRQS, (index) => device.interrupts.count(index));
	return typeof request === "number" ? request : act(device, request);
}

function act(device: RequestHolder, request: IrqRequest): number {
	const { interrupts } = device;
	const { action } = request;
	switch (request.index) {
		case VFIO_PCI_INTX_IRQ_INDEX:
			if (action === VFIO_IRQ_SET_ACTION_MASK) return maskIntx(interrupts, request);
			if (action === VFIO_IRQ_SET_ACTION_UNMASK) return unmaskIntx(interrupts, request);
			return action === VFIO_IRQ_SET_ACTION_TRIGGER ? triggerIntx(interrupts, request) : -ENOTTY;
		case VFIO_PCI_MSI_IRQ_INDEX:
		case VFIO_PCI_MSIX_IRQ_INDEX:
			return action === VFIO_IRQ_SET_ACTION_TRIGGER ? triggerMessages(interrupts, request) : -ENOTTY;
		case VFIO_PCI_ERR_IRQ_INDEX:
			return action === VFIO_IRQ_SET_ACTION_TRIGGER
				? triggerSingle(request, interrupts.error, (event) => {
						interrupts.error = event;
					})
				: -ENOTTY;
		case VFIO_PCI_REQ_IRQ_INDEX:
			return action === VFIO_IRQ_SET_ACTION_TRIGGER
				? triggerSingle(request, device.request, (event) => {
						device.request = event;
					})
				: -ENOTTY;
		default:
			return -ENOTTY;
	}
}

function maskIntx({ intx }: Interrupts, request: IrqRequest): number {
	if (!intx.enabled || request.start !== 0 || request.count !== 1) return -EINVAL;
	if (request.data === VFIO_IRQ_SET_DATA_EVENTFD) return -ENOTTY;
	if (isSet(request, 0)) intx.mask();
	return 0;
}

function unmaskIntx({ intx }: Interrupts, request: IrqRequest): number {
	if (!intx.enabled || request.start !== 0 || request.count !== 1) return -EINVAL;
	if (request.data !== VFIO_IRQ_SET_DATA_EVENTFD) {
		if (isSet(request, 0)) intx.unmask();
		return 0;
	}
	const event = eventAt(request, 0);
	if (typeof event === "number") return event;
	if (event) return intx.unmaskEvent.set(event);
	intx.unmaskEvent.remove();
	return 0;
}

function triggerIntx(interrupts: Interrupts, request: IrqRequest): number {
	const { intx } = interrupts;
	if (intx.enabled && request.count === 0 && request.data === VFIO_IRQ_SET_DATA_NONE) {
		intx.disable();
		return 0;
	}
	if (!(intx.enabled || interrupts.idle) || request.start !== 0 || request.count !== 1) return -EINVAL;
	if (request.data !== VFIO_IRQ_SET_DATA_EVENTFD) {
		if (!intx.enabled) return -EINVAL;
		if (isSet(request, 0) && !interrupts.intxDisabled) intx.loopback();
		return 0;
	}
	const event = eventAt(request, 0);
	if (typeof event === "number") return event;
	if (intx.enabled) {
		intx.setTrigger(event);
		return 0;
	}
	if (interrupts.lineTaken) {
		event?.unreference();
		return -EBUSY;
	}
	intx.enable(event, interrupts.intxDisabled);
	return 0;
}

function triggerMessages(interrupts: Interrupts, request: IrqRequest): number {
	const messages = interrupts.messages(request.index);
	const { start, count, data } = request;
	if (messages.enabled && count === 0 && data === VFIO_IRQ_SET_DATA_NONE) {
		messages.disable();
		return 0;
	}
	if (!(messages.enabled || interrupts.idle)) return -EINVAL;
	if (data === VFIO_IRQ_SET_DATA_EVENTFD) {
		if (messages.enabled) return setBlock(messages, request);
		if (start + count === 0) return -ERANGE;
		const enabled = messages.enable(start + count);
		if (enabled !== 0) return enabled;
		const answer = setBlock(messages, request);
		if (answer !== 0) messages.disable();
		return answer;
	}
	if (!messages.enabled) return -EINVAL;
	for (let index = 0; index < count; index++) if (isSet(request, index)) messages.signal(start + index);
	return 0;
}

/** Gives each vector its eventfd. When one fails, those before it are silenced too. */
function setBlock(messages: Messages, request: IrqRequest): number {
	for (let index = 0; index < request.count; index++) {
		const answer = setVector(messages, request.start + index, request, index);
		if (answer === 0) continue;
		for (let undone = 0; undone <= index; undone++) messages.setTrigger(request.start + undone, undefined);
		return answer;
	}
	return 0;
}

function setVector(messages: Messages, vector: number, request: IrqRequest, index: number): number {
	// The old eventfd goes first, whatever becomes of the new one.
	messages.setTrigger(vector, undefined);
	if (fdAt(request, index) < 0) return 0;
	const answer = messages.prepare(vector);
	if (answer !== 0) return answer;
	const event = eventAt(request, index);
	if (typeof event === "number") return event;
	messages.setTrigger(vector, event);
	return 0;
}

/** ERR and REQ: one eventfd, set, signalled or removed. */
function triggerSingle(
	request: IrqRequest,
	current: EventFd | undefined,
	replace: (event: EventFd | undefined) => void,
): number {
	if (request.data === VFIO_IRQ_SET_DATA_NONE) {
		if (!current) return -EINVAL;
		if (request.count > 0) current.signal();
		else {
			current.unreference();
			replace(undefined);
		}
		return 0;
	}
	if (request.count === 0) return -EINVAL;
	if (request.data === VFIO_IRQ_SET_DATA_BOOL) {
		if (isSet(request, 0)) current?.signal();
		return 0;
	}
	if (fdAt(request, 0) < -1) return -EINVAL;
	const event = eventAt(request, 0);
	if (typeof event === "number") return event;
	current?.unreference();
	replace(event);
	return 0;
}
