import { describe, expect, it } from "vitest";
import {
	bindPlatformDevice,
	IoAddressSpace,
	KvmVm,
	PlatformBus,
	PlatformDevice,
	type PlatformOptions,
	Releases,
	VfioDevice,
} from "../../../core/mod.ts";
import { createVm } from "../../kernel-sim/kvm/support.ts";
import { board, XGBE } from "./guest.ts";

const IOAPIC = 2;
const FIRST = 16;

/** A machine on KVM with a controller that has a level, index 0, and edges, from index 1 on. */
function guestOnKvm(options: PlatformOptions = {}, gsiOf?: (interrupt: number) => number | undefined) {
	const host = board();
	const kernel = host.linux.process();
	const releases = new Releases();
	releases.use(bindPlatformDevice(kernel, XGBE));
	const vm = releases.use(KvmVm.create(kernel));
	const [machine] = host.linux.kvm.machines;
	const hardware = host.machine.platformDevices.find((one) => one.name === XGBE);
	if (!machine || !hardware) throw new Error("There is no machine, or no controller");
	const fromKvm: string[] = [];
	const fromHere: string[] = [];
	machine.guest = { line: (chip, pin, up) => chip === IOAPIC && fromKvm.push(`${up ? "+" : "-"}${pin}`) };
	const addressSpace = new IoAddressSpace(kernel, { kvm: vm });
	const opened = releases.use(VfioDevice.open(kernel, { platform: XGBE }, { kind: "platform", addressSpace }));
	const reports: string[] = [];
	const onReport = (report: string) => reports.push(report);
	const device = releases.use(PlatformDevice.attach(opened, { ...options, onReport }));
	const bus = new PlatformBus({
		base: 0xc000000n,
		size: 0x2000000n,
		interrupts: { first: FIRST, count: 8 },
		setLine: (interrupt, up) => fromHere.push(`${up ? "+" : "-"}${interrupt}`),
		connectEventfd: vm.platformBus(gsiOf),
	});
	bus.plug(device);
	releases.defer(() => bus.unplug(device));
	return {
		machine,
		hardware,
		device,
		reports,
		/** Lets everything happen. @returns what the guest got since the last time */
		settle: () => {
			host.clock.settle();
			return { kvm: fromKvm.splice(0), here: fromHere.splice(0) };
		},
		/** @returns what is left over */
		end: () => {
			releases[Symbol.dispose]();
			return Object.entries(host.linux.leaks()).filter(([, count]) => count !== 0);
		},
	};
}

describe("an assigned platform device with KVM", () => {
	it("PlatformBus carries a level to the guest and its end of interrupt back, with this process out of it", () => {
		const { machine, hardware, device, settle, reports, end } = guestOnKvm();
		expect(device.isBypassed(0)).toBe(true);
		hardware.setLine(0, true);
		expect(settle()).toEqual({ kvm: ["+16"], here: [] });
		expect(device.mapped).toBe(true);
		// The guest ends the interrupt without having quieted the device: it comes again at once.
		machine.endOfInterrupt(IOAPIC, 16);
		expect(settle()).toEqual({ kvm: ["-16", "+16"], here: [] });
		hardware.setLine(0, false);
		machine.endOfInterrupt(IOAPIC, 16);
		expect([settle(), machine.asserted(IOAPIC, 16)]).toEqual([{ kvm: ["-16"], here: [] }, false]);
		hardware.setLine(0, true);
		expect(settle().kvm).toEqual(["+16"]);
		expect([reports, end()]).toEqual([[], []]);
	});

	it("PlatformBus carries an edge to the guest each time", () => {
		const { hardware, device, settle, end } = guestOnKvm();
		expect(device.isBypassed(1)).toBe(true);
		for (let n = 0; n < 2; n++) {
			hardware.pulse(1);
			expect(settle()).toEqual({ kvm: ["+17", "-17"], here: [] });
		}
		expect(end()).toEqual([]);
	});

	it("goes through this process with irqfd false, and where an interrupt has no GSI", () => {
		for (const one of [guestOnKvm({ irqfd: false }), guestOnKvm({}, () => undefined)]) {
			expect(one.device.isBypassed(0)).toBe(false);
			one.hardware.setLine(0, true);
			expect(one.settle()).toEqual({ kvm: [], here: ["+16"] });
			expect([one.device.mapped, one.reports]).toEqual([false, []]);
			expect(one.end()).toEqual([]);
		}
	});

	it("has no KVM for a bus where that has no interrupt controllers", () => {
		const kernel = board().linux.process();
		using vm = KvmVm.adopt(kernel, createVm(kernel, false));
		expect(vm.platformBus()).toBeUndefined();
	});
});
