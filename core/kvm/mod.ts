/**
 * KVM on the seam: a virtual machine whose kernel carries interrupts from devices to the guest.
 *
 * @module
 */
export type { InterruptPin } from "./gsi-routes.ts";
export { KvmVm, type KvmVmOptions } from "./kvm-vm.ts";
