/**
 * Interrupts of real devices through VFIO and KVM, with this process out of it: a virtual machine has a processor that
 * never runs, and what its interrupt controllers were sent is read from them.
 */
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import { KvmVm } from "../../../core/kvm/kvm-vm.ts";
import { PciTopology } from "../../../core/machine/topology.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { Releases } from "../../../core/release.ts";
import { KVM_CREATE_VCPU } from "../../../core/uapi/kvm.ts";
import { VFIO_PCI_MSIX_IRQ_INDEX } from "../../../core/uapi/vfio.ts";
import { LinuxKernel } from "../../../kernel-linux/mod.ts";
import { capability } from "../../core/kvm/support.ts";
import { Tally } from "./tally.ts";

const EDU = "0000:01:00.0";
const NVME = "0000:05:00.0";
const RAISE = 0x60;
const ACKNOWLEDGE = 0x64;

const KVM_GET_LAPIC = 0x8400ae8e;
const KVM_SET_LAPIC = 0x4400ae8f;
const KVM_GET_IRQCHIP = 0xc208ae62;
const LAPIC_SIZE = 1024;
const SPURIOUS = 0xf0;
const SOFTWARE_ENABLED = 0x100;
const REQUESTS = 0x200;
const IRQCHIP_SIZE = 520;
const IOAPIC = 2;
/** Where the levels of the pins are: behind the chip's number, its address, and two registers. */
const IOAPIC_LEVELS = 24;

const kernel = new LinuxKernel();
const tally = new Tally();

/** A virtual machine with one processor, whose interrupt controller is switched on. */
class Machine {
	readonly vm: KvmVm;
	readonly #processor: number;
	readonly #releases: Releases;

