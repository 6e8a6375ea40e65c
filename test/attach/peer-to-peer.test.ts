// Peer-to-peer DMA on a simulated Linux: one device writes into another's BAR, by the address the guest gave it.
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { KernelError } from "../../core/errors.ts";
import { bindGroup } from "../../core/host/bind.ts";
import type { DmaMapping } from "../../core/iommu/iommu.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import type { MapReport } from "../../core/iommu/memory-map.ts";
import type { Kernel } from "../../core/kernel.ts";
import { PciTopology } from "../../core/machine/topology.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { PeerMemory } from "../../core/pci/peer-memory.ts";
import { Releases } from "../../core/release.ts";
import { EIO, ENOTTY } from "../../core/uapi/errno.ts";
import { IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP } from "../../core/uapi/iommufd.ts";
import { VFIO_DEVICE_FEATURE } from "../../core/uapi/vfio.ts";
import { Host, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { withCalls } from "../core/support/with-calls.ts";
import { type Backend, FixedMemory } from "./scripted-guest.ts";

const EDU = "0000:01:00.0";
const NVME = "0000:05:00.0";
/** edu has wires for 28 bits. */
const EDU_BAR = 0x0e00_0000;
const NVME_BAR = 0x0f00_0000;
/** A register of the NVMe that keeps what is written to it. */
const AQA = 0x24;

function boot(version: "6.12" | "7.2" = "7.2") {
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({ host: Host.reference(), clock, version });
	const leaks = () => {
		clock.settle();
		return Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
	};
	return { linux, clock, kernel: linux.process(), leaks };
}

/** Two devices of one guest, whose BARs are guest memory. */
class Peers implements Disposable {
	readonly reports: MapReport[] = [];
	readonly addressSpace: IoAddressSpace;
	readonly edu: AssignedFunction;
	readonly nvme: AssignedFunction;
	readonly #ram: Uint8Array;
	readonly #releases: Releases;

	constructor(kernel: Kernel, options: { backend?: Backend; peerToPeer?: boolean } = {}) {
		const { backend = "iommufd", peerToPeer = true } = options;
		const releases = new Releases();
		try {
			const ram = releases.use(kernel.allocate(0x10000));
			this.#ram = ram.bytes;
			const memory = new PeerMemory(new FixedMemory(ram));
			const iommufd = backend === "iommufd" ? { iommufd: releases.use(Iommufd.open(kernel)) } : {};
			const onReport = (report: MapReport) => void this.reports.push(report);
			this.addressSpace = new IoAddressSpace(kernel, { memory, peerToPeer, onReport, ...iommufd });
			const pci = new PciTopology({ pin: () => {}, message: () => {} });
			const assign = (address: string, port: string) => {
				releases.use(bindGroup(kernel, address));
				const device = releases.use(VfioDevice.open(kernel, address, { addressSpace: this.addressSpace }));
				const fn = releases.use(AssignedFunction.attach(device));
				releases.use(memory.add(fn));
				pci.addRootPort(port);
				pci.plug(fn, { bus: port });
				releases.defer(() => pci.unplug(fn));
				return fn;
			};
			this.edu = assign(EDU, "rp0");
			this.nvme = assign(NVME, "rp1");
			this.#releases = releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** The guest's firmware. */
	place(): this {
		this.edu.configWrite(0x10, 4, EDU_BAR);
		this.edu.configWrite(4, 2, 6);
		this.nvme.configWrite(0x10, 4, NVME_BAR);
		this.nvme.configWrite(4, 2, 6);
		return this;
	}

	/** edu fetches the value from memory, and writes it to a register of the NVMe. @returns what that has then */
	write(value: number): number {
		new DataView(this.#ram.buffer, this.#ram.byteOffset).setUint32(0x1000, value, true);
		this.#transfer(0x1000, 0x40000, 1);
		this.#transfer(0x40000, NVME_BAR + AQA, 3);
		return this.nvme.barRead(0, AQA, 4);
	}

	/** The books of all address spaces, but for the guest's RAM. */
	get mappings(): DmaMapping[] {
		return this.addressSpace.iommus.flatMap(({ mappings }) => [...mappings].slice(1));
	}

	/** Where BARs are mapped. */
	get mapped(): bigint[] {
		return this.mappings.map(({ start }) => start);
	}

	[Symbol.dispose](): void {
		this.#releases[Symbol.dispose]();
	}

	#transfer(source: number, destination: number, command: number): void {
		for (const [register, value] of [
			[0x80, source],
			[0x88, destination],
			[0x90, 4],
			[0x98, command],
		] as const)
			this.edu.barWrite64(0, register, BigInt(value));
	}
}

/** NVMe has its MSI-X table in the third page, which nobody but the kernel reaches. */
const BARS = new Set([EDU_BAR, NVME_BAR, NVME_BAR + 0x3000].map(BigInt));

/** How a guest takes a device's memory away, and gives it back. */
const EDGES: readonly (readonly [string, off: (fn: AssignedFunction) => void, on: (fn: AssignedFunction) => void])[] = [
	["Memory Enable goes off", (fn) => fn.configWrite(4, 2, 4), (fn) => fn.configWrite(4, 2, 6)],
	["the device sleeps in D3hot", (fn) => setPower(fn, 3), (fn) => setPower(fn, 0)],
	[
		"the device is reset",
		(fn) => void fn.reset(),
		(fn) => {
			fn.configWrite(0x10, 4, NVME_BAR);
			fn.configWrite(4, 2, 6);
		},
	],
];

function capability(fn: AssignedFunction, id: number): number {
	for (let at = fn.configRead(0x34, 1); at !== 0; at = fn.configRead(at + 1, 1))
		if (fn.configRead(at, 1) === id) return at;
	throw new Error(`no capability ${id}`);
}

function setPower(fn: AssignedFunction, state: number): void {
	fn.configWrite(capability(fn, 1) + 4, 2, state);
}

describe("BARs of assigned devices for their peers", () => {
	it("IFD-01 are mapped as dma-bufs where iommufd has that, and a device writes into another's BAR", () => {
		const { linux, kernel, leaks } = boot();
		const peers = new Peers(kernel).place();
		expect(peers.mapped).toEqual([...BARS]);
		expect(peers.write(0x001f001f)).toBe(0x001f001f);
		expect(peers.reports).toEqual([]);
		expect(linux.leaks().dmaMappings).toBe(1 + BARS.size);
		peers[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("stay mapped while an interrupt of their device waits for its end, which traps the guest's own accesses", () => {
		const { clock, kernel, leaks } = boot();
		const peers = new Peers(kernel).place();
		const before = peers.mappings;
		peers.edu.barWrite(0, 0x60, 4, 1);
		clock.settle();
		expect(peers.edu.directAreas(0)).toEqual([]);
		expect(peers.mappings.every((mapping, n) => mapping === before[n])).toBe(true);
		peers[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("IFD-01 are one warning on a kernel that exports none, and everything else works", () => {
		const { kernel, leaks } = boot("6.12");
		const peers = new Peers(kernel).place();
		for (let n = 0; n < 3; n++) for (const [, off, on] of EDGES) for (const turn of [off, on]) turn(peers.nvme);
		expect(peers.reports.map(({ severity, error }) => [severity, error.code, error.errno])).toEqual([
			["warning", "mapping-failed", ENOTTY],
		]);
		expect(peers.reports[0]?.error.remedy[0]).toContain("6.19");
		expect(peers.mapped).toEqual([]);
		expect(peers.write(0x001f001f)).toBe(0);
		peers[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("IFD-01 are no call at all when devices need not reach each other", () => {
		const { kernel, leaks } = boot();
		const calls: number[] = [];
		const counting = withCalls(kernel, {
			ioctl: (fd, request, argument) => {
				calls.push(request);
				return kernel.ioctl(fd, request, argument);
			},
		});
		const peers = new Peers(counting, { peerToPeer: false }).place();
		const made = (request: number) => calls.filter((one) => one === request).length;
		expect([IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, VFIO_DEVICE_FEATURE].map(made)).toEqual([1, 0, 0]);
		expect(peers.reports).toEqual([]);
		peers[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	describe.each(["iommufd", "type1"] as const)("with %s", (backend) => {
		it.each(EDGES)(
			"IFD-02 are mapped anew when %s and comes back: one live mapping, and a peer's write arrives",
			(_, off, on) => {
				const { linux, kernel, leaks } = boot();
				const peers = new Peers(kernel, { backend }).place();
				const kernelMappings = linux.leaks().dmaMappings;
				for (const value of [1, 2, 3]) {
					off(peers.nvme);
					expect(peers.mapped.includes(BigInt(NVME_BAR))).toBe(false);
					expect(peers.write(0x00ff00ff)).not.toBe(0x00ff00ff);
					on(peers.nvme);
					expect(peers.nvme.barRead(0, AQA, 4)).not.toBe(0x00ff00ff);
					expect(peers.write(value)).toBe(value);
					expect(new Set(peers.mapped)).toEqual(BARS);
					expect(linux.leaks().dmaMappings).toBe(kernelMappings);
				}
				expect(peers.reports).toEqual([]);
				peers[Symbol.dispose]();
				expect(leaks()).toEqual([]);
			},
		);
	});

	it.each([2, 4] as const)(
		"IFD-02 are mapped anew when the guest resets the device while they decode, by a write of %i bytes",
		(width) => {
			const { linux, kernel, leaks } = boot();
			const peers = new Peers(kernel).place();
			const control = capability(peers.nvme, 0x10) + 8;
			expect(peers.write(1)).toBe(1);
			peers.nvme.configWrite(control, width, peers.nvme.configRead(control, width) | 0x8000);
			expect(peers.nvme.barRead(0, AQA, 4)).toBe(0);
			expect(peers.write(2)).toBe(2);
			expect([new Set(peers.mapped), linux.leaks().dmaMappings]).toEqual([BARS, 1 + BARS.size]);
			// Other bits of the register change nothing.
			const before = peers.mappings;
			peers.nvme.configWrite(control, width, peers.nvme.configRead(control, width));
			expect(peers.mappings.every((mapping, n) => mapping === before[n])).toBe(true);
			expect(peers.reports).toEqual([]);
			peers[Symbol.dispose]();
			expect(leaks()).toEqual([]);
		},
	);

	it("IFD-02 follow the guest when it moves them while they decode, and leave with their function", () => {
		const { linux, kernel, leaks } = boot();
		const peers = new Peers(kernel).place();
		peers.nvme.configWrite(0x10, 4, NVME_BAR + 0x100000);
		expect(peers.mapped).toEqual([EDU_BAR, NVME_BAR + 0x100000, NVME_BAR + 0x103000].map(BigInt));
		peers.nvme.unplug();
		expect([peers.mapped, linux.leaks().dmaMappings]).toEqual([[BigInt(EDU_BAR)], 2]);
		expect(peers.reports).toEqual([]);
		peers[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("lose what one failed call was for, with a warning, until the guest places them again; nothing leaks", () => {
		const { kernel, leaks } = boot();
		let calls = Number.NEGATIVE_INFINITY;
		const failsAt = (what: string) => {
			if (--calls === 0) throw new KernelError(EIO, what, "");
		};
		const failing = withCalls(kernel, {
			ioctl: (fd, request, argument) => {
				// What is not unmapped stays in the way of its successor, and Linux always unmaps.
				if (request !== IOMMU_IOAS_UNMAP) failsAt("ioctl");
				return kernel.ioctl(fd, request, argument);
			},
			close: (fd) => {
				// Linux has closed the file by the time it says that something went wrong.
				kernel.close(fd);
				failsAt("close");
			},
		});
		const peers = new Peers(failing).place();
		const toggle = () => {
			peers.nvme.configWrite(4, 2, 4);
			peers.nvme.configWrite(4, 2, 6);
		};
		let failures = 0;
		for (let n = 1; ; n++) {
			calls = n;
			toggle();
			if (calls > 0) break;
			failures++;
			expect(peers.reports.splice(0).map(({ severity, error }) => [severity, error.errno])).toEqual([["warning", EIO]]);
			calls = Number.NEGATIVE_INFINITY;
			toggle();
			expect(peers.reports.splice(0)).toEqual([]);
			expect(new Set(peers.mapped)).toEqual(BARS);
			expect(peers.write(n)).toBe(n);
		}
		// For each of the two areas: the address space is queried, the area exported and mapped, and its file closed.
		expect(failures).toBe(8);
		calls = Number.NEGATIVE_INFINITY;
		peers[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});
});
