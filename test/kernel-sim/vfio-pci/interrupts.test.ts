import { beforeEach, describe, expect, it } from "vitest";
import * as uapi from "../../../core/uapi/vfio.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import type { DeviceModel } from "../../../kernel-sim/hardware/model.ts";
import { Edu } from "../../../kernel-sim/hardware/models/edu.ts";
import type { VfioPciDevice } from "../../../kernel-sim/linux/vfio-pci/device.ts";
import { Bench, hostWith } from "./bench.ts";
import { E1000E, WIDE } from "./descriptions.ts";

const ADDRESS = "0000:01:00.0";
const [INTX, MSI, MSIX, ERR, REQ] = [0, 1, 2, 3, 4];
const { VFIO_IRQ_SET_DATA_NONE: NONE, VFIO_IRQ_SET_DATA_BOOL: BOOL, VFIO_IRQ_SET_DATA_EVENTFD: EVENTFD } = uapi;
const {
	VFIO_IRQ_SET_ACTION_MASK: MASK,
	VFIO_IRQ_SET_ACTION_UNMASK: UNMASK,
	VFIO_IRQ_SET_ACTION_TRIGGER: TRIGGER,
} = uapi;

function open(description: FunctionDescription, model?: DeviceModel, options = {}): Bench {
	const bench = new Bench(hostWith({ [ADDRESS]: model ? [description, model] : [description] }, options), ADDRESS);
	// Without it a device sends nothing.
	bench.pwrite(7, 4, "0700");
	return bench;
}

const edu = () => open(Edu.description(), new Edu());
const raise = (bench: Bench) => bench.pwrite(0, 0x60, "01000000");
const acknowledge = (bench: Bench) => bench.pwrite(0, 0x64, "01000000");

describe("VFIO_DEVICE_GET_IRQ_INFO", () => {
	it("case 146: refuses short structures and index 5", () => {
		const bench = edu();
		expect([bench.irqInfo(0, 15), bench.irqInfo(5)]).toEqual(["EINVAL", "EINVAL"]);
	});

	it.each([
		["147, 148 conventional", Edu.description(), [[7, 1], [9, 1], [9, 0], "EINVAL", [9, 1]]],
		[
			"147, 148 express",
			E1000E,
			[
				[7, 1],
				[9, 1],
				[1, 5],
				[9, 1],
				[9, 1],
			],
		],
		[
			"147 eight MSI vectors, no MSI-X",
			WIDE,
			[
				[7, 1],
				[9, 8],
				[9, 0],
				[9, 1],
				[9, 1],
			],
		],
		[
			"147 no pin",
			{ ...E1000E, interruptPin: 0 },
			[
				[7, 0],
				[9, 1],
				[1, 5],
				[9, 1],
				[9, 1],
			],
		],
	] as const)("case %s", (_name, description, expected) => {
		const bench = open(description);
		const answers = [INTX, MSI, MSIX, ERR, REQ].map((index) => {
			const info = bench.irqInfo(index);
			return typeof info === "string" ? info : [info.flags, info.count];
		});
		expect(answers).toEqual(expected);
	});
});

