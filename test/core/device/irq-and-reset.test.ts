import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { NO_EVENTFD } from "../../../core/device/irq-setup.ts";
import { KernelError } from "../../../core/errors.ts";
import { EAGAIN, EINTR, EINVAL, ENODEV, ENOSPC, ENOTTY } from "../../../core/uapi/errno.ts";
import {
	VFIO_PCI_INTX_IRQ_INDEX as INTX,
	VFIO_PCI_MSI_IRQ_INDEX as MSI,
	VFIO_PCI_MSIX_IRQ_INDEX as MSIX,
	VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
	VFIO_DEVICE_PCI_HOT_RESET,
	VFIO_DEVICE_RESET,
	VFIO_DEVICE_SET_IRQS,
} from "../../../core/uapi/vfio.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";

const ADDRESS = "0000:05:00.0";
let fake: FakeVfio;
let device: VfioDevice;
beforeEach(() => {
	fake = new FakeVfio([
		{ name: ADDRESS, group: 12, driver: "vfio-pci" },
		{ name: "0000:05:00.1", group: 13, driver: "vfio-pci" },
	]);
	device = VfioDevice.open(fake.kernel, ADDRESS);
});

describe("VFIO_DEVICE_SET_IRQS", () => {
	let sets: number[][];
	beforeEach(() => {
		sets = [];
		fake.answers.set(VFIO_DEVICE_SET_IRQS, (argument) => {
			const bytes = (argument as Uint8Array).slice();
			const view = new DataView(bytes.buffer);
			const [argsz, flags, index, start, count] = [0, 4, 8, 12, 16].map((at) => view.getUint32(at, true)) as [
				number,
				number,
				number,
				number,
				number,
			];
			const fds = flags & 4 ? Array.from({ length: count }, (_, n) => view.getInt32(20 + n * 4, true)) : [];
			expect(argsz).toBeGreaterThanOrEqual(20 + fds.length * 4);
			expect(argsz).toBeLessThanOrEqual(bytes.length);
			sets.push([flags, index, start, count, ...fds]);
			return 0;
		});
	});

	it("setEventfds() hands over a range of eventfds", () => {
		expect(device.setEventfds(MSIX, 2, [7, NO_EVENTFD, 9])).toBe(0);
		device.setEventfds(MSI, 0, [5]);
		expect(sets).toEqual([
			[4 | 32, MSIX, 2, 3, 7, -1, 9],
			[4 | 32, MSI, 0, 1, 5],
		]);
	});
	it("setEventfds() says how many vectors there are when there are fewer", () => {
		fake.answers.set(VFIO_DEVICE_SET_IRQS, () => 3);
		expect(device.setEventfds(MSI, 0, [1, 2, 3, 4])).toBe(3);
	});
	it("I-01 setEventfd(), maskIrq(), unmaskIrq(), triggerIrq() and setUnmaskEventfd() name one vector", () => {
		device.setEventfd(MSIX, 5, 8);
		device.maskIrq(INTX);
		device.unmaskIrq(INTX);
		device.triggerIrq(MSI, 3);
		device.setUnmaskEventfd(6);
		expect(sets).toEqual([
			[4 | 32, MSIX, 5, 1, 8],
			[1 | 8, INTX, 0, 1],
			[1 | 16, INTX, 0, 1],
			[1 | 32, MSI, 3, 1],
			[4 | 16, INTX, 0, 1, 6],
		]);
	});
	it("disableIrq() sets up zero vectors, and asks nothing of an interrupt that does not exist", () => {
		device.disableIrq(MSI);
		device.disableIrq(3);
		expect(sets).toEqual([[1 | 32, MSI, 0, 0]]);
	});
	it("hands the kernel the same bytes again and again", () => {
		const seen = new Set<unknown>();
		fake.answers.set(VFIO_DEVICE_SET_IRQS, (argument) => {
			seen.add(argument);
			return 0;
		});
		device.setEventfds(MSIX, 0, [1, 2, 3, 4]);
		for (let n = 0; n < 10; n++) {
			device.setEventfd(MSIX, n, n);
			device.unmaskIrq(INTX);
		}
		expect(seen.size).toBe(1);
	});
	it("tries again when a signal interrupts it, and not for ever", () => {
		let calls = 0;
		fake.answers.set(VFIO_DEVICE_SET_IRQS, () => {
			if (++calls <= 2) throw new KernelError(EINTR, "SET_IRQS", "fake");
			return 0;
		});
		device.unmaskIrq(INTX);
		expect(calls).toBe(3);
		fake.answers.set(VFIO_DEVICE_SET_IRQS, EINTR);
		expect(vfioError(() => device.unmaskIrq(INTX)).errno).toBe(EINTR);
	});
	it("throws interrupt-failed with the device's name", () => {
		fake.answers.set(VFIO_DEVICE_SET_IRQS, EINVAL);
		expect(vfioError(() => device.setEventfd(MSIX, 0, 1))).toMatchObject({
			code: "interrupt-failed",
			device: ADDRESS,
			errno: EINVAL,
		});
	});
	it("is refused on a closed device", () => {
		device[Symbol.dispose]();
		for (const call of [
			() => device.setEventfds(MSI, 0, [1]),
			() => device.setEventfd(MSI, 0, 1),
			() => device.disableIrq(MSI),
			() => device.triggerIrq(MSI),
			() => device.maskIrq(INTX),
			() => device.unmaskIrq(INTX),
			() => device.setUnmaskEventfd(1),
			() => device.reset(),
			() => device.hotReset(),
			() => device.hotResetInfo(),
			() => device.irq(0),
			() => device.region(0),
		])
			expect(vfioError(call).code).toBe("disposed");
	});
});

