/**
 * KVM, as far as assigned devices use it: interrupts that go to a guest past its VMM, and KVM's VFIO device.
 *
 * @module
 */
export type { KvmGuest } from "./guest.ts";
export { Kvm } from "./kvm.ts";
export type { VirtualMachine } from "./virtual-machine.ts";