describe("VFIO_DEVICE_SET_IRQS validation", () => {
	let bench: Bench;
	let fd: number;
	beforeEach(() => {
		bench = edu();
		fd = bench.eventfd();
	});

	it.each([
		["149 argsz 19", MSI, NONE | TRIGGER, 0, 1, 0, 19, "EINVAL"],
		["149 unknown flag", MSI, NONE | TRIGGER | 0x40, 0, 1, 0, 20, "EINVAL"],
		["149 index 5", 5, NONE | TRIGGER, 0, 1, 0, 20, "EINVAL"],
		["149 no data type", MSI, TRIGGER, 0, 1, 0, 20, "EINVAL"],
		["149 two data types", MSI, NONE | EVENTFD | TRIGGER, 0, 1, 1, 24, "EINVAL"],
		["150 no action", MSI, EVENTFD, 0, 1, 1, 24, "ENOTTY"],
		["150 two actions", MSI, EVENTFD | MASK | TRIGGER, 0, 1, 1, 24, "ENOTTY"],
		["151 count above", MSI, EVENTFD | TRIGGER, 0, 2, 2, 28, "EINVAL"],
		["151 start at the number", MSI, EVENTFD | TRIGGER, 1, 1, 1, 24, "EINVAL"],
		["151 wrap", MSI, EVENTFD | TRIGGER, 0xffffffff, 2, 2, 28, "EINVAL"],
		["152 argsz short by 1", MSI, EVENTFD | TRIGGER, 0, 1, 1, 23, "EINVAL"],
		["157 an index without interrupts", MSIX, NONE | TRIGGER, 0, 0, 0, 20, "EINVAL"],
		["161 nothing to enable", MSI, EVENTFD | TRIGGER, 0, 0, 0, 20, "ERANGE"],
		["162 MSI mask", MSI, NONE | MASK, 0, 1, 0, 20, "ENOTTY"],
		["162 REQ unmask", REQ, NONE | UNMASK, 0, 1, 0, 20, "ENOTTY"],
		["166 MASK before enable", INTX, NONE | MASK, 0, 1, 0, 20, "EINVAL"],
		["ERR on conventional PCI", ERR, EVENTFD | TRIGGER, 0, 1, 1, 24, "EINVAL"],
		["trigger of what is not enabled", MSI, NONE | TRIGGER, 0, 1, 0, 20, "EINVAL"],
	] as const)("case %s", (_name, index, flags, start, count, fds, argsz, expected) => {
		expect(bench.setIrqs(index, flags, start, count, new Array(fds).fill(fd), argsz)).toBe(expected);
	});

	it("data past the caller's memory is EFAULT", () => {
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [], 24)).toBe("EFAULT");
	});

	it("case 153: a closed fd is EBADF, another file EINVAL, and nothing stays enabled", () => {
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [9999])).toBe("EBADF");
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [bench.container])).toBe("EINVAL");
		expect(bench.setIrqs(MSI, NONE | TRIGGER, 0, 0)).toBe("EINVAL");
		expect(bench.fn.msi?.enabled).toBe(false);
	});
});

