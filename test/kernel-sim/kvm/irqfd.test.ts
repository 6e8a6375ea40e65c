import { describe, expect, it } from "vitest";
import { KVM_IRQFD_FLAG_DEASSIGN as DEASSIGN, KVM_IRQFD_FLAG_RESAMPLE as RESAMPLE } from "../../../core/uapi/kvm.ts";
import { calls, count, createVm, machine, signal } from "./support.ts";

const IOAPIC = 2;

describe("KVM_IRQFD", () => {
	it("sends the routed message for each signal, and takes the count before a reader can", () => {
		const { kernel, irqfd, routes, take } = machine();
		const event = kernel.eventfd();
		expect(routes([[24, 2, 0, 0xfee01000, 0, 0x41]])).toBe(0);
		expect(irqfd(event, 24)).toBe(0);
		signal(kernel, event, 3n);
		expect([take(), count(kernel, event)]).toEqual([["fee01000=41"], "EAGAIN"]);
		expect(irqfd(event, 24, DEASSIGN)).toBe(0);
		signal(kernel, event);
		expect([take(), count(kernel, event)]).toEqual([[], 1]);
	});

	it("fires at once for what was signalled before, and for a route that comes later", () => {
		const { kernel, irqfd, routes, take } = machine();
		const event = kernel.eventfd(1);
		routes([[30, 2, 0, 0xfee00000, 0, 0x30]]);
		expect(irqfd(event, 30)).toBe(0);
		expect(take()).toEqual(["fee00000=30"]);
		const unrouted = kernel.eventfd();
		expect(irqfd(unrouted, 31)).toBe(0);
		signal(kernel, unrouted);
		expect(take()).toEqual([]);
		routes([[31, 2, 0, 0xfee00000, 1, 0x31]]);
		signal(kernel, unrouted);
		expect(take()).toEqual(["1fee00000=31"]);
	});

	it("pulses a pin without resample; with it, holds the pin until the guest's end of interrupt", () => {
		const { kernel, irqfd, take, machine: vm } = machine();
		const [edge, level, resample] = [kernel.eventfd(), kernel.eventfd(), kernel.eventfd()];
		irqfd(edge, 20);
		signal(kernel, edge);
		expect(take()).toEqual(["2.20 up", "2.20 down"]);
		expect(irqfd(level, 21, RESAMPLE, resample)).toBe(0);
		signal(kernel, level);
		signal(kernel, level);
		expect([take(), vm.asserted(IOAPIC, 21)]).toEqual([["2.21 up"], true]);
		vm.endOfInterrupt(IOAPIC, 20);
		expect(count(kernel, resample)).toBe("EAGAIN");
		vm.endOfInterrupt(IOAPIC, 21);
		expect([take(), count(kernel, resample)]).toEqual([["2.21 down"], 1]);
	});

	it("shares a level among those that resample one GSI, and lowers it with the last of them", () => {
		const { kernel, irqfd, take, machine: vm } = machine();
		const [a, b, ra, rb] = [kernel.eventfd(), kernel.eventfd(), kernel.eventfd(), kernel.eventfd()];
		irqfd(a, 21, RESAMPLE, ra);
		irqfd(b, 21, RESAMPLE, rb);
		signal(kernel, a);
		vm.endOfInterrupt(IOAPIC, 21);
		expect([count(kernel, ra), count(kernel, rb)]).toEqual([1, 1]);
		signal(kernel, b);
		take();
		irqfd(a, 21, DEASSIGN);
		expect(take()).toEqual([]);
		kernel.close(b); // closing the eventfd takes the irqfd with it
		expect(take()).toEqual(["2.21 down"]);
	});

	it("drives both controllers of the first 16 GSIs, together with KVM_IRQ_LINE", () => {
		const { kernel, irqfd, line, take } = machine();
		const event = kernel.eventfd();
		irqfd(event, 9);
		expect(line(9, 1)).toBe(0);
		expect(take()).toEqual(["2.9 up", "1.1 up"]);
		line(9, 0);
		expect(take()).toEqual(["2.9 down", "1.1 down"]);
	});

	it("answers wrong requests as Linux does, in its order", () => {
		const { kernel, irqfd, vm } = machine();
		const [event, resample] = [kernel.eventfd(), kernel.eventfd()];
		expect(irqfd(event, 5, 4)).toBe("EINVAL");
		expect(irqfd(99, 5)).toBe("EBADF");
		expect(irqfd(vm, 5)).toBe("EINVAL");
		expect(irqfd(event, 5, RESAMPLE, 99)).toBe("EBADF");
		expect(irqfd(event, 5, RESAMPLE, vm)).toBe("EINVAL");
		expect(irqfd(event, 5, RESAMPLE, resample)).toBe(0);
		expect(irqfd(event, 6)).toBe("EBUSY");
		expect(irqfd(event, 6, DEASSIGN)).toBe(0);
		expect(irqfd(event, 6)).toBe("EBUSY");
		expect([irqfd(99, 5, DEASSIGN), irqfd(vm, 5, DEASSIGN)]).toEqual(["EBADF", "EINVAL"]);
		expect([irqfd(event, 5, DEASSIGN), irqfd(event, 6)]).toEqual([0, 0]);
	});

	it("needs interrupt controllers to assign, not to deassign", () => {
		const { kernel, irqfd, routes, signal: message, line } = machine({ irqchip: false });
		const event = kernel.eventfd();
		expect([irqfd(event, 5), irqfd(99, 5), irqfd(event, 5, DEASSIGN)]).toEqual(["EINVAL", "EINVAL", 0]);
		expect([routes([]), message(0xfee00000, 1), line(5, 1)]).toEqual(["EINVAL", "EINVAL", "ENXIO"]);
	});

	it.each([
		["6.12", 0],
		["7.2", "EBUSY"],
	] as const)("lets an eventfd be an irqfd of two machines on %s: %s", (version, answer) => {
		const { kernel, irqfd } = machine({ version });
		const event = kernel.eventfd();
		irqfd(event, 5);
		const other = calls(kernel, createVm(kernel));
		expect(other.irqfd(event, 5)).toBe(answer);
	});
});

