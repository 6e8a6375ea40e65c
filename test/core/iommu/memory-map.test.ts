import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { KernelError } from "../../../core/errors.ts";
import { GuestMemoryMapper, type MapReport, requireMemlock } from "../../../core/iommu/memory-map.ts";
import { EFAULT, EINVAL, EIO, ENOMEM } from "../../../core/uapi/errno.ts";
import {
	VFIO_GROUP_SET_CONTAINER,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_iommu_type1_dma_map,
} from "../../../core/uapi/vfio.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { memoryAt, region, TestMemory } from "../support/guest-memory.ts";

let fake: FakeVfio;
let device: VfioDevice;
let reports: MapReport[];
beforeEach(() => {
	fake = new FakeVfio();
	device = VfioDevice.open(fake.kernel, "05:00.0");
	reports = [];
});
const RAM = region(0n, 0xa_0000);
const ROM = region(0xf_0000n, 0x1_0000, { readOnly: true });
const BAR = region(0xe000_0000n, 0x4000, { kind: "device" });
const attach = (memory: TestMemory) =>
	GuestMemoryMapper.attach(device.iommu, memory, {
		device: device.name,
		onReport: (report) => reports.push(report),
	});
const mapped = () => fake.mapped.map(({ iova, size, flags }) => [iova, size, flags]);
const said = () => reports.map(({ severity, error }) => [severity, error.code]);
/** Fails the mapping at that address. */
const failAt = (address: bigint, errno: number) =>
	fake.answers.set(VFIO_IOMMU_MAP_DMA, (argument) => {
		if (vfio_iommu_type1_dma_map.view(argument as Uint8Array).iova === address)
			throw new KernelError(errno, "MAP_DMA", "fake");
		return undefined as unknown as number;
	});

