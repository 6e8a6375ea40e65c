import { describe, expect, it } from "vitest";
import { deviceTreeNode } from "../../../core/platform/device-tree/node.ts";
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_IRQ_SET_DATA_BOOL as BOOL,
	VFIO_IRQ_SET_DATA_EVENTFD as EVENTFD,
	VFIO_IRQ_SET_ACTION_MASK as MASK,
	VFIO_IRQ_SET_DATA_NONE as NONE,
	VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER,
	VFIO_IRQ_SET_ACTION_UNMASK as UNMASK,
	VFIO_DEVICE_BIND_IOMMUFD,
	VFIO_DEVICE_FEATURE,
	VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
	VFIO_DEVICE_RESET,
	vfio_device_bind_iommufd,
} from "../../../core/uapi/vfio.ts";
import { Machine, PlatformHardware } from "../../../kernel-sim/mod.ts";
import { deviceFd, outcome, text } from "../linux/support.ts";
import { Bench, DEVICES, DRIVERS, fdBytes, NAME, OTHER, REGION, widget } from "./bench.ts";

const PAGE = 4096;

describe("the platform bus", () => {
	it("shows a device with what its node in the device tree says", () => {
		const { kernel } = new Bench();
		expect(kernel.readDirectory(DEVICES)).toEqual([NAME]);
		expect(text(kernel, `${DEVICES}/${NAME}/of_node/compatible`)).toBe("acme,widget-2\0acme,widget\0");
		expect(text(kernel, `${DEVICES}/${NAME}/of_node/name`)).toBe("widget\0");
		expect(text(kernel, `${DEVICES}/${NAME}/modalias`)).toBe("of:NwidgetT(null)Cacme,widget-2Cacme,widget\n");
		expect(text(kernel, `${DEVICES}/${NAME}/driver_override`)).toBe("(null)\n");
		expect(kernel.readLink(`${DEVICES}/${NAME}/subsystem`)).toBe("../../../bus/platform");
		expect(kernel.readLink(`${DEVICES}/${NAME}/iommu_group`)).toBe("../../../kernel/iommu_groups/0");
		expect(kernel.readDirectory("/sys/kernel/iommu_groups/0/devices")).toEqual([NAME]);
		expect(kernel.readDirectory("/proc/device-tree")).toEqual(["widget@fff00000"]);
	});

	it("binds to vfio-platform what driver_override names, and nothing else", () => {
		const { kernel, linux } = new Bench();
		const write = (file: string, value: string) =>
			outcome(() => kernel.writeFile(`${DRIVERS}/vfio-platform/${file}`, value)) ?? "ok";
		expect(write("bind", NAME)).toBe("ENODEV"); // without an override
		expect(write("bind", "nothing")).toBe("ENODEV");
		expect(write("unbind", NAME)).toBe("ENODEV");
		kernel.writeFile(`${DEVICES}/${NAME}/driver_override`, "vfio-platform");
		expect(write("bind", NAME)).toBe("ok");
		expect(write("bind", NAME)).toBe("EBUSY");
		expect(kernel.readLink(`${DEVICES}/${NAME}/driver`)).toBe("../../../bus/platform/drivers/vfio-platform");
		expect(kernel.readDirectory(`${DEVICES}/${NAME}/vfio-dev`)).toEqual(["vfio0"]);
		expect(kernel.readDirectory("/dev/vfio")).toContain("0");
		expect(write("unbind", NAME)).toBe("ok");
		expect(kernel.readDirectory("/dev/vfio")).not.toContain("0");
		kernel.writeFile(`${DEVICES}/${NAME}/driver_override`, "\n");
		expect(text(kernel, `${DEVICES}/${NAME}/driver_override`)).toBe("(null)\n");
		expect(linux.leaks().openFiles).toBe(0);
	});

	it("gives a device that comes later to the driver that its node matches, and takes it away again", () => {
		const { machine, kernel, linux } = new Bench();
		const node = deviceTreeNode("ethernet@fff51000", { compatible: "calxeda,hb-xgmac" });
		machine.plugPlatform(new PlatformHardware(widget("fff51000.ethernet", { node })));
		expect(linux.platform.devices.get("fff51000.ethernet")?.driver?.name).toBe("calxedaxgmac");
		expect(outcome(() => machine.plugPlatform(new PlatformHardware(widget(OTHER))).name)).toBe(OTHER);
		expect(() => machine.plugPlatform(new PlatformHardware(widget(OTHER)))).toThrow(/there is one/);
		machine.unplugPlatform("fff51000.ethernet");
		expect(kernel.readDirectory(DEVICES)).toEqual([NAME, OTHER]);
		expect(() => machine.unplugPlatform("fff51000.ethernet")).toThrow(/there is nothing/);
	});

	it("blocks an unbind until the device is closed", async () => {
		const bench = new Bench();
		const { kernel, linux } = bench;
		const fd = bench.open();
		const unbound = linux.writeFileAsync(kernel, `${DRIVERS}/vfio-platform/unbind`, NAME);
		expect(linux.platform.devices.get(NAME)?.driver?.name).toBe("vfio-platform");
		kernel.close(fd);
		await unbound;
		expect(linux.platform.devices.get(NAME)?.driver).toBeUndefined();
	});
});

