import { describe, expect, it } from "vitest";
import * as uapi from "../../../core/uapi/vfio.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import type { ResetMethod } from "../../../kernel-sim/hardware/function.ts";
import { memoryDevice } from "../../../kernel-sim/hardware/memory-device.ts";
import { Edu } from "../../../kernel-sim/hardware/models/edu.ts";
import { Bench, hostWith } from "./bench.ts";
import { E1000E, WIDE } from "./descriptions.ts";

const ADDRESS = "0000:01:00.0";
const edu = () => new Bench(hostWith({ [ADDRESS]: [Edu.description(), new Edu()] }), ADDRESS);
const onRootBus = () => new Bench(hostWith({ "0000:00:10.0": [Edu.description(), new Edu()] }), "0000:00:10.0");
/** Two functions in one slot below a port: neither has a reset of its own. */
const two = () =>
	new Bench(
		hostWith({
			[ADDRESS]: [{ ...Edu.description(), multifunction: true }, new Edu()],
			"0000:01:00.1": [memoryDevice()],
		}),
		ADDRESS,
	);

describe("VFIO_DEVICE_RESET", () => {
	it("case 174: resets the function and keeps the settings", () => {
		const bench = edu();
		bench.pwrite(7, 4, "0700");
		bench.pwrite(7, 0x10, "000000e0");
		const hardware = bench.sysfs(0x10, 4);
		const before = bench.fn.resetCount;
		expect(bench.ioctl(uapi.VFIO_DEVICE_RESET)).toBe(0);
		expect(bench.fn.resetCount).toBe(before + 1);
		expect([bench.pread(7, 4, 2), bench.pread(7, 0x10, 4)]).toEqual(["0700", "000000e0"]);
		expect(bench.sysfs(0x10, 4)).toBe(hardware);
	});

	it("case 175: is EINVAL where the reset at open did not work", () => {
		expect(onRootBus().ioctl(uapi.VFIO_DEVICE_RESET)).toBe("EINVAL");
	});

	it.each([
		["flr", WIDE],
		["pm", { ...E1000E, extendedCapabilities: [] }],
	] as [ResetMethod, FunctionDescription][])(
		"resets a function on the root bus by its own %s",
		(method, description) => {
			const bench = new Bench(hostWith({ "0000:00:10.0": [description] }), "0000:00:10.0");
			expect(bench.fn.resetMethods).toEqual([method]);
			const before = bench.fn.resetCount;
			expect(bench.ioctl(uapi.VFIO_DEVICE_RESET)).toBe(0);
			expect(bench.fn.resetCount).toBe(before + 1);
			expect(bench.fn.memoryEnabled).toBe(true);
		},
	);

	it("case 139: an FLR through DEVCTL resets, and COMMAND and BARs are preserved", () => {
		const bench = new Bench(hostWith({ [ADDRESS]: [WIDE] }), ADDRESS);
		bench.pwrite(7, 4, "0700");
		bench.pwrite(7, 0x10, "000000e0");
		const before = bench.fn.resetCount;
		bench.pwrite(7, 0x88, "0080");
		expect(bench.fn.resetCount).toBe(before + 1);
		expect([bench.pread(7, 0x88, 2), bench.pread(7, 4, 2), bench.pread(7, 0x10, 4)]).toEqual([
			"0000",
			"0700",
			"0c0000e0",
		]);
	});

	it("case 181: reset_method decides, at the next open for the flag and at once for the reset", () => {
		const bench = edu();
		const file = `/sys/bus/pci/devices/${ADDRESS}/reset_method`;
		bench.process.writeFile(file, "\n");
		expect(bench.ioctl(uapi.VFIO_DEVICE_RESET)).toBe("ENOTTY");
		bench.reopen();
		expect(bench.deviceFlags()).toBe(uapi.VFIO_DEVICE_FLAGS_PCI);
		bench.process.writeFile(file, "default");
		bench.reopen();
		expect(bench.deviceFlags()).toBe(uapi.VFIO_DEVICE_FLAGS_PCI | uapi.VFIO_DEVICE_FLAGS_RESET);
	});
});

