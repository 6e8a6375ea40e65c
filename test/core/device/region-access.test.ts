import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { KernelError } from "../../../core/errors.ts";
import { EAGAIN, EBUSY, EINTR, EIO } from "../../../core/uapi/errno.ts";
import { VFIO_DEVICE_GET_REGION_INFO } from "../../../core/uapi/vfio.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";

const ADDRESS = "0000:05:00.0";
let fake: FakeVfio;
let device: VfioDevice;
let reports: string[];
beforeEach(() => {
	fake = new FakeVfio();
	reports = [];
	device = VfioDevice.open(fake.kernel, ADDRESS, { onReport: (message) => reports.push(message) });
});

/** Replaces pread and pwrite of the device's file. */
function transfers(answer: (buffer: Uint8Array) => number): void {
	const file = fake.kernel.fileOf(device.fd);
	file.pread = answer;
	file.pwrite = answer;
}

describe("VfioDevice region access", () => {
	it.each([
		[1, 0x81],
		[2, 0x8281],
		[4, 0x84838281],
	] as const)("R-02 reads and writes %i bytes, little-endian and unsigned", (width, value) => {
		device.writeRegion(0, 8, 4, 0x84838281);
		expect(device.readRegion(0, 8, width)).toBe(value);
		device.writeRegion(0, 0, width, value);
		expect([...(fake.bytes.get(0) ?? []).slice(0, 5)]).toEqual(
			[0x81, 0x82, 0x83, 0x84, 0].map((byte, index) => (index < width ? byte : 0)),
		);
	});
	it("reads and writes 64 bits", () => {
		device.writeRegion64(0, 16, 0x8877665544332211n);
		expect(device.readRegion64(0, 16)).toBe(0x8877665544332211n);
		expect(device.readRegion(0, 20, 2)).toBe(0x6655);
	});
	it("makes one system call of exactly the register's width", () => {
		const lengths: number[] = [];
		transfers((buffer) => lengths.push(buffer.length) && buffer.length);
		device.readRegion(0, 0, 1);
		device.readRegion(0, 0, 2);
		device.writeRegion(0, 0, 4, 0);
		device.writeRegion64(0, 0, 0n);
		expect(lengths).toEqual([1, 2, 4, 8]);
	});
	it("answers all ones and reports, with the device's name, when the kernel fails", () => {
		transfers(() => {
			throw new KernelError(EIO, "pread", "fake");
		});
		expect([1, 2, 4].map((width) => device.readRegion(0, 0x10, width as 1))).toEqual([0xff, 0xffff, 0xffffffff]);
		expect(device.readRegion64(7, 0)).toBe(0xffff_ffff_ffff_ffffn);
		device.writeRegion(0, 0x10, 4, 1);
		expect(reports[0]).toBe(`Cannot read 1 bytes at 0x10 of BAR 0 of ${ADDRESS}: pread fake: Input/output error (EIO)`);
		expect(reports[3]).toContain("of config space of");
		expect(reports[4]).toContain("Cannot write 4 bytes");
	});
	it("answers all ones and reports a short read, and reports a short write", () => {
		transfers(() => 1);
		expect(device.readRegion(0, 0, 4)).toBe(0xffffffff);
		device.writeRegion(0, 0, 4, 1);
		expect(reports).toEqual([
			`Cannot read 4 bytes at 0x0 of BAR 0 of ${ADDRESS}: the kernel did 1 of 4 bytes`,
			`Cannot write 4 bytes at 0x0 of BAR 0 of ${ADDRESS}: the kernel did 1 of 4 bytes`,
		]);
	});
	it.each([
		[0, 0x4000],
		[0, 0x3ffe],
		[0, -4],
		[1, 0],
		[8, 0],
	])("does not ask the kernel for what region %i does not have at %i", (index, offset) => {
		transfers(() => {
			throw new Error("asked");
		});
		expect(device.readRegion(index, offset, 4)).toBe(0xffffffff);
		device.writeRegion(index, offset, 4, 0);
		expect(reports).toHaveLength(2);
	});
	it("tries again when a signal interrupts it", () => {
		let left = 3;
		transfers((buffer) => {
			if (left-- > 0) throw new KernelError(EINTR, "pread", "fake");
			return buffer.fill(1).length;
		});
		expect(device.readRegion(0, 0, 4)).toBe(0x01010101);
		expect(reports).toEqual([]);
	});
	it("tries again, and not for ever, while the kernel says that it should", () => {
		let calls = 0;
		fake.kernel.fileOf(device.fd).pread = (buffer) => {
			if (++calls < 5) throw new KernelError(EAGAIN, "pread", "fake");
			return buffer.fill(2).length;
		};
		expect([device.readRegion(0, 0, 4), reports]).toEqual([0x02020202, []]);
		calls = -1000;
		expect([device.readRegion(0, 0, 4), reports.length]).toEqual([0xffffffff, 1]);
	});
	it("does not throw at a guest when the region cannot even be queried", () => {
		fake.answers.set(VFIO_DEVICE_GET_REGION_INFO, EIO);
		expect(device.readRegion(0, 0, 4)).toBe(0xffffffff);
		device.writeRegion(0, 0, 4, 0);
		expect(device.readRegion64(0, 0)).toBe(0xffff_ffff_ffff_ffffn);
		device.writeRegion64(0, 0, 0n);
		expect(device.readBytes(0, 0, new Uint8Array(4))).toBe(0);
		expect(reports).toHaveLength(5);
	});
	it("does not throw at a guest when the device is closed, and does not touch the descriptor", () => {
		device.readRegion(0, 0, 4);
		device[Symbol.dispose]();
		expect(device.readRegion(0, 0, 2)).toBe(0xffff);
		expect(reports[0]).toContain("it is closed");
	});
	it("reports go to whom onReport names at that time", () => {
		const later: string[] = [];
		device.onReport = (message) => later.push(message);
		device.readRegion(1, 0, 4);
		expect([reports.length, later.length]).toEqual([0, 1]);
	});
});