describe("GuestMemoryMapper", () => {
	it("D-01 maps what there is, follows changes, and unmaps what it mapped", () => {
		const memory = new TestMemory([RAM, ROM]);
		const mapper = attach(memory);
		expect(mapped()).toEqual([
			[0n, 0xa_0000n, 3],
			[0xf_0000n, 0x1_0000n, 1],
		]);
		memory.add(BAR);
		memory.remove(ROM);
		expect(mapped().map(([iova]) => iova)).toEqual([0n, 0xe000_0000n]);
		mapper[Symbol.dispose]();
		mapper[Symbol.dispose]();
		expect(mapped()).toEqual([]);
		expect(memory.listeners.size).toBe(0);
		expect(reports).toEqual([]);
	});

	it("maps neighbours with one lifetime at once, and unmaps them with the first that goes", () => {
		const shared = { memory: memoryAt(0x10_0000n, 0x4000), lifetime: {} };
		const low = region(0n, 0x2000, shared);
		const high = region(0x2000n, 0x2000, { ...shared, offset: 0x2000 });
		const memory = new TestMemory([low, high]);
		attach(memory);
		expect(mapped()).toEqual([[0n, 0x4000n, 3]]);
		memory.remove(high);
		memory.remove(low);
		expect(fake.unmaps).toEqual([{ iova: 0n, size: 0x4000n, flags: 0 }]);
		expect(reports).toEqual([]);
	});

	it("D-06 fails the attach with the first RAM that cannot be mapped, and leaves nothing mapped", () => {
		failAt(0xf_0000n, EFAULT);
		const memory = new TestMemory([RAM, ROM]);
		const error = vfioError(() => attach(memory));
		expect(error).toMatchObject({ code: "mapping-failed", device: "0000:05:00.0", errno: EFAULT });
		expect([mapped(), memory.listeners.size]).toEqual([[], 0]);
	});

	it("fails the attach before the kernel is asked when the IOMMU has no such address", () => {
		const error = vfioError(() => attach(new TestMemory([RAM, region(0xfee0_0000n, 0x1000)])));
		expect([error.code, error.device]).toEqual(["iova-out-of-range", "0000:05:00.0"]);
		expect(fake.kernel.log.some((line) => line.startsWith("map "))).toBe(false);
	});

	it("fails the attach before the kernel is asked when there are too few entries", () => {
		fake.dmaAvail = 1;
		expect(vfioError(() => attach(new TestMemory([RAM, ROM]))).code).toBe("dma-entries-exhausted");
		expect(fake.requests).not.toContain(VFIO_IOMMU_MAP_DMA);
	});

	it("reports what fails after the attach, and goes on", () => {
		const memory = new TestMemory([RAM]);
		attach(memory);
		failAt(0xf_0000n, ENOMEM);
		memory.add(ROM);
		memory.add(region(0xfee0_0000n, 0x1000));
		fake.answers.set(VFIO_IOMMU_UNMAP_DMA, EIO);
		memory.remove(RAM);
		expect(said()).toEqual([
			["error", "memlock-too-low"],
			["error", "iova-out-of-range"],
			["error", "kernel"],
		]);
	});

	it("says a warning, and not more, when a BAR cannot be mapped", () => {
		failAt(BAR.guestAddress, EFAULT);
		const memory = new TestMemory([RAM, BAR]);
		attach(memory);
		memory.remove(BAR);
		memory.add(region(0x1_0000_0000_0000n, 0x1000, { kind: "device" }));
		expect(said()).toEqual([
			["warning", "mapping-failed"],
			["warning", "iova-out-of-range"],
		]);
		expect(mapped()).toEqual([[0n, 0xa_0000n, 3]]);
	});

	it("D-03 reports misaligned memory and skips it", () => {
		attach(new TestMemory([RAM, region(0x10_0100n, 0x4000, { memory: memoryAt(0x2000n, 0x4000) })]));
		expect(said()).toEqual([["error", "misaligned-memory"]]);
	});

	it("keeps RAM mapped under a BAR that a guest places over it, before and after the BAR goes", () => {
		const memory = new TestMemory([RAM, ROM]);
		attach(memory);
		const over = region(0n, 0x20_0000, { kind: "device" });
		memory.add(over);
		expect(mapped().map(([iova, size]) => [iova, size])).toEqual([
			[0n, 0xa_0000n],
			[0xf_0000n, 0x1_0000n],
		]);
		expect(said()).toEqual([["warning", "overlapping-memory"]]);
		memory.remove(over);
		expect(mapped().length).toBe(2);
	});

	it("attaches with a BAR over RAM: RAM is mapped, wherever the BAR begins", () => {
		attach(new TestMemory([RAM, region(0n, 0x20_0000, { kind: "device" }), ROM]));
		expect(mapped().map(([iova]) => iova)).toEqual([0n, 0xf_0000n]);
		expect(said()).toEqual([["warning", "overlapping-memory"]]);
	});

	it("takes a BAR's place for RAM that is plugged in there, and unmaps the BAR once", () => {
		const memory = new TestMemory([RAM, BAR]);
		attach(memory);
		const plugged = region(0xe000_0000n, 0x2000);
		memory.add(plugged);
		memory.remove(BAR);
		expect(mapped()).toEqual([
			[0n, 0xa_0000n, 3],
			[0xe000_0000n, 0x2000n, 3],
		]);
		expect(reports).toEqual([]);
	});

	it("does not let a region that was replaced take the new one with it", () => {
		const memory = new TestMemory([RAM, ROM]);
		attach(memory);
		const shadow = region(0xf_0000n, 0x1_0000);
		memory.add(shadow);
		memory.remove(ROM);
		expect(mapped()).toEqual([
			[0n, 0xa_0000n, 3],
			[0xf_0000n, 0x1_0000n, 3],
		]);
		memory.remove(shadow);
		expect(mapped()).toHaveLength(1);
	});

	it("forgets a region that goes while the memory is replayed", () => {
		const memory = new TestMemory([RAM]);
		const subscribe = memory.subscribe.bind(memory);
		memory.subscribe = (listener) => {
			const subscription = subscribe(listener);
			listener.removed(RAM);
			return subscription;
		};
		attach(memory);
		expect(mapped()).toEqual([]);
	});

	it("Z-13 is disposed, and everything unmapped, before the last group leaves the container", () => {
		const memory = new TestMemory([RAM, ROM]);
		const mapper = attach(memory);
		device[Symbol.dispose]();
		const log = fake.kernel.log.filter((line) => /unmap|unset/.test(line));
		expect(log).toEqual(["unmap 10000", "unmap a0000", "unset container"]);
		expect([memory.listeners.size, fake.leaks]).toEqual([0, []]);
		mapper[Symbol.dispose]();
	});
});

