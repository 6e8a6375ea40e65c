import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import type { MapReport } from "../../../core/iommu/memory-map.ts";
import { EACCES, EPERM } from "../../../core/uapi/errno.ts";
import { VFIO_NOIOMMU_IOMMU, VFIO_SET_IOMMU } from "../../../core/uapi/vfio.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { region, TestMemory } from "../support/guest-memory.ts";

const ADDRESS = "0000:05:00.0";
let fake: FakeVfio;
let types: unknown[];
beforeEach(() => {
	fake = new FakeVfio();
	// What Linux makes of a group of VFIO's own: another node, and one type of IOMMU only.
	fake.kernel.files.set("/sys/kernel/iommu_groups/12/name", "vfio-noiommu\n");
	const node = fake.kernel.nodes.get("/dev/vfio/12");
	fake.kernel.nodes.delete("/dev/vfio/12");
	if (node) fake.kernel.nodes.set("/dev/vfio/noiommu-12", node);
	fake.kernel.directories.add("/dev/vfio");
	fake.kernel.links.set("/dev/vfio/noiommu-12", "(a character device)");
	fake.extensions.clear();
	fake.extensions.add(VFIO_NOIOMMU_IOMMU);
	types = [];
	fake.answers.set(VFIO_SET_IOMMU, (type) => {
		types.push(type);
		return undefined as unknown as number;
	});
});
const open = (options = {}) => VfioDevice.open(fake.kernel, ADDRESS, { noIommu: true, ...options });

describe("a group without an IOMMU", () => {
	it("IFD-07 is refused unless the caller says that it may be one, and the node is named", () => {
		const error = vfioError(() => VfioDevice.open(fake.kernel, ADDRESS));
		expect([error.code, error.device]).toEqual(["unsupported-iommu", ADDRESS]);
		expect(error.message).toContain("nothing protects memory from its DMA");
		expect(error.remedy.join()).toContain("/dev/vfio/noiommu-12");
		expect(fake.kernel.log).toEqual([]);
	});

	it("IFD-07 opens by its own node and type, and maps nothing", () => {
		const device = open();
		expect([device.opened.node, types, device.iommu.backend]).toEqual([
			"/dev/vfio/noiommu-12",
			[VFIO_NOIOMMU_IOMMU],
			"noiommu",
		]);
		const { iommu } = device;
		for (const attempt of [
			() => iommu.map(0n, 0x1000n, 0x1000n),
			() => iommu.dirty.start(),
			() => iommu.dirty.stop(),
			() => iommu.dirty.bitmap(0n, 0x1000n),
			() => iommu.dirty.unmap(0n, 0x1000n),
		]) {
			const error = vfioError(attempt);
			expect([error.code, error.message.includes("there is no IOMMU")]).toEqual(["unsupported-iommu", true]);
		}
		expect([iommu.lockable(), iommu.unmap(0n, 0x1000n), iommu.info().iovaRanges]).toEqual([undefined, 0n, undefined]);
		device[Symbol.dispose]();
		expect(fake.leaks).toEqual([]);
	});

	it("IFD-07 reports of a guest's memory that it is not mapped, and that nothing is protected", () => {
		const reports: MapReport[] = [];
		const memory = new TestMemory([region(0n, 0x10_0000)]);
		const onReport = (report: MapReport) => reports.push(report);
		const device = open({ addressSpace: new IoAddressSpace(fake.kernel, { memory, onReport }) });
		expect(reports.map(({ severity, error }) => [severity, error.code, error.device])).toEqual([
			["error", "unsupported-iommu", ADDRESS],
		]);
		expect(fake.mapped).toEqual([]);
		device[Symbol.dispose]();
		expect(fake.leaks).toEqual([]);
	});

	it("IFD-07 needs CAP_SYS_RAWIO, which is said", () => {
		fake.kernel.nodes.set("/dev/vfio/noiommu-12", () => fake.kernel.fail(EPERM, "open", "/dev/vfio/noiommu-12"));
		const error = vfioError(() => open());
		expect([error.code, error.errno]).toEqual(["no-permission", EPERM]);
		expect(error.message).toContain("CAP_SYS_RAWIO");
		expect(fake.leaks).toEqual([]);
	});

	it("that does not open names the node that it has", () => {
		fake.kernel.nodes.set("/dev/vfio/noiommu-12", () => fake.kernel.fail(EACCES, "open", "/dev/vfio/noiommu-12"));
		const error = vfioError(() => open());
		expect(error.message).toBe(`Cannot open IOMMU group 12 of ${ADDRESS}: no permission for /dev/vfio/noiommu-12`);
		expect(error.remedy[0]).toBe('sudo chown "$USER" /dev/vfio/noiommu-12');
	});

	it("is not what a group of mediated devices is, though Linux calls it the same", () => {
		const node = fake.kernel.nodes.get("/dev/vfio/noiommu-12");
		fake.kernel.links.delete("/dev/vfio/noiommu-12");
		fake.kernel.nodes.delete("/dev/vfio/noiommu-12");
		if (node) fake.kernel.nodes.set("/dev/vfio/12", node);
		fake.extensions.add(3);
		const device = VfioDevice.open(fake.kernel, ADDRESS);
		expect([device.opened.node, device.iommu.backend]).toEqual(["/dev/vfio/12", "type1"]);
		device[Symbol.dispose]();
		expect(fake.leaks).toEqual([]);
	});
});
