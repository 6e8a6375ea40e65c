/**
 * The BARs of an assigned function: mapped memory where that may be used, the emulated MSI-X table, and the kernel for the
 * rest. Nothing here throws at a guest.
 *
 * @module
 */
import type { AccessWidth } from "../kernel.ts";
import type { DirectArea, GuestBar } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import { Bar, type MappedArea } from "./bar.ts";
import type { BarPlan } from "./bar-areas.ts";
import { ROM_BAR } from "./bar-registers.ts";
import { ALL_ONES_64, allOnes } from "./bytes.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { Msix } from "./msix.ts";

/** What BARs need of their function. */
export interface BarsHost {
	/** A BAR was reached through the kernel: INTx takes it for the end of an interrupt. */
	endOfInterrupt(): void;
	/** What may be mapped of this BAR has changed. */
	directAreasChanged(bar: number): void;
	report(message: string): void;
}

const NOTHING: readonly DirectArea[] = [];

/** BARs 0 to 5 of one function. */
export class Bars implements Disposable {
	readonly #device: AssignableDevice;
	readonly #host: BarsHost;
	readonly #msix: Msix | undefined;
	readonly #pageSize: number;
	readonly #bars: (Bar | undefined)[] = [];
	/** What a VMM may map of each; made anew when that changes. */
	readonly #direct: (readonly DirectArea[] | undefined)[] = [];
	/** Mapped memory is used; off while INTx waits for an end of interrupt. */
	#mappedOn = true;
	#pendingBits = false;
	/** The function decodes memory; while it does not, touching a mapping would end a process with SIGBUS. */
	#decoding = false;

	/** @param pageSize bytes, the host's */
	constructor(
		device: AssignableDevice,
		plans: readonly BarPlan[],
		msix: Msix | undefined,
		pageSize: number,
		host: BarsHost,
	) {
		this.#device = device;
		this.#msix = msix;
		this.#pageSize = pageSize;
		this.#host = host;
		for (const plan of plans) if (plan.index !== ROM_BAR) this.#bars[plan.index] = new Bar(plan, msix?.capability);
	}