describe("the reset that vfio-platform requires", () => {
	it("refuses a device without one with ENOENT", () => {
		expect(new Bench(widget(NAME, { resettable: false })).bind()).toBe("ENOENT");
	});

	it("refuses a device without compatible with EINVAL", () => {
		expect(new Bench(widget(NAME, { node: deviceTreeNode("widget", {}) })).bind()).toBe("EINVAL");
	});

	it("takes any device with reset_required=0: no RESET flag, and RESET is EINVAL", () => {
		const parameters = { vfio_platform: { reset_required: false } };
		const bench = new Bench(widget(NAME, { resettable: false }), { parameters });
		expect(text(bench.kernel, "/sys/module/vfio_platform/parameters/reset_required")).toBe("N\n");
		const fd = bench.open();
		expect(bench.info(fd)).toEqual({ flags: 4, regions: 3, irqs: 3 });
		expect(outcome(() => bench.kernel.ioctl(fd, VFIO_DEVICE_RESET))).toBe("EINVAL");
	});

	it("takes a device without an IOMMU in no-IOMMU mode only", () => {
		const bench = (parameters = {}) => new Bench(widget(NAME), { parameters }, new Machine({ iommu: false }));
		expect(bench().bind()).toBe("EINVAL");
		const unsafe = bench({ vfio: { enable_unsafe_noiommu_mode: true } });
		unsafe.bind();
		expect(unsafe.kernel.readDirectory("/dev/vfio")).toContain("noiommu-0");
		unsafe.kernel.writeFile(`${DRIVERS}/vfio-platform/unbind`, NAME);
		expect(unsafe.kernel.readDirectory("/dev/vfio")).not.toContain("noiommu-0");
		expect(unsafe.linux.platform.devices.get(NAME)?.group).toBeUndefined();
	});

	it("happens at the first open, at RESET and at the last close", () => {
		const bench = new Bench();
		bench.bind();
		const { group } = bench.group();
		const first = deviceFd(bench.kernel, group, NAME);
		expect(bench.model.resets).toBe(1);
		const second = deviceFd(bench.kernel, group, NAME);
		expect(bench.model.resets).toBe(1);
		expect(bench.kernel.ioctl(first, VFIO_DEVICE_RESET)).toBe(0);
		expect(bench.model.resets).toBe(2);
		bench.kernel.close(first);
		expect(bench.model.resets).toBe(2);
		bench.kernel.close(second);
		expect(bench.model.resets).toBe(3);
	});
});

