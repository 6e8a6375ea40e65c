import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { ENOSPC } from "../../../core/uapi/errno.ts";
import { VFIO_IOMMU_MAP_DMA } from "../../../core/uapi/vfio.ts";
import { vfioError } from "../support/error.ts";
import { FakeKvm } from "../support/fake-kvm.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { region, TestMemory } from "../support/guest-memory.ts";

const GPU = "0000:01:00.0";
const AUDIO = "0000:01:00.1";
const functions = [GPU, AUDIO].map((name) => ({ name, group: 12, driver: "vfio-pci" }));

describe("IoAddressSpace.inhibitDiscard", () => {
	const setUp = () => {
		const vfio = new FakeVfio(functions);
		const log: string[] = [];
		const memory = new TestMemory([region(0x10_0000n, 0x1000)]);
		const inhibitDiscard = () => {
			log.push(`inhibit with ${vfio.mapped.length} mappings`);
			return { [Symbol.dispose]: () => void log.push(`allow with ${vfio.mapped.length} mappings`) };
		};
		return { vfio, log, memory, inhibitDiscard };
	};

	it("is called before memory is pinned and given back after, once for all devices", () => {
		const { vfio, log, memory, inhibitDiscard } = setUp();
		const addressSpace = new IoAddressSpace(vfio.kernel, { memory, inhibitDiscard });
		const devices = [GPU, AUDIO].map((name) => VfioDevice.open(vfio.kernel, name, { addressSpace }));
		expect(log).toEqual(["inhibit with 0 mappings"]);
		devices[0]?.[Symbol.dispose]();
		expect(log.length).toBe(1);
		devices[1]?.[Symbol.dispose]();
		expect(log).toEqual(["inhibit with 0 mappings", "allow with 0 mappings"]);
	});

	it("LIF-05 fails the open when it throws, or is given back when the mapping fails; nothing stays open", () => {
		const { vfio, log, memory, inhibitDiscard } = setUp();
		const refused = new IoAddressSpace(vfio.kernel, {
			memory,
			inhibitDiscard: () => {
				throw new Error("the balloon is inflated");
			},
		});
		expect(() => VfioDevice.open(vfio.kernel, GPU, { addressSpace: refused })).toThrow("the balloon is inflated");
		expect([vfio.leaks, vfio.mapped]).toEqual([[], []]);
		vfio.answers.set(VFIO_IOMMU_MAP_DMA, ENOSPC);
		const addressSpace = new IoAddressSpace(vfio.kernel, { memory, inhibitDiscard });
		vfioError(() => VfioDevice.open(vfio.kernel, GPU, { addressSpace }));
		expect([log.length, vfio.leaks]).toEqual([2, []]);
	});
});

describe("IoAddressSpace.kvm", () => {
	it("learns of each group once, until that leaves", () => {
		const vfio = new FakeVfio(functions);
		const kvm = new FakeKvm();
		const addressSpace = new IoAddressSpace(vfio.kernel, { kvm });
		const devices = [GPU, AUDIO].map((name) => VfioDevice.open(vfio.kernel, name, { addressSpace }));
		expect(kvm.files).toEqual([devices[0]?.group?.fd]);
		devices[0]?.[Symbol.dispose]();
		expect(kvm.files.length).toBe(1);
		devices[1]?.[Symbol.dispose]();
		expect([kvm.files, vfio.leaks]).toEqual([[], []]);
	});

	it("fails the open when it refuses, and nothing stays open", () => {
		const vfio = new FakeVfio(functions);
		const kvm = new FakeKvm();
		kvm.failing = ["add"];
		const error = vfioError(() =>
			VfioDevice.open(vfio.kernel, GPU, { addressSpace: new IoAddressSpace(vfio.kernel, { kvm }) }),
		);
		expect([error.code, error.device, vfio.leaks]).toEqual(["kernel", GPU, []]);
	});

	it("that fails at the end keeps nothing open", () => {
		const vfio = new FakeVfio(functions);
		const kvm = new FakeKvm();
		const device = VfioDevice.open(vfio.kernel, GPU, { addressSpace: new IoAddressSpace(vfio.kernel, { kvm }) });
		kvm.failing = ["remove"];
		expect(() => device[Symbol.dispose]()).toThrow("KVM refuses");
		expect(vfio.leaks).toEqual([]);
	});
});
