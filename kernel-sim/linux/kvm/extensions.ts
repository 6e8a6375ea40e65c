/**
 * KVM_CHECK_EXTENSION.
 *
 * @module
 */
import {
	KVM_CAP_DEVICE_CTRL,
	KVM_CAP_IOEVENTFD,
	KVM_CAP_IOEVENTFD_ANY_LENGTH,
	KVM_CAP_IOEVENTFD_NO_LENGTH,
	KVM_CAP_IRQ_ROUTING,
	KVM_CAP_IRQFD,
	KVM_CAP_IRQFD_RESAMPLE,
	KVM_CAP_SIGNAL_MSI,
} from "../../../core/uapi/kvm.ts";
import { ROUTES } from "./routing.ts";

const KVM_CAP_IRQCHIP = 0;

const PRESENT: readonly number[] = [
	KVM_CAP_IRQCHIP,
	KVM_CAP_IRQFD,
	KVM_CAP_IRQFD_RESAMPLE,
	KVM_CAP_IOEVENTFD,
	KVM_CAP_IOEVENTFD_NO_LENGTH,
	KVM_CAP_IOEVENTFD_ANY_LENGTH,
	KVM_CAP_SIGNAL_MSI,
	KVM_CAP_DEVICE_CTRL,
];

/** What there is of an extension; 0 for those about processors and memory, of which there are none. */
export function extension(number: number): number {
	if (number === KVM_CAP_IRQ_ROUTING) return ROUTES;
	return PRESENT.includes(number) ? 1 : 0;
}