	/** Maps what the plans say. What cannot be mapped is slower and works all the same. */
	map(): void {
		for (const bar of this.#bars) {
			if (!bar) continue;
			const mapped: MappedArea[] = [];
			bar.mapped = mapped;
			for (const { start, end } of bar.plan.mapped)
				try {
					mapped.push({ start, end, mapping: this.#device.mapRegion(bar.plan.index, start, end - start) });
				} catch (error) {
					this.#host.report(`${(error as Error).message}; each access to it is a system call`);
				}
		}
	}

	/** Unmaps everything. @throws what unmapping throws, after all were unmapped */
	[Symbol.dispose](): void {
		const releases = new Releases();
		for (const bar of this.#bars) {
			for (const area of bar?.mapped ?? []) releases.use(area.mapping);
			if (bar) bar.mapped = [];
		}
		this.#direct.length = 0;
		releases[Symbol.dispose]();
	}

	/** @param index 0 to 5 */
	describe(index: number): GuestBar | undefined {
		return this.#bars[index]?.plan;
	}

	/** Whether mapped memory is in use. */
	get mapped(): boolean {
		return this.#mappedOn;
	}

	/** The guest has switched the decoding of memory, or the function's power. */
	setDecoding(on: boolean): void {
		this.#decoding = on;
	}

	/** Switches the use of mapped memory. Asking for the present state is free. */
	setMapped(on: boolean): void {
		if (on === this.#mappedOn) return;
		this.#mappedOn = on;
		for (const bar of this.#bars) if (bar && bar.mapped.length > 0) this.#changed(bar);
	}

	/** MSI-X vectors are pending, or none is: a VMM must trap the pending bits as long as ours differ from the device's. */
	setPendingBits(any: boolean): void {
		if (any === this.#pendingBits) return;
		this.#pendingBits = any;
		for (const bar of this.#bars) if (bar && bar.pbaStart >= 0 && bar.mapped.length > 0) this.#changed(bar);
	}

	/** What a VMM may map into its guest at this moment, in order. */
	directAreas(index: number): readonly DirectArea[] {
		const bar = this.#bars[index];
		if (!bar || !this.#mappedOn) return NOTHING;
		let direct = this.#direct[index];
		if (!direct) this.#direct[index] = direct = bar.direct(this.#pendingBits, this.#pageSize);
		return direct;
	}

	/** @returns all ones where there is nothing */
	read(index: number, offset: number, width: AccessWidth): number {
		const bar = this.#bars[index];
		if (!bar?.accepts(offset, width)) return allOnes(width);
		if (bar.inTable(offset, width)) return this.#msix?.table.read(offset - bar.tableStart, width) ?? allOnes(width);
		if (bar.inPba(offset, width)) return this.#readPending(bar, offset, width);
		return this.#read(bar, offset, width);
	}

	/** @returns all ones where there is nothing */
	read64(index: number, offset: number): bigint {
		const bar = this.#bars[index];
		if (!bar?.accepts(offset, 8)) return ALL_ONES_64;
		if (bar.inTable(offset, 8) || bar.inPba(offset, 8))
			return join(this.read(index, offset, 4), this.read(index, offset + 4, 4));
		const area = this.#mapping(bar, offset, 8);
		if (area) {
			try {
				return area.mapping.read64(offset - area.start);
			} catch (error) {
				this.#host.report((error as Error).message);
				return ALL_ONES_64;
			}
		}
		const value = this.#device.readRegion64(index, offset);
		this.#host.endOfInterrupt();
		return value;
	}

	write(index: number, offset: number, width: AccessWidth, value: number): void {
		const bar = this.#bars[index];
		if (!bar?.accepts(offset, width)) return;
		if (bar.inTable(offset, width)) {
			if (offset >= bar.tableStart) this.#msix?.writeTable(offset - bar.tableStart, width, value >>> 0);
			return;
		}
		// Pending bits are read-only.
		if (bar.inPba(offset, width)) return;
		const area = this.#mapping(bar, offset, width);
		if (area) {
			try {
				area.mapping.write(offset - area.start, width, value);
			} catch (error) {
				this.#host.report((error as Error).message);
			}
			return;
		}
		this.#device.writeRegion(index, offset, width, value);
		this.#host.endOfInterrupt();
	}

	write64(index: number, offset: number, value: bigint): void {
		const bar = this.#bars[index];
		if (!bar?.accepts(offset, 8)) return;
		if (bar.inTable(offset, 8) || bar.inPba(offset, 8)) {
			this.write(index, offset, 4, Number(value & 0xffff_ffffn));
			this.write(index, offset + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
			return;
		}
		const area = this.#mapping(bar, offset, 8);
		if (area) {
			try {
				area.mapping.write64(offset - area.start, value);
			} catch (error) {
				this.#host.report((error as Error).message);
			}
			return;
		}
		this.#device.writeRegion64(index, offset, value);
		this.#host.endOfInterrupt();
	}

	/** Where the bytes are in this process's memory, if they may be touched there at this moment. */
	#mapping(bar: Bar, offset: number, width: number): MappedArea | undefined {
		return this.#mappedOn && this.#decoding ? bar.find(offset, width) : undefined;
	}

	#read(bar: Bar, offset: number, width: AccessWidth): number {
		const area = this.#mapping(bar, offset, width);
		if (area) {
			try {
				return area.mapping.read(offset - area.start, width);
			} catch (error) {
				this.#host.report((error as Error).message);
				return allOnes(width);
			}
		}
		const value = this.#device.readRegion(bar.plan.index, offset, width);
		this.#host.endOfInterrupt();
		return value;
	}

	/**
	 * The device's own bits speak for vectors that were never armed, ours for those that arrived while the guest had them
	 * masked.
	 */
	#readPending(bar: Bar, offset: number, width: AccessWidth): number {
		if (width !== 4 || (offset & 3) !== 0) return allOnes(width);
		const ours = this.#msix?.table.pendingDword(offset - bar.pbaStart) ?? 0;
		return (this.#read(bar, offset, 4) | ours) >>> 0;
	}

	#changed(bar: Bar): void {
		this.#direct[bar.plan.index] = undefined;
		this.#host.directAreasChanged(bar.plan.index);
	}
}

function join(low: number, high: number): bigint {
	return (BigInt(high) << 32n) | BigInt(low);
}
