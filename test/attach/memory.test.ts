import { beforeEach, describe, expect, it } from "vitest";
import { Container } from "../../core/device/container.ts";
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Ioas } from "../../core/iommu/ioas.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import { GuestMemoryMapper, type MapReport } from "../../core/iommu/memory-map.ts";
import type { Memory } from "../../core/kernel.ts";
import type { GuestMemoryRegion } from "../../core/machine/machine.ts";
import { ENOMEM } from "../../core/uapi/errno.ts";
import { Host, type ProcessOptions, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";
import { TestMemory } from "../core/support/guest-memory.ts";
import { BACKENDS, type Backend } from "./scripted-guest.ts";

const NVME = "0000:05:00.0";
const OTHER = "0000:06:00.0";
const MIB = 1 << 20;

let linux: SimulatedLinux;
let root: SimProcess;
beforeEach(() => {
	linux = new SimulatedLinux({ host: Host.reference() });
	root = linux.process();
	for (const address of [NVME, OTHER]) bindGroup(root, address);
});
const leaks = () => Object.entries(linux.leaks()).filter(([, count]) => count !== 0);

function ram(memory: Memory, guestAddress = 0n, more: Partial<GuestMemoryRegion> = {}): GuestMemoryRegion {
	return { guestAddress, length: memory.length, memory, offset: 0, readOnly: false, kind: "ram", ...more };
}

/** A user who was given the nodes, and nothing else. */
function user(options: ProcessOptions): SimProcess {
	return linux.process({ uid: 1000, capabilities: ["CAP_DAC_OVERRIDE"], ...options });
}

/** The device keeps its iommufd. */
function openWith(backend: Backend, kernel: SimProcess, address: string): VfioDevice {
	if (backend === "type1") return VfioDevice.open(kernel, address);
	const iommufd = Iommufd.open(kernel);
	try {
		return VfioDevice.open(kernel, address, { iommufd });
	} finally {
		iommufd[Symbol.dispose]();
	}
}

describe.each(BACKENDS)("guest memory on a simulated Linux with %s", (backend) => {
	it("is mapped and pinned while the device is there, and nothing is left afterwards", () => {
		const memory = root.allocate(4 * MIB);
		const device = openWith(backend, root, NVME);
		const mapper = GuestMemoryMapper.attach(device.iommu, new TestMemory([ram(memory)]));
		expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 1024 });
		mapper[Symbol.dispose]();
		expect(linux.leaks()).toMatchObject({ dmaMappings: 0, pinnedPages: 0 });
		device[Symbol.dispose]();
		memory[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("is unmapped with the device when nobody disposed the mapper", () => {
		const memory = root.allocate(MIB);
		const guest = new TestMemory([ram(memory)]);
		const device = openWith(backend, root, NVME);
		GuestMemoryMapper.attach(device.iommu, guest);
		device[Symbol.dispose]();
		memory[Symbol.dispose]();
		expect([leaks(), guest.listeners.size]).toEqual([[], 0]);
	});

	it("around the interrupts' range goes in, across it is refused with the ranges", () => {
		const device = openWith(backend, root, NVME);
		const memory = root.allocate(2 * MIB);
		const across = vfioError(() => GuestMemoryMapper.attach(device.iommu, new TestMemory([ram(memory, 0xfed0_0000n)])));
		expect(across.code).toBe("iova-out-of-range");
		expect(across.message).toContain("0x0-0xfedfffff, 0xfef00000-");
		const half = { memory, length: MIB };
		const regions = [ram(memory, 0xfed0_0000n, half), ram(memory, 0xfef0_0000n, { ...half, offset: MIB })];
		GuestMemoryMapper.attach(device.iommu, new TestMemory(regions));
		expect(linux.leaks().dmaMappings).toBe(2);
	});
});

describe("the limit of a container's mappings on a simulated Linux", () => {
	it("with more regions than the kernel keeps mappings is refused with both numbers", () => {
		linux = new SimulatedLinux({
			host: Host.reference(),
			parameters: { vfio_iommu_type1: { dma_entry_limit: 2 } },
		});
		root = linux.process();
		bindGroup(root, NVME);
		const device = VfioDevice.open(root, NVME);
		const memory = root.allocate(3 * MIB);
		const regions = [0, 1, 2].map((n) => ram(memory, BigInt(n * 2 * MIB), { length: MIB, offset: n * MIB }));
		const error = vfioError(() => GuestMemoryMapper.attach(device.iommu, new TestMemory(regions)));
		expect(error.code).toBe("dma-entries-exhausted");
		expect(error.message).toContain("3 mappings are needed, and the kernel allows 2 more");
		const lifetime = {};
		const together = [0, 1, 2].map((n) => ram(memory, BigInt(n * MIB), { length: MIB, offset: n * MIB, lifetime }));
		GuestMemoryMapper.attach(device.iommu, new TestMemory(together));
		expect(linux.leaks().dmaMappings).toBe(1);
	});
});

describe("locked memory on a simulated Linux", () => {
	it("that is not allowed fails the attach before anything is pinned, and says by how much", () => {
		const process = user({ memlock: MIB });
		const memory = process.allocate(4 * MIB);
		const device = VfioDevice.open(process, NVME);
		const attach = () => GuestMemoryMapper.attach(device.iommu, new TestMemory([ram(memory)]), { device: NVME });
		const error = vfioError(attach);
		expect([error.code, error.device, error.errno]).toEqual(["memlock-too-low", NVME, undefined]);
		expect(error.message).toContain("needs 4194304 bytes");
		expect(error.message).toContain("a limit of 1048576");
		expect(error.remedy[0]).toContain("ulimit -l 4096");
		expect(linux.leaks().pinnedPages).toBe(0);
	});

	it("that is not allowed is explained when the kernel refuses it, too", () => {
		const process = user({ memlock: MIB });
		const memory = process.allocate(4 * MIB);
		const device = VfioDevice.open(process, NVME);
		const error = vfioError(() => device.iommu.map(0n, memory.address, BigInt(4 * MIB)));
		expect([error.code, error.errno]).toEqual(["memlock-too-low", ENOMEM]);
		expect(error.message).toContain("needs 4194304 bytes");
	});

	it("is enough at exactly the limit, and CAP_IPC_LOCK lifts it", () => {
		for (const options of [{ memlock: 4 * MIB }, { memlock: 0, capabilities: ["CAP_DAC_OVERRIDE", "CAP_IPC_LOCK"] }]) {
			const process = user(options as ProcessOptions);
			const memory = process.allocate(4 * MIB);
			const device = VfioDevice.open(process, NVME);
			GuestMemoryMapper.attach(device.iommu, new TestMemory([ram(memory)]));
			device[Symbol.dispose]();
			memory[Symbol.dispose]();
		}
		expect(leaks()).toEqual([]);
	});
});

describe("an I/O address space on a simulated Linux", () => {
	it("LIM-04 maps memory once for two groups, whichever goes first, and follows changes for both", () => {
		for (const firstOut of [0, 1]) {
			const memory = root.allocate(MIB);
			const reports: MapReport[] = [];
			const guest = new TestMemory([ram(memory)]);
			const addressSpace = new IoAddressSpace(root, { memory: guest, onReport: (report) => reports.push(report) });
			const devices = [NVME, OTHER].map((address) => VfioDevice.open(root, address, { addressSpace }));
			expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 256 });
			devices[firstOut]?.[Symbol.dispose]();
			const more = root.allocate(MIB);
			guest.add(ram(more, 0x1000_0000n));
			expect(linux.leaks().dmaMappings).toBe(2);
			devices[1 - firstOut]?.[Symbol.dispose]();
			more[Symbol.dispose]();
			memory[Symbol.dispose]();
			expect([leaks(), reports, guest.listeners.size]).toEqual([[], [], 0]);
		}
	});
});

