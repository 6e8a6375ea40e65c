import { describe, expect, it } from "vitest";
import {
	bindGroup,
	bindPlatformDevice,
	FailingKernel,
	type Kernel,
	KernelError,
	PlatformDevice,
	type PlatformLine,
	planPlatformBind,
	resetMachine,
	VfioDevice,
} from "../../../core/mod.ts";
import { type CalxedaXgmac, Host, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { vfioError } from "../../core/support/error.ts";
import { board, PlatformGuest, SRAM, XGBE, XGMAC } from "./guest.ts";

function hardwareOf(host: ReturnType<typeof board>, name: string) {
	const hardware = host.machine.platformDevices.find((one) => one.name === name);
	if (!hardware) throw new Error(`There is no ${name}`);
	return hardware;
}

describe("PlatformDevice", () => {
	it("maps regions until the first interrupt, and again 1100 ms after the last", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGMAC);
		const { device } = guest;
		const hardware = hardwareOf(host, XGMAC);
		expect(device.directAreas(0)).toMatchObject([{ start: 0, end: 0x1000, mappingOffset: 0 }]);
		hardware.setLine(0, true);
		guest.settle();
		expect([device.mapped, device.directAreas(0), guest.remapped]).toEqual([false, [], [0]]);
		guest.advance(5000);
		expect(device.mapped).toBe(false); // the guest has not served it
		guest.read(0x20); // it comes again, as the line is up
		guest.settle();
		hardware.setLine(0, false);
		guest.read(0x20);
		expect(device.activeInterrupt).toBeUndefined();
		guest.advance(1099);
		expect(device.mapped).toBe(false);
		guest.advance(1);
		expect([device.mapped, guest.remapped]).toEqual([true, [0, 0]]);
		expect(device.directAreas(0)).toHaveLength(1);
		expect(host.clock.pending).toBe(0);
	});

	it("takes no access to mapped memory for the end of an interrupt, nor leaves regions mapped with mmapTimeout 0", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGMAC, { mmapTimeout: 0 });
		expect(guest.device.directAreas(0)[0]?.mapping.read(0x20, 4)).toBe(0x1012);
		hardwareOf(host, XGMAC).setLine(0, true);
		guest.settle();
		guest.read(0x20);
		guest.advance(3_600_000);
		expect(guest.device.mapped).toBe(false);
		expect(vfioError(() => PlatformDevice.attach(guest.vfio, { mmapTimeout: -1 })).code).toBe("invalid-argument");
	});

	it("shows one interrupt of several at a time, and a level again as long as it is up", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		const hardware = hardwareOf(host, XGBE);
		hardware.pulse(3);
		hardware.setLine(0, true);
		hardware.pulse(1);
		hardware.pulse(3); // while it is active: shown once more afterwards
		guest.settle();
		expect(guest.changes).toEqual(["+3"]);
		hardware.pulse(3);
		guest.settle();
		for (const expected of ["+0", "+1", "+3"]) {
			guest.read(0x110);
			expect(guest.changes.at(-1)).toBe(expected);
		}
		guest.settle();
		guest.read(0x110);
		expect(guest.changes.slice(-2)).toEqual(["-3", "+0"]);
		hardware.setLine(0, false);
		guest.read(0x110);
		guest.settle();
		expect(guest.up.size).toBe(0);
	});

	it("shows none of those that wait when it is taken out", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		for (const line of [1, 2, 3]) hardwareOf(host, XGBE).pulse(line);
		guest.settle();
		guest.device.unplug();
		expect(guest.changes).toEqual(["+1", "-1"]);
	});

	it("ends an interrupt that the machine has seen the end of, and no other", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGBE);
		hardwareOf(host, XGBE).pulse(2);
		guest.settle();
		guest.device.endOfInterrupt(1);
		expect(guest.up).toEqual(new Set([2]));
		guest.device.endOfInterrupt(2);
		expect(guest.up.size).toBe(0);
	});

	it("does not interrupt before its lines are connected, nor after they are not", () => {
		const host = board();
		const kernel = host.linux.process();
		using _bound = bindPlatformDevice(kernel, XGMAC);
		using opened = VfioDevice.open(kernel, { platform: XGMAC }, { kind: "platform" });
		using device = PlatformDevice.attach(opened);
		const hardware = hardwareOf(host, XGMAC);
		const levels: boolean[] = [];
		hardware.setLine(0, true);
		host.clock.settle();
		device.plug({});
		device.connectLine(0, { set: (asserted) => levels.push(asserted) });
		host.clock.settle();
		expect(levels).toEqual([true]);
		expect(vfioError(() => device.connectLine(0, { set: () => {} })).message).toMatch(/it is connected/);
		expect(vfioError(() => device.connectLine(7, { set: () => {} })).message).toMatch(/it does not exist/);
		expect(vfioError(() => device.plug({})).code).toBe("invalid-argument");
		device.disconnectLine(0);
		expect(levels).toEqual([true, false]);
		device.connectLine(0, { set: (asserted) => levels.push(asserted) });
		host.clock.settle();
		expect(levels).toEqual([true, false, true]); // the kernel had it masked
		device.unplug();
		expect([device.read(0, 0x20, 4), device.read64(0, 0x20)]).toEqual([0xffffffff, 2n ** 64n - 1n]);
		expect(host.clock.pending).toBe(0);
	});

	it("hands lines to whoever can drive them from an eventfd, with the unmask for levels only", () => {
		const host = board();
		const kernel = host.linux.process();
		using _bound = bindPlatformDevice(kernel, XGBE);
		using opened = VfioDevice.open(kernel, { platform: XGBE }, { kind: "platform" });
		const reports: string[] = [];
		using device = PlatformDevice.attach(opened, { onReport: (message) => reports.push(message) });
		const connected: { trigger: number; resample: number | undefined }[] = [];
		const line: PlatformLine = {
			set: () => {
				throw new Error("nobody should");
			},
			connectEventfd: (trigger, resample) => {
				connected.push({ trigger, resample });
				return { [Symbol.dispose]: () => void connected.pop() };
			},
		};
		const hardware = hardwareOf(host, XGBE);
		device.connectLine(0, line);
		device.connectLine(1, line);
		expect(connected.map(({ resample }) => resample !== undefined)).toEqual([true, false]);
		expect([device.isBypassed(0), device.isBypassed(1), device.isBypassed(2)]).toEqual([true, true, false]);
		const [level, edge] = connected;
		const count = (fd = -1) => {
			const buffer = new Uint8Array(8);
			try {
				kernel.read(fd, buffer);
			} catch {
				return 0;
			}
			return buffer[0];
		};
		hardware.setLine(0, true);
		hardware.pulse(1);
		host.clock.settle();
		expect([count(level?.trigger), count(edge?.trigger)]).toEqual([1, 1]);
		expect(device.mapped).toBe(true);
		kernel.write(level?.resample ?? -1, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
		expect(count(level?.trigger)).toBe(1); // still up
		hardware.setLine(0, false);
		device.connectLine(2, { ...line, connectEventfd: () => undefined });
		device.connectLine(3, {
			set: () => {},
			connectEventfd: () => {
				throw new Error("KVM says no");
			},
		});
		expect([device.isBypassed(2), device.isBypassed(3)]).toEqual([false, false]);
		expect(reports).toEqual([`${XGBE}: KVM says no; interrupt 3 goes through this process`]);
		hardware.pulse(2);
		host.clock.settle();
		expect(reports.at(-1)).toBe(`${XGBE}: nobody should`);
		device.unplug();
		expect(connected).toEqual([]);
	});
});

