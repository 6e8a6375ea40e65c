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
const DISK = "0000:05:00.0";
const functions = [
	...[GPU, AUDIO].map((name) => ({ name, group: 12, driver: "vfio-pci" })),
	{ name: DISK, group: 13, driver: "vfio-pci" },
];

/** Has a device be on the bus of mediated ones. */
function mediate(vfio: FakeVfio, name: string): void {
	vfio.kernel.links.set(`/sys/bus/pci/devices/${name}/subsystem`, "../../../../bus/mdev");
}

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

	it("does not count mediated devices whose driver pins what it uses: x-balloon-allowed", () => {
		const { vfio, log, memory, inhibitDiscard } = setUp();
		mediate(vfio, GPU);
		mediate(vfio, AUDIO);
		const addressSpace = new IoAddressSpace(vfio.kernel, { memory, inhibitDiscard });
		const open = (name: string, discardAllowed: boolean) =>
			VfioDevice.open(vfio.kernel, name, { addressSpace, discardAllowed });
		using first = open(GPU, true);
		expect([first.name, vfio.mapped.length, log]).toEqual([GPU, 1, []]);
		const error = vfioError(() => open(AUDIO, false));
		expect([error.code, error.message]).toEqual([
			"invalid-argument",
			`Cannot open ${AUDIO}: ${GPU} of its IOMMU group 12 lets guest memory be discarded`,
		]);
		using second = open(AUDIO, true);
		expect([second.name, log]).toEqual([AUDIO, []]);
	});

	it("is given back when the last other device has left, and a mediated one stays", () => {
		const { vfio, log, memory, inhibitDiscard } = setUp();
		mediate(vfio, GPU);
		const addressSpace = new IoAddressSpace(vfio.kernel, { memory, inhibitDiscard });
		using mediated = VfioDevice.open(vfio.kernel, GPU, { addressSpace, discardAllowed: true });
		const device = VfioDevice.open(vfio.kernel, DISK, { addressSpace });
		expect([mediated.name, log.length]).toEqual([GPU, 1]);
		device[Symbol.dispose]();
		expect(log.length).toBe(2);
	});

	it("is for every device that is not mediated, or of which that is not known", () => {
		const { vfio, memory, inhibitDiscard } = setUp();
		const addressSpace = new IoAddressSpace(vfio.kernel, { memory, inhibitDiscard });
		for (const reference of [GPU, { fd: 5 }]) {
			const error = vfioError(() => VfioDevice.open(vfio.kernel, reference, { addressSpace, discardAllowed: true }));
			expect([error.code, error.message]).toEqual([
				"invalid-argument",
				expect.stringContaining("for mediated devices"),
			]);
		}
		expect([vfio.leaks, vfio.mapped]).toEqual([[], []]);
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
