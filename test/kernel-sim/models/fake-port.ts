/** A port with plain memory behind it: what a model test needs of the world. */
import { VirtualClock } from "../../../kernel-sim/clock.ts";
import type { DevicePort } from "../../../kernel-sim/hardware/model.ts";

export class FakePort implements DevicePort {
	readonly clock = new VirtualClock();
	readonly memory: Uint8Array;
	readonly view: DataView;
	interruptMode: "intx" | "msi" | "msix" = "intx";
	/** The level of the pin. */
	intx = false;
	/** Vectors signalled, in order. */
	signalled: number[] = [];
	/** Accesses to these addresses fault, as those past the memory do. */
	holes: { start: number; end: number }[] = [];
	faults = 0;
	/** Runs before each DMA write, as a peer-to-peer write to the device itself would. */
	onWrite: (address: bigint, from: Uint8Array) => void = () => {};

	constructor(size = 1 << 20) {
		this.memory = new Uint8Array(size);
		this.view = new DataView(this.memory.buffer);
	}

	dmaRead(address: bigint, into: Uint8Array): boolean {
		const start = this.#check(address, into.length);
		if (start === undefined) return false;
		into.set(this.memory.subarray(start, start + into.length));
		return true;
	}

	dmaWrite(address: bigint, from: Uint8Array): boolean {
		this.onWrite(address, from);
		const start = this.#check(address, from.length);
		if (start === undefined) return false;
		this.memory.set(from, start);
		return true;
	}

	setIntx(asserted: boolean): void {
		this.intx = asserted;
	}

	signal(vector: number): boolean {
		if (this.interruptMode === "intx") return false;
		this.signalled.push(vector);
		return true;
	}

	#check(address: bigint, length: number): number | undefined {
		const start = Number(address);
		const end = start + length;
		const hole = this.holes.some((hole) => start < hole.end && end > hole.start);
		if (end <= this.memory.length && !hole) return start;
		this.faults += 1;
		return undefined;
	}
}