describe("locked memory", () => {
	function procfs(limit: string, locked: number, capabilities = "0000000000000000"): void {
		fake.kernel.files.set(
			"/proc/self/limits",
			`Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         ${limit}              ${limit}              bytes     \n`,
		);
		fake.kernel.files.set("/proc/self/status", `Name:\tnode\nVmLck:\t    ${locked} kB\nCapEff:\t${capabilities}\n`);
	}
	const memory = () => new TestMemory([RAM, BAR]);

	it("LIM-03 fails the attach before the kernel is asked: what is needed, what is allowed, how to raise it", () => {
		procfs("65536", 4);
		const error = vfioError(() => attach(memory()));
		expect([error.code, error.errno]).toEqual(["memlock-too-low", undefined]);
		expect(error.message).toBe(
			"Cannot map memory for DMA: the process needs 659456 bytes of locked memory, of which 4096 are locked already, and has a limit of 65536",
		);
		expect(error.remedy.join("\n")).toMatch(/ulimit -l 644[\s\S]*LimitMEMLOCK=659456[\s\S]*cap_ipc_lock/);
		expect(fake.requests).not.toContain(VFIO_IOMMU_MAP_DMA);
	});
	it.each([
		["the limit is high enough", "659456", "0000000000000000"],
		["there is no limit", "unlimited", "0000000000000000"],
		["the process has CAP_IPC_LOCK", "65536", "0000000000004000"],
	])("maps when %s", (_when, limit, capabilities) => {
		procfs(limit, 4, capabilities);
		attach(memory());
		expect(mapped()).toHaveLength(2);
	});
	it("leaves the answer to the kernel when procfs does not say, or no IOMMU pins anything", () => {
		attach(memory())[Symbol.dispose]();
		procfs("65536", 4);
		fake.iovaRanges = undefined;
		attach(memory());
		expect(mapped()).toHaveLength(2);
	});
	it("explains the kernel's ENOMEM with the same numbers", () => {
		procfs("1048576", 4);
		fake.answers.set(VFIO_IOMMU_MAP_DMA, ENOMEM);
		const error = vfioError(() => attach(memory()));
		expect([error.code, error.errno]).toEqual(["memlock-too-low", ENOMEM]);
		expect(error.message).toContain("a limit of 1048576");
	});
	it("requireMemlock() looks before anything is opened", () => {
		procfs("65536", 0);
		expect(vfioError(() => requireMemlock(fake.kernel, 65537n)).code).toBe("memlock-too-low");
		requireMemlock(fake.kernel, 65536n);
	});
});

describe("IoAddressSpace", () => {
	const CARDS = [
		{ name: "0000:05:00.0", group: 12, driver: "vfio-pci" },
		{ name: "0000:06:00.0", group: 13, driver: "vfio-pci" },
	];
	let memory: TestMemory;
	let space: IoAddressSpace;
	beforeEach(() => {
		fake = new FakeVfio(CARDS);
		memory = new TestMemory([RAM]);
		space = new IoAddressSpace(fake.kernel, { memory, onReport: (report) => reports.push(report) });
	});
	const open = (address: string) => VfioDevice.open(fake.kernel, address, { addressSpace: space });

	it("gives all groups the same container where it can, with the memory mapped once", () => {
		const first = open("05:00.0");
		const second = open("06:00.0");
		expect(second.container).toBe(first.container);
		expect(space.containers).toEqual([first.container]);
		expect(mapped()).toHaveLength(1);
		first[Symbol.dispose]();
		expect(mapped()).toHaveLength(1);
		second[Symbol.dispose]();
		expect([mapped(), space.containers, fake.leaks, memory.listeners.size]).toEqual([[], [], [], 0]);
	});
	it("opens a new container for a group that the others do not take, and maps the memory there too", () => {
		const first = open("05:00.0");
		let calls = 0;
		fake.answers.set(VFIO_GROUP_SET_CONTAINER, () => {
			if (++calls === 1) throw new KernelError(EINVAL, "SET_CONTAINER", "fake");
			return undefined as unknown as number;
		});
		fake.mapped.length = 0; // the fake does not tell the containers' mappings apart
		const second = open("06:00.0");
		expect(space.containers).toEqual([first.container, second.container]);
		expect(mapped()).toHaveLength(1);
		expect(memory.listeners.size).toBe(2);
	});
	it("gives everything back when the memory cannot be mapped", () => {
		failAt(0n, EFAULT);
		expect(vfioError(() => open("05:00.0"))).toMatchObject({ code: "mapping-failed", device: "0000:05:00.0" });
		expect([fake.leaks, memory.listeners.size, space.containers]).toEqual([[], 0, []]);
	});
	it("HOT-03 starts anew once all its devices are gone", () => {
		open("05:00.0")[Symbol.dispose]();
		expect(open("05:00.0").container?.groups.size).toBe(1);
		expect(mapped()).toHaveLength(1);
	});
	it("maps nothing without guest memory", () => {
		space = new IoAddressSpace(fake.kernel);
		open("05:00.0");
		expect(mapped()).toEqual([]);
	});
	it("refuses a device whose group is in another address space", () => {
		fake = new FakeVfio([...CARDS, { name: "0000:05:00.1", group: 12, driver: "vfio-pci" }]);
		space = new IoAddressSpace(fake.kernel);
		const one = open("05:00.0");
		space = new IoAddressSpace(fake.kernel);
		expect(vfioError(() => open("05:00.1")).code).toBe("device-in-use");
		one[Symbol.dispose]();
		expect(fake.leaks).toEqual([]);
	});
});