describe("VfioDevice.readBytes()", () => {
	it("reads in as many calls as it takes, up to the region's end", () => {
		fake.bytes.set(
			7,
			Uint8Array.from({ length: 256 }, (_, index) => index),
		);
		const file = fake.kernel.fileOf(device.fd);
		const pread = file.pread?.bind(file);
		file.pread = (buffer, offset) => pread?.(buffer.subarray(0, 100), offset) ?? 0;
		const into = new Uint8Array(300);
		expect(device.readBytes(7, 16, into)).toBe(240);
		expect([into[0], into[239], into[240]]).toEqual([16, 255, 0]);
		expect(reports).toEqual([]);
	});
	it("stops and reports at a failure, and at a kernel that reads nothing", () => {
		transfers(() => 0);
		expect(device.readBytes(7, 0, new Uint8Array(256))).toBe(0);
		expect(reports[0]).toContain("the kernel read 0 bytes");
		transfers(() => {
			throw new KernelError(EIO, "pread", "fake");
		});
		expect(device.readBytes(7, 0, new Uint8Array(256))).toBe(0);
		expect(reports[1]).toContain("EIO");
	});
});

describe("VfioDevice.mapRegion()", () => {
	it("maps a region, and accesses are the mapping's", () => {
		const mapping = device.mapRegion(0);
		expect(mapping.length).toBe(0x4000);
		mapping.write(4, 4, 0x12345678);
		mapping.write64(8, 0x1122334455667788n);
		expect([mapping.read(4, 2), mapping.read64(8)]).toEqual([0x5678, 0x1122334455667788n]);
	});
	it("unmaps once, and the device unmaps what is left before it closes", () => {
		const first = device.mapRegion(0, 0, 0x1000);
		device.mapRegion(0, 0x2000);
		first[Symbol.dispose]();
		first[Symbol.dispose]();
		device[Symbol.dispose]();
		const log = fake.kernel.log.filter((line) => /map|close/.test(line));
		expect(log.slice(0, 5)).toEqual(["mmap 4096", "mmap 8192", "munmap 4096", "munmap 8192", `close ${ADDRESS}`]);
	});
	it.each([
		["a region that cannot be mapped", 7, 0, 0x100],
		["a region that does not exist", 1, 0, undefined],
		["more than the region has", 0, 0x3000, 0x2000],
		["nothing", 0, 0x4000, undefined],
	])("refuses %s", (_what, index, offset, length) => {
		expect(vfioError(() => device.mapRegion(index, offset, length))).toMatchObject({
			code: "mapping-failed",
			device: ADDRESS,
		});
	});
	it("says what a busy region may be busy with", () => {
		fake.kernel.fileOf(device.fd).mmap = () => fake.kernel.fail(EBUSY, "mmap", "fake");
		expect(vfioError(() => device.mapRegion(0)).remedy.join(" ")).toContain("framebuffer");
	});
	it("is refused on a closed device", () => {
		device[Symbol.dispose]();
		expect(vfioError(() => device.mapRegion(0)).code).toBe("disposed");
	});
});
