import { beforeEach, describe, expect, it } from "vitest";
import { bindGroup, planBind } from "../../../core/host/bind.ts";
import { giveBackSteps, shellCommand } from "../../../core/host/bind-plan.ts";
import { unbindGroup } from "../../../core/host/unbind.ts";
import { EBUSY, EDEADLK, EINVAL, EIO } from "../../../core/uapi/errno.ts";
import { vfioError } from "../support/error.ts";
import { type FakeFunction, FakeHost } from "../support/fake-host.ts";

const CARD: readonly FakeFunction[] = [
	{ name: "0000:00:1c.0", group: 5, driver: "pcieport", bridge: true },
	{ name: "0000:05:00.0", group: 5, driver: "igb", id: "8086 1521" },
	{ name: "0000:05:00.1", group: 5, driver: "igb", id: "8086 1521", override: "igb" },
	{ name: "0000:05:00.2", group: 5, id: "8086 1522" },
	{ name: "0000:05:00.3", group: 5, driver: "vfio-pci", id: "8086 1521", override: "vfio-pci" },
];

describe("planBind()", () => {
	it("is data: the sysfs writes in their order, and what undoes them", () => {
		const plan = planBind(new FakeHost(CARD).kernel, "05:00.1");
		expect(plan.group).toBe(5);
		const device = plan.devices.find(({ name }) => name === "0000:05:00.1");
		expect(device?.steps.map(shellCommand)).toEqual([
			"echo 0000:05:00.1 | sudo tee /sys/bus/pci/drivers/igb/unbind",
			"echo vfio-pci | sudo tee /sys/bus/pci/devices/0000:05:00.1/driver_override",
			"echo 0000:05:00.1 | sudo tee /sys/bus/pci/drivers/vfio-pci/bind",
		]);
		expect((device && giveBackSteps(device))?.map(shellCommand)).toEqual([
			"echo 0000:05:00.1 | sudo tee /sys/bus/pci/drivers/vfio-pci/unbind",
			"echo igb | sudo tee /sys/bus/pci/devices/0000:05:00.1/driver_override",
			"echo 0000:05:00.1 | sudo tee /sys/bus/pci/drivers/igb/bind",
		]);
	});
	it("leaves bridges alone, and what is bound already", () => {
		const plan = planBind(new FakeHost(CARD).kernel, "05:00.0");
		const left = plan.devices.filter(({ steps }) => steps.length === 0);
		expect(left.map(({ name, leftAlone }) => `${name}: ${leftAlone}`)).toEqual([
			"0000:00:1c.0: a bridge or port, which VFIO neither needs nor takes",
			"0000:05:00.3: bound to vfio-pci already",
		]);
	});
	it("leaves a host bridge without a driver alone, and takes one that has a driver", () => {
		const plan = planBind(
			new FakeHost([
				{ name: "0000:00:1f.0", group: 5, class: 0x060100, driver: "lpc_ich" },
				{ name: "0000:00:1f.1", group: 5, class: 0x060000 },
				{ name: "0000:00:1f.3", group: 5 },
			]).kernel,
			"00:1f.3",
		);
		expect(plan.devices.map(({ steps }) => steps.length)).toEqual([3, 0, 2]);
	});
	it("uses new_id where the kernel has no driver_override, and takes the id back", () => {
		const host = new FakeHost(CARD, { driverOverride: false });
		const device = planBind(host.kernel, "05:00.0").devices[1];
		expect(device?.steps.map(({ path, text }) => `${path.split("/").at(-1)} ${text}`)).toEqual([
			"unbind 0000:05:00.0",
			"new_id 8086 1521",
			"bind 0000:05:00.0",
			"remove_id 8086 1521",
		]);
	});
	it("refuses to bind a bridge", () => {
		expect(vfioError(() => planBind(new FakeHost(CARD).kernel, "00:1c.0")).code).toBe("unassignable-device");
	});
});

