/** A device in a guest's slot, with KVM below: on the simulated kernel, from the hardware to the guest. */
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import { KvmVm } from "../../../core/kvm/kvm-vm.ts";
import { PciTopology } from "../../../core/machine/topology.ts";
import type { AssignOptions } from "../../../core/pci/assign-options.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { Releases } from "../../../core/release.ts";
import { requestName } from "../../../core/uapi/requests.ts";
import {
	Host,
	type LinuxOptions,
	type PciFunction,
	type SimProcess,
	SimulatedLinux,
	VirtualClock,
} from "../../../kernel-sim/mod.ts";

export const EDU = "0000:01:00.0";
export const NVME = "0000:05:00.0";
export const IOAPIC = 2;

/** Where the chipset leads a pin, until it is told otherwise. */
export const gsiOf = (device: number, pin: number) => 16 + ((device + pin - 1) & 3);

/** Notes the names of the ioctls that a process makes from now on. */
export function noteIoctls(kernel: SimProcess, calls: string[]): void {
	const ioctl = kernel.ioctl.bind(kernel);
	kernel.ioctl = (fd, request, argument) => {
		calls.push(requestName(request, "device"));
		return ioctl(fd, request, argument);
	};
}

export interface Options {
	readonly address?: string;
	readonly linux?: Partial<LinuxOptions>;
	/** A function that is at the address before Linux boots. */
	readonly plug?: PciFunction;
	readonly assign?: AssignOptions;
	/** How the machine is made; {@link KvmVm.create} when left out. */
	readonly vm?: (kernel: SimProcess) => KvmVm;
	readonly gsiOf?: (device: number, pin: number) => number | undefined;
	/** Takes the names of the ioctls. */
	readonly calls?: string[];
}

/** Everything from the simulated hardware up to the guest. */
export function assignWithKvm(options: Options = {}) {
	const clock = new VirtualClock();
	const host = Host.reference();
	const address = options.address ?? EDU;
	if (options.plug) host.machine.plug(address, options.plug);
	const linux = new SimulatedLinux({ host, clock, ...options.linux });
	const kernel = linux.process();
	if (options.calls) noteIoctls(kernel, options.calls);
	const releases = new Releases();
	releases.use(bindGroup(kernel, address));
	const vm = releases.use((options.vm ?? KvmVm.create)(kernel));
	const [machine] = linux.kvm.machines;
	if (!machine) throw new Error("There is no machine");
	/** What the guest got from KVM, and what came through this process. */
	const fromKvm: string[] = [];
	const fromHere: string[] = [];
	const show = (to: bigint, data: number) => `${to.toString(16)}=${data.toString(16)}`;
	machine.guest = {
		message: (to, data) => fromKvm.push(show(to, data)),
		line: (chip, pin, asserted) => chip === IOAPIC && fromKvm.push(`pin ${pin} ${asserted ? "up" : "down"}`),
	};
	const space = new IoAddressSpace(kernel, { kvm: vm });
	const device = releases.use(VfioDevice.open(kernel, address, { addressSpace: space }));
	const reports: string[] = [];
	const onReport = (report: string) => reports.push(report);
	const fn = releases.use(AssignedFunction.attach(device, { onReport, ...options.assign }));
	const kvm = vm.rootBus(options.gsiOf ?? gsiOf);
	const pci = new PciTopology({
		pin: (_device, pin, asserted) => fromHere.push(`pin ${pin} ${asserted ? "up" : "down"}`),
		message: (to, data) => fromHere.push(show(to, data)),
		kvm,
	});
	pci.plug(fn, { address: { device: 3, function: 0 } });
	releases.defer(() => pci.unplug(fn));
	fn.configWrite(0x10, 4, 0xfd000000);
	fn.configWrite(4, 2, 6);
	return {
		clock,
		linux,
		kernel,
		vm,
		machine,
		device,
		fn,
		pci,
		reports,
		/** Lets everything happen. @returns what the guest got since the last time */
		settle: () => {
			clock.settle();
			return { kvm: fromKvm.splice(0), here: fromHere.splice(0) };
		},
		[Symbol.dispose]: () => releases[Symbol.dispose](),
	};
}

/** Where the guest finds a capability. */
export function capability(fn: AssignedFunction, id: number): number {
	for (let at = fn.configRead(0x34, 1); at !== 0; at = fn.configRead(at + 1, 1))
		if (fn.configRead(at, 1) === id) return at;
	throw new Error(`no capability ${id}`);
}

/** Nothing is left of anything. */
export function nothingLeft(linux: SimulatedLinux): Record<string, number> {
	return Object.fromEntries(Object.entries(linux.leaks()).filter(([, count]) => count !== 0));
}
