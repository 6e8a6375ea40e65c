import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { Mdev, mdevTypes } from "../../../core/host/mdev.ts";
import { Iommufd } from "../../../core/iommu/iommufd.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { Releases } from "../../../core/release.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSI_IRQ_INDEX } from "../../../core/uapi/vfio.ts";
import {
	Edu,
	Host,
	Machine,
	mediatedPciDevice,
	SimulatedLinux,
	VGPU,
	VGPU_COMMAND_SIZE,
	VGPU_COMMANDS,
	VGPU_FRAME_BUFFER,
	vgpu,
} from "../../../kernel-sim/mod.ts";
import { BACKENDS, type Backend, FixedMemory } from "../../attach/scripted-guest.ts";
import { vfioError } from "../../core/support/error.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const RAM = 1 << 16;
const MEMORY_AND_MASTER = 6;

/** A user of a virtual GPU, whose memory is mapped where it is in the guest: at 0. */
class User {
	readonly linux = new SimulatedLinux({ host: new Host(new Machine()), mediated: [vgpu()] });
	readonly kernel = this.linux.process();
	readonly releases = new Releases();
	readonly memory = this.releases.use(this.kernel.allocate(RAM));
	readonly device: VfioDevice;
	interrupts = 0;

	constructor(backend: Backend = "type1", type = "vgpu-small") {
		const { kernel, releases } = this;
		const mdev = releases.use(Mdev.create(kernel, { uuid: UUID, type }));
		const iommufd = backend === "iommufd" ? releases.use(Iommufd.open(kernel)) : undefined;
		const memory = new FixedMemory(this.memory);
		const addressSpace = new IoAddressSpace(kernel, { memory, ...(iommufd ? { iommufd } : {}) });
		this.device = releases.use(VfioDevice.open(kernel, { sysfsdev: mdev.path }, { addressSpace }));
	}

	start(): void {
		this.device.writeRegion(VFIO_PCI_CONFIG_REGION_INDEX, 4, 2, MEMORY_AND_MASTER);
	}

	/** Writes commands to the beginning of memory and rings. */
	run(
		...commands: readonly (readonly [kind: number, offset: number, length: number, value: number, address: number])[]
	) {
		const view = new DataView(this.memory.bytes.buffer, this.memory.bytes.byteOffset);
		for (const [index, [kind, offset, length, value, address]] of commands.entries()) {
			const at = index * VGPU_COMMAND_SIZE;
			for (const [n, word] of [kind, offset, length, value, address, 0].entries())
				view.setUint32(at + 4 * n, word, true);
		}
		this.device.writeRegion(0, VGPU.DOORBELL, 4, commands.length);
	}

	register(offset: number): number {
		return this.device.readRegion(0, offset, 4);
	}