describe("MSI and MSI-X", () => {
	it("case 154, 156: an MSI reaches its eventfd, by the device and by loopback, until it is disabled", () => {
		const bench = edu();
		const fd = bench.eventfd();
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [fd])).toBe(0);
		expect(bench.sysfs(0x42, 1)).toBe("81");
		raise(bench);
		expect(bench.count(fd)).toBe(1);
		bench.setIrqs(MSI, NONE | TRIGGER, 0, 1);
		expect(bench.count(fd)).toBe(1);
		bench.setIrqs(MSI, BOOL | TRIGGER, 0, 1, [0]);
		expect(bench.count(fd)).toBe(0);
		bench.setIrqs(MSI, BOOL | TRIGGER, 0, 1, [1]);
		expect(bench.count(fd)).toBe(1);
		expect(bench.setIrqs(MSI, NONE | TRIGGER, 0, 0)).toBe(0);
		expect(bench.setIrqs(MSI, NONE | TRIGGER, 0, 0)).toBe("EINVAL");
		expect(bench.sysfs(0x42, 1)).toBe("80");
		expect(bench.sysfs(4, 2)).toBe("0700");
	});

	it("gotcha 27: nothing is sent while the user has not made the device a bus master", () => {
		const bench = edu();
		const fd = bench.eventfd();
		bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [fd]);
		bench.pwrite(7, 4, "0300");
		raise(bench);
		expect(bench.count(fd)).toBe(0);
	});

	it("case 155: only one of INTx, MSI and MSI-X is active", () => {
		const bench = open(E1000E);
		const fd = bench.eventfd();
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [fd])).toBe(0);
		expect(bench.setIrqs(INTX, EVENTFD | TRIGGER, 0, 1, [fd])).toBe("EINVAL");
		expect(bench.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 1, [fd])).toBe("EINVAL");
		expect(bench.setIrqs(MSIX, NONE | TRIGGER, 0, 0)).toBe("EINVAL");
	});

	it("case 158: vectors without an eventfd are skipped", () => {
		const bench = open(E1000E);
		const fds = [bench.eventfd(), bench.eventfd()] as const;
		expect(bench.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 3, [fds[0], -1, fds[1]])).toBe(0);
		expect(bench.setIrqs(MSIX, NONE | TRIGGER, 0, 3)).toBe(0);
		expect(fds.map((fd) => bench.count(fd))).toEqual([1, 1]);
		for (let vector = 0; vector < 5; vector++) bench.fn.signal(vector);
		expect(fds.map((fd) => bench.count(fd))).toEqual([1, 1]);
		expect(bench.pread(7, 0xa2, 2)).toBe("0480");
	});

	it("case 159: an MSI-X vector can come later, an MSI vector cannot", () => {
		const bench = open(E1000E);
		const [first, later] = [bench.eventfd(), bench.eventfd()];
		bench.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 1, [first]);
		expect(bench.setIrqs(MSIX, EVENTFD | TRIGGER, 2, 1, [later])).toBe(0);
		bench.fn.signal(2);
		expect([bench.count(first), bench.count(later)]).toEqual([0, 1]);
		const wide = open(WIDE);
		const fd = wide.eventfd();
		wide.setIrqs(MSI, EVENTFD | TRIGGER, 0, 2, [fd, fd]);
		expect(wide.setIrqs(MSI, EVENTFD | TRIGGER, 2, 1, [fd])).toBe("EINVAL");
		expect(wide.setIrqs(MSI, EVENTFD | TRIGGER, 2, 1, [-1])).toBe(0);
	});

	it("case 160: a bad fd in a block silences the vectors before it too", () => {
		const bench = open(E1000E);
		const fds = [bench.eventfd(), bench.eventfd(), bench.eventfd()] as const;
		bench.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 3, fds);
		expect(bench.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 2, [fds[0], 9999])).toBe("EBADF");
		bench.setIrqs(MSIX, NONE | TRIGGER, 0, 3);
		expect(fds.map((fd) => bench.count(fd))).toEqual([0, 0, 1]);
	});

	it("count 0 with a start allocates without eventfds", () => {
		const bench = open(E1000E);
		expect(bench.setIrqs(MSIX, EVENTFD | TRIGGER, 2, 0)).toBe(0);
		expect(bench.fn.msix?.enabled).toBe(true);
		expect(bench.setIrqs(MSIX, NONE | TRIGGER, 0, 0)).toBe(0);
	});

	it("several MSI vectors lead to their own eventfds, masked where there is none", () => {
		const bench = open(WIDE);
		const fds = [bench.eventfd(), bench.eventfd(), bench.eventfd()] as const;
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 4, [fds[0], fds[1], -1, fds[2]])).toBe(0);
		for (let vector = 0; vector < 4; vector++) bench.fn.signal(vector);
		expect(fds.map((fd) => bench.count(fd))).toEqual([1, 1, 1]);
		expect(bench.fn.configRead(0x60, 4)).toBe(0xf4);
		// QSIZE follows what was enabled, so the user may use all four.
		bench.pwrite(7, 0x52, "31");
		expect(bench.fn.configRead(0x52, 1) & 0x71).toBe(0x21);
	});

	it("gotcha 28: without interrupt remapping there is one MSI vector, and asking for more says so", () => {
		const bench = new Bench(hostWith({ [ADDRESS]: [WIDE] }, { interruptRemapping: false }), ADDRESS, "6.12", false);
		bench.process.writeFile("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y");
		bench.open();
		const fd = bench.eventfd();
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 4, [fd, fd, fd, fd])).toBe(1);
		expect(bench.fn.msi?.enabled).toBe(false);
		expect(bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [fd])).toBe(0);
	});

	it("can be set up while the user has memory decoding off", () => {
		const bench = open(E1000E);
		bench.pwrite(7, 4, "0500");
		const fd = bench.eventfd();
		expect(bench.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 1, [fd])).toBe(0);
		expect(bench.fn.memoryEnabled).toBe(false);
		bench.fn.signal(0);
		expect(bench.count(fd)).toBe(1);
	});
});

