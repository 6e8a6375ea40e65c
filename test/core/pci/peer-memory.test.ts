import { describe, expect, it } from "vitest";
import type { GuestMemoryListener, GuestMemoryRegion } from "../../../core/machine/machine.ts";
import { FunctionEvents } from "../../../core/pci/events.ts";
import { type PeerFunction, PeerMemory } from "../../../core/pci/peer-memory.ts";
import { region, TestMemory } from "../support/guest-memory.ts";

const LOW = region(0n, 0x1000);
const HIGH = region(0x1_0000_0000n, 0x1000);
const BAR = region(0xe000_0000n, 0x1000, { kind: "device" });

class Fake extends FunctionEvents implements PeerFunction {
	readonly regions: GuestMemoryRegion[][] = [];
	onEvent = this.subscribe.bind(this);
	peerRegions(bar: number): readonly GuestMemoryRegion[] {
		return this.regions[bar] ?? [];
	}
	place(bar: number, regions: GuestMemoryRegion[]): void {
		this.regions[bar] = regions;
		this.tell({ type: "bar-placed", bar, address: regions[0]?.guestAddress });
	}
}

class Listener implements GuestMemoryListener {
	readonly log: [string, GuestMemoryRegion][] = [];
	added(one: GuestMemoryRegion): void {
		this.log.push(["added", one]);
	}
	removed(one: GuestMemoryRegion): void {
		this.log.push(["removed", one]);
	}
}

describe("PeerMemory", () => {
	it("subscribe() tells of memory and BARs in address order, and then of changes of both", () => {
		const ram = new TestMemory([LOW, HIGH]);
		const memory = new PeerMemory(ram);
		const fn = new Fake();
		fn.regions[2] = [BAR];
		memory.add(fn);
		const listener = new Listener();
		const subscription = memory.subscribe(listener);
		expect(listener.log.splice(0)).toEqual([LOW, BAR, HIGH].map((one) => ["added", one]));
		ram.remove(HIGH);
		fn.place(2, []);
		fn.place(6, [BAR]);
		fn.place(0, [BAR]);
		expect(listener.log.splice(0)).toEqual([
			["removed", HIGH],
			["removed", BAR],
			["added", BAR],
		]);
		subscription[Symbol.dispose]();
		ram.add(HIGH);
		fn.place(0, []);
		expect([listener.log, ram.listeners.size]).toEqual([[], 0]);
	});

	it("add() takes the function's BARs out when it is disposed, and listens to it no longer", () => {
		const memory = new PeerMemory(new TestMemory([]));
		const listener = new Listener();
		memory.subscribe(listener);
		const fn = new Fake();
		const added = memory.add(fn);
		fn.place(1, [BAR]);
		added[Symbol.dispose]();
		added[Symbol.dispose]();
		expect(listener.log).toEqual([
			["added", BAR],
			["removed", BAR],
		]);
		expect(fn.wanted).toBe(false);
	});

	it("subscribe() leaves nothing behind when the listener throws", () => {
		const ram = new TestMemory([LOW]);
		const memory = new PeerMemory(ram);
		const broken: GuestMemoryListener = {
			added: () => {
				throw new Error("broken");
			},
			removed: () => {},
		};
		expect(() => memory.subscribe(broken)).toThrow("broken");
		expect(ram.listeners.size).toBe(0);
	});
});
