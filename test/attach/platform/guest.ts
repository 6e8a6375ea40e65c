/** A guest on a platform bus: everything it does goes through its memory accesses and its RAM. */
import { expect } from "vitest";
import type { AccessWidth } from "../../../core/kernel.ts";
import {
	bindPlatformDevice,
	IoAddressSpace,
	Iommufd,
	PlatformBus,
	PlatformDevice,
	type PlatformOptions,
	type PlatformPlacement,
	Releases,
	VfioDevice,
} from "../../../core/mod.ts";
import type { NetworkPeer } from "../../../kernel-sim/mod.ts";
import { Host, SimulatedLinux, VirtualClock } from "../../../kernel-sim/mod.ts";
import { FixedMemory } from "../scripted-guest.ts";

export const XGMAC = "fff51000.ethernet";
export const XGBE = "e0700000.xgmac";
export const SRAM = "e1000000.sram";
const RAM = 1 << 20;
const FIRST_INTERRUPT = 112;

/** The board, with what its controllers send. */
export function board(options: { reset_required?: boolean } = {}) {
	const sent: Uint8Array[] = [];
	const peer: NetworkPeer = { receive: (frame) => sent.push(frame.slice()) };
	const host = Host.board({ xgmac: peer, xgbe: peer });
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({ host, clock, parameters: { vfio_platform: { ...options } } });
	const model = <T>(name: string) => host.machine.platformDevices.find((one) => one.name === name)?.model as T;
	return { host, machine: host.machine, clock, linux, sent, model };
}

export type Board = ReturnType<typeof board>;

/** A machine with one assigned device; disposing it gives everything back. */
export class PlatformGuest implements Disposable {
	readonly device: PlatformDevice;
	readonly vfio: VfioDevice;
	readonly bus: PlatformBus;
	readonly placement: PlatformPlacement;
	readonly ram: Uint8Array;
	readonly view: DataView;
	readonly reports: string[] = [];
	/** Lines that are up, by their interrupt's index in the device. */
	readonly up = new Set<number>();
	/** Every change of a line: `+0`, `-0`. */
	readonly changes: string[] = [];
	/** Regions whose direct areas have changed. */
	readonly remapped: number[] = [];
	readonly #board: Board;
	readonly #held: Disposable;

	constructor(board: Board, name: string, options: PlatformOptions & { backend?: "group" | "iommufd" } = {}) {
		const kernel = board.linux.process();
		const releases = new Releases();
		this.#board = board;
		try {
			releases.use(bindPlatformDevice(kernel, name));
			const memory = releases.use(kernel.allocate(RAM));
			const iommufd = options.backend === "iommufd" ? releases.use(Iommufd.open(kernel)) : undefined;
			const addressSpace = new IoAddressSpace(kernel, {
				memory: new FixedMemory(memory),
				...(iommufd ? { iommufd } : {}),
			});
			this.vfio = releases.use(VfioDevice.open(kernel, { platform: name }, { kind: "platform", addressSpace }));
			this.device = releases.use(
				PlatformDevice.attach(this.vfio, { onReport: (message) => this.reports.push(message), ...options }),
			);
			this.bus = new PlatformBus({
				base: 0xc000000n,
				size: 0x2000000n,
				interrupts: { first: FIRST_INTERRUPT, count: 64 },
				setLine: (interrupt, asserted) => {
					const index = interrupt - FIRST_INTERRUPT;
					this.changes.push(`${asserted ? "+" : "-"}${index}`);
					if (asserted) this.up.add(index);
					else this.up.delete(index);
				},
				directAreasChanged: (_device, region) => this.remapped.push(region),
			});
			this.placement = this.bus.plug(this.device);
			releases.defer(() => this.bus.unplug(this.device));
			this.ram = memory.bytes;
			this.view = new DataView(this.ram.buffer, this.ram.byteOffset, this.ram.length);
			this.#held = releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** Gives everything back, and looks whether it was everything. */
	[Symbol.dispose](): void {
		this.#held[Symbol.dispose]();
		this.#board.clock.settle();
		expect(Object.entries(this.#board.linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	}

	/** Lets the host's eventfds reach the machine. */
	settle(): void {
		this.#board.clock.settle();
	}

	/** @param milliseconds of the host's time */
	advance(milliseconds: number): void {
		this.#board.clock.advance(milliseconds * 1e6);
	}

	read(offset: number, region = 0, width: AccessWidth = 4): number {
		return this.bus.read(Number(this.placement.regions[region]) + offset, width) >>> 0;
	}

	write(offset: number, value: number, region = 0, width: AccessWidth = 4): void {
		this.bus.write(Number(this.placement.regions[region]) + offset, width, value >>> 0);
	}
}

/** A frame to an address, of bytes that repeat nowhere near. */
export function frameTo(address: readonly number[], length: number, seed = 1): Uint8Array {
	const frame = Uint8Array.from({ length }, (_, index) => (index * 31 + (index >>> 8) * 17 + seed * 101) & 0xff);
	frame.set(address);
	return frame;
}
