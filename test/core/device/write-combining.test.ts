import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { mapWriteCombining } from "../../../core/device/write-combining.ts";
import { VfioError } from "../../../core/errors.ts";
import { FailingKernel } from "../../../core/failing-kernel.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import type { Kernel } from "../../../core/kernel.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { assignOptions } from "../../../core/pci/properties.ts";
import { EIO, EPERM } from "../../../core/uapi/errno.ts";
import type { LinuxOptions, SimProcess } from "../../../kernel-sim/mod.ts";
import { boot, SHARED_MEMORY } from "../../kernel-sim/linux/support.ts";

/** Function 1 of a shared group: BAR 0 is ordinary memory, BAR 2 prefetchable. */
const MEMORY = SHARED_MEMORY;
const WC = { memoryType: "write-combining" } as const;
const REQUIRED = { ...WC, required: true } as const;

function opened(options: Partial<LinuxOptions> = {}, wrap: (process: SimProcess) => Kernel = (process) => process) {
	const linux = boot(options);
	const process = linux.process();
	bindGroup(process, MEMORY);
	const reports: string[] = [];
	const kernel = wrap(process);
	const device = VfioDevice.open(kernel, MEMORY, { onReport: (report) => reports.push(report) });
	device.writeRegion(7, 4, 2, 2);
	return { linux, process, kernel, device, reports };
}

function refusal(call: () => unknown): VfioError {
	try {
		call();
	} catch (error) {
		if (error instanceof VfioError) return error;
		throw error;
	}
	throw new Error("It was not refused");
}

describe.each(["6.12", "7.2"] as const)("mapRegion() for write combining, on simulated Linux %s", (version) => {
	it("F-06 maps a prefetchable BAR through its own file where the kernel lets it", () => {
		const { linux, process, device, reports } = opened({ version, strictIoMemory: false });
		const opens: string[] = [];
		const open = process.open.bind(process);
		process.open = (path, flags) => {
			opens.push(path);
			return open(path, flags);
		};
		const mapping = device.mapRegion(2, 4096, 8192, REQUIRED);
		expect(opens).toEqual([`/sys/bus/pci/devices/${MEMORY}/resource2_wc`]);
		mapping.write(0, 4, 0x12345678);
		expect([device.readRegion(2, 4096, 4), mapping.length, reports]).toEqual([0x12345678, 8192, []]);
		// It is the only mapping, and keeps no descriptor.
		expect(linux.leaks().mappings).toBe(1);
		expect([...process.openFiles.values()].some((file) => file.path.endsWith("_wc"))).toBe(false);
		device[Symbol.dispose]();
		expect(linux.leaks().mappings).toBe(0);
	});

	it("F-06 maps uncached, and says why, where the kernel refuses", () => {
		const { device, reports } = opened({ version });
		const mapping = device.mapRegion(2, 0, 4096, WC);
		mapping.write(8, 4, 0x55);
		expect(device.readRegion(2, 8, 4)).toBe(0x55);
		expect(reports).toEqual([
			`Cannot map BAR 2 of ${MEMORY} for write combining: this kernel lets nobody map it beside its driver (CONFIG_IO_STRICT_DEVMEM); it is mapped uncached`,
		]);
	});

	it("F-06 throws a typed error with the reason and a remedy when it is required", () => {
		const { linux, device, reports } = opened({ version });
		const error = refusal(() => device.mapRegion(2, 0, 4096, REQUIRED));
		expect([error.code, error.device, error.errno, reports]).toEqual(["write-combining-refused", MEMORY, 22, []]);
		expect(error.remedy[0]).toContain("iomem=relaxed");
		expect(linux.leaks().mappings).toBe(0);
	});

	it("F-06 says so of a BAR that is not prefetchable", () => {
		const { device } = opened({ version, strictIoMemory: false });
		expect(refusal(() => device.mapRegion(0, 0, 4096, REQUIRED)).message).toBe(
			`Cannot map BAR 0 of ${MEMORY} for write combining: it is not prefetchable`,
		);
	});
});

