import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { VfioError } from "../../core/errors.ts";
import { formatPciAddress } from "../../core/host/address.ts";
import { bindGroup } from "../../core/host/bind.ts";
import type { Kernel } from "../../core/kernel.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { planFunction } from "../../core/pci/plan.ts";
import { Releases } from "../../core/release.ts";
import { Host, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { attach, BACKENDS } from "./scripted-guest.ts";

const EDU = "0000:01:00.0";
const NVME = "0000:06:00.0";
const MILLISECOND = 1e6;

function simulated(version: "6.12" | "7.2" = "6.12") {
	const clock = new VirtualClock();
	const host = Host.reference();
	const linux = new SimulatedLinux({ host, clock, version });
	return { clock, host, linux, process: linux.process() };
}

/** Where the guest finds a capability, as its driver would. */
function capability(fn: AssignedFunction, id: number): number {
	for (let at = fn.configRead(0x34, 1); at !== 0; at = fn.configRead(at + 1, 1))
		if (fn.configRead(at, 1) === id) return at;
	throw new Error(`no capability ${id}`);
}

/** Places BAR 0 and lets the device decode memory and do DMA. */
function start(fn: AssignedFunction): void {
	fn.configWrite(0x10, 4, 0xfd000000);
	fn.configWrite(4, 2, 6);
}

/** Counts system calls whose argument is an interrupt's set-up. */
function countSetIrqs(kernel: Kernel): { readonly kernel: Kernel; calls: number } {
	const VFIO_DEVICE_SET_IRQS = 0x3b6e;
	const counter = { kernel, calls: 0 };
	const ioctl = kernel.ioctl.bind(kernel);
	kernel.ioctl = (fd, request, argument) => {
		if (request === VFIO_DEVICE_SET_IRQS) counter.calls++;
		return argument === undefined ? ioctl(fd, request) : ioctl(fd, request, argument);
	};
	return counter;
}

const MATRIX = (["6.12", "7.2"] as const).flatMap((version) => BACKENDS.map((backend) => [version, backend] as const));

describe.each(MATRIX)("an assigned function on simulated Linux %s with %s", (version, backend) => {
	it("I-03 I-05 serves edu's INTx: pin, end of interrupt by access, BAR trapped for 1100 ms", () => {
		const { clock, linux, process } = simulated(version);
		const attached = attach(process, EDU, { backend });
		const { fn, pins } = attached;
		start(fn);
		expect(fn.interruptMode).toBe("intx");
		expect(fn.directAreas(0).length).toBe(1);
		fn.barWrite(0, 0x60, 4, 1);
		clock.settle();
		expect(pins).toEqual([true]);
		expect(fn.directAreas(0)).toEqual([]);
		// The first access ends the interrupt while the line is still asserted, so that it comes again.
		expect(fn.barRead(0, 0x24, 4)).toBe(1);
		clock.settle();
		expect(pins).toEqual([true, false, true]);
		fn.barWrite(0, 0x64, 4, 1);
		clock.settle();
		expect(pins).toEqual([true, false, true, false]);
		clock.advance(1099 * MILLISECOND);
		expect(fn.directAreas(0)).toEqual([]);
		clock.advance(MILLISECOND);
		expect(fn.directAreas(0).length).toBe(1);
		attached[Symbol.dispose]();
		clock.settle();
		expect(Object.values(linux.leaks()).every((count) => count === 0)).toBe(true);
	});

	it("M-06 delivers edu's MSI with the guest's message", () => {
		const { clock, process } = simulated(version);
		const attached = attach(process, EDU, { backend });
		const { fn, messages } = attached;
		start(fn);
		const msi = capability(fn, 5);
		fn.configWrite(msi + 4, 4, 0xfee01000);
		fn.configWrite(msi + 8, 4, 0);
		fn.configWrite(msi + 12, 2, 0x4041);
		fn.configWrite(msi + 2, 2, fn.configRead(msi + 2, 2) | 1);
		expect(fn.interruptMode).toBe("msi");
		fn.barWrite(0, 0x60, 4, 1);
		clock.settle();
		expect(messages).toEqual([{ address: 0xfee01000n, data: 0x4041 }]);
		attached[Symbol.dispose]();
	});

	it("M-02 enables all 65 vectors of the NVMe controller with at most two calls", () => {
		const { process } = simulated(version);
		const counter = countSetIrqs(process);
		const attached = attach(counter.kernel, NVME, { backend });
		const { fn } = attached;
		start(fn);
		const msix = capability(fn, 0x11);
		const table = fn.configRead(msix + 4, 4) & ~7;
		expect((fn.configRead(msix + 2, 2) & 0x7ff) + 1).toBe(65);
		for (let vector = 0; vector < 65; vector++) fn.barWrite(0, table + 16 * vector + 12, 4, 0);
		fn.configWrite(4, 2, 0);
		counter.calls = 0;
		fn.configWrite(msix + 2, 2, 0x8000);
		// One more call leaves INTx.
		expect(counter.calls).toBeLessThanOrEqual(3);
		expect(fn.interruptMode).toBe("msix");
		attached[Symbol.dispose]();
	});

	it("resets the device, and starts again from power-on state", () => {
		const { clock, process } = simulated(version);
		const attached = attach(process, NVME, { backend });
		const { fn } = attached;
		start(fn);
		fn.barWrite(0, 0x24, 4, 0x001f001f);
		expect(fn.barRead(0, 0x24, 4)).toBe(0x001f001f);
		expect(fn.reset()).toMatchObject({ method: "device-reset", tried: [] });
		expect(fn.configRead(4, 2)).toBe(0);
		expect(fn.barRead(0, 0x24, 4)).toBe(0xffffffff);
		start(fn);
		expect(fn.barRead(0, 0x24, 4)).toBe(0);
		clock.settle();
		attached[Symbol.dispose]();
	});

	it("HOT-05 tells of the host's wish to have the device back, until it is given back", async () => {
		const { clock, linux, process } = simulated(version);
		const attached = attach(process, NVME, { backend });
		const requests: number[] = [];
		attached.fn.onEvent((event) => event.type === "device-requested" && requests.push(event.count));
		const unbound = linux.writeFileAsync(process, "/sys/bus/pci/drivers/vfio-pci/unbind", NVME);
		await Promise.resolve();
		clock.settle();
		expect(requests).toEqual([1]);
		clock.advance(10_000 * MILLISECOND);
		expect(requests).toEqual([1, 2]);
		// The kernel takes the group out of its container itself, as its last device leaves the driver.
		attached[Symbol.dispose]();
		await unbound;
		expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	});

	it("HOT-06 answers all ones when the device is pulled out, and still gives everything back", () => {
		const { clock, host, linux, process } = simulated(version);
		const attached = attach(process, NVME, { backend });
		const { fn } = attached;
		start(fn);
		const hardware = host.machine.function(NVME);
		if (hardware) hardware.present = false;
		// The kernel answers the identification from its own copy; the class comes from the device.
		expect(fn.configRead(8, 4)).toBe(0xffffffff);
		expect(fn.configRead(0x0c, 4)).toBe(0xffffffff);
		expect(fn.barRead(0, 0, 4)).toBe(0xffffffff);
		fn.barWrite(0, 0x14, 4, 1);
		fn.configWrite(4, 2, 0);
		fn.reset();
		attached[Symbol.dispose]();
		clock.settle();
		expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	});
});

describe.each(["6.12", "7.2"] as const)("the addresses of simulated Linux %s", (version) => {
	it("O-02 shows the guest no address of the host, in any width", () => {
		const { process } = simulated(version);
		const attached = attach(process, NVME);
		const { fn, device } = attached;
		const host = device.readRegion(7, 0x10, 4) & ~0xf;
		expect(host).not.toBe(0);
		for (let offset = 0; offset < 4096; offset++)
			for (const width of [1, 2, 4] as const) expect(fn.configRead(offset, width) & ~0xf).not.toBe(host);
		fn.configWrite(0x10, 4, 0xffffffff);
		expect(fn.configRead(0x10, 4)).toBe(0xffffc004);
		attached[Symbol.dispose]();
	});
});

const LSPCI = new URL("../fixtures/lspci/", import.meta.url);
const fixtures = readdirSync(LSPCI).filter((name) => name.endsWith(".txt") && name !== "host-tree.txt");

describe("every function of the recorded hosts", () => {
	it.each(fixtures)(
		"%s: is assigned, or refused with the reason; the guest's lists are the host's, in order",
		(file) => {
			const host = Host.fromLspci(readFileSync(new URL(file, LSPCI), "utf8"));
			const linux = new SimulatedLinux({ host });
			const process = linux.process();
			for (const fn of host.machine.functions) {
				const name = formatPciAddress(fn.address);
				const plan = planFunction({
					config: fn.config,
					regions: [0, 1, 2, 3, 4, 5].map((index) => ({
						size: fn.bar(index)?.size ?? 0,
						mappable: fn.bar(index)?.kind !== "io",
						msixMappable: true,
						sparseAreas: undefined,
					})),
					irqs: [{ count: 1 }, { count: 32 }, { count: 2048 }],
					pageSize: 4096,
					bus: "downstream-port",
					multifunction: false,
				});
				if ((fn.config[0x0e] as number) & 0x7f) {
					expect(plan.refusal?.code, name).toBe("unassignable-device");
					continue;
				}
				if (!plan.refusal) expect(plan.guest.capabilities, name).toEqual(plan.host.capabilities);
				const releases = new Releases();
				try {
					releases.use(bindGroup(process, name));
					const device = releases.use(VfioDevice.open(process, name));
					const assigned = releases.use(AssignedFunction.attach(device));
					for (let at = 0; at < 4096; at += 4) assigned.configRead(at, 4);
					assigned.reset();
				} catch (error) {
					// A host's own chipset functions: no group, or not to be bound.
					expect(error, name).toBeInstanceOf(VfioError);
				} finally {
					releases[Symbol.dispose]();
				}
				expect(
					Object.entries(linux.leaks()).filter(([, count]) => count !== 0),
					name,
				).toEqual([]);
			}
		},
	);
});
