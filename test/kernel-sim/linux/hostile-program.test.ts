/** A program that hands anything to any file: what comes back is an errno, and nothing is left of it when it is dead. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import * as iommufd from "../../../core/uapi/iommufd.ts";
import * as kvm from "../../../core/uapi/kvm.ts";
import type { Fields, Struct } from "../../../core/uapi/struct.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { Sleep } from "../../../kernel-sim/linux/sleep.ts";
import {
	Host,
	type LinuxOptions,
	mediatedSamples,
	PlatformHardware,
	type SimProcess,
	SimulatedLinux,
} from "../../../kernel-sim/mod.ts";
import { attachPt, bindIommufd, ioasAlloc, ioasMap, NOTHING } from "../iommufd/support.ts";
import { NAME, Registers, widget } from "../platform/bench.ts";
import { bind, deviceFd, driverOf, EDU, map, NVME, openContainer, outcome, setContainer, setIommu } from "./support.ts";

const MDEVS = { "mtty/mtty-2": 1, "vgpu/vgpu-small": 2, "teaching/teaching-edu": 3 } as const;
const uuid = (number: number) => `83b8f4f2-509f-382f-3c1e-e6bfe0fa100${number}`;
const MEMORY = 4 * 4096;
const REGION = 2 ** 40;

/** A Linux with a device of each kind. */
function boot(options: Partial<LinuxOptions>) {
	const host = Host.reference();
	host.machine.plugPlatform(new PlatformHardware(widget(NAME), new Registers()));
	return new SimulatedLinux({ host, mediated: mediatedSamples(), ...options });
}

/** Gives each device to its driver of VFIO again, if it has lost it. */
function makeReady(kernel: SimProcess): void {
	for (const address of [NVME, EDU]) if (driverOf(kernel, address) !== "vfio-pci") bind(kernel, address);
	outcome(() => {
		kernel.writeFile(`/sys/bus/platform/devices/${NAME}/driver_override`, "vfio-platform");
		kernel.writeFile("/sys/bus/platform/drivers/vfio-platform/bind", NAME);
	});
	for (const [type, number] of Object.entries(MDEVS)) {
		const [parent, name] = type.split("/");
		const create = `/sys/class/mdev_bus/${parent}/mdev_supported_types/${name}/create`;
		outcome(() => kernel.writeFile(create, uuid(number)));
	}
}

/** An administrator who wants a device back, whoever uses it. @returns what he waits for */
function takeBack(kernel: SimProcess, number: number): Sleep | undefined {
	const files = [
		["/sys/bus/pci/drivers/vfio-pci/unbind", NVME],
		["/sys/bus/pci/drivers/vfio-pci/unbind", EDU],
		["/sys/bus/platform/drivers/vfio-platform/unbind", NAME],
		...Object.values(MDEVS).map((mdev) => [`/sys/bus/mdev/devices/${uuid(mdev)}/remove`, "1"] as const),
	] as const;
	const [path, text] = files[number % files.length] ?? files[0];
	const done = outcome(() => kernel.startWriteFile(path, text));
	return done instanceof Sleep ? done : undefined;
}

/** Everything that can be opened. */
function nodes(kernel: SimProcess): string[] {
	const directory = (path: string) => kernel.readDirectory(path).map((name) => `${path}/${name}`);
	const all = ["/dev/iommu", "/dev/kvm", ...directory("/dev/vfio"), ...directory("/dev/vfio/devices")];
	return all.filter((path) => path !== "/dev/vfio/devices").sort();
}

/** Structures that are not called as their requests are. */
const LAYOUTS: Readonly<Record<string, Struct<Fields>>> = {
	VFIO_IOMMU_MAP_DMA: vfio.vfio_iommu_type1_dma_map,
	VFIO_IOMMU_UNMAP_DMA: vfio.vfio_iommu_type1_dma_unmap,
	VFIO_IOMMU_DIRTY_PAGES: vfio.vfio_iommu_type1_dirty_bitmap,
	VFIO_IOMMU_GET_INFO: vfio.vfio_iommu_type1_info,
	VFIO_DEVICE_SET_IRQS: vfio.vfio_irq_set,
	VFIO_DEVICE_GET_REGION_INFO: vfio.vfio_region_info,
	VFIO_DEVICE_GET_IRQ_INFO: vfio.vfio_irq_info,
	IOMMU_GET_HW_INFO: iommufd.iommu_hw_info,
	IOMMU_FAULT_QUEUE_ALLOC: iommufd.iommu_fault_alloc,
	KVM_SET_DEVICE_ATTR: kvm.kvm_device_attr,
	KVM_SET_GSI_ROUTING: kvm.kvm_irq_routing,
	KVM_SIGNAL_MSI: kvm.kvm_msi,
};