	constructor(releases: Releases) {
		this.#releases = releases;
		this.vm = releases.use(KvmVm.create(kernel));
		this.#processor = kernel.ioctl(this.vm.fd, KVM_CREATE_VCPU, 0);
		releases.defer(() => kernel.close(this.#processor));
		this.clear();
	}

	/** The vectors that wait for the processor. */
	get vectors(): number[] {
		const view = new DataView(this.#lapic().buffer);
		return Array.from({ length: 256 }, (_, vector) => vector).filter(
			(vector) => (view.getUint32(REQUESTS + 16 * (vector >> 5), true) >>> (vector & 31)) & 1,
		);
	}

	/** None waits any more. */
	clear(): void {
		const state = this.#lapic();
		const view = new DataView(state.buffer);
		view.setUint32(SPURIOUS, view.getUint32(SPURIOUS, true) | SOFTWARE_ENABLED | 0xff, true);
		for (let at = REQUESTS; at < REQUESTS + 128; at += 16) view.setUint32(at, 0, true);
		kernel.ioctl(this.#processor, KVM_SET_LAPIC, state);
	}

	/** Whether a pin of the I/O APIC is asserted. */
	asserted(pin: number): boolean {
		const chip = new Uint8Array(IRQCHIP_SIZE);
		new DataView(chip.buffer).setUint32(0, IOAPIC, true);
		kernel.ioctl(this.vm.fd, KVM_GET_IRQCHIP, chip);
		return ((new DataView(chip.buffer).getUint32(IOAPIC_LEVELS, true) >>> pin) & 1) === 1;
	}

	/** Plugs a device in. @param gsi where its pin leads; undefined: nowhere */
	plug(address: string, gsi: () => number | undefined) {
		const { vm } = this;
		const releases = this.#releases;
		releases.use(bindGroup(kernel, address));
		const device = releases.use(
			VfioDevice.open(kernel, address, { addressSpace: new IoAddressSpace(kernel, { kvm: vm }) }),
		);
		const reports: string[] = [];
		const fn = releases.use(AssignedFunction.attach(device, { onReport: (report) => reports.push(report) }));
		/** What came through this process. */
		const here: string[] = [];
		const pci = new PciTopology({
			pin: (_device, _pin, asserted) => here.push(asserted ? "up" : "down"),
			message: (to, data) => here.push(`${to.toString(16)}=${data.toString(16)}`),
			kvm: vm.rootBus(gsi),
		});
		pci.plug(fn);
		releases.defer(() => pci.unplug(fn));
		fn.configWrite(0x10, 4, 0xfd000000);
		fn.configWrite(4, 2, 6);
		return { device, fn, pci, here, reports };
	}

	#lapic(): Uint8Array<ArrayBuffer> {
		const state = new Uint8Array(LAPIC_SIZE);
		kernel.ioctl(this.#processor, KVM_GET_LAPIC, state);
		return state;
	}
}

/** What is not as it should be. */
function unless(right: boolean, problem: () => string): string[] {
	return right ? [] : [problem()];
}

async function check(name: string, work: (machine: Machine) => Promise<string[]>): Promise<void> {
	const releases = new Releases();
	const before = kernel.readDirectory("/proc/self/fd").length;
	let problems: string[];
	try {
		problems = await work(new Machine(releases));
	} catch (error) {
		problems = [String(error)];
	} finally {
		releases[Symbol.dispose]();
	}
	const after = kernel.readDirectory("/proc/self/fd").length;
	tally.add(name, [...problems, ...unless(after === before, () => `${after - before} descriptors are left`)]);
}

await check("INTx of edu reaches the I/O APIC, and comes back to this process", async (machine) => {
	let gsi: number | undefined = 21;
	const { fn, pci, here, reports } = machine.plug(EDU, () => gsi);
	fn.barWrite(0, RAISE, 4, 1);
	await delay(50);
	const problems = unless(machine.asserted(21) && here.length === 0, () => `pin ${machine.asserted(21)}, here ${here}`);
	gsi = undefined;
	pci.root.interruptRoutesChanged();
	await delay(50);
	problems.push(
		...unless(!machine.asserted(21) && here.includes("up"), () => `pin ${machine.asserted(21)}, here ${here}`),
	);
	fn.barWrite(0, ACKNOWLEDGE, 4, 1);
	return [...problems, ...reports];
});

await check("MSI of edu reaches the processor, with the message that the guest has changed", async (machine) => {
	const { fn, here, reports } = machine.plug(EDU, () => undefined);
	const at = capability(fn, 5);
	fn.configWrite(at + 4, 4, 0xfee00000);
	fn.configWrite(at + 8, 4, 0);
	fn.configWrite(at + 12, 2, 0x41);
	fn.configWrite(at + 2, 2, fn.configRead(at + 2, 2) | 1);
	const problems: string[] = [];
	for (const vector of [0x41, 0x52]) {
		fn.configWrite(at + 12, 2, vector);
		machine.clear();
		fn.barWrite(0, RAISE, 4, 1);
		await delay(50);
		problems.push(
			...unless(machine.vectors.join() === String(vector), () => `vectors ${machine.vectors}, not ${vector}`),
		);
		fn.barWrite(0, ACKNOWLEDGE, 4, 1);
	}
	return [...problems, ...unless(here.length === 0, () => `here ${here}`), ...reports];
});

await check("MSI-X of NVMe reaches the processor; a masked vector waits", async (machine) => {
	const { device, fn, here, reports } = machine.plug(NVME, () => undefined);
	const at = capability(fn, 0x11);
	const table = fn.configRead(at + 4, 4) & ~7;
	for (let vector = 0; vector < 6; vector++)
		for (const [offset, value] of [0xfee00000, 0, 0x60 + vector, 0].entries())
			fn.barWrite(0, table + 16 * vector + 4 * offset, 4, value);
	fn.configWrite(at + 2, 2, 0x8000);
	for (let vector = 0; vector < 6; vector++) device.triggerIrq(VFIO_PCI_MSIX_IRQ_INDEX, vector);
	await delay(50);
	const all = machine.vectors.join();
	const problems = unless(all === "96,97,98,99,100,101" && here.length === 0, () => `vectors ${all}, here ${here}`);
	machine.clear();
	fn.barWrite(0, table + 16 * 2 + 12, 4, 1);
	device.triggerIrq(VFIO_PCI_MSIX_IRQ_INDEX, 2);
	await delay(50);
	problems.push(...unless(machine.vectors.length === 0, () => `masked, vectors ${machine.vectors}`));
	fn.barWrite(0, table + 16 * 2 + 12, 4, 0);
	problems.push(...unless(here.join() === "fee00000=62", () => `unmasked, here ${here}`));
	return [...problems, ...reports];
});

await check("a write of the guest goes from KVM to a register of edu", async (machine) => {
	const { device, fn, reports } = machine.plug(EDU, () => undefined);
	const event = kernel.eventfd();
	try {
		// The device answers with the complement.
		device.setIoeventfd(0, 4, 4, 0x12345678, event);
		const connection = machine.vm.connectWrite(false, 0xfd000004n, 4, 0x12345678, event);
		kernel.write(event, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
		await delay(50);
		const value = fn.barRead(0, 4, 4);
		connection[Symbol.dispose]();
		device.setIoeventfd(0, 4, 4, 0x12345678, -1);
		return [...unless(value === ~0x12345678 >>> 0, () => `the register reads ${value.toString(16)}`), ...reports];
	} finally {
		kernel.close(event);
	}
});

process.exitCode = tally.finish();