describe("mapRegion() for write combining", () => {
	it("F-06 says so where no BAR has such a file, as on some processors", () => {
		const { linux, device } = opened({ strictIoMemory: false });
		linux.files.remove(`${linux.pci.devices.get(MEMORY)?.syspath}/resource2_wc`);
		expect(refusal(() => device.mapRegion(2, 0, 4096, REQUIRED)).message).toContain("this kernel offers it on no BAR");
	});

	it("F-06 says so to a user who may not open the file", () => {
		const linux = boot({ strictIoMemory: false });
		const root = linux.process();
		bindGroup(root, MEMORY);
		linux.chown(`/dev/vfio/${root.readLink(`/sys/bus/pci/devices/${MEMORY}/iommu_group`).split("/").pop()}`, 1000);
		const device = VfioDevice.open(linux.process({ uid: 1000, memlock: 1 << 30 }), MEMORY);
		const error = refusal(() => device.mapRegion(2, 0, 4096, REQUIRED));
		expect([error.message, error.remedy[0]]).toEqual([
			expect.stringContaining("may not be opened by this user"),
			expect.stringContaining("sudo chown $USER"),
		]);
	});

	it("F-06 says so on a kernel that is locked down", () => {
		const { process, device } = opened({ strictIoMemory: false });
		const mmap = process.mmap.bind(process);
		process.mmap = (fd, ...rest) => {
			const kernel = process.file(fd)?.path.endsWith("_wc") ? new FailingKernel(process, 1, EPERM) : { mmap };
			return kernel.mmap(fd, ...rest);
		};
		expect(refusal(() => device.mapRegion(2, 0, 4096, REQUIRED)).message).toContain("locked down");
	});

	it("F-06 leaves nothing behind when the n-th call fails: one mapping, or none", () => {
		for (let n = 1; ; n++) {
			const { linux, process, device } = opened({ strictIoMemory: false });
			const kernel = new FailingKernel(process, n, EIO);
			const real = { open: process.open, mmap: process.mmap, close: process.close };
			// Calls of the device go through the failing kernel, whose own go to the process.
			const through =
				<A extends unknown[], R>(call: (...args: A) => R) =>
				(...args: A): R => {
					Object.assign(process, real);
					try {
						return call.apply(kernel, args);
					} finally {
						Object.assign(process, failing);
					}
				};
			const failing = {
				open: through(kernel.open),
				mmap: through(kernel.mmap),
				close: through(kernel.close),
			};
			Object.assign(process, failing);
			let mapped = 0;
			try {
				device.mapRegion(2, 0, 4096, REQUIRED);
				mapped = 1;
			} catch (error) {
				expect(error).toBeInstanceOf(VfioError);
			}
			Object.assign(process, real);
			expect([kernel.failed, linux.leaks().mappings]).toEqual([kernel.failed, mapped]);
			expect([...process.openFiles.values()].some((file) => file.path.endsWith("_wc"))).toBe(false);
			if (kernel.failed === undefined) return expect(n).toBeGreaterThan(4);
		}
	});

	it("F-06 is an option of an assigned function, per BAR", () => {
		const options = assignOptions(new Map([["x-write-combining", "2"]]));
		expect(options).toEqual({ writeCombining: { bars: [2] } });
		const { device } = opened();
		const reports: string[] = [];
		const fn = AssignedFunction.attach(device, { ...options, onReport: (report) => reports.push(report) });
		expect(reports.filter((report) => report.includes("write combining"))).toHaveLength(1);
		fn[Symbol.dispose]();
		const required = { writeCombining: { bars: [2], required: true } };
		expect(refusal(() => AssignedFunction.attach(device, required)).code).toBe("write-combining-refused");
		expect(refusal(() => AssignedFunction.attach(device, { writeCombining: { bars: [6] } })).code).toBe(
			"invalid-argument",
		);
		const relaxed = opened({ strictIoMemory: false });
		const combining = AssignedFunction.attach(relaxed.device, required);
		combining[Symbol.dispose]();
		expect(relaxed.linux.leaks().mappings).toBe(0);
	});
});

describe("mapWriteCombining()", () => {
	it.each([
		["83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "pci", "BAR 0"],
		["fff51000.ethernet", "platform", "region 0"],
	] as const)("F-06 refuses %s, a %s device without BARs in sysfs", (name, kind, region) => {
		const error = refusal(() => mapWriteCombining(boot().process(), { name, kind }, 0, 0, 4096, 3));
		expect(error.message).toBe(
			`Cannot map ${region} of ${name} for write combining: it is no function of PCI that has its BARs in sysfs`,
		);
	});

	it("F-06 refuses what is no BAR", () => {
		const error = refusal(() => mapWriteCombining(boot().process(), { name: MEMORY, kind: "pci" }, 9, 0, 4096, 3));
		expect(error.message).toContain("only BARs can be mapped so");
	});
});
