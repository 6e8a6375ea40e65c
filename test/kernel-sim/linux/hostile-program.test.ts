/** A program that hands anything to any file: what comes back is an errno, and nothing is left of it when it is dead. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import * as iommufd from "../../../core/uapi/iommufd.ts";
import * as kvm from "../../../core/uapi/kvm.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
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
import { bind, deviceFd, EDU, map, NVME, openContainer, outcome, setContainer, setIommu } from "./support.ts";

const MDEVS = { "mtty/mtty-2": 1, "vgpu/vgpu-small": 2, "teaching/teaching-edu": 3 } as const;
const uuid = (number: number) => `83b8f4f2-509f-382f-3c1e-e6bfe0fa100${number}`;
const MEMORY = 4 * 4096;
const REGION = 2 ** 40;
const PLENTY = 64;

/** A Linux with a device of each kind, ready to be opened. */
function boot(options: Partial<LinuxOptions>) {
	const host = Host.reference();
	host.machine.plugPlatform(new PlatformHardware(widget(NAME), new Registers()));
	const linux = new SimulatedLinux({ host, mediated: mediatedSamples(), ...options });
	const kernel = linux.process();
	for (const address of [NVME, EDU]) bind(kernel, address);
	kernel.writeFile(`/sys/bus/platform/devices/${NAME}/driver_override`, "vfio-platform");
	kernel.writeFile("/sys/bus/platform/drivers/vfio-platform/bind", NAME);
	for (const [type, number] of Object.entries(MDEVS)) {
		const [parent, name] = type.split("/");
		kernel.writeFile(`/sys/class/mdev_bus/${parent}/mdev_supported_types/${name}/create`, uuid(number));
	}
	kernel.exit();
	return linux;
}

/** Everything that can be opened. */
function nodes(kernel: SimProcess): string[] {
	const directory = (path: string) => kernel.readDirectory(path).map((name) => `${path}/${name}`);
	const all = ["/dev/iommu", "/dev/kvm", ...directory("/dev/vfio"), ...directory("/dev/vfio/devices")];
	return all.filter((path) => path !== "/dev/vfio/devices").sort();
}

/** Every request there is, with the bytes of its structure: what the number says, or the name, or plenty. */
const REQUESTS = [vfio, iommufd, kvm].flatMap((header) =>
	Object.entries(header).flatMap(([name, number]) => {
		if (typeof number !== "number" || ![0x3b, 0xae].includes((number >> 8) & 0xff) || number < 0x100) return [];
		const layout: unknown = header[name.toLowerCase() as keyof typeof header];
		const named = typeof layout === "object" && "size" in (layout ?? {}) ? (layout as { size: number }).size : PLENTY;
		return [{ name, number, size: (number >>> 16) & 0x3fff || named }];
	}),
);

const NUMBERS = [0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 32, 48, 4095, 4096, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** One thing that the program does; all numbers are taken modulo what there is. */
const operation = fc.record({
	call: fc.nat(15),
	fd: fc.nat(40),
	request: fc.nat(REQUESTS.length - 1),
	size: fc.nat(9),
	words: fc.array(fc.tuple(fc.nat(9), fc.nat(0xffff_ffff)), { minLength: 8, maxLength: 24 }),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

class Program {
	readonly kernel: SimProcess;
	readonly #memory: { readonly address: bigint; readonly bytes: Uint8Array };
	readonly #paths: readonly string[];
	readonly #names = [NVME, EDU, NAME, uuid(1), uuid(2), uuid(3)];
	readonly #fds: number[] = [];

	constructor(kernel: SimProcess) {
		this.kernel = kernel;
		this.#memory = kernel.allocate(MEMORY);
		this.#paths = nodes(kernel);
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
		this.#fds.push(iommu, container, machines, vm, kernel.eventfd(), kernel.eventfd(1));
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
				const argument = step.size === 9 ? this.#word(step, 0, 0n) : this.#structure(step, request.size);
				const answer = outcome(() =>
					kernel.ioctl(fd, request.number, typeof argument === "bigint" ? Number(argument) : argument),
				);
				if (typeof answer === "number" && answer > 2) this.#fds.push(answer);
			}
		}
	}

	/** A structure whose size is right, mostly, and whose fields mean something, mostly. */
	#structure(step: Operation, size: number): Uint8Array {
		const bytes = new Uint8Array(step.size === 8 ? step.words.length * 4 : size + (step.size === 7 ? 32 : 0));
		const view = new DataView(bytes.buffer);
		for (let at = 0; at + 4 <= bytes.length; at += 4) {
			const index = (at / 4) % step.words.length;
			if (step.size < 4 && at % 8 === 0 && at + 8 <= bytes.length) {
				view.setBigUint64(at, this.#word(step, index, BigInt(at)), true);
				at += 4;
			} else view.setUint32(at, Number(this.#word(step, index, BigInt(at)) & 0xffff_ffffn), true);
		}
		if (bytes.length >= 8 && step.size !== 6 && (REQUESTS[step.request]?.number ?? 0) < 0x10000) {
			view.setUint32(0, bytes.length, true);
			view.setUint32(4, Number(this.#word(step, 1, 0n) & 0xffff_ffffn), true);
		}
		return bytes;
	}

	#bytes(step: Operation): Uint8Array {
		return Uint8Array.from(step.words, ([, value]) => value & 0xff);
	}

	#word(step: Operation, index: number, salt: bigint): bigint {
		const [kind, value] = step.words[index] ?? [0, 0];
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
				return (1n << 64n) - BigInt((value % 4) * 4096 + (value % 3));
			case 5:
				return BigInt(value) * 0x1_0000_0001n;
			case 6:
				return BigInt(value % 16);
			default:
				return BigInt(NUMBERS[(value + Number(salt)) % NUMBERS.length] ?? 0);
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
			const program = new Program(booted.process());
			program.start(bound);
			for (const step of steps) program.do(step);
			program.kernel.exit();
			expect(booted.leaks()).toEqual(NOTHING);
			linux = booted;
		};
		fc.assert(fc.property(fc.array(operation, { minLength: 20, maxLength: 80 }), fc.boolean(), run), { numRuns: 30 });
	});
});