describe("a device of vfio-platform", () => {
	it("is opened by its exact name", () => {
		const bench = new Bench();
		bench.bind();
		const { group } = bench.group();
		for (const name of [`${NAME} `, `${NAME} vf_token=2ab74924-c335-45f4-9b16-8569e5b08258`, "widget", ""])
			expect(outcome(() => deviceFd(bench.kernel, group, name))).toBe("ENODEV");
		expect(deviceFd(bench.kernel, group, NAME)).toBeGreaterThan(2);
	});

	it("answers GET_INFO with PLATFORM and RESET, and writes 16 bytes", () => {
		const bench = new Bench();
		const fd = bench.open();
		expect(bench.info(fd)).toEqual({ flags: 5, regions: 3, irqs: 3 });
		const argument = new Uint8Array(24).fill(0xee);
		new DataView(argument.buffer).setUint32(0, 24, true);
		bench.kernel.ioctl(fd, 0x3b6b, argument);
		expect([...argument.subarray(16)]).toEqual(new Array(8).fill(0xee));
		new DataView(argument.buffer).setUint32(0, 15, true);
		expect(outcome(() => bench.kernel.ioctl(fd, 0x3b6b, argument))).toBe("EINVAL");
	});

	it("describes its regions: MMAP for whole pages only, no access to I/O ports", () => {
		const bench = new Bench();
		const fd = bench.open();
		expect(bench.region(fd, 0)).toEqual({ flags: 7, size: 0x2000n, offset: 0n });
		expect(bench.region(fd, 1)).toEqual({ flags: 1, size: 0x106n, offset: 1n << 40n });
		expect(bench.region(fd, 2)).toEqual({ flags: 0, size: 8n, offset: 2n << 40n });
		expect(bench.region(fd, 3)).toBe("EINVAL");
		expect(bench.region(fd, 0, 31)).toBe("EINVAL");
	});

	it("describes its interrupts: a level is maskable and masks itself, an edge does not", () => {
		const bench = new Bench();
		const fd = bench.open();
		expect(bench.irq(fd, 0)).toEqual({ flags: 7, count: 1 });
		expect(bench.irq(fd, 1)).toEqual({ flags: 1, count: 1 });
		expect(bench.irq(fd, 3)).toBe("EINVAL");
		expect(bench.irq(fd, 0, 15)).toBe("EINVAL");
	});

	it("splits reads and writes into 4, 2 and 1 bytes, and ends them where the region ends", () => {
		const bench = new Bench();
		const { kernel, model } = bench;
		const fd = bench.open();
		model.accesses.length = 0;
		expect(kernel.pread(fd, new Uint8Array(8), 0)).toBe(8);
		expect(kernel.pwrite(fd, Uint8Array.of(1, 2, 3, 4, 5, 6, 7), 0x11)).toBe(7);
		expect(kernel.pread(fd, new Uint8Array(8), 0x1ffc)).toBe(4);
		expect(model.accesses).toEqual([
			...["r4@0:0", "r4@0:4"],
			...["w1@0:11=1", "w2@0:12=302", "w4@0:14=7060504"],
			"r4@0:1ffc",
		]);
		expect(outcome(() => kernel.pread(fd, new Uint8Array(4), 0x2000))).toBe("EINVAL");
		expect(outcome(() => kernel.pwrite(fd, new Uint8Array(4), REGION))).toBe("EINVAL"); // read-only
		expect(kernel.pread(fd, new Uint8Array(8), REGION + 0x102)).toBe(4);
		expect(outcome(() => kernel.pread(fd, new Uint8Array(1), 2 * REGION))).toBe("EINVAL"); // I/O ports
		expect(outcome(() => kernel.pwrite(fd, new Uint8Array(1), 2 * REGION))).toBe("EINVAL");
		expect(outcome(() => kernel.pread(fd, new Uint8Array(1), 3 * REGION))).toBe("EINVAL");
	});

	it("maps whole pages of a region, shared, and not past its end", () => {
		const bench = new Bench();
		const { kernel, model } = bench;
		const fd = bench.open();
		const map = (length: number, protection: number, flags: number, offset: number) =>
			outcome(() => kernel.mmap(fd, length, protection, flags, offset));
		const both = PROT_READ | PROT_WRITE;
		expect(map(PAGE, both, MAP_PRIVATE, 0)).toBe("EINVAL");
		expect(map(PAGE, PROT_READ, MAP_SHARED, REGION)).toBe("EINVAL"); // not whole pages
		expect(map(PAGE, PROT_READ, MAP_SHARED, 2 * REGION)).toBe("EINVAL");
		expect(map(PAGE, PROT_READ, MAP_SHARED, 3 * REGION)).toBe("EINVAL");
		expect(map(3 * PAGE, both, MAP_SHARED, 0)).toBe("EINVAL");
		expect(map(PAGE + 1, both, MAP_SHARED, PAGE)).toBe("EINVAL");
		const mapping = kernel.mmap(fd, PAGE, both, MAP_SHARED, PAGE);
		model.accesses.length = 0;
		mapping.write(8, 4, 0xabcd);
		expect(mapping.read(8, 4)).toBe(0xabcd);
		mapping.write64(16, 0x1_0000_0002n);
		expect(mapping.read64(16)).toBe(0x1_0000_0002n);
		expect(model.accesses.slice(0, 4)).toEqual(["w4@0:1008=abcd", "r4@0:1008", "w4@0:1010=2", "w4@0:1014=1"]);
		mapping[Symbol.dispose]();
	});

	it("maps a read-only region for reading alone", () => {
		const region = { kind: "mmio", address: 0xfff00000n, size: PAGE, readOnly: true, backing: "memory" } as const;
		const bench = new Bench(widget(NAME, { regions: [region] }));
		const fd = bench.open();
		expect(bench.region(fd, 0)).toMatchObject({ flags: 5 });
		expect(outcome(() => bench.kernel.mmap(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0))).toBe("EINVAL");
		expect(bench.kernel.mmap(fd, PAGE, PROT_READ, MAP_SHARED, 0).read(0, 4)).toBe(0);
	});

	it("knows no features, no hot reset", () => {
		const bench = new Bench();
		const fd = bench.open();
		const feature = new Uint8Array(8);
		const view = new DataView(feature.buffer);
		const ask = () => outcome(() => bench.kernel.ioctl(fd, VFIO_DEVICE_FEATURE, feature));
		expect(ask()).toBe("EINVAL");
		view.setUint32(0, 8, true);
		view.setUint32(4, 1 << 18, true);
		expect(ask()).toBe("ENOTTY");
		view.setUint32(4, 3 << 16, true);
		expect(ask()).toBe("EINVAL");
		expect(outcome(() => bench.kernel.ioctl(fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, new Uint8Array(12)))).toBe(
			"ENOTTY",
		);
	});

	it("refuses BIND on a descriptor of its group with EINVAL, or does not know it without iommufd", () => {
		const ask = (options: ConstructorParameters<typeof Bench>[1]) => {
			const bench = new Bench(widget(NAME), options);
			const fd = bench.open();
			const bind = vfio_device_bind_iommufd.create();
			const answers = [outcome(() => bench.kernel.ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, 0))];
			for (const argsz of [15, 16]) {
				bind.argsz = argsz;
				answers.push(outcome(() => bench.kernel.ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, bind.bytes)));
			}
			return answers;
		};
		expect(ask({})).toEqual(["EFAULT", "EINVAL", "EINVAL"]);
		expect(ask({ iommufd: false })).toEqual(["ENOTTY", "ENOTTY", "ENOTTY"]);
	});

	it("gives everything back when it is closed, with its interrupts set up and a page mapped", () => {
		const bench = new Bench();
		const { kernel, linux } = bench;
		const process = linux.process();
		bench.bind();
		const { group, container } = bench.group();
		const fd = deviceFd(kernel, group, NAME);
		const event = kernel.eventfd();
		for (const action of [TRIGGER, MASK, UNMASK]) bench.setIrqs(fd, EVENTFD | action, 0, 0, 1, fdBytes(event));
		const mapping = kernel.mmap(fd, PAGE, PROT_READ, MAP_SHARED, 0);
		for (const open of [event, fd, group, container]) kernel.close(open);
		expect(bench.model.resets).toBe(1); // the mapping keeps it open
		mapping[Symbol.dispose]();
		expect(bench.model.resets).toBe(2);
		process.exit();
		expect(Object.values(linux.leaks()).every((count) => count === 0)).toBe(true);
	});
});