describe("the reset of a platform device", () => {
	it("is the kernel's, with the machine's; what was before the guest is forgotten and unmasked", () => {
		const host = board();
		using guest = new PlatformGuest(host, XGMAC);
		const hardware = hardwareOf(host, XGMAC);
		guest.write(0x000, 0xc);
		hardware.setLine(0, true);
		guest.settle();
		expect(guest.up).toEqual(new Set([0]));
		const before = hardware.resetCount;
		const report = resetMachine([guest.device]);
		expect(report.functions).toEqual([{ name: XGMAC, report: guest.device.lastReset }]);
		expect(guest.device.lastReset).toMatchObject({ method: "device-reset", tried: [] });
		expect(hardware.resetCount).toBe(before + 1);
		expect(guest.read(0x000)).toBe(0); // receiver and transmitter are off
		expect(guest.changes.slice(0, 2)).toEqual(["+0", "-0"]);
		expect(guest.device.mapped).toBe(true);
		hardware.setLine(0, true);
		guest.settle();
		expect(guest.up).toEqual(new Set([0])); // the kernel does not hold it back
		expect(host.model<CalxedaXgmac>(XGMAC).droppedFrames).toBe(0);
	});

	it("says so when the kernel has none", () => {
		const host = board({ reset_required: false });
		using guest = new PlatformGuest(host, SRAM);
		guest.write(0x10, 7);
		const { method, methods } = guest.device.reset();
		expect(method).toBeUndefined();
		expect(methods).toMatchObject([{ method: "device-reset", exists: false }]);
		expect(guest.reports).toEqual([
			`Cannot reset ${SRAM}: vfio-platform has no module that resets what it is compatible with; its registers stay as they are`,
		]);
		expect(guest.read(0x10)).toBe(7);
		expect(vfioError(() => guest.vfio.reset())).toMatchObject({ code: "reset-failed" });
	});
});