describe("INTx", () => {
	let bench: Bench;
	let fd: number;
	const enable = () => bench.setIrqs(INTX, EVENTFD | TRIGGER, 0, 1, [fd]);
	beforeEach(() => {
		bench = edu();
		fd = bench.eventfd();
	});

	it("case 163: a level is one signal until it is unmasked", () => {
		expect(enable()).toBe(0);
		raise(bench);
		raise(bench);
		expect(bench.count(fd)).toBe(1);
		expect([bench.pread(7, 4, 2), bench.sysfs(4, 2)]).toEqual(["0700", "0704"]);
	});

	it("case 164: unmasking what is still asserted signals again, after an acknowledgement it does not", () => {
		enable();
		raise(bench);
		bench.count(fd);
		expect(bench.setIrqs(INTX, NONE | UNMASK, 0, 1)).toBe(0);
		expect(bench.count(fd)).toBe(1);
		acknowledge(bench);
		bench.setIrqs(INTX, NONE | UNMASK, 0, 1);
		expect(bench.count(fd)).toBe(0);
		expect(bench.sysfs(4, 2)).toBe("0700");
		raise(bench);
		expect(bench.count(fd)).toBe(1);
	});

	it("case 165: an unmask eventfd is consumed by the kernel", () => {
		enable();
		const unmask = bench.eventfd();
		const one = Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]);
		expect(bench.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, [unmask])).toBe(0);
		raise(bench);
		expect(bench.count(fd)).toBe(1);
		bench.process.write(unmask, one);
		expect(bench.count(unmask)).toBe(0);
		expect(bench.count(fd)).toBe(1);
		expect(bench.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, [bench.eventfd()])).toBe("EBUSY");
		expect(bench.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, [-1])).toBe(0);
		bench.process.write(unmask, one);
		expect(bench.count(unmask)).toBe(1);
	});

	it("gotcha 34: a count that was pending unmasks at once and stays readable", () => {
		enable();
		raise(bench);
		acknowledge(bench);
		const unmask = bench.eventfd(3);
		bench.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, [unmask]);
		expect(bench.sysfs(4, 2)).toBe("0700");
		expect(bench.count(unmask)).toBe(3);
	});

	it("gotcha 35: closing the unmask eventfd disarms it", () => {
		enable();
		const unmask = bench.eventfd();
		bench.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, [unmask]);
		bench.process.close(unmask);
		expect(bench.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, [bench.eventfd()])).toBe(0);
	});

	it.each([
		["166 MASK by eventfd", EVENTFD | MASK, 1, "ENOTTY"],
		["166 MASK of none", NONE | MASK, 0, "EINVAL"],
		["UNMASK by a bad fd", EVENTFD | UNMASK, 1, "EBADF"],
		["MASK of nothing set", BOOL | MASK, 1, 0],
	] as const)("case %s", (_name, flags, count, expected) => {
		enable();
		const data = (flags & EVENTFD) !== 0 ? [9999] : (flags & BOOL) !== 0 ? [0] : [];
		expect(bench.setIrqs(INTX, flags, 0, count, data)).toBe(expected);
		expect(bench.sysfs(4, 2)).toBe("0700");
	});

	it("MASK is idempotent and holds an interrupt back until UNMASK", () => {
		enable();
		for (let times = 0; times < 2; times++) expect(bench.setIrqs(INTX, NONE | MASK, 0, 1)).toBe(0);
		raise(bench);
		expect(bench.count(fd)).toBe(0);
		bench.setIrqs(INTX, NONE | UNMASK, 0, 1);
		expect(bench.count(fd)).toBe(1);
	});

	it("case 167: the virtual DisINTx holds it back, clearing it delivers what is pending", () => {
		enable();
		bench.pwrite(7, 4, "0704");
		raise(bench);
		bench.setIrqs(INTX, NONE | TRIGGER, 0, 1);
		expect(bench.count(fd)).toBe(0);
		bench.pwrite(7, 4, "0700");
		expect(bench.count(fd)).toBe(1);
	});

	it("case 124: the virtual DisINTx reaches an idle device", () => {
		bench.pwrite(7, 4, "0704");
		expect([bench.pread(7, 4, 2), bench.sysfs(4, 2)]).toEqual(["0704", "0704"]);
		bench.pwrite(7, 4, "0700");
		expect(bench.sysfs(4, 2)).toBe("0700");
	});

	it("case 168: fd -1 enables it without a trigger, which can come later", () => {
		expect(bench.setIrqs(INTX, EVENTFD | TRIGGER, 0, 1, [-1])).toBe(0);
		expect(bench.setIrqs(INTX, NONE | TRIGGER, 0, 1)).toBe(0);
		expect(enable()).toBe(0);
		raise(bench);
		expect(bench.count(fd)).toBe(1);
		expect(bench.setIrqs(INTX, NONE | TRIGGER, 0, 0)).toBe(0);
		expect(bench.setIrqs(INTX, NONE | TRIGGER, 0, 0)).toBe("EINVAL");
	});

	it("gotcha 32: loopback does not mask", () => {
		enable();
		bench.setIrqs(INTX, NONE | TRIGGER, 0, 1);
		bench.setIrqs(INTX, BOOL | TRIGGER, 0, 1, [1]);
		expect(bench.count(fd)).toBe(2);
		expect(bench.sysfs(4, 2)).toBe("0700");
	});

	it("case 171: closing the user's eventfd does not disarm it", () => {
		enable();
		bench.process.close(fd);
		raise(bench);
		expect(bench.sysfs(4, 2)).toBe("0704");
		fd = bench.eventfd();
		expect(enable()).toBe(0);
		bench.setIrqs(INTX, NONE | UNMASK, 0, 1);
		expect(bench.count(fd)).toBe(1);
	});

	it("works at the line for devices whose DisINTx does nothing (contract E.2)", () => {
		bench = open({ ...Edu.description(), interruptDisable: false }, new Edu());
		fd = bench.eventfd();
		enable();
		raise(bench);
		bench.setIrqs(INTX, NONE | UNMASK, 0, 1);
		expect(bench.count(fd)).toBe(2);
		acknowledge(bench);
		bench.setIrqs(INTX, NONE | UNMASK, 0, 1);
		expect(bench.count(fd)).toBe(0);
		expect(bench.sysfs(4, 2)).toBe("0700");
	});

	it("nointxmask leaves DisINTx alone", () => {
		bench = new Bench(hostWith({ [ADDRESS]: [Edu.description(), new Edu()] }), ADDRESS, "6.12", false);
		bench.process.writeFile("/sys/module/vfio_pci/parameters/nointxmask", "Y");
		bench.process.writeFile("/sys/bus/pci/drivers/vfio-pci/unbind", ADDRESS);
		bench.process.writeFile("/sys/bus/pci/drivers/vfio-pci/bind", ADDRESS);
		bench.open();
		fd = bench.eventfd();
		enable();
		raise(bench);
		expect([bench.count(fd), bench.sysfs(4, 2)]).toEqual([1, "0301"]);
	});
});

