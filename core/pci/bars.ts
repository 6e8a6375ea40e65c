/**
 * The BARs of an assigned function: mapped memory where that may be used, the emulated MSI-X table, and the kernel for the
 * rest. Nothing here throws at a guest.
 *
 * @module
 */
import { ALL_ONES_64, allOnes } from "../bytes.ts";
import type { MapOptions } from "../device/write-combining.ts";
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import type { DirectArea, GuestBar, GuestMemoryRegion } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import { VFIO_PCI_VGA_REGION_INDEX } from "../uapi/vfio.ts";
import type { AssignOptions } from "./assign-options.ts";
import { Bar, type MappedArea, type MsixPlaces, type WatchedArea } from "./bar.ts";
import type { BarPlan } from "./bar-areas.ts";
import { ROM_BAR } from "./bar-registers.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { LegacyVga } from "./legacy-vga.ts";
import type { Msix } from "./msix.ts";
import { type QuirkConfig, type Watchable, watchQuirks } from "./quirk-watch.ts";
import type { BarQuirk, QuirkPlace } from "./quirks/quirk.ts";
import { WriteBypasses, type WriteBypassHost } from "./write-bypass.ts";

/** What BARs need of their function. */
export interface BarsHost extends QuirkConfig {
	/** A BAR was reached through the kernel: INTx takes it for the end of an interrupt. */
	endOfInterrupt(): void;
	/** What may be mapped of this BAR has changed. */
	directAreasChanged(bar: number): void;
	/** KVM, where it takes writes past us. */
	kvm: WriteBypassHost["kvm"];
	report(message: string): void;
}

/** What BARs are made from. */
export interface BarsPlan {
	readonly bars: readonly BarPlan[];
	/** The device's own MSI-X capability. */
	readonly deviceMsix: MsixPlaces["device"];
	readonly quirks: readonly QuirkPlace[];
	/** What is mapped for write combining. */
	readonly writeCombining: AssignOptions["writeCombining"];
	/** What the guest has of legacy VGA. */
	readonly vga: LegacyVga | undefined;
	/** The kernel, not this process, does writes that KVM takes. */
	readonly writesInKernel: boolean;
	/** Bytes, the host's. */
	readonly pageSize: number;
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
	#powered = true;
	readonly #quirks: readonly BarQuirk[];
	/** Writes that go past us. */
	readonly #bypasses: WriteBypasses;
	/** Where each BAR decodes in the guest. */
	readonly #addresses: (bigint | undefined)[] = [];
	readonly #deviceMsix: MsixPlaces["device"];
	readonly #writeCombining: AssignOptions["writeCombining"];