describe("bindPlatformDevice()", () => {
	it("gives the device back to the driver it had, and its override", () => {
		const host = board();
		const kernel = host.linux.process();
		const driver = () => host.linux.platform.devices.get(XGMAC)?.driver?.name;
		expect(planPlatformBind(kernel, XGMAC).steps.map(({ path, text }) => `${path} ${text}`)).toEqual([
			`/sys/bus/platform/drivers/calxedaxgmac/unbind ${XGMAC}`,
			`/sys/bus/platform/devices/${XGMAC}/driver_override vfio-platform`,
			`/sys/bus/platform/drivers/vfio-platform/bind ${XGMAC}`,
		]);
		const bound = bindPlatformDevice(kernel, XGMAC);
		expect(driver()).toBe("vfio-platform");
		expect(planPlatformBind(kernel, XGMAC).steps).toEqual([]);
		bound[Symbol.dispose]();
		expect(driver()).toBe("calxedaxgmac");
		expect(host.linux.platform.devices.get(XGMAC)?.driverOverride).toBeUndefined();
	});

	it("explains why it cannot, and leaves the device as it was", () => {
		const host = board();
		const kernel = host.linux.process();
		const refused = vfioError(() => bindPlatformDevice(kernel, SRAM));
		expect(refused.code).toBe("unassignable-device");
		expect(refused.message).toBe(`Cannot bind ${SRAM}: vfio-platform has no reset for it`);
		expect(refused.remedy.join()).toContain("reset_required=0");
		expect(host.linux.platform.devices.get(SRAM)?.driverOverride).toBeUndefined();
		expect(vfioError(() => bindPlatformDevice(kernel, "nothing")).code).toBe("no-such-device");
		expect(vfioError(() => bindPlatformDevice(kernel, XGMAC, "vfio-amba")).code).toBe("no-vfio");
		expect(vfioError(() => bindPlatformDevice(host.linux.process({ uid: 1000 }), XGMAC)).code).toBe("no-permission");
	});
});

/** An error of ours, or one of ours while another was on its way out of a `using`. */
function isClean(error: unknown): boolean {
	const both = error as { name?: string; error?: unknown; suppressed?: unknown };
	if (both.name === "SuppressedError") return isClean(both.error) && isClean(both.suppressed);
	return error instanceof KernelError || (error as Error).message.startsWith("Cannot");
}

describe("VfioDevice.open() of a platform device", () => {
	it("that no VFIO driver has speaks of no driver of PCI", () => {
		const kernel = board().linux.process();
		const error = vfioError(() => VfioDevice.open(kernel, { platform: XGMAC }, { kind: "platform" }));
		expect([error.code, error.message]).toEqual(["not-bound", `Cannot open ${XGMAC}: no VFIO driver has it`]);
		expect(error.remedy).toContain("sudo modprobe vfio-platform");
	});

	it("Y-02 takes sysfsdev before the name, and a name that is not empty and has no slash", () => {
		const { linux } = board();
		const kernel = linux.process();
		using _bound = bindPlatformDevice(kernel, XGMAC);
		const sysfsdev = `/sys/devices/platform/${XGMAC}`;
		using device = VfioDevice.open(kernel, { platform: "nothing", sysfsdev }, { kind: "platform" });
		expect([device.name, device.regionCount, device.irqCount, device.resettable]).toEqual([XGMAC, 1, 3, true]);
		for (const platform of ["", "a/b", `platform/${XGMAC}`])
			expect(vfioError(() => VfioDevice.open(kernel, { platform }, { kind: "platform" })).code).toBe(
				"invalid-argument",
			);
	});

	it("Y-05 goes by what the kernel says the device is, not by its path", () => {
		const kernel = board().linux.process();
		using _bound = bindPlatformDevice(kernel, XGMAC);
		const platform = vfioError(() => VfioDevice.open(kernel, { sysfsdev: `/sys/devices/platform/${XGMAC}` }));
		expect(platform.code).toBe("unassignable-device");
		expect(platform.message).toBe(`Cannot use ${XGMAC}: the kernel says that it is not a PCI device`);
		const pc = new SimulatedLinux({ host: Host.reference() }).process();
		using _group = bindGroup(pc, "0000:05:00.0");
		const sysfsdev = "/sys/bus/pci/devices/0000:05:00.0";
		const pci = vfioError(() => VfioDevice.open(pc, { sysfsdev }, { kind: "platform" }));
		expect(pci.message).toBe("Cannot use 0000:05:00.0: the kernel says that it is not a platform device");
	});

	it("gives everything back when any call on the way fails", () => {
		const host = board();
		const real = host.linux.process();
		using _bound = bindPlatformDevice(real, XGMAC);
		let failures = 0;
		for (let nth = 1; nth < 60; nth++) {
			const kernel: Kernel = new FailingKernel(real, nth, 5);
			try {
				using device = VfioDevice.open(kernel, { platform: XGMAC }, { kind: "platform" });
				using assigned = PlatformDevice.attach(device);
				assigned.plug({});
				for (const { index } of assigned.interrupts) assigned.connectLine(index, { set: () => {} });
			} catch (error) {
				failures++;
				expect(isClean(error), String(error)).toBe(true);
			}
			host.clock.settle();
			expect(Object.entries(host.linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
		}
		expect(failures).toBeGreaterThan(10);
	});
});
