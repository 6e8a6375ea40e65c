import type { Memory } from "../../../core/kernel.ts";
import type { GuestMemory, GuestMemoryListener, GuestMemoryRegion } from "../../../core/machine/machine.ts";

/** Memory at an address, of which nobody looks at the bytes. */
export function memoryAt(address: bigint, length: number): Memory {
	return { address, length, bytes: new Uint8Array(0), [Symbol.dispose]() {} };
}

/** A region of RAM with memory of its own, page aligned, unless told otherwise. */
export function region(guestAddress: bigint, length: number, more: Partial<GuestMemoryRegion> = {}): GuestMemoryRegion {
	return {
		guestAddress,
		length,
		memory: memoryAt(0x7000_0000_0000n + (guestAddress & 0xfffn), length),
		offset: 0,
		readOnly: false,
		kind: "ram",
		...more,
	};
}

/** Guest memory whose regions come and go as a test says. */
export class TestMemory implements GuestMemory {
	readonly listeners = new Set<GuestMemoryListener>();
	readonly #regions: GuestMemoryRegion[];

	constructor(regions: readonly GuestMemoryRegion[]) {
		this.#regions = [...regions];
	}
	subscribe(listener: GuestMemoryListener): Disposable {
		this.listeners.add(listener);
		for (const one of this.#regions) listener.added(one);
		return {
			[Symbol.dispose]: () => {
				this.listeners.delete(listener);
			},
		};
	}
	add(one: GuestMemoryRegion): void {
		this.#regions.push(one);
		for (const listener of this.listeners) listener.added(one);
	}
	remove(one: GuestMemoryRegion): void {
		this.#regions.splice(this.#regions.indexOf(one), 1);
		for (const listener of this.listeners) listener.removed(one);
	}
}