describe("ERR and REQ", () => {
	it("case 169: one eventfd that can be set, signalled and removed", () => {
		const bench = open(E1000E);
		for (const index of [ERR, REQ]) {
			const fd = bench.eventfd();
			expect(bench.setIrqs(index, NONE | TRIGGER, 0, 1)).toBe("EINVAL");
			expect(bench.setIrqs(index, BOOL | TRIGGER, 0, 1, [1])).toBe(0);
			expect(bench.setIrqs(index, EVENTFD | TRIGGER, 0, 1, [fd])).toBe(0);
			bench.setIrqs(index, NONE | TRIGGER, 0, 1);
			bench.setIrqs(index, BOOL | TRIGGER, 0, 1, [1]);
			bench.setIrqs(index, BOOL | TRIGGER, 0, 1, [0]);
			expect(bench.count(fd)).toBe(2);
			expect(bench.setIrqs(index, EVENTFD | TRIGGER, 0, 1, [-2])).toBe("EINVAL");
			expect(bench.setIrqs(index, EVENTFD | TRIGGER, 0, 0)).toBe("EINVAL");
			expect(bench.setIrqs(index, EVENTFD | TRIGGER, 0, 1, [-1])).toBe(0);
			expect(bench.setIrqs(index, EVENTFD | TRIGGER, 0, 1, [-1])).toBe(0);
			expect(bench.setIrqs(index, NONE | TRIGGER, 0, 0)).toBe("EINVAL");
			bench.setIrqs(index, EVENTFD | TRIGGER, 0, 1, [fd]);
			expect(bench.setIrqs(index, NONE | TRIGGER, 0, 0)).toBe(0);
			expect(bench.setIrqs(index, NONE | TRIGGER, 0, 0)).toBe("EINVAL");
		}
	});

	it("ERR fires when an error of the device is detected", () => {
		const bench = open(E1000E);
		const fd = bench.eventfd();
		bench.setIrqs(ERR, EVENTFD | TRIGGER, 0, 1, [fd]);
		const bound = bench.linux.pci.devices.get(ADDRESS)?.driverData as VfioPciDevice;
		bound.errorDetected();
		expect(bench.count(fd)).toBe(1);
	});

	it("case 170: REQ fires when the driver is unbound, and every ten seconds until the close", async () => {
		const bench = open(E1000E);
		const fd = bench.eventfd();
		bench.setIrqs(REQ, EVENTFD | TRIGGER, 0, 1, [fd]);
		const unbind = bench.linux.writeFileAsync(bench.process, "/sys/bus/pci/drivers/vfio-pci/unbind", ADDRESS);
		expect(bench.count(fd)).toBe(1);
		bench.clock.advance(10_000_000_000);
		expect(bench.count(fd)).toBe(1);
		bench.clock.advance(9_000_000_000);
		expect(bench.count(fd)).toBe(0);
		// What is open goes on working, but nothing can lock the device for a reset.
		expect(bench.pread(7, 0, 4)).toBe("8680d310");
		expect(bench.ioctl(uapi.VFIO_DEVICE_RESET)).toBe("EAGAIN");
		bench.process.close(bench.fd);
		await unbind;
		bench.clock.advance(20_000_000_000);
		expect(bench.count(fd)).toBe(0);
	});
});