describe("the interrupts of a device of vfio-platform", () => {
	it("signals a level once, masks it, and signals it again at the unmask while it is up", () => {
		const bench = new Bench();
		const fd = bench.open();
		const event = bench.kernel.eventfd();
		expect(bench.setIrqs(fd, EVENTFD | TRIGGER, 0, 0, 1, fdBytes(event))).toBe(0);
		bench.hardware.setLine(0, true);
		bench.hardware.setLine(0, false);
		bench.hardware.setLine(0, true);
		expect(bench.signals(event)).toBe(1);
		expect(bench.setIrqs(fd, NONE | UNMASK, 0, 0, 1)).toBe(0);
		expect(bench.signals(event)).toBe(1);
		bench.hardware.setLine(0, false);
		bench.setIrqs(fd, NONE | UNMASK, 0, 0, 1);
		expect(bench.signals(event)).toBe(0);
		expect(bench.setIrqs(fd, BOOL | MASK, 0, 0, 1, [1])).toBe(0);
		bench.hardware.setLine(0, true);
		expect(bench.signals(event)).toBe(0);
		expect(bench.setIrqs(fd, BOOL | UNMASK, 0, 0, 1, [0])).toBe(0);
		expect(bench.signals(event)).toBe(0);
		expect(bench.setIrqs(fd, BOOL | UNMASK, 0, 0, 1, [1])).toBe(0);
		expect(bench.signals(event)).toBe(1);
	});

	it("signals an edge each time, also one that came before the eventfd", () => {
		const bench = new Bench();
		const fd = bench.open();
		const event = bench.kernel.eventfd();
		bench.hardware.pulse(1);
		expect(bench.setIrqs(fd, EVENTFD | TRIGGER, 1, 0, 1, fdBytes(event))).toBe(0);
		expect(bench.signals(event)).toBe(1);
		bench.hardware.pulse(1);
		bench.hardware.pulse(1);
		expect(bench.signals(event)).toBe(2);
		expect(bench.setIrqs(fd, NONE | TRIGGER, 1, 0, 0)).toBe(0);
		bench.hardware.pulse(1);
		expect(bench.signals(event)).toBe(0);
	});

	it("masks and unmasks by eventfds, one each at a time", () => {
		const bench = new Bench();
		const { kernel } = bench;
		const fd = bench.open();
		const [event, mask, unmask] = [kernel.eventfd(), kernel.eventfd(), kernel.eventfd()];
		const signal = (to: number) => kernel.write(to, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
		bench.setIrqs(fd, EVENTFD | TRIGGER, 0, 0, 1, fdBytes(event));
		expect(bench.setIrqs(fd, EVENTFD | MASK, 0, 0, 1, fdBytes(mask))).toBe(0);
		expect(bench.setIrqs(fd, EVENTFD | MASK, 0, 0, 1, fdBytes(mask))).toBe("EBUSY");
		expect(bench.setIrqs(fd, EVENTFD | UNMASK, 0, 0, 1, fdBytes(unmask))).toBe(0);
		expect(bench.setIrqs(fd, EVENTFD | UNMASK, 0, 0, 1, fdBytes(event))).toBe("EBUSY");
		signal(mask);
		bench.hardware.setLine(0, true);
		expect(bench.signals(event)).toBe(0);
		signal(unmask);
		expect(bench.signals(event)).toBe(1);
		expect(bench.setIrqs(fd, EVENTFD | UNMASK, 0, 0, 1, fdBytes(-1))).toBe(0);
		signal(unmask);
		expect(bench.signals(event)).toBe(0);
		expect(bench.setIrqs(fd, EVENTFD | UNMASK, 0, 0, 1, fdBytes(unmask))).toBe(0);
		kernel.close(unmask); // takes it away
		expect(bench.setIrqs(fd, EVENTFD | UNMASK, 0, 0, 1, fdBytes(mask))).toBe(0);
	});

	it("refuses to mask an edge, and everything but one interrupt from 0 on", () => {
		const bench = new Bench();
		const fd = bench.open();
		const event = bench.kernel.eventfd();
		for (const action of [MASK, UNMASK]) {
			expect(bench.setIrqs(fd, NONE | action, 1, 0, 1)).toBe("EINVAL");
			expect(bench.setIrqs(fd, EVENTFD | action, 1, 0, 1, fdBytes(event))).toBe("EINVAL");
			expect(bench.setIrqs(fd, NONE | action, 0, 1, 1)).toBe("EINVAL");
			expect(bench.setIrqs(fd, NONE | action, 0, 0, 2)).toBe("EINVAL");
			expect(bench.setIrqs(fd, NONE | action, 0, 0, 0)).toBe("EINVAL");
		}
		expect(bench.setIrqs(fd, NONE | TRIGGER, 0, 1, 1)).toBe("EINVAL");
		expect(bench.setIrqs(fd, NONE | TRIGGER, 0, 0, 3)).toBe("EINVAL");
		expect(bench.setIrqs(fd, NONE | TRIGGER, 3, 0, 1)).toBe("EINVAL");
		expect(bench.setIrqs(fd, NONE | TRIGGER, 0, 3, 0)).toBe("EINVAL");
		expect(bench.setIrqs(fd, NONE | BOOL | TRIGGER, 0, 0, 1, [1])).toBe("EINVAL");
		expect(bench.setIrqs(fd, NONE, 0, 0, 1)).toBe("ENOTTY");
		expect(bench.setIrqs(fd, NONE | MASK | UNMASK, 0, 0, 1)).toBe("ENOTTY");
		expect(bench.setIrqs(fd, EVENTFD | TRIGGER, 0, 0, 1, fdBytes(999))).toBe("EBADF");
		expect(bench.setIrqs(fd, EVENTFD | TRIGGER, 0, 0, 1, fdBytes(fd))).toBe("EINVAL");
		expect(bench.setIrqs(fd, EVENTFD | TRIGGER, 0, 0, 1, [1, 0])).toBe("EINVAL"); // too short
	});

	it("loops a trigger back; without an eventfd a level is masked by that and nothing else happens", () => {
		const bench = new Bench();
		const fd = bench.open();
		const event = bench.kernel.eventfd();
		expect(bench.setIrqs(fd, NONE | TRIGGER, 1, 0, 1)).toBe(0);
		expect(bench.setIrqs(fd, NONE | TRIGGER, 0, 0, 1)).toBe(0);
		bench.setIrqs(fd, EVENTFD | TRIGGER, 0, 0, 1, fdBytes(event));
		bench.hardware.setLine(0, true);
		expect(bench.signals(event)).toBe(0);
		bench.setIrqs(fd, NONE | UNMASK, 0, 0, 1);
		expect(bench.signals(event)).toBe(1);
		bench.setIrqs(fd, EVENTFD | TRIGGER, 1, 0, 1, fdBytes(event));
		expect(bench.setIrqs(fd, BOOL | TRIGGER, 1, 0, 1, [1])).toBe(0);
		expect(bench.setIrqs(fd, BOOL | TRIGGER, 1, 0, 1, [0])).toBe(0);
		expect(bench.signals(event)).toBe(1);
	});

	it("remembers that somebody else has an interrupt, and says so each time it is asked for it", () => {
		const bench = new Bench();
		bench.machine.plugPlatform(new PlatformHardware(widget(OTHER, { interrupts: [{ number: 41, trigger: "edge" }] })));
		const fd = bench.open();
		bench.bind(OTHER);
		const { group } = bench.group(OTHER);
		const other = deviceFd(bench.kernel, group, OTHER);
		const event = bench.kernel.eventfd();
		for (const action of [TRIGGER, MASK, UNMASK, 0]) expect(bench.setIrqs(other, NONE | action, 0, 0, 1)).toBe("EBUSY");
		expect(bench.setIrqs(other, NONE | TRIGGER, 1, 0, 1)).toBe("EINVAL"); // validation comes first
		expect(bench.setIrqs(fd, EVENTFD | TRIGGER, 1, 0, 1, fdBytes(event))).toBe(0);
		bench.kernel.close(fd);
		bench.kernel.close(other);
		const again = deviceFd(bench.kernel, group, OTHER);
		expect(bench.setIrqs(again, EVENTFD | TRIGGER, 0, 0, 1, fdBytes(event))).toBe(0);
	});

	it("sends the device's DMA through the IOMMU", () => {
		const bench = new Bench();
		bench.bind();
		bench.group();
		expect(bench.hardware.dmaWrite(0x1000n, Uint8Array.of(1))).toBe(false);
		expect(bench.linux.faults.at(-1)).toMatchObject({ device: NAME, address: 0x1000n, reason: "not-mapped" });
	});
});
