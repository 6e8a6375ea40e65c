import type { AccessWidth } from "../../../core/kernel.ts";
import type { DirectArea, GuestBar, GuestPciFunction, PciSlot } from "../../../core/machine/mod.ts";

const MSI = 0x40;
const BAR_SIZE = 0x10_0000;
const BUFFER = 0x40000;

/** How the fake device reaches guest RAM: what DMA is for a real one. */
export type Ram = () => Uint8Array;

export interface FakeEduOptions {
	/** It has MSI; true when left out. */
	readonly msi?: boolean;
	/** Its pin goes down an event loop's turn after the guest has acknowledged. */
	readonly latePin?: boolean;
	/** Its pin goes down only when the machine says that the interrupt has ended. */
	readonly pinUntilEnd?: boolean;
	/** It never interrupts. */
	readonly mute?: boolean;
}

/** QEMU's edu, just enough of it to try a machine without a kernel below. Interrupts and DMA take effect a moment later. */
export class FakeEdu implements GuestPciFunction {
	readonly name = "fake edu";
	unplugged = false;
	/** How often the machine said that an interrupt has ended. */
	ends = 0;
	/** Called when the guest acknowledges an interrupt, which it does with interrupts off. */
	onAcknowledge: () => void = () => {};
	resets = 0;
	readonly #ram: Ram;
	readonly #options: FakeEduOptions;
	readonly #msi: boolean;
	readonly #config = new DataView(new ArrayBuffer(256));
	readonly #registers = new Map<number, number>();
	readonly #buffer = new Uint8Array(4096);
	#slot: PciSlot | undefined;
	#status = 0;

	constructor(ram: Ram, options: FakeEduOptions = {}) {
		this.#ram = ram;
		this.#options = options;
		this.#msi = options.msi ?? true;
		const config = this.#config;
		config.setUint32(0x00, 0x11e8_1234, true);
		config.setUint32(0x08, 0x00ff_0010, true);
		config.setUint8(0x3d, 1);
		if (this.#msi) {
			config.setUint16(0x06, 0x10, true);
			config.setUint8(0x34, MSI);
			config.setUint32(MSI, 0x0080_0005, true);
		}
	}

	bar(index: number): GuestBar | undefined {
		return index === 0 ? { index, kind: "mem32", size: BAR_SIZE, prefetchable: false } : undefined;
	}

	plug(slot: PciSlot): void {
		this.#slot = slot;
		if (slot.multifunction) this.#config.setUint8(0x0e, 0x80);
	}

	unplug(): void {
		this.unplugged = true;
		this.#slot = undefined;
	}

	configRead(offset: number, width: AccessWidth): number {
		const config = this.#config;
		return width === 4
			? config.getUint32(offset, true)
			: width === 2
				? config.getUint16(offset, true)
				: config.getUint8(offset);
	}

	configWrite(offset: number, width: AccessWidth, value: number): void {
		const config = this.#config;
		if (offset === 0x04) config.setUint16(4, value & 0x407, true);
		else if (offset === 0x10) config.setUint32(0x10, value & ~(BAR_SIZE - 1), true);
		else if (offset === 0x3c) config.setUint8(0x3c, value);
		else if (offset === MSI && width === 4) config.setUint8(MSI + 2, 0x80 | ((value >>> 16) & 1));
		else if (offset > MSI && offset <= MSI + 12 && this.#msi) config.setUint32(offset, value, true);
		const decoding = (config.getUint16(4, true) & 2) !== 0;
		this.#slot?.placeBar(0, decoding ? BigInt(config.getUint32(0x10, true)) : undefined);
		this.#drive();
	}

	barRead(_bar: number, offset: number, _width: AccessWidth): number {
		if (offset === 0x00) return 0x0100_00ed;
		if (offset === 0x24) return this.#status;
		return this.#registers.get(offset) ?? 0;
	}

	barWrite(_bar: number, offset: number, _width: AccessWidth, value: number): void {
		if (offset === 0x04) this.#registers.set(0x04, ~value >>> 0);
		else if (offset === 0x08) setImmediate(() => this.#factorial(value));
		else if (offset === 0x60) this.#raise(value);
		else if (offset === 0x64) this.#acknowledge(value);
		else if (offset === 0x98) setImmediate(() => this.#dma(value));
		else this.#registers.set(offset, value);
	}

	barRead64(): bigint {
		return 0n;
	}

	barWrite64(): void {}

	endOfInterrupt(pin: number): void {
		this.ends++;
		if (this.#options.pinUntilEnd) this.#slot?.setPin(pin, this.#status !== 0);
	}

	directAreas(): readonly DirectArea[] {
		return [];
	}

	reset(): void {
		this.resets++;
	}

	[Symbol.dispose](): void {}

	/** Sends a message of its own making. */
	send(address: bigint, data: number): void {
		this.#slot?.message(address, data);
	}

	#factorial(n: number): void {
		let product = 1;
		for (let i = 2; i <= n; i++) product = Math.imul(product, i) >>> 0;
		this.#registers.set(0x08, product);
		if ((this.#registers.get(0x20) ?? 0) & 0x80) this.#raise(1);
	}

	#dma(command: number): void {
		const from = this.#registers.get(0x80) ?? 0;
		const to = this.#registers.get(0x88) ?? 0;
		const count = this.#registers.get(0x90) ?? 0;
		const ram = this.#ram();
		if (command & 2) ram.set(this.#buffer.subarray(from - BUFFER, from - BUFFER + count), to);
		else this.#buffer.set(ram.subarray(from, from + count), to - BUFFER);
		this.#registers.set(0x98, command & ~1);
		if (command & 4) this.#raise(0x100);
	}

	#raise(cause: number): void {
		const before = this.#status;
		this.#status = (this.#status | cause) >>> 0;
		if (before === 0) this.#drive(true);
	}

	/** Pulls the pin by hand. */
	pull(asserted: boolean): void {
		this.#slot?.setPin(1, asserted);
	}

	#acknowledge(causes: number): void {
		this.onAcknowledge();
		this.#status = (this.#status & ~causes) >>> 0;
		this.#drive();
	}

	#drive(edge = false): void {
		if (this.#options.mute) return;
		const config = this.#config;
		const msi = this.#msi && (config.getUint16(MSI + 2, true) & 1) !== 0;
		const disabled = (config.getUint16(4, true) & 0x400) !== 0;
		const pin = () => this.#status !== 0 && !msi && !disabled;
		if (this.#options.pinUntilEnd && !pin()) return;
		if (this.#options.latePin) setImmediate(() => this.#slot?.setPin(1, pin()));
		else this.#slot?.setPin(1, pin());
		if (edge && msi) {
			this.#slot?.message(BigInt(config.getUint32(MSI + 4, true)), config.getUint32(MSI + 12, true) & 0xffff);
		}
	}
}
