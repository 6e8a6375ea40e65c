import type { AccessWidth } from "../../../core/kernel.ts";
import type { DirectArea, GuestBar, GuestPciFunction, PciSlot } from "../../../core/machine/machine.ts";

/** A function that remembers what was done to it; its config space is plain memory, its BARs read as their address. */
export class FakeFunction implements GuestPciFunction {
	readonly name: string;
	readonly config = new DataView(new ArrayBuffer(4096));
	readonly calls: string[] = [];
	slot: PciSlot | undefined;
	readonly #bars: readonly GuestBar[];

	constructor(name = "fake", bars: readonly Partial<GuestBar>[] = [{}]) {
		this.name = name;
		this.config.setUint16(0, 0x1234, true);
		this.#bars = bars.map((bar, index) => ({ index, kind: "mem32", size: 0x1000, prefetchable: false, ...bar }));
	}

	bar(index: number): GuestBar | undefined {
		return this.#bars.find((bar) => bar.index === index);
	}

	plug(slot: PciSlot): void {
		this.slot = slot;
		if (slot.multifunction) this.config.setUint8(0x0e, 0x80);
	}

	unplug(): void {
		this.calls.push("unplug");
		this.slot = undefined;
	}

	configRead(offset: number, width: AccessWidth): number {
		this.calls.push(`configRead ${offset.toString(16)} ${width}`);
		const { config } = this;
		return width === 4
			? config.getUint32(offset, true)
			: width === 2
				? config.getUint16(offset, true)
				: config.getUint8(offset);
	}

	configWrite(offset: number, width: AccessWidth, value: number): void {
		this.calls.push(`configWrite ${offset.toString(16)} ${width} ${value.toString(16)}`);
	}

	barRead(bar: number, offset: number, width: AccessWidth): number {
		this.calls.push(`barRead ${bar} ${offset.toString(16)} ${width}`);
		return offset & (width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff);
	}

	barRead64(bar: number, offset: number): bigint {
		this.calls.push(`barRead64 ${bar} ${offset.toString(16)}`);
		return 0x1122_3344_5566_7788n;
	}

	barWrite(bar: number, offset: number, width: AccessWidth, value: number): void {
		this.calls.push(`barWrite ${bar} ${offset.toString(16)} ${width} ${value.toString(16)}`);
	}

	barWrite64(bar: number, offset: number, value: bigint): void {
		this.calls.push(`barWrite64 ${bar} ${offset.toString(16)} ${value.toString(16)}`);
	}

	endOfInterrupt(pin: number): void {
		this.calls.push(`endOfInterrupt ${pin}`);
	}

	directAreas(): readonly DirectArea[] {
		return [];
	}

	reset(): void {
		this.calls.push("reset");
	}

	[Symbol.dispose](): void {
		this.calls.push("dispose");
	}

	/** The calls since the last time. */
	take(): string[] {
		return this.calls.splice(0);
	}
}

/** What comes out at the top of a topology. */
export class FakeUpstream {
	readonly events: string[] = [];

	pin(device: number, pin: number, asserted: boolean): void {
		this.events.push(`pin ${device} ${"ABCD"[pin - 1]} ${asserted ? "up" : "down"}`);
	}

	message(address: bigint, data: number): void {
		this.events.push(`message ${address.toString(16)} ${data.toString(16)}`);
	}

	directAreasChanged(fn: GuestPciFunction, bar: number): void {
		this.events.push(`direct ${fn.name} ${bar}`);
	}

	/** The events since the last time. */
	take(): string[] {
		return this.events.splice(0);
	}
}