describe("bindGroup()", () => {
	let host: FakeHost;
	beforeEach(() => {
		host = new FakeHost(CARD);
	});
	const drivers = () => CARD.map(({ name }) => host.driverOf.get(name) ?? "none");
	const before = ["pcieport", "igb", "igb", "none", "vfio-pci"];

	it("binds the whole group, and gives back what each device had", () => {
		const group = bindGroup(host.kernel, "0000:05:00.0");
		expect(drivers()).toEqual(["pcieport", "vfio-pci", "vfio-pci", "vfio-pci", "vfio-pci"]);
		group[Symbol.dispose]();
		expect(drivers()).toEqual(before);
		expect(CARD.map(({ name }) => host.overrideOf(name))).toEqual(["", "", "igb", "", "vfio-pci"]);
	});
	it("gives back once", () => {
		const group = bindGroup(host.kernel, "05:00.0");
		group[Symbol.dispose]();
		const writes = host.kernel.log.length;
		group[Symbol.dispose]();
		expect(host.kernel.log.length).toBe(writes);
	});
	it("binds without driver_override, although new_id binds by itself, and captures no later device", () => {
		host = new FakeHost(CARD, { driverOverride: false });
		const group = bindGroup(host.kernel, "05:00.0");
		expect(drivers()).toEqual(["pcieport", "vfio-pci", "vfio-pci", "vfio-pci", "vfio-pci"]);
		group[Symbol.dispose]();
		expect(drivers()).toEqual(before);
	});
	it("puts everything back when a device in the middle is refused", () => {
		host.refuse.set("vfio-pci 0000:05:00.1", EINVAL);
		const error = vfioError(() => bindGroup(host.kernel, "05:00.0"));
		expect([error.code, error.device, error.errno]).toEqual(["unassignable-device", "0000:05:00.1", EINVAL]);
		expect(drivers()).toEqual(before);
		expect(CARD.map(({ name }) => host.overrideOf(name))).toEqual(["", "", "igb", "", "vfio-pci"]);
	});
	it("says both when the rollback fails too", () => {
		host.refuse.set("vfio-pci 0000:05:00.1", EINVAL);
		host.refuse.set("igb 0000:05:00.0", EIO);
		expect(() => bindGroup(host.kernel, "05:00.0")).toThrow(AggregateError);
		expect(host.driverOf.get("0000:05:00.1")).toBe("igb");
	});
	it("says that vfio-pci is not loaded", () => {
		host = new FakeHost(CARD.slice(0, 4), { drivers: [] });
		const error = vfioError(() => bindGroup(host.kernel, "05:00.0"));
		expect([error.code, error.remedy[0]]).toEqual(["no-vfio", "sudo modprobe vfio-pci"]);
	});
	it("says which file it may not write", () => {
		host.forbid("/sys/bus/pci/devices/0000:05:00.0/driver_override");
		const error = vfioError(() => bindGroup(host.kernel, "05:00.0"));
		expect(error.code).toBe("no-permission");
		expect(drivers()).toEqual(before);
		expect(error.message).toContain("/sys/bus/pci/devices/0000:05:00.0/driver_override");
	});
	it("says that a device is in use when its driver refuses", () => {
		host.refuse.set("vfio-pci 0000:05:00.0", EBUSY);
		expect(vfioError(() => bindGroup(host.kernel, "05:00.0")).code).toBe("device-in-use");
	});
	it("says so when the driver silently does not take it", () => {
		host.kernel.files.set("/sys/bus/pci/drivers/vfio-pci/bind", { write: () => {} });
		const error = vfioError(() => bindGroup(host.kernel, "05:00.0"));
		expect(error.remedy[0]).toContain("dmesg");
		expect(drivers()).toEqual(before);
	});
});

describe("BoundGroup", () => {
	it("says that a device is open still when giving it back would wait", () => {
		const host = new FakeHost(CARD);
		const group = bindGroup(host.kernel, "05:00.0");
		const path = "/sys/bus/pci/drivers/vfio-pci/unbind";
		host.kernel.files.set(path, { write: () => host.kernel.fail(EDEADLK, "write", path) });
		expect(() => group[Symbol.dispose]()).toThrow(/errors/);
	});
	it("says which device its driver does not get back", () => {
		const host = new FakeHost(CARD.slice(0, 2));
		const group = bindGroup(host.kernel, "05:00.0");
		host.refuse.set("igb 0000:05:00.0", EBUSY);
		const error = vfioError(() => group[Symbol.dispose]());
		expect([error.code, error.device]).toEqual(["device-in-use", "0000:05:00.0"]);
	});
});

describe("unbindGroup()", () => {
	it("gives a group to the drivers that the kernel finds, and clears the overrides", () => {
		const host = new FakeHost(CARD);
		bindGroup(host.kernel, "05:00.0");
		const probed: string[] = [];
		host.kernel.files.set("/sys/bus/pci/drivers_probe", { write: (name) => probed.push(name) });
		const plan = unbindGroup(host.kernel, "05:00.0");
		expect(probed).toEqual(["0000:05:00.0", "0000:05:00.1", "0000:05:00.2", "0000:05:00.3"]);
		expect(plan.devices[0]?.leftAlone).toBe("pcieport has it");
		expect(CARD.map(({ name }) => host.overrideOf(name))).toEqual(["", "", "", "", ""]);
		expect(CARD.slice(1).map(({ name }) => host.driverOf.get(name))).toEqual([
			undefined,
			undefined,
			undefined,
			undefined,
		]);
	});
	it("gives a group to the driver that is named", () => {
		const host = new FakeHost(CARD);
		bindGroup(host.kernel, "05:00.0");
		unbindGroup(host.kernel, "05:00.0", { driver: "igb" });
		expect(CARD.slice(1).map(({ name }) => host.driverOf.get(name))).toEqual(["igb", "igb", "igb", "igb"]);
	});
	it("changes nothing when it only plans", () => {
		const host = new FakeHost(CARD);
		const plan = unbindGroup(host.kernel, "05:00.0", { dryRun: true });
		expect(plan.devices.flatMap(({ steps }) => steps.map(shellCommand))).toEqual([
			"echo 0000:05:00.3 | sudo tee /sys/bus/pci/drivers/vfio-pci/unbind",
			'echo "" | sudo tee /sys/bus/pci/devices/0000:05:00.3/driver_override',
			"echo 0000:05:00.3 | sudo tee /sys/bus/pci/drivers_probe",
		]);
		expect(host.kernel.log).toEqual([]);
	});
});
