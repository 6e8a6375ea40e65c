/**
 * A guest's writes that KVM takes for signals of an eventfd (`KVM_IOEVENTFD`).
 *
 * @module
 */
import type { Kernel } from "../kernel.ts";
import {
	KVM_IOEVENTFD,
	KVM_IOEVENTFD_FLAG_DATAMATCH,
	KVM_IOEVENTFD_FLAG_DEASSIGN,
	KVM_IOEVENTFD_FLAG_PIO,
	kvm_ioeventfd,
} from "../uapi/kvm.ts";
import { callKvm } from "./call.ts";

/** One value, written to one address. */
export interface GuestWrite {
	/** A port, not memory. */
	readonly io: boolean;
	/** Guest-physical. */
	readonly address: bigint;
	/** Bytes. */
	readonly width: number;
	readonly value: number;
}

/**
 * Connects an eventfd.
 *
 * @param vm the machine's descriptor
 * @returns dispose it to disconnect
 * @throws VfioError `kernel`
 */
export function connectIoeventfd(kernel: Kernel, vm: number, write: GuestWrite, fd: number): Disposable {
	const request = kvm_ioeventfd.create();
	request.addr = write.address;
	request.len = write.width;
	request.datamatch = BigInt(write.value >>> 0);
	request.fd = fd;
	const flags = KVM_IOEVENTFD_FLAG_DATAMATCH | (write.io ? KVM_IOEVENTFD_FLAG_PIO : 0);
	request.flags = flags;
	const where = `writes of 0x${(write.value >>> 0).toString(16)} to ${write.io ? "port " : ""}0x${write.address.toString(16)}`;
	callKvm(kernel, vm, KVM_IOEVENTFD, request.bytes, `connect an eventfd to ${where}`);
	return {
		[Symbol.dispose]: () => {
			request.flags = flags | KVM_IOEVENTFD_FLAG_DEASSIGN;
			callKvm(kernel, vm, KVM_IOEVENTFD, request.bytes, `disconnect an eventfd from ${where}`);
		},
	};
}
