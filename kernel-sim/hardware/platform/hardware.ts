/**
 * A platform device as hardware: regions, lines and DMA, and nothing of Linux in it.
 *
 * @module
 */
import { VfioError } from "../../../core/errors.ts";
import type { AccessWidth, Clock } from "../../../core/kernel.ts";
import type { DmaSource } from "../dma-source.ts";
import { allOnes } from "../little-endian.ts";
import type { PlatformDescription } from "./description.ts";
import type { PlatformModel, PlatformPort } from "./model.ts";

/** What a platform device is connected to. The machine is one. */
export interface PlatformInterconnect {
	readonly clock: Clock;
	dmaRead(source: DmaSource, address: bigint, into: Uint8Array): boolean;
	dmaWrite(source: DmaSource, address: bigint, from: Uint8Array): boolean;
}

/**
 * The live registers and lines of a platform device.
 *
 * @example
 * ```ts
 * const address = 0xfff00000n;
 * const memory = new PlatformHardware({
 *   name: "fff00000.sram",
 *   regions: [{ kind: "mmio", address, size: 0x1000, backing: "memory" }],
 *   interrupts: [],
 * });
 * machine.plugPlatform(memory);
 * memory.write(0, 0x10, 4, 7);
 * ```
 */
export class PlatformHardware implements DmaSource, PlatformPort {
	readonly description: PlatformDescription;
	readonly model: PlatformModel | undefined;
	/** How often it was reset. */
	resetCount = 0;
	readonly #memory: (DataView | undefined)[] = [];
	readonly #levels: boolean[];
	readonly #listeners: Set<(asserted: boolean) => void>[];
	#interconnect: PlatformInterconnect | undefined;

	/** @throws VfioError `invalid-argument` when the description has a region that no address space has room for */
	constructor(description: PlatformDescription, model?: PlatformModel) {
		for (const [index, { address, size }] of description.regions.entries())
			if (!Number.isSafeInteger(size) || size <= 0 || address < 0n || address + BigInt(size) > 1n << 64n)
				throw new VfioError(
					"invalid-argument",
					`Cannot make ${description.name}: region ${index} has ${size} bytes at 0x${address.toString(16)}`,
				);
		this.description = description;
		this.model = model;
		this.#levels = description.interrupts.map(() => false);
		this.#listeners = description.interrupts.map(() => new Set());
	}

	/** As on the platform bus. */
	get name(): string {
		return this.description.name;
	}

	/** False before it is plugged in and after it was taken out: it reads as all ones and does nothing. */
	get present(): boolean {
		return this.#interconnect !== undefined;
	}

	/** Connects it: the model is told. The machine calls this. */
	connect(interconnect: PlatformInterconnect): void {
		this.#interconnect = interconnect;
		this.model?.attach(this);
	}

	/** Takes it out. The machine calls this. */
	disconnect(): void {
		this.model?.detach?.();
		this.#interconnect = undefined;
		for (const index of this.#levels.keys()) this.setLine(index, false);
	}

	/** Back to the power-on state. */
	reset(): void {
		this.resetCount++;
		this.model?.reset();
	}

	// ---- registers ----

	/** A read. All ones where nothing answers. */
	read(index: number, offset: number, width: AccessWidth): number {
		const region = this.description.regions[index];
		if (!region || !this.present || offset < 0 || offset + width > region.size) return allOnes(width);
		const view = this.#view(index);
		if (!view) return this.model ? (this.model.read(index, offset, width) & allOnes(width)) >>> 0 : 0;
		if (width === 4) return view.getUint32(offset, true);
		return width === 2 ? view.getUint16(offset, true) : view.getUint8(offset);
	}

	/** A write. Nothing happens where nothing answers, or where the region is read-only. */
	write(index: number, offset: number, width: AccessWidth, value: number): void {
		const region = this.description.regions[index];
		if (!region || region.readOnly || !this.present || offset < 0 || offset + width > region.size) return;
		const view = this.#view(index);
		if (!view) this.model?.write(index, offset, width, (value & allOnes(width)) >>> 0);
		else if (width === 4) view.setUint32(offset, value, true);
		else if (width === 2) view.setUint16(offset, value, true);
		else view.setUint8(offset, value);
	}

	/** The bytes of a region whose backing is `memory`; undefined for any other. */
	memory(index: number): Uint8Array | undefined {
		const view = this.#view(index);
		return view && new Uint8Array(view.buffer);
	}

	// ---- interrupts ----

	/** The level of a line. */
	lineAsserted(index: number): boolean {
		return this.#levels[index] ?? false;
	}

	/** Calls back whenever the level of a line changes. */
	onLine(index: number, handler: (asserted: boolean) => void): Disposable {
		const listeners = this.#listeners[index];
		listeners?.add(handler);
		return { [Symbol.dispose]: () => void listeners?.delete(handler) };
	}

	// ---- what the model calls ----

	get clock(): Clock {
		if (!this.#interconnect)
			throw new VfioError("no-such-device", `Cannot use the clock of ${this.name}: it is not plugged in`);
		return this.#interconnect.clock;
	}

	dmaRead(address: bigint, into: Uint8Array): boolean {
		return this.#interconnect?.dmaRead(this, address, into) ?? false;
	}

	dmaWrite(address: bigint, from: Uint8Array): boolean {
		return this.#interconnect?.dmaWrite(this, address, from) ?? false;
	}

	setLine(index: number, asserted: boolean): void {
		if (this.#levels[index] === undefined || this.#levels[index] === asserted) return;
		this.#levels[index] = asserted;
		for (const listener of this.#listeners[index] ?? []) listener(asserted);
	}

	pulse(index: number): void {
		this.setLine(index, true);
		this.setLine(index, false);
	}

	#view(index: number): DataView | undefined {
		const view = this.#memory[index];
		if (view) return view;
		const region = this.description.regions[index];
		if (region?.backing !== "memory") return undefined;
		const made = new DataView(new ArrayBuffer(region.size));
		this.#memory[index] = made;
		return made;
	}
}
