import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { KernelError, VfioError } from "../../core/errors.ts";
import { FailingKernel } from "../../core/failing-kernel.ts";
import { bindGroup } from "../../core/host/bind.ts";
import type { DeviceReference } from "../../core/host/location.ts";
import { Mdev } from "../../core/host/mdev.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import type { Kernel } from "../../core/kernel.ts";
import { PciTopology } from "../../core/machine/topology.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { Releases } from "../../core/release.ts";
import { EINVAL, EIO, errnoName } from "../../core/uapi/errno.ts";
import { VFIO_PCI_MSI_IRQ_INDEX } from "../../core/uapi/vfio.ts";
import { Host, mtty, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";
import { FixedMemory } from "./scripted-guest.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const PORTS = 0xc000;
const IER = 1;
const FCR = 2;
const LSR = 5;
const READY = 1;
const RECEIVED = 1;

function boot() {
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({ host: Host.reference(), clock, mediated: [mtty()] });
	return { clock, linux, kernel: linux.process() };
}

function leaks(linux: SimulatedLinux) {
	return Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
}

/** A guest with a serial controller that its host has made for it. */
class SerialGuest implements Disposable {
	readonly fn: AssignedFunction;
	readonly device: VfioDevice;
	readonly pci: PciTopology;
	readonly pins: boolean[] = [];
	readonly reports: string[] = [];
	readonly #held: Disposable;

	constructor(kernel: Kernel) {
		const releases = new Releases();
		try {
			const mdev = releases.use(Mdev.create(kernel, { uuid: UUID, type: "mtty-2" }));
			const memory = releases.use(kernel.allocate(1 << 20));
			const addressSpace = new IoAddressSpace(kernel, { memory: new FixedMemory(memory) });
			this.device = releases.use(VfioDevice.open(kernel, { sysfsdev: mdev.path }, { addressSpace }));
			const onReport = (message: string) => this.reports.push(message);
			this.fn = releases.use(AssignedFunction.attach(this.device, { onReport }));
			this.pci = new PciTopology({ pin: (_device, _pin, asserted) => this.pins.push(asserted), message() {} });
			this.pci.plug(this.fn, { address: { device: 5, function: 0 } });
			releases.defer(() => this.pci.unplug(this.fn));
			this.#held = releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
	}

	[Symbol.dispose](): void {
		this.#held[Symbol.dispose]();
	}

	config(offset: number, width: 1 | 2 | 4): number {
		this.pci.hostBridge.portWrite(0xcf8, 4, (0x80000000 | (5 << 11) | (offset & 0xfc)) >>> 0);
		return this.pci.hostBridge.portRead(0xcfc + (offset & 3), width);
	}

	/** Places the ports and lets them decode. */
	start(): void {
		this.fn.configWrite(0x10, 4, PORTS);
		this.fn.configWrite(0x14, 4, PORTS + 8);
		this.fn.configWrite(4, 2, 1);
	}

	write(register: number, value: number, port = 0): void {
		this.pci.decoder.io.write(PORTS + 8 * port + register, 1, value);
	}

	read(register: number, port = 0): number {
		return this.pci.decoder.io.read(PORTS + 8 * port + register, 1);
	}

	receive(port = 0): number[] {
		const bytes: number[] = [];
		while ((this.read(LSR, port) & READY) !== 0) bytes.push(this.read(0, port));
		return bytes;
	}
}

describe("Y-07 a mediated device as an assigned function", () => {
	it("Y-07 is created, found by its path, used by its guest with INTx, and removed", () => {
		const { linux, clock, kernel } = boot();
		const guest = new SerialGuest(kernel);
		expect(guest.device.name).toBe(UUID);
		expect(guest.fn.plan.bars.map(({ kind, size }) => [kind, size])).toEqual([
			["io", 8],
			["io", 8],
		]);
		expect(guest.fn.plan.interrupts).toEqual({ intx: 1, msi: 0, msix: 0 });
		expect([guest.fn.plan.host.capabilities, guest.fn.plan.problems, guest.device.resettable]).toEqual([[], [], false]);
		expect([guest.config(0, 4), guest.config(8, 4) >>> 8, guest.config(0x3d, 1)]).toEqual([0x32534348, 0x070002, 1]);
		guest.start();

		guest.write(FCR, 1);
		guest.write(IER, RECEIVED);
		for (const byte of [0x68, 0x65, 0x79]) guest.write(0, byte);
		clock.settle();
		expect(guest.pins).toEqual([true]);
		expect(guest.receive()).toEqual([0x68, 0x65, 0x79]);
		guest.fn.endOfInterrupt(1);
		expect(guest.pins).toEqual([true, false]);
		guest.write(0, 0x21);
		clock.settle();
		expect(guest.pins).toEqual([true, false, true]);
		guest.write(0, 0x31, 1);
		expect([guest.receive(), guest.receive(1)]).toEqual([[0x21], [0x31]]);

		// Its configuration space ends one byte early.
		expect([guest.config(0xfc, 4), guest.config(0xff, 1)]).toEqual([0, 0]);
		expect(guest.reports).toEqual([]);
		guest[Symbol.dispose]();
		clock.settle();
		expect(leaks(linux)).toEqual([]);
		expect(kernel.readDirectory("/sys/bus/mdev/devices")).toEqual([]);
	});

	it("Y-07 interrupts a driver in user space by MSI, which its configuration space does not show", () => {
		const { linux, clock, kernel } = boot();
		const mdev = Mdev.create(kernel, { uuid: UUID, type: "mtty-1" });
		const device = VfioDevice.open(kernel, { sysfsdev: mdev.path });
		const event = kernel.eventfd();
		let count = 0;
		const watch = kernel.watch(event, (signals) => {
			count += signals;
		});
		expect(device.setEventfd(VFIO_PCI_MSI_IRQ_INDEX, 0, event)).toBe(0);
		device.writeRegion(0, FCR, 1, 1);
		device.writeRegion(0, IER, 1, RECEIVED);
		device.writeRegion(0, 0, 1, 0x41);
		clock.settle();
		expect([count, device.readRegion(0, 0, 1)]).toEqual([1, 0x41]);
		device.disableIrq(VFIO_PCI_MSI_IRQ_INDEX);
		watch[Symbol.dispose]();
		kernel.close(event);
		device[Symbol.dispose]();
		mdev[Symbol.dispose]();
		clock.settle();
		expect(leaks(linux)).toEqual([]);
	});

	it.each([EINVAL, EIO].map((errno) => [errnoName(errno), errno] as const))(
		"Y-07 gives everything back when any kernel call fails with %s",
		(_name, errno) => {
			const { linux, clock } = boot();
			const admin = linux.process();
			for (let n = 1; ; n++) {
				const kernel = new FailingKernel(linux.process(), n, errno);
				let failure: unknown;
				try {
					const guest = new SerialGuest(kernel);
					try {
						guest.start();
						guest.write(IER, RECEIVED);
						guest.write(0, 1);
						clock.settle();
						guest.fn.reset();
					} finally {
						guest[Symbol.dispose]();
					}
				} catch (error) {
					failure = error;
				}
				const where = `${kernel.failed} (call ${n}): ${failure}`;
				const clean = (error: unknown): boolean =>
					error instanceof AggregateError
						? error.errors.every(clean)
						: error === undefined || error instanceof VfioError || error instanceof KernelError;
				expect(clean(failure), where).toBe(true);
				clock.settle();
				expect(leaks(linux), where).toEqual([]);
				// What could not be removed is the administrator's.
				for (const uuid of admin.readDirectory("/sys/bus/mdev/devices"))
					admin.writeFile(`/sys/bus/mdev/devices/${uuid}/remove`, "1");
				if (kernel.failed === undefined) {
					expect(n).toBeGreaterThan(60);
					break;
				}
			}
		},
	);
});

describe("names that are no PCI addresses", () => {
	it("Y-03 are UUIDs in messages, and tell a device from another of the same kind", () => {
		const { kernel } = boot();
		const guest = new SerialGuest(kernel);
		const sysfsdev = `/sys/bus/mdev/devices/${UUID}`;
		expect(vfioError(() => VfioDevice.open(kernel, { sysfsdev }))).toMatchObject({
			code: "already-attached",
			device: UUID,
			message: `Cannot open ${UUID}: it is attached already`,
		});
		// The same device by another way to it.
		const target = kernel.readLink(sysfsdev).replace(/^(\.\.\/)+/, "/sys/");
		expect(vfioError(() => VfioDevice.open(kernel, { sysfsdev: target }))).toMatchObject({ code: "already-attached" });
		const other = Mdev.create(kernel, { uuid: UUID.replace("1001", "1002"), type: "mtty-1" });
		const device = VfioDevice.open(kernel, { sysfsdev: other.path });
		expect(device.name).toBe(other.uuid);
		device.readRegion(0, 9, 1);
		for (const each of [device, other, guest]) each[Symbol.dispose]();
	});

	it("Y-05 what a device is, the kernel's flags say, and not where its path leads", () => {
		const { kernel } = boot();
		const mdev = Mdev.create(kernel, { uuid: UUID, type: "mtty-1" });
		expect(vfioError(() => VfioDevice.open(kernel, { sysfsdev: mdev.path }, { kind: "platform" }))).toMatchObject({
			code: "unassignable-device",
			device: UUID,
		});
		const device = VfioDevice.open(kernel, { sysfsdev: mdev.path });
		expect(device.regionCount).toBe(9);
		device[Symbol.dispose]();
		mdev[Symbol.dispose]();
	});

	it("Y-03 never take part in a hot reset: the kernel names none, and no address is taken for one", () => {
		const { kernel } = boot();
		using group = bindGroup(kernel, "0000:01:00.0");
		const mdev = Mdev.create(kernel, { uuid: UUID, type: "mtty-1" });
		const mediated = VfioDevice.open(kernel, { sysfsdev: mdev.path });
		const edu = VfioDevice.open(kernel, "0000:01:00.0");
		expect(vfioError(() => mediated.hotReset())).toMatchObject({ code: "reset-failed", device: UUID });
		expect(edu.hotResetInfo().map(({ name }) => name)).toEqual(["0000:01:00.0"]);
		edu.hotReset();
		for (const each of [edu, mediated, mdev, group]) each[Symbol.dispose]();
	});
});

describe("a mediated device with x-balloon-allowed", () => {
	it.each(["group", "iommufd"])("lets a balloon be where its driver pins what it uses, opened by its %s", (way) => {
		const { linux, kernel } = boot();
		const releases = new Releases();
		const mdev = releases.use(Mdev.create(kernel, { uuid: UUID, type: "mtty-2" }));
		const bound = releases.use(bindGroup(kernel, "0000:05:00.0"));
		const memory = releases.use(kernel.allocate(1 << 20));
		let inhibited = 0;
		const addressSpace = new IoAddressSpace(kernel, {
			memory: new FixedMemory(memory),
			...(way === "iommufd" ? { iommufd: releases.use(Iommufd.open(kernel)) } : {}),
			inhibitDiscard: () => {
				inhibited++;
				return { [Symbol.dispose]: () => void inhibited-- };
			},
		});
		const open = (reference: DeviceReference) =>
			VfioDevice.open(kernel, reference, { addressSpace, discardAllowed: true });
		const device = releases.use(open({ sysfsdev: mdev.path }));
		expect([[...device.iommu.mappings].length, inhibited]).toEqual([1, 0]);
		expect(vfioError(() => open("0000:05:00.0")).message).toBe(
			"Cannot let guest memory be discarded while 0000:05:00.0 is open: that is for mediated devices, and it is none",
		);
		const nvme = VfioDevice.open(kernel, "0000:05:00.0", { addressSpace });
		expect([bound.group, inhibited]).toEqual([nvme.groupId, 1]);
		nvme[Symbol.dispose]();
		expect(inhibited).toBe(0);
		releases[Symbol.dispose]();
		kernel.exit();
		expect(leaks(linux)).toEqual([]);
	});
});