describe("KVM_SET_GSI_ROUTING", () => {
	const message = (gsi: number, data: number) => [gsi, 2, 0, 0xfee00000, 0, data];

	it("replaces the whole table or nothing", () => {
		const { kernel, irqfd, routes, take } = machine();
		const event = kernel.eventfd();
		irqfd(event, 24);
		routes([message(24, 1), message(25, 2)]);
		expect(routes([message(24, 9), [25, 2, 2]])).toBe("EINVAL");
		signal(kernel, event);
		routes([message(25, 3)]);
		signal(kernel, event);
		expect(take()).toEqual(["fee00000=1"]);
	});

	it.each<[string, number[][], number, number | string]>([
		["no entry", [], 0, 0],
		["flags", [], 1, "EINVAL"],
		["the last GSI", [message(4095, 1)], 0, 0],
		["a GSI past the last", [message(4096, 1)], 0, "EINVAL"],
		["two messages for a GSI", [message(24, 1), message(24, 1)], 0, "EINVAL"],
		["a pin and a message", [[5, 1, 0, 2, 5], message(5, 1)], 0, "EINVAL"],
		[
			"two pins of one chip",
			[
				[5, 1, 0, 2, 5],
				[5, 1, 0, 2, 6],
			],
			0,
			"EINVAL",
		],
		[
			"pins of two chips",
			[
				[5, 1, 0, 2, 5],
				[5, 1, 0, 0, 5],
			],
			0,
			0,
		],
		["a chip that is not there", [[5, 1, 0, 3, 5]], 0, "EINVAL"],
		["a pin that is not there", [[5, 1, 0, 2, 24]], 0, "EINVAL"],
		["a type that is not there", [[5, 9, 0]], 0, "EINVAL"],
		["a synthetic interrupt of Hyper-V", [[5, 4, 0]], 0, 0],
		["a message with a device id", [[24, 2, 1, 0xfee00000]], 0, 0],
		["flags of a pin", [[5, 1, 1, 2, 5]], 0, "EINVAL"],
	])("answers as Linux does: %s", (_, entries, flags, answer) => {
		expect(machine().routes(entries, flags)).toBe(answer);
	});

	it("refuses more entries than there are GSIs, and entries that are not there", () => {
		const { routes } = machine();
		expect([routes([], 0, 4097), routes([], 0, 1)]).toEqual(["EINVAL", "EFAULT"]);
	});
});

describe("KVM_SIGNAL_MSI", () => {
	it("delivers to a guest, and has nobody to deliver to without one", () => {
		const { machine: vm, signal: message, take } = machine();
		expect([message(0xfee02000, 0x55), take()]).toEqual([1, ["fee02000=55"]]);
		vm.guest = undefined;
		expect(message(0xfee02000, 0x55)).toBe("EPERM");
	});
});