/** Every request there is, with its structure where it has one. */
const REQUESTS = [vfio, iommufd, kvm].flatMap((header) =>
	Object.entries(header).flatMap(([name, number]) => {
		if (typeof number !== "number" || ![0x3b, 0xae].includes((number >> 8) & 0xff) || number < 0x100) return [];
		const layout = LAYOUTS[name] ?? header[name.toLowerCase() as keyof typeof header];
		return [{ number, layout: typeof layout === "object" ? (layout as Struct<Fields>) : undefined }];
	}),
);

const NUMBERS = [0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 32, 48, 4095, 4096, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** Not a call of the program: somebody wants a device back. */
const WANTED = 16;

/** One thing that the program does; all numbers are taken modulo what there is. */
const operation = fc.noBias(
	fc.record({
		call: fc.nat(WANTED),
		fd: fc.nat(40),
		request: fc.nat(REQUESTS.length - 1),
		/** How the structure is made. */
		size: fc.nat(9),
		words: fc.array(fc.tuple(fc.nat(9), fc.nat(0xffff_ffff)), { minLength: 8, maxLength: 24 }),
	}),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

class Program {
	readonly kernel: SimProcess;
	readonly #memory: { readonly address: bigint; readonly bytes: Uint8Array };
	readonly #paths: readonly string[];
	readonly #names = [NVME, EDU, NAME, uuid(1), uuid(2), uuid(3)];
	readonly #events: readonly number[];
	readonly #fds: number[] = [];

	constructor(kernel: SimProcess) {
		this.kernel = kernel;
		this.#memory = kernel.allocate(MEMORY);
		this.#paths = nodes(kernel);
		this.#events = [0, 1].map((count) => kernel.eventfd(count));
	}

	/**
	 * Opens a node of each kind, makes a virtual machine and eventfds, and opens the devices.
	 *
	 * @param bound through character devices, otherwise through groups
	 */
	start(bound: boolean): void {
		const { kernel } = this;
		const iommu = kernel.open("/dev/iommu", O_RDWR);
		const ioas = ioasAlloc(kernel, iommu);
		const container = openContainer(kernel);
		const machines = kernel.open("/dev/kvm", O_RDWR);
		const vm = kernel.ioctl(machines, kvm.KVM_CREATE_VM, 0);
		kernel.ioctl(vm, kvm.KVM_CREATE_IRQCHIP);
		this.#fds.push(iommu, container, machines, vm, ...this.#events);
		for (const path of this.#paths) {
			if (path === "/dev/vfio/vfio" || !path.startsWith("/dev/vfio/")) continue;
			if (path.startsWith("/dev/vfio/devices/") !== bound) continue;
			const fd = kernel.open(path, O_RDWR);
			this.#fds.push(fd);
			if (bound) outcome(() => bindIommufd(kernel, fd, iommu));
			if (bound) outcome(() => attachPt(kernel, fd, ioas));
			else outcome(() => setContainer(kernel, fd, container) || setIommu(kernel, container));
			for (const name of bound ? [] : this.#names) this.#open(() => deviceFd(kernel, fd, name));
		}
		const mapping = { vaddr: this.#memory.address, iova: 0n, size: BigInt(MEMORY) };
		if (!bound) outcome(() => map(kernel, container, mapping));
		else outcome(() => ioasMap(kernel, iommu, ioas, { user_va: mapping.vaddr, length: mapping.size, iova: 0n }));
	}

	#open(call: () => number): void {
		const fd = outcome(call);
		if (typeof fd === "number") this.#fds.push(fd);
	}

	do(step: Operation): void {
		const { kernel } = this;
		const fd = this.#fds[step.fd % this.#fds.length] ?? 0;
		const [[, offset = 0] = [], [, length = 0] = []] = step.words;
		switch (step.call) {
			case 0:
				this.#open(() => kernel.open(this.#paths[step.request % this.#paths.length] ?? "", O_RDWR));
				return;
			case 1:
				outcome(() => kernel.pread(fd, new Uint8Array(length % 64), (offset % 10) * REGION + (length % 0x3000)));
				return;
			case 2:
				outcome(() => kernel.pwrite(fd, this.#bytes(step), (offset % 10) * REGION + (length % 0x3000)));
				return;
			case 3:
				outcome(() => {
					const pages = (length % 8) * 4096;
					const mapping = kernel.mmap(fd, pages, PROT_READ | PROT_WRITE, MAP_SHARED, (offset % 10) * REGION);
					mapping.write((offset % 4096) & ~3, 4, length);
					if (length % 2 === 0) mapping[Symbol.dispose]();
				});
				return;
			case 4:
				outcome(() => kernel.close(fd));
				return;
			case 5:
				outcome(() => kernel.read(fd, new Uint8Array(length % 64)));
				outcome(() => kernel.write(fd, this.#bytes(step)));
				return;
			case 6: {
				const name = new TextEncoder().encode(`${this.#names[step.request % this.#names.length]}\0`);
				for (const each of [...this.#fds]) this.#open(() => kernel.ioctl(each, 0x3b6a, name));
				return;
			}
			default: {
				const request = REQUESTS[step.request % REQUESTS.length];
				if (!request) return;
				// Of a kind of file of which there may be one, or of all kinds.
				for (const each of step.size % 2 === 0 ? [...this.#fds] : [fd]) {
					const argument = step.size === 9 ? Number(this.#word(step, 0)) : this.#structure(step, request.layout);
					const answer = outcome(() => kernel.ioctl(each, request.number, argument));
					if (typeof answer === "number" && answer > 2) this.#fds.push(answer);
				}
			}
		}
	}

	/** Fields that mean something, mostly, and behind them anything. */
	#structure(step: Operation, layout: Struct<Fields> | undefined): Uint8Array {
		const bytes = new Uint8Array((layout?.size ?? 0) + (step.size < 6 ? 0 : 4 * step.words.length));
		const words = new DataView(bytes.buffer);
		for (let at = 0; at + 4 <= bytes.length; at += 4)
			if (!layout || at >= layout.size || step.size === 8)
				words.setUint32(at, Number(this.#word(step, at / 4) & 0xffff_ffffn), true);
		if (!layout || step.size === 8) return bytes;
		const view: Record<string, unknown> = layout.view(bytes);
		for (const [index, name] of Object.keys(layout.offsets).entries()) {
			const value = view[name];
			if (typeof value === "bigint") view[name] = this.#field(step, index, name);
			else if (typeof value === "number") view[name] = Number(this.#field(step, index, name) & 0xffff_ffffn);
		}
		for (const size of ["argsz", "size"]) if (typeof view[size] === "number") view[size] = bytes.length;
		return bytes;
	}

	#field(step: Operation, index: number, name: string): bigint {
		const [kind = 0, value = 0] = step.words[index % step.words.length] ?? [];
		if (kind === 9) return this.#word(step, index);
		if (name.startsWith("__reserved") || name === "pad") return 0n;
		if (/fd/.test(name)) {
			const fds = value % 2 === 0 ? this.#events : this.#fds;
			return BigInt(fds[(value >> 1) % fds.length] ?? 0);
		}
		if (/_id$|^id$/.test(name)) return BigInt(value % 8);
		if (/flags|action|op|index|type|group|attr/.test(name)) return BigInt(value % 3 === 0 ? 0 : value % 8);
		if (/iova|size|length|offset/.test(name)) return BigInt(value % 5) * 4096n;
		if (/addr|va$|ptr|data|ranges|iovas/.test(name)) return this.#memory.address + BigInt(value % 4) * 4096n;
		return BigInt(value % 4);
	}

	#bytes(step: Operation): Uint8Array {
		return Uint8Array.from(step.words, ([, value]) => value & 0xff);
	}

	#word(step: Operation, index: number): bigint {
		const [kind = 0, value = 0] = step.words[index % step.words.length] ?? [];
		switch (kind) {
			case 0:
				return BigInt(this.#fds[value % this.#fds.length] ?? 0);
			case 1:
				return this.#memory.address + BigInt(value % 5) * 4096n;
			case 2:
				return BigInt(value % 8) * 4096n;
			case 3:
				return 1n << BigInt(value % 64);
			case 4:
				return (1n << 64n) - BigInt((value % 4) * 4096 + (value % 3) + 1);
			case 5:
				return BigInt(value) * 0x1_0000_0001n;
			case 6:
				return BigInt(value % 16);
			default:
				return BigInt(NUMBERS[value % NUMBERS.length] ?? 0);
		}
	}
}

const KERNELS: readonly Partial<LinuxOptions>[] = [
	{ version: "6.12" },
	{ version: "7.2", dirtyTracking: true, snoopControl: true },
	{ version: "7.2", containers: "iommufd" },
];

describe.each(KERNELS)("a process that does anything, on %o", (options) => {
	it("gets an errno for what makes no sense, and leaves nothing behind", () => {
		let linux: SimulatedLinux | undefined;
		const run = (steps: readonly Operation[], bound: boolean) => {
			// One kernel for all programs, until one of them has broken it.
			const booted = linux ?? boot(options);
			linux = undefined;
			const root = booted.process();
			makeReady(root);
			const program = new Program(booted.process());
			program.start(bound);
			const waiting: Sleep[] = [];
			for (const step of steps) {
				if (step.call < WANTED) program.do(step);
				else waiting.push(...[takeBack(root, step.request) ?? []].flat());
			}
			program.kernel.exit();
			expect(waiting.every((sleep) => sleep.awake)).toBe(true);
			root.exit();
			expect(booted.leaks()).toEqual(NOTHING);
			linux = booted;
		};
		fc.assert(fc.property(fc.array(operation, { minLength: 20, maxLength: 80 }), fc.boolean(), run), { numRuns: 40 });
	});
});