	end(): void {
		this.releases[Symbol.dispose]();
		expect(Object.entries(this.linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	}
}

describe("vgpu", () => {
	it("comes in sizes, which share its memory", () => {
		const user = new User("type1", "vgpu-large");
		const types = mdevTypes(user.kernel);
		expect(types.map(({ id, available }) => [id, available])).toEqual([
			["vgpu-large", 1],
			["vgpu-medium", 4],
			["vgpu-small", 16],
		]);
		const second = Mdev.create(user.kernel, { uuid: UUID.replace("1001", "1002"), type: "vgpu-large" });
		expect(vfioError(() => Mdev.create(user.kernel, { uuid: UUID.replace("1", "2"), type: "vgpu-small" })).code).toBe(
			"none-available",
		);
		second[Symbol.dispose]();
		user.end();
	});

	it.each(BACKENDS)("runs commands that its user has in memory, by pinning what it needs (%s)", (backend) => {
		const user = new User(backend);
		expect(user.linux.leaks().pinnedPages).toBe(0);
		user.start();
		expect(user.register(VGPU.ID)).toBe(0x55504756);
		user.memory.bytes.set([1, 2, 3, 4], 0x3000);
		user.run(
			[VGPU_COMMANDS.fill, 0, 16, 0x77, 0],
			[VGPU_COMMANDS.copyIn, 4, 4, 0, 0x3000],
			[VGPU_COMMANDS.copyOut, 0, 16, 0, 0x4ffc],
			[VGPU_COMMANDS.show, 0, 0, 0, 0],
		);
		expect([user.register(VGPU.DONE), user.register(VGPU.FRAMES), user.register(VGPU.INTERRUPT_STATUS)]).toEqual([
			4, 1, 1,
		]);
		const filled = [0x77, 0x77, 0x77, 0x77, 1, 2, 3, 4, ...new Array(8).fill(0x77)];
		expect([...user.memory.bytes.subarray(0x4ffc, 0x500c)]).toEqual(filled);
		if (backend === "type1") {
			expect(user.linux.leaks().pinnedPages).toBe(4);
			expect(user.kernel.lockedPages).toBe(4);
		}
		user.end();
	});

	it("fails a command that reaches memory which is not mapped, and says so", () => {
		const user = new User();
		user.start();
		user.run([VGPU_COMMANDS.copyOut, 0, 16, 0, RAM - 8], [VGPU_COMMANDS.copyIn, 0, 1 << 30, 0, 0], [99, 0, 0, 0, 0]);
		expect([user.register(VGPU.DONE), user.register(VGPU.INTERRUPT_STATUS)]).toEqual([0, 3]);
		user.device.writeRegion(VFIO_PCI_CONFIG_REGION_INDEX, 4, 2, 2);
		user.run([VGPU_COMMANDS.show, 0, 0, 0, 0]);
		expect(user.register(VGPU.FRAMES)).toBe(0);
		user.end();
	});

	it("gives its pages back when they are unmapped, and does not reach them any more", () => {
		const user = new User();
		user.start();
		user.run([VGPU_COMMANDS.fill, 0, 8, 1, 0], [VGPU_COMMANDS.copyOut, 0, 8, 0, 0x8000]);
		expect(user.linux.leaks().pinnedPages).toBe(2);
		const { iommu } = user.device;
		iommu.unmap(0n, BigInt(RAM));
		expect(user.linux.leaks()).toMatchObject({ pinnedPages: 0, dmaMappings: 0 });
		user.device.writeRegion(0, VGPU.DOORBELL, 4, 1);
		expect(user.register(VGPU.INTERRUPT_STATUS)).toBe(3);
		iommu.map(0n, user.memory.address, BigInt(RAM));
		user.device.writeRegion(0, VGPU.DOORBELL, 4, 1);
		expect(user.register(VGPU.DONE)).toBe(3);
		user.end();
	});

	it("interrupts by MSI, and by INTx where that is all its user has", () => {
		const user = new User();
		user.start();
		const { kernel, device, linux } = user;
		user.device.writeRegion(0, VGPU.INTERRUPT_ENABLE, 4, 1);
		for (const index of [VFIO_PCI_MSI_IRQ_INDEX, 0]) {
			const event = kernel.eventfd();
			let count = 0;
			const watch = kernel.watch(event, (signals) => {
				count += signals;
			});
			expect(device.setEventfd(index, 0, event)).toBe(0);
			user.run([VGPU_COMMANDS.show, 0, 0, 0, 0]);
			(linux.clock as unknown as { settle(): void }).settle();
			expect(count).toBe(1);
			device.writeRegion(0, VGPU.INTERRUPT_STATUS, 4, 3);
			device.disableIrq(index);
			watch[Symbol.dispose]();
			kernel.close(event);
		}
		user.end();
	});

	it("has registers that are trapped and a frame buffer that is mapped, before a guest as well", () => {
		const user = new User("type1", "vgpu-medium");
		const region = user.device.region(0);
		expect(region.sparseAreas).toEqual([{ offset: VGPU_FRAME_BUFFER, size: 4 << 20 }]);
		const fn = AssignedFunction.attach(user.device);
		expect(fn.plan.bars[0]?.areas.map(({ start, end, access }) => [start, end, access])).toEqual([
			[0, VGPU_FRAME_BUFFER, "trap"],
			[VGPU_FRAME_BUFFER, VGPU_FRAME_BUFFER + (4 << 20), "mmap"],
			[VGPU_FRAME_BUFFER + (4 << 20), 8 << 20, "trap"],
		]);
		expect(fn.plan.interrupts).toEqual({ intx: 1, msi: 1, msix: 0 });
		expect(fn.plan.problems).toEqual([]);
		fn.configWrite(4, 2, MEMORY_AND_MASTER);
		const [area] = fn.directAreas(0);
		area?.mapping.write(area.mappingOffset + 0x100, 4, 0xcafe);
		expect(fn.barRead(0, VGPU_FRAME_BUFFER + 0x100, 4)).toBe(0xcafe);
		expect(user.device.readRegion(0, VGPU_FRAME_BUFFER + 0x100, 4)).toBe(0xcafe);
		expect(user.device.readRegion(0, (8 << 20) - 4, 4)).toBe(0xffffffff);
		fn[Symbol.dispose]();
		user.end();
	});

	it("forgets what it had when it is reset, but not its settings", () => {
		const user = new User();
		user.start();
		user.run([VGPU_COMMANDS.show, 0, 0, 0, 0]);
		expect(user.device.resettable).toBe(true);
		user.device.reset();
		expect([user.register(VGPU.ID), user.register(VGPU.FRAMES), user.register(VGPU.DONE)]).toEqual([0x55504756, 0, 0]);
		user.end();
	});
});

describe("mediatedPciDevice()", () => {
	it("Y-07 offers any device model, which does not know that there is no IOMMU", () => {
		const linux = new SimulatedLinux({
			host: new Host(new Machine()),
			mediated: [
				{
					name: "teaching",
					instances: 1,
					types: [
						{
							name: "edu",
							create: (context) => mediatedPciDevice(context, { description: Edu.description(), model: new Edu() }),
						},
					],
				},
			],
		});
		const kernel = linux.process();
		const releases = new Releases();
		const mdev = releases.use(Mdev.create(kernel, { uuid: UUID, type: "teaching-edu" }));
		expect(vfioError(() => Mdev.create(kernel, { uuid: UUID.replace("1", "2"), type: "teaching-edu" })).errno).toBe(87);
		const memory = releases.use(kernel.allocate(RAM));
		const addressSpace = new IoAddressSpace(kernel, { memory: new FixedMemory(memory) });
		const device = releases.use(VfioDevice.open(kernel, { sysfsdev: mdev.path }, { addressSpace }));
		device.writeRegion(VFIO_PCI_CONFIG_REGION_INDEX, 4, 2, MEMORY_AND_MASTER);
		expect(device.readRegion(0, 0, 4)).toBe(0x010000ed);
		memory.bytes.set([9, 8, 7, 6], 0x1000);
		const copy = (source: number, destination: number, command: number) => {
			for (const [register, value] of [
				[0x80, source],
				[0x88, destination],
				[0x90, 4],
				[0x98, command],
			] as const)
				device.writeRegion64(0, register, BigInt(value));
		};
		copy(0x1000, 0x40000, 1);
		copy(0x40000, 0x2002, 3);
		expect([...memory.bytes.subarray(0x2002, 0x2006)]).toEqual([9, 8, 7, 6]);
		releases[Symbol.dispose]();
		expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	});
});
