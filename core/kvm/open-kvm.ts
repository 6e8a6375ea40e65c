/**
 * /dev/kvm.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EACCES, ENODEV, ENOENT, EPERM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_RDWR } from "../uapi/fcntl.ts";
import { KVM_API_VERSION, KVM_CREATE_VM, KVM_GET_API_VERSION } from "../uapi/kvm.ts";
import { callKvm } from "./call.ts";

const PATH = "/dev/kvm";

/** Makes a virtual machine. @returns its descriptor @throws VfioError `no-kvm`, `no-permission`, `kernel` */
export function createVm(kernel: Kernel): number {
	let kvm: number;
	try {
		kvm = retry(() => kernel.open(PATH, O_RDWR | O_CLOEXEC));
	} catch (cause) {
		throw explainNode(cause);
	}
	const releases = new Releases();
	try {
		return makeVm(kernel, kvm, releases);
	} finally {
		releases[Symbol.dispose]();
	}
}

/** @param releases what a failure has to give back */
function makeVm(kernel: Kernel, kvm: number, releases: Releases): number {
	let vm: number;
	try {
		const version = callKvm(kernel, kvm, KVM_GET_API_VERSION, 0, "ask for KVM's version");
		if (version !== KVM_API_VERSION)
			throw new VfioError("no-kvm", `Cannot use ${PATH}: it has version ${version} of the interface, not 12`);
		vm = callKvm(kernel, kvm, KVM_CREATE_VM, 0, "make a virtual machine");
		releases.defer(() => kernel.close(vm));
	} finally {
		kernel.close(kvm);
	}
	releases.move();
	return vm;
}

function explainNode(cause: unknown): VfioError {
	if (isErrno(cause, ENOENT, ENODEV))
		return new VfioError("no-kvm", `Cannot use KVM: there is no ${PATH}`, {
			cause,
			remedy: ["sudo modprobe kvm_intel", "sudo modprobe kvm_amd", "Enable virtualization in the firmware setup."],
		});
	if (isErrno(cause, EACCES, EPERM))
		return new VfioError("no-permission", `Cannot use KVM: ${PATH} may not be opened by this user`, {
			cause,
			remedy: ["sudo usermod -aG kvm $USER", "Log in again afterwards."],
		});
	return new VfioError("kernel", `Cannot use KVM: ${(cause as Error).message}`, { cause });
}