describe("VfioDevice.reset()", () => {
	it("resets, once more when another reset holds the lock", () => {
		let calls = 0;
		fake.answers.set(VFIO_DEVICE_RESET, () => {
			if (++calls === 1) throw new KernelError(EAGAIN, "RESET", "fake");
			return 0;
		});
		device.reset();
		expect(calls).toBe(2);
	});
	it.each([
		[EAGAIN, "another reset holds its lock"],
		[ENOTTY, "its reset methods are switched off in sysfs"],
		[EINVAL, "Invalid argument"],
	])("says why errno %i came", (errno, reason) => {
		fake.answers.set(VFIO_DEVICE_RESET, errno);
		const error = vfioError(() => device.reset());
		expect(error.code).toBe("reset-failed");
		expect(error.message).toContain(reason);
		expect(error.remedy[0]).toContain("reset_method");
	});
	it("says of a device without the flag that it has no reset", () => {
		device[Symbol.dispose]();
		fake.deviceInfo.flags = 2;
		fake.answers.set(VFIO_DEVICE_RESET, EINVAL);
		expect(vfioError(() => VfioDevice.open(fake.kernel, ADDRESS).reset()).message).toContain("no reset of its own");
	});
});

describe("hot reset", () => {
	/** Answers for these functions of bus 5: group and function number. */
	function affected(...devices: [group: number, fn: number][]): void {
		fake.answers.set(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, (argument) => {
			const bytes = argument as Uint8Array;
			const view = new DataView(bytes.buffer);
			view.setUint32(8, devices.length, true);
			if (bytes.length < 12 + devices.length * 8) throw new KernelError(ENOSPC, "HOT_RESET_INFO", "fake");
			devices.forEach(([group, fn], index) => {
				view.setUint32(12 + index * 8, group, true);
				view.setUint16(16 + index * 8, 0, true);
				view.setUint8(18 + index * 8, 5);
				view.setUint8(19 + index * 8, fn);
			});
			return 0;
		});
	}
	const fds: number[][] = [];
	beforeEach(() => {
		fds.length = 0;
		fake.answers.set(VFIO_DEVICE_PCI_HOT_RESET, (argument) => {
			const view = new DataView((argument as Uint8Array).buffer);
			fds.push(Array.from({ length: view.getUint32(8, true) }, (_, n) => view.getInt32(12 + n * 4, true)));
			return 0;
		});
	});

	it("hotResetInfo() lists every device that it reaches", () => {
		affected([12, 0], [13, 1], [14, 0x0a]);
		expect(device.hotResetInfo()).toEqual([
			{ name: "0000:05:00.0", address: "0000:05:00.0", group: 12, owned: true, inUse: true },
			{ name: "0000:05:00.1", address: "0000:05:00.1", group: 13, owned: false, inUse: false },
			{ name: "0000:05:01.2", address: "0000:05:01.2", group: 14, owned: false, inUse: false },
		]);
	});
	it("hotReset() names the groups of this process, each once", () => {
		affected([12, 0], [13, 1], [12, 2]);
		const other = VfioDevice.open(fake.kernel, "05:00.1");
		device.hotReset();
		expect(fds).toEqual([[device.group?.fd, other.group?.fd]]);
	});
	it("RST-06 hotReset() names what it does not own, and resets nothing", () => {
		affected([12, 0], [13, 1]);
		const error = vfioError(() => device.hotReset());
		expect(error.code).toBe("reset-failed");
		expect(error.message).toContain("0000:05:00.1 (group 13)");
		expect(fds).toEqual([]);
	});
	it("says that there is no slot or bus to reset", () => {
		fake.answers.set(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, ENODEV);
		expect(vfioError(() => device.hotReset()).message).toContain("neither its slot nor its bus");
	});
	it("gives up on a bus that does not stop changing", () => {
		fake.answers.set(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, (argument) => {
			const bytes = argument as Uint8Array;
			new DataView(bytes.buffer).setUint32(8, (bytes.length - 12) / 8 + 1, true);
			throw new KernelError(ENOSPC, "HOT_RESET_INFO", "fake");
		});
		expect(vfioError(() => device.hotResetInfo()).message).toContain("does not stop changing");
	});
	it.each([65537, 0xffffffff])("does not believe in %i devices", (count) => {
		fake.answers.set(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, (argument) => {
			new DataView((argument as Uint8Array).buffer).setUint32(8, count, true);
			return 0;
		});
		expect(vfioError(() => device.hotReset()).message).toContain(`speaks of ${count} devices`);
		expect(fds).toEqual([]);
	});
	it("asks again when an answer names more devices than it has room for", () => {
		affected([12, 0], [13, 1]);
		const answer = fake.answers.get(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO) as (argument: Uint8Array | number) => number;
		fake.answers.set(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, (argument) => {
			try {
				return answer(argument);
			} catch {
				return 0;
			}
		});
		expect(device.hotResetInfo().length).toBe(2);
	});
	it("passes on why the kernel did not reset", () => {
		affected([12, 0]);
		fake.answers.set(VFIO_DEVICE_PCI_HOT_RESET, EINVAL);
		expect(vfioError(() => device.hotReset()).errno).toBe(EINVAL);
	});
});
