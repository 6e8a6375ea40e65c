/**
 * Eventfds that KVM takes for interrupts (`KVM_IRQFD`).
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno } from "../retry.ts";
import { EBUSY } from "../uapi/errno.ts";
import { KVM_IRQFD, KVM_IRQFD_FLAG_DEASSIGN, KVM_IRQFD_FLAG_RESAMPLE, kvm_irqfd } from "../uapi/kvm.ts";
import { callKvm } from "./call.ts";

/**
 * Connects an eventfd. From now on nobody else receives its signals; those from before count.
 *
 * @param vm the machine's descriptor
 * @param resample signalled at the guest's end of interrupt, which also lowers the line
 * @returns dispose it, once, to disconnect
 * @throws VfioError `interrupt-failed`
 */
export function connectIrqfd(kernel: Kernel, vm: number, gsi: number, fd: number, resample?: number): Disposable {
	const request = kvm_irqfd.create();
	request.fd = fd;
	request.gsi = gsi;
	if (resample !== undefined) {
		request.flags = KVM_IRQFD_FLAG_RESAMPLE;
		request.resamplefd = resample;
	}
	const action = `connect eventfd ${fd} to GSI ${gsi}`;
	try {
		callKvm(kernel, vm, KVM_IRQFD, request.bytes, action, "interrupt-failed");
	} catch (error) {
		if (!(error instanceof VfioError) || !isErrno(error.cause, EBUSY)) throw error;
		throw new VfioError("interrupt-failed", `Cannot ${action}: it is connected to KVM already`, { cause: error.cause });
	}
	return {
		[Symbol.dispose]: () => {
			request.flags = KVM_IRQFD_FLAG_DEASSIGN;
			const undo = `disconnect eventfd ${fd} from GSI ${gsi}`;
			callKvm(kernel, vm, KVM_IRQFD, request.bytes, undo, "interrupt-failed");
		},
	};
}
