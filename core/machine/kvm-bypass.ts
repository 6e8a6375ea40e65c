/**
 * What a machine that runs on KVM can do beside delivering interrupts itself: have the kernel carry them from the device
 * to the guest, with no process between. A machine without KVM has none of it, and everything works all the same.
 *
 * @module
 */

/** A message of MSI or MSI-X that KVM knows. Disposing it disconnects it and removes it. */
export interface MessageRoute extends Disposable {
	/** The guest has changed the message; it counts from the next {@link KvmBypass.commitRoutes} on. @throws when KVM refuses */
	update(address: bigint, data: number): void;
	/** Each signal of the eventfd sends the message to the guest (`KVM_IRQFD`). @throws when KVM refuses */
	connect(fd: number): void;
}

/** KVM, as far as assigned devices use it. */
export interface KvmBypass {
	/**
	 * A pin of INTx: each signal of `trigger` raises it, and the guest's end of interrupt lowers it and signals `resample`
	 * (`KVM_IRQFD` with `KVM_IRQFD_FLAG_RESAMPLE`).
	 *
	 * @param pin 1 (INTA) to 4 (INTD) of the function's own slot
	 * @param trigger and resample are eventfds
	 * @returns dispose it to disconnect the eventfds; undefined when the pin leads nowhere at present
	 * @throws when KVM refuses
	 */
	connectIntx(pin: number, trigger: number, resample: number): Disposable | undefined;
	/** A message to be delivered; it counts from the next {@link KvmBypass.commitRoutes} on. @throws when KVM refuses */
	addMessageRoute(address: bigint, data: number): MessageRoute;
	/** Hands all routes to KVM at once (`KVM_SET_GSI_ROUTING`), as each time is expensive. @throws when KVM refuses */
	commitRoutes(): void;
	/**
	 * Each write of this value to this address signals an eventfd and ends there (`KVM_IOEVENTFD`). A machine that cannot
	 * have it leaves it out.
	 *
	 * @param io a port, not memory
	 * @param width 1, 2 or 4 bytes
	 * @returns dispose it to end that
	 * @throws when KVM refuses
	 */
	connectWrite?(io: boolean, address: bigint, width: number, value: number, fd: number): Disposable;
}

/** KVM's VFIO device: KVM learns whose DMA may not be coherent, and who owns the devices. */
export interface KvmFiles {
	/** `KVM_DEV_VFIO_FILE_ADD`. @param fd of an IOMMU group or of a VFIO device @throws when KVM refuses */
	addFile(fd: number): void;
	/** `KVM_DEV_VFIO_FILE_DEL`. @throws when KVM refuses */
	removeFile(fd: number): void;
}
