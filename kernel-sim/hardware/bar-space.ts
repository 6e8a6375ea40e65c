/**
 * The bytes behind a function's BARs: where an access goes once the function has decoded it.
 *
 * @module
 */
import type { AccessWidth } from "../../core/kernel.ts";
import type { FunctionDescription } from "./description.ts";
import { ALL_ONES_64, allOnes } from "./little-endian.ts";
import type { BarDescription, DeviceModel } from "./model.ts";
import type { MsixUnit } from "./msix-unit.ts";

/** Dispatches accesses to the MSI-X table, to plain memory or to the model. */
export class BarSpace {
	/** By index; the upper half of a 64-bit BAR has none. */
	readonly bars: readonly (BarDescription | undefined)[];
	readonly #model: DeviceModel | undefined;
	readonly #msix: MsixUnit | undefined;
	readonly #memory: (DataView | undefined)[] = [];

	constructor(description: FunctionDescription, model: DeviceModel | undefined, msix: MsixUnit | undefined) {
		const bars: (BarDescription | undefined)[] = new Array(6).fill(undefined);
		for (const bar of description.bars ?? []) bars[bar.index] = bar;
		this.bars = bars;
		this.#model = model;
		this.#msix = msix;
	}

	/** The bytes of a BAR of plain memory; undefined for any other. Made at the first use, since many are never touched. */
	memory(index: number): Uint8Array | undefined {
		const view = this.#view(index);
		return view && new Uint8Array(view.buffer);
	}

	read(index: number, offset: number, width: AccessWidth): number {
		const bar = this.bars[index];
		if (!bar || offset < 0 || offset + width > bar.size) return allOnes(width);
		const msix = this.#msix;
		if (msix?.inTable(index, offset)) return msix.readTable(offset, width);
		if (msix?.inPba(index, offset)) return msix.readPba(offset, width);
		const view = this.#view(index);
		if (!view) return this.#model ? (this.#model.read(index, offset, width) & allOnes(width)) >>> 0 : 0;
		return width === 4
			? view.getUint32(offset, true)
			: width === 2
				? view.getUint16(offset, true)
				: view.getUint8(offset);
	}

	write(index: number, offset: number, width: AccessWidth, value: number): void {
		const bar = this.bars[index];
		if (!bar || offset < 0 || offset + width > bar.size) return;
		const msix = this.#msix;
		if (msix?.inTable(index, offset)) {
			msix.writeTable(offset, width, value);
			return;
		}
		if (msix?.inPba(index, offset)) return;
		const view = this.#view(index);
		if (!view) this.#model?.write(index, offset, width, (value & allOnes(width)) >>> 0);
		else if (width === 4) view.setUint32(offset, value, true);
		else if (width === 2) view.setUint16(offset, value, true);
		else view.setUint8(offset, value);
	}

	read64(index: number, offset: number): bigint {
		const bar = this.bars[index];
		if (!bar || offset < 0 || offset + 8 > bar.size) return ALL_ONES_64;
		if (!this.#isMsix(index, offset)) {
			const view = this.#view(index);
			if (view) return view.getBigUint64(offset, true);
			if (this.#model?.read64) return BigInt.asUintN(64, this.#model.read64(index, offset));
		}
		const low = this.read(index, offset, 4);
		return (BigInt(this.read(index, offset + 4, 4)) << 32n) | BigInt(low);
	}

	write64(index: number, offset: number, value: bigint): void {
		const bar = this.bars[index];
		if (!bar || offset < 0 || offset + 8 > bar.size) return;
		const view = this.#view(index);
		if (this.#isMsix(index, offset) || !(view || this.#model?.write64)) this.#writeHalves(index, offset, value);
		else if (view) view.setBigUint64(offset, value, true);
		else this.#model?.write64?.(index, offset, BigInt.asUintN(64, value));
	}

	#writeHalves(index: number, offset: number, value: bigint): void {
		this.write(index, offset, 4, Number(BigInt.asUintN(32, value)));
		this.write(index, offset + 4, 4, Number(BigInt.asUintN(32, value >> 32n)));
	}

	#isMsix(index: number, offset: number): boolean {
		return this.#msix !== undefined && (this.#msix.inTable(index, offset) || this.#msix.inPba(index, offset));
	}

	#view(index: number): DataView | undefined {
		const view = this.#memory[index];
		if (view) return view;
		const bar = this.bars[index];
		if (bar?.backing !== "memory") return undefined;
		const made = new DataView(new ArrayBuffer(bar.size));
		this.#memory[index] = made;
		return made;
	}
}