describe("hot reset", () => {
	it("case 176: is ENODEV on a root bus", () => {
		const bench = onRootBus();
		expect(bench.hotResetInfo(0).answer).toBe("ENODEV");
		expect(bench.hotReset([bench.group])).toBe("ENODEV");
	});

	it("case 177: says how much room it needs, then lists everything on the bus", () => {
		const bench = two();
		expect(bench.hotResetInfo(0)).toMatchObject({ answer: "ENOSPC", argsz: 12, flags: 0, count: 2 });
		const group_id = bench.machine.groupOf(bench.fn);
		expect(bench.hotResetInfo(2)).toMatchObject({
			answer: 0,
			flags: 0,
			count: 2,
			devices: [
				{ group_id, segment: 0, bus: 1, devfn: 0 },
				{ group_id, segment: 0, bus: 1, devfn: 1 },
			],
		});
	});

	it("case 178: wants groups, and resets what they own", () => {
		const bench = edu();
		expect(bench.hotReset([])).toBe("EINVAL");
		expect(bench.hotReset([bench.group], 1)).toBe("EINVAL");
		expect(bench.hotReset([9999])).toBe("EBADF");
		expect(bench.hotReset([bench.container])).toBe("EINVAL");
		bench.pwrite(7, 4, "0700");
		const before = bench.fn.resetCount;
		expect(bench.hotReset([bench.group])).toBe(0);
		expect([bench.fn.resetCount, bench.pread(7, 4, 2)]).toEqual([before + 1, "0700"]);
	});

	it("case 179: is EINVAL while a group below the bus is missing, or there are more than devices", () => {
		const host = hostWith({
			[ADDRESS]: [{ ...Edu.description(), multifunction: true }, new Edu()],
			"0000:01:00.1": [memoryDevice()],
		});
		const bench = new Bench(host, ADDRESS);
		expect(bench.hotReset([bench.group, bench.group, bench.group])).toBe("EINVAL");
		expect(bench.hotReset([bench.group])).toBe(0);
		bench.process.writeFile("/sys/bus/pci/drivers/vfio-pci/unbind", "0000:01:00.1");
		expect(bench.hotReset([bench.group])).toBe("EINVAL");
	});
});

describe("the last close", () => {
	it("restores the settings, clears MASTER and resets the function", () => {
		const bench = edu();
		const command = bench.sysfs(4, 2);
		bench.pwrite(7, 4, "0700");
		const before = bench.fn.resetCount;
		bench.process.close(bench.fd);
		expect([bench.sysfs(4, 2), bench.fn.resetCount]).toEqual([command, before + 1]);
		bench.fd = bench.deviceFd();
		expect(bench.pread(7, 4, 2)).toBe(command);
	});

	it("resets the bus of functions without a reset of their own once none is open", () => {
		const bench = two();
		const sibling = bench.deviceFd("0000:01:00.1");
		const before = bench.fn.resetCount;
		bench.process.close(bench.fd);
		expect(bench.fn.resetCount).toBe(before);
		bench.process.close(sibling);
		expect(bench.fn.resetCount).toBe(before + 1);
		expect(bench.fn.memoryEnabled).toBe(true);
	});

	it("is the last one only when every descriptor is closed (case 45)", () => {
		const bench = edu();
		const second = bench.deviceFd();
		bench.pwrite(7, 4, "0700");
		bench.process.close(second);
		expect(bench.pread(7, 4, 2)).toBe("0700");
	});

	it.each([
		["container", "group", "fd"],
		["container", "fd", "group"],
		["group", "container", "fd"],
		["group", "fd", "container"],
		["fd", "container", "group"],
		["fd", "group", "container"],
	] as const)("case 244: %s, %s, %s leaves nothing behind", (...order) => {
		const bench = edu();
		for (const name of order) bench.process.close(bench[name]);
		bench.open();
		expect(bench.pread(0, 0, 4)).toBe("ed000001");
		for (const name of order) bench.process.close(bench[name]);
		expect(Object.values(bench.linux.leaks()).every((count) => count === 0)).toBe(true);
	});
});

describe("probe()", () => {
	it("case 226: refuses bridges and denylisted devices", () => {
		const qat = { ...E1000E, device: 0x37c8 };
		const { process } = new Bench(hostWith({ [ADDRESS]: [E1000E], "0000:02:00.0": [qat] }), ADDRESS);
		for (const address of ["0000:00:08.0", "0000:02:00.0"]) {
			process.writeFile(`/sys/bus/pci/devices/${address}/driver_override`, "vfio-pci");
			expect(() => process.writeFile("/sys/bus/pci/drivers/vfio-pci/bind", address)).toThrow("EINVAL");
		}
	});
});