/** All orders of a few things. */
function orders(rest: readonly string[]): string[][] {
	if (rest.length === 0) return [[]];
	return rest.flatMap((first) => orders(rest.filter((one) => one !== first)).map((tail) => [first, ...tail]));
}

describe("every order of close on a simulated Linux", () => {
	const names = ["container", "nvme", "other", "mapping", "memory"];
	it(`leaves nothing: ${names.join(", ")} in all 120 orders`, () => {
		for (const order of orders(names)) {
			const container = Container.open(root);
			const nvme = VfioDevice.open(root, NVME, { container });
			const other = VfioDevice.open(root, OTHER, { container });
			const memory = root.allocate(MIB);
			nvme.mapRegion(0);
			const mapping = container.iommu.map(0n, memory.address, BigInt(MIB));
			const things: Record<string, Disposable> = { container, nvme, other, mapping, memory };
			for (const name of order) things[name]?.[Symbol.dispose]();
			expect([order, leaks()]).toEqual([order, []]);
		}
	});
});

describe("every order of close with iommufd on a simulated Linux", () => {
	const names = ["iommufd", "ioas", "nvme", "other", "mapping"];
	it(`leaves nothing: ${names.join(", ")} in all 120 orders`, () => {
		for (const order of orders(names)) {
			const iommufd = Iommufd.open(root);
			const ioas = Ioas.allocate(iommufd);
			const nvme = VfioDevice.open(root, NVME, { ioas });
			const other = VfioDevice.open(root, OTHER, { ioas });
			const memory = root.allocate(MIB);
			nvme.mapRegion(0);
			const mapping = ioas.map(0n, memory.address, BigInt(MIB));
			const things: Record<string, Disposable> = { iommufd, ioas, nvme, other, mapping };
			for (const name of order) things[name]?.[Symbol.dispose]();
			memory[Symbol.dispose]();
			expect([order, leaks()]).toEqual([order, []]);
		}
	});
});

describe("dirty tracking on a simulated Linux", () => {
	it("reports every mapped page as dirty, as an IOMMU without dirty bits does", () => {
		const device = VfioDevice.open(root, NVME);
		const memory = root.allocate(100 * 4096);
		const { iommu } = device;
		iommu.map(0n, memory.address, 100n * 4096n);
		iommu.dirty.start();
		const bitmap = iommu.dirty.bitmap(0n, 100n * 4096n);
		expect([...bitmap]).toEqual([...Array(12).fill(0xff), 0x0f, 0, 0, 0]);
		expect([...iommu.dirty.unmap(0n, 100n * 4096n)].slice(0, 12)).toEqual(Array(12).fill(0xff));
		iommu.dirty.stop();
		expect(iommu.mappingCount).toBe(0);
		device[Symbol.dispose]();
		memory[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});
});