describe("close and reset", () => {
	it("case 172: the last close frees every message and eventfd", () => {
		const bench = open(E1000E);
		const fd = bench.eventfd();
		bench.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 5, [fd, fd, fd, fd, fd]);
		bench.setIrqs(ERR, EVENTFD | TRIGGER, 0, 1, [fd]);
		expect(bench.machine.interrupts.allocated).toBe(5);
		bench.process.close(bench.fd);
		expect(bench.machine.interrupts.allocated).toBe(0);
		expect([bench.fn.msix?.enabled, bench.fn.busMasterEnabled]).toEqual([false, false]);
		bench.process.close(fd);
		expect(bench.linux.leaks().eventfds).toBe(0);
	});

	it("a device that is pulled out while it is open can be read, closed and forgotten", () => {
		const bench = edu();
		const fd = bench.eventfd();
		bench.setIrqs(REQ, EVENTFD | TRIGGER, 0, 1, [fd]);
		bench.setIrqs(MSI, EVENTFD | TRIGGER, 0, 1, [fd]);
		bench.machine.unplug(ADDRESS);
		expect(bench.count(fd)).toBe(1);
		expect([bench.pread(0, 0, 4), bench.pread(7, 4, 2)]).toEqual(["ffffffff", "EIO"]);
		bench.process.exit();
		expect(bench.machine.interrupts.allocated).toBe(0);
		expect(Object.values(bench.linux.leaks()).every((count) => count === 0)).toBe(true);
	});

	it.each([
		["MSI", MSI],
		["MSI-X", MSIX],
	])("case 173: %s survives VFIO_DEVICE_RESET", (_name, index) => {
		const bench = open(E1000E);
		const fd = bench.eventfd();
		bench.setIrqs(index, EVENTFD | TRIGGER, 0, 1, [fd]);
		expect(bench.ioctl(uapi.VFIO_DEVICE_RESET)).toBe(0);
		bench.fn.signal(0);
		expect(bench.count(fd)).toBe(1);
		bench.setIrqs(index, NONE | TRIGGER, 0, 1);
		expect(bench.count(fd)).toBe(1);
	});

	it("case 173: INTx survives VFIO_DEVICE_RESET", () => {
		const bench = edu();
		const fd = bench.eventfd();
		bench.setIrqs(INTX, EVENTFD | TRIGGER, 0, 1, [fd]);
		expect(bench.ioctl(uapi.VFIO_DEVICE_RESET)).toBe(0);
		raise(bench);
		expect(bench.count(fd)).toBe(1);
	});
});
