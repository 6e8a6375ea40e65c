// What users of other programs met with resets, errors and lifetimes; the ids are those of the collection.
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { PciSysfs } from "../../../core/host/sysfs.ts";
import type { Mapping } from "../../../core/kernel.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { EACCES, EBUSY, EINVAL, ENOMEM } from "../../../core/uapi/errno.ts";
import { VFIO_DEVICE_GET_REGION_INFO, VFIO_GROUP_GET_DEVICE_FD, vfio_region_info } from "../../../core/uapi/vfio.ts";
import { assign, MSIX_ON, msixControl, nicConfig, program } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeHost } from "../support/fake-host.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { FakeDevice } from "../support/fake-vfio-device.ts";
import { configSpace } from "../support/pci-config.ts";

const ADDRESS = "0000:05:00.0";

describe("resets in the field", () => {
	it("RST-02 resets the device, not only its picture: interrupts off, BARs gone, DMA off, then the reset", () => {
		const { device, fn, slot } = assign();
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(4, 2, 6);
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		const order: string[] = [];
		device.take();
		slot.placeBar = (bar, address) => void order.push(`place ${bar} ${address}`, ...device.take("disable"));
		device.reset = () => {
			order.push(...device.take().filter((call) => call === "write 7 4 0"), "reset");
			device.memory[0]?.fill(0);
		};
		store(device, 0x10, 0xdead);
		expect(fn.reset().method).toBe("device-reset");
		expect(order).toEqual(["place 0 undefined", "disable 2", "write 7 4 0", "reset"]);
		device.message(2, 0);
		device.fake.settle();
		expect(slot.messages).toEqual([]);
		expect(device.memory[0]?.[0x10]).toBe(0);
	});

	it("RST-05 refuses a device that answers all ones, before anything is made of a pin of 0xff", () => {
		const device = new FakeDevice({ config: configSpace({ size: 4096 }).fill(0xff), irqs: [1, 1, 1, 1, 1] });
		const error = vfioError(() => AssignedFunction.attach(device));
		expect([error.code, error.device]).toEqual(["malformed-config-space", ADDRESS]);
		expect(error.message).toContain("reads all ones: the device does not answer");
		expect([device.held, device.take("set")]).toEqual([0, []]);
	});
});