	/** @param msix what the guest has of MSI-X */
	constructor(device: AssignableDevice, plan: BarsPlan, msix: Msix | undefined, host: BarsHost) {
		this.#device = device;
		this.#msix = msix;
		this.#pageSize = plan.pageSize;
		this.#writeCombining = plan.writeCombining;
		this.#host = host;
		this.#deviceMsix = plan.deviceMsix;
		const places = { guest: msix?.capability, device: plan.deviceMsix };
		for (const bar of plan.bars) if (bar.index !== ROM_BAR) this.#bars[bar.index] = new Bar(bar, places);
		this.#bypasses = new WriteBypasses(device, {
			kvm: () => host.kvm(),
			inKernel: plan.writesInKernel,
			place: (bar) => this.#place(bar),
			report: (message) => host.report(message),
		});
		const targets: (Watchable | undefined)[] = [...this.#bars];
		targets[VFIO_PCI_VGA_REGION_INDEX] = plan.vga;
		this.#quirks = watchQuirks(plan.quirks, targets, device, msix, host, this.#bypasses);
	}

	/**
	 * Maps what the plans say. What cannot be mapped is slower and works all the same.
	 *
	 * @throws VfioError `write-combining-refused` when that is required
	 */
	map(): void {
		for (const bar of this.#bars) {
			if (!bar) continue;
			const options = this.#mapOptions(bar.plan.index);
			const mapped: MappedArea[] = [];
			bar.mapped = mapped;
			for (const { start, end } of bar.plan.mapped)
				try {
					mapped.push({ start, end, mapping: this.#device.mapRegion(bar.plan.index, start, end - start, options) });
				} catch (error) {
					if (error instanceof VfioError && error.code === "write-combining-refused") throw error;
					this.#host.report(`${(error as Error).message}; each access to it is a system call`);
				}
		}
	}

	#place(index: number): ReturnType<WriteBypassHost["place"]> {
		const address = this.#addresses[index];
		return address === undefined ? undefined : { address, io: this.#bars[index]?.plan.kind === "io" };
	}

	#mapOptions(bar: number): MapOptions {
		const { bars = [], required = false } = this.#writeCombining ?? {};
		return bars.includes(bar) ? { memoryType: "write-combining", required } : {};
	}

	/** Unmaps everything. @throws what unmapping throws, after all were unmapped */
	[Symbol.dispose](): void {
		const releases = new Releases();
		releases.use(this.#bypasses);
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

	/** The function is in D0, or has left it: nothing may be mapped then, even of a BAR that a VMM takes for placed. */
	setPowered(on: boolean): void {
		if (on === this.#powered) return;
		this.#powered = on;
		for (const bar of this.#bars) if (bar && bar.mapped.length > 0) this.#changed(bar);
	}

	/** The guest has placed a BAR, or taken it away. @returns whether {@link directAreas} has changed */
	placedAt(index: number, address: bigint | undefined): boolean {
		if (this.#addresses[index] !== address) {
			this.#addresses[index] = address;
			this.#bypasses.moved(index);
		}
		if (this.#bars[index]?.placedAt(address, this.#pageSize) !== true) return false;
		this.#direct[index] = undefined;
		return true;
	}

	/** The device was reset: quirks forget what the guest had selected. */
	reset(): void {
		for (const quirk of this.#quirks) quirk.reset();
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
		if (!bar || !this.#mappedOn || !this.#powered) return NOTHING;
		let direct = this.#direct[index];
		if (!direct) this.#direct[index] = direct = bar.direct(this.#pendingBits, this.#pageSize);
		return direct;
	}

	/**
	 * What other devices may reach of a BAR, where the guest has placed it: its memory without what is trapped for good. A
	 * trap that only the guest's processor must meet, as while INTx waits, does not concern them.
	 */
	peerRegions(index: number): GuestMemoryRegion[] {
		const bar = this.#bars[index];
		const address = this.#addresses[index];
		if (!bar || address === undefined) return [];
		const device = this.#device;
		return bar.direct(false, this.#pageSize).map(({ start, end, mapping, mappingOffset }) => {
			const length = Math.min(end, bar.plan.regionSize) - start;
			const exportDmaBuf = device.exportDmaBuf?.bind(device, index, start, length);
			return {
				guestAddress: address + BigInt(start),
				length,
				memory: mapping,
				offset: mappingOffset,
				readOnly: false,
				kind: "device",
				...(exportDmaBuf ? { exportDmaBuf } : {}),
			};
		});
	}

	/** @returns all ones where there is nothing */
	read(index: number, offset: number, width: AccessWidth): number {
		const bar = this.#bars[index];
		if (!bar?.accepts(offset, width)) return allOnes(width);
		const watched = bar.watched.length > 0 ? bar.watchedAt(offset, width) : undefined;
		if (watched) return inside(watched, offset, width) ? watched.quirk.read(index, offset, width) : allOnes(width);
		if (bar.inTable(offset, width)) return this.#msix?.table.read(offset - bar.tableStart, width) ?? allOnes(width);
		if (bar.inPba(offset, width)) return this.#readPending(bar, offset, width);
		return this.#read(bar, offset, width);
	}

	/** @returns all ones where there is nothing */
	read64(index: number, offset: number): bigint {
		const bar = this.#bars[index];
		if (!bar?.accepts(offset, 8)) return ALL_ONES_64;
		if (isSplit(bar, offset)) return join(this.read(index, offset, 4), this.read(index, offset + 4, 4));
		if (bar.inHidden(offset, 8) || !bar.inRegion(offset, 8)) return this.#nothing(ALL_ONES_64);
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
		const watched = bar.watched.length > 0 ? bar.watchedAt(offset, width) : undefined;
		if (watched) {
			if (inside(watched, offset, width)) watched.quirk.write(index, offset, width, value >>> 0);
			return;
		}
		if (bar.inTable(offset, width)) {
			if (offset >= bar.tableStart) this.#msix?.writeTable(offset - bar.tableStart, width, value >>> 0);
			return;
		}
		// Pending bits are read-only.
		if (bar.inPba(offset, width)) return;
		if (bar.inHidden(offset, width) || !bar.inRegion(offset, width)) {
			this.#host.endOfInterrupt();
			return;
		}
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
		if (isSplit(bar, offset)) {
			this.write(index, offset, 4, Number(value & 0xffff_ffffn));
			this.write(index, offset + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
			return;
		}
		if (bar.inHidden(offset, 8) || !bar.inRegion(offset, 8)) {
			this.#host.endOfInterrupt();
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
		if (bar.inHidden(offset, width) || !bar.inRegion(offset, width)) return this.#nothing(allOnes(width));
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
		const at = offset - bar.pbaStart;
		const ours = this.#msix?.table.pendingDword(at) ?? 0;
		const pba = this.#deviceMsix?.pba;
		const moved = pba && (pba.bar !== bar.plan.index || pba.offset !== bar.pbaStart);
		const place = moved ? this.#bars[pba.bar] : bar;
		if (!place) return ours;
		const own = moved ? pba.offset + at : offset;
		// A device that is known to lie about the place has its bits nowhere.
		if (!place.inRegion(own, 4)) return ours;
		return (this.#read(place, own, 4) | ours) >>> 0;
	}

	/** Nobody answers, but the guest has looked: to INTx that is an access as any other. */
	#nothing<T>(answer: T): T {
		this.#host.endOfInterrupt();
		return answer;
	}

	#changed(bar: Bar): void {
		this.#direct[bar.plan.index] = undefined;
		this.#host.directAreasChanged(bar.plan.index);
	}
}

function inside(area: WatchedArea, offset: number, width: number): boolean {
	return offset >= area.start && offset + width <= area.end;
}

/** Whether a 64-bit access is made of two: where each half is somebody's own business. */
function isSplit(bar: Bar, offset: number): boolean {
	return (
		bar.inTable(offset, 8) || bar.inPba(offset, 8) || (bar.watched.length > 0 && bar.watchedAt(offset, 8) !== undefined)
	);
}

function join(low: number, high: number): bigint {
	return (BigInt(high) << 32n) | BigInt(low);
}