describe("errors in the field", () => {
	it("ERR-03 says nothing of a missing VGA region, reads the one behind it, and refuses a BAR that is not answered", () => {
		const vfio = new FakeVfio();
		vfio.regions[9] = { size: 0x2000 };
		vfio.deviceInfo = { ...vfio.deviceInfo, regions: 10 };
		const reports: string[] = [];
		const device = VfioDevice.open(vfio.kernel, ADDRESS, { onReport: (message) => reports.push(message) });
		expect([8, 9].map((index) => device.region(index).size)).toEqual([0, 0x2000]);
		expect(reports).toEqual([]);
		for (const refused of [0, 5, 7]) {
			const other = new FakeVfio();
			other.answers.set(VFIO_DEVICE_GET_REGION_INFO, (argument) =>
				vfio_region_info.view(argument as Uint8Array).index === refused
					? other.kernel.fail(EINVAL, "VFIO_DEVICE_GET_REGION_INFO", "fake")
					: (undefined as unknown as number),
			);
			const opened = VfioDevice.open(other.kernel, ADDRESS);
			expect(vfioError(() => opened.region(refused)).code).toBe("kernel");
		}
	});

	it("ERR-08 names who holds a BAR that cannot be mapped, and the BAR works through the kernel", () => {
		const vfio = new FakeVfio();
		vfio.bytes.set(7, nicConfig());
		vfio.bytes.set(0, new Uint8Array(0x4000).fill(7));
		vfio.kernel.files.set(
			"/proc/iomem",
			[
				"00001000-0009ffff : System RAM",
				"fe000000-fe3fffff : PCI Bus 0000:05",
				"  fe000000-fe003fff : 0000:05:00.0",
				"    fe000000-fe002fff : BOOTFB",
				"      fe000000-fe002fff : simpledrm",
				"  fe004000-fe004fff : somebody else",
			].join("\n"),
		);
		const device = VfioDevice.open(vfio.kernel, ADDRESS);
		vfio.kernel.fileOf(device.fd).mmap = () => vfio.kernel.fail(EBUSY, "mmap", "fake");
		const error = vfioError(() => device.mapRegion(0));
		expect(error.message).toBe(`Cannot map BAR 0 of ${ADDRESS}: the host uses it (BOOTFB, simpledrm)`);
		expect(error.errno).toBe(EBUSY);
		expect(device.readRegion(0, 0, 4)).toBe(0x07070707);
		vfio.kernel.files.delete("/proc/iomem");
		expect(vfioError(() => device.mapRegion(0)).message).toContain("EBUSY");
	});

	it("ERR-12 lists functions of wide domains, and is not upset by anything else in the directory", () => {
		const names = ["0000:00:1f.0", "10001:80:05.0"];
		const host = new FakeHost(names.map((name, group) => ({ name, group })));
		host.kernel.files.set("/sys/bus/pci/devices/no-address/uevent", "");
		const pci = new PciSysfs(host.kernel);
		expect(pci.devices()).toEqual([...names, "no-address"]);
		expect(pci.ids("10001:80:05.0").vendor).toBe(0x8086);
	});

	it("SRV-04 says that a token is needed, and never tells the one that was given", () => {
		const vfio = new FakeVfio();
		vfio.answers.set(VFIO_GROUP_GET_DEVICE_FD, EACCES);
		for (const token of [undefined, "e5c1a1c0-1234-4000-8000-000000000001"]) {
			const error = vfioError(() => VfioDevice.open(vfio.kernel, ADDRESS, token ? { vfToken: token } : {}));
			expect([error.code, error.errno]).toEqual(["no-permission", EACCES]);
			expect(error.remedy.join()).toContain("vfToken");
			expect(`${error.message} ${error.remedy} ${error.stack}`).not.toContain("e5c1a1c0");
		}
		expect(vfio.leaks).toEqual([]);
	});
});

describe("lifetimes in the field", () => {
	it("LIF-03 keeps track of the areas that were mapped when the third of four fails", () => {
		const sparseAreas = [0, 1, 2, 3].map((n) => ({ offset: n * 0x4000, size: 0x1000 }));
		const config = configSpace({ bars: [0xfe400000] });
		const device = new FakeDevice({ config, regions: { 0: { size: 0x10000, mappable: true, sparseAreas } } });
		const map = device.mapRegion.bind(device);
		const unmapped: [number, number][] = [];
		let calls = 0;
		device.mapRegion = (index, offset = 0, length = 0): Mapping => {
			if (++calls === 3) throw new Error(`ENOMEM ${ENOMEM}`);
			const mapping = map(index, offset, length);
			const dispose = mapping[Symbol.dispose].bind(mapping);
			mapping[Symbol.dispose] = () => {
				unmapped.push([offset, length]);
				dispose();
			};
			return mapping;
		};
		const fn = AssignedFunction.attach(device);
		expect(fn.directAreas(0).map(({ start }) => start)).toEqual([0, 0x4000, 0xc000]);
		fn[Symbol.dispose]();
		expect(unmapped.sort((a, b) => a[0] - b[0])).toEqual([
			[0, 0x1000],
			[0x4000, 0x1000],
			[0xc000, 0x1000],
		]);
		expect(device.held).toBe(0);
	});

	it("HOT-02 leaves no BAR behind when it is plugged, unplugged and plugged again", () => {
		const rounds = [0, 1].map(() => {
			const { fn, slot } = assign();
			fn.configWrite(0x10, 4, 0xd0000000);
			fn.configWrite(0x18, 4, 0xc000);
			fn.configWrite(4, 2, 3);
			const before = slot.bars.filter((address) => address !== undefined).length;
			fn.unplug();
			return [before, slot.bars.filter((address) => address !== undefined).length];
		});
		expect(rounds).toEqual([
			[2, 0],
			[2, 0],
		]);
	});
});

function store(device: FakeDevice, offset: number, value: number): void {
	new DataView((device.memory[0] as Uint8Array).buffer).setUint32(offset, value, true);
}
