/**
 * A PCI Express root port: a bridge on the root bus with one slot below it.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import {
	PCI_BRIDGE_CONTROL,
	PCI_BRIDGE_CTL_BUS_RESET,
	PCI_COMMAND,
	PCI_COMMAND_IO,
	PCI_COMMAND_MEMORY,
	PCI_EXP_LNKSTA,
	PCI_EXP_LNKSTA_DLLLA,
	PCI_EXP_SLTSTA,
	PCI_EXP_SLTSTA_PDS,
	PCI_SECONDARY_BUS,
	PCI_SUBORDINATE_BUS,
} from "../uapi/pci_regs.ts";
import type { AddressRange } from "./address-space.ts";
import type { PciBridge } from "./bus.ts";
import { DownstreamBus, type DownstreamPort } from "./downstream-bus.ts";
import { HotPlug } from "./hot-plug.ts";
import { PIN_COUNT, swizzle, WiredOr } from "./intx.ts";
import type { DirectArea, GuestBar, PciSlot } from "./machine.ts";
import {
	EXP_CAPABILITY,
	MSI_CAPABILITY,
	PCI_IO_BASE,
	PCI_IO_LIMIT,
	PCI_MEMORY_BASE,
	PCI_MEMORY_LIMIT,
	PCI_PREF_BASE_UPPER32,
	PCI_PREF_LIMIT_UPPER32,
	PCI_PREF_MEMORY_BASE,
	PCI_PREF_MEMORY_LIMIT,
	type RegisterFile,
	type RootPortIdentity,
	rootPortRegisters,
	writeRegister,
} from "./root-port-registers.ts";
import { BusSlot } from "./slot.ts";
import { SLOTS_PER_BUS } from "./slot-address.ts";

const NOTHING: readonly never[] = [];

/**
 * A root port. It forwards configuration accesses to the bus numbers, and memory and I/O accesses to the windows, that the
 * guest programs; interrupts below come up through it, swizzled. (It does not hold back messages while its bus master bit
 * is clear: the DMA of an assigned device cannot be held back here either.)
 *
 * @example
 * ```ts
 * const port = new RootPort("rp1", { slot: 1 });
 * root.plug(port, { address: parseSlotAddress("8"), multifunction: true });
 * port.secondary.plug(fn);
 * ```
 */
export class RootPort implements PciBridge {
	/** Its id, which is also the name of the bus below it. */
	readonly name: string;
	/** Unplugging on request of the VMM, and what the guest says to that; undefined without the option `hotPlug`. */
	readonly hotPlug: HotPlug | undefined;
	readonly #identity: RootPortIdentity;
	#registers: RegisterFile;
	#slot: BusSlot | undefined;
	#secondary: DownstreamBus | undefined;
	/** Its own interrupt and those below, each on the pin it comes out of the port. */
	readonly #pins = new WiredOr(PIN_COUNT);

	constructor(id: string, identity: RootPortIdentity = {}) {
		this.name = id;
		this.#identity = identity;
		this.#registers = rootPortRegisters(identity, false);
		this.hotPlug = identity.hotPlug ? new HotPlug(() => this.#registers.view, this.#interruptLines()) : undefined;
	}

	/** The bus below. @throws VfioError `invalid-argument` before the port itself has been plugged */
	get secondary(): DownstreamBus {
		if (this.#secondary === undefined) {
			throw new VfioError("invalid-argument", `Cannot use the bus below ${this.name}: the port is in no bus itself`);
		}
		return this.#secondary;
	}

	get secondaryNumber(): number {
		return this.#registers.bytes[PCI_SECONDARY_BUS] ?? 0;
	}

	get subordinateNumber(): number {
		return this.#registers.bytes[PCI_SUBORDINATE_BUS] ?? 0;
	}

	bar(_index: number): GuestBar | undefined {
		return undefined;
	}

	plug(slot: PciSlot): void {
		if (!(slot instanceof BusSlot) || slot.bus !== "root-complex") {
			throw new VfioError("invalid-argument", `Cannot plug ${this.name}: a root port goes into a root complex`);
		}
		this.#slot = slot;
		this.#registers = rootPortRegisters(this.#identity, slot.multifunction);
		this.#secondary = new DownstreamBus(this.name, slot.parent.decoder, this.#port(slot));
	}

	unplug(): void {
		for (const fn of this.#secondary?.functions ?? []) this.#secondary?.unplug(fn);
		this.#slot = undefined;
		this.#secondary = undefined;
	}

	configRead(offset: number, width: AccessWidth): number {
		const { view } = this.#registers;
		if (offset < 0 || offset + width > view.byteLength) return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
		return width === 4
			? view.getUint32(offset, true)
			: width === 2
				? view.getUint16(offset, true)
				: view.getUint8(offset);
	}

	configWrite(offset: number, width: AccessWidth, value: number): void {
		const registers = this.#registers;
		if (offset < 0 || offset + width > registers.bytes.length) return;
		const inReset = this.#inReset;
		const before = this.hotPlug?.control ?? 0;
		for (let i = 0; i < width; i++) writeRegister(registers, offset + i, (value >>> (8 * i)) & 0xff);

		if (touches(offset, width, PCI_COMMAND, 2) || touches(offset, width, PCI_IO_BASE, 0x14)) {
			this.#slot?.parent.decoder.rebuild();
		}
		if (this.#inReset && !inReset) this.#secondary?.reset();
		if (touches(offset, width, EXP_CAPABILITY + PCI_EXP_SLTSTA - 2, 4)) {
			this.hotPlug?.written(touches(offset, width, EXP_CAPABILITY + PCI_EXP_SLTSTA - 2, 2), before);
		} else if (touches(offset, width, PCI_COMMAND, 2) || touches(offset, width, MSI_CAPABILITY, 0x10)) {
			this.hotPlug?.update();
		}
	}

	barRead(_bar: number, _offset: number, width: AccessWidth): number {
		return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
	}

	barRead64(_bar: number, _offset: number): bigint {
		return 0xffff_ffff_ffff_ffffn;
	}

	barWrite(_bar: number, _offset: number, _width: AccessWidth, _value: number): void {}

	barWrite64(_bar: number, _offset: number, _value: bigint): void {}

	endOfInterrupt(pin: number): void {
		for (let device = 0; device < SLOTS_PER_BUS; device++) {
			for (let below = 1; below <= PIN_COUNT; below++) {
				if (swizzle(below, device) === pin) this.#secondary?.endOfInterrupt(device, below);
			}
		}
	}

	interruptRouteChanged(): void {
		this.#secondary?.interruptRoutesChanged();
	}

	directAreas(_bar: number): readonly DirectArea[] {
		return NOTHING;
	}

	reset(): void {
		const occupied = (this.#secondary?.functions.length ?? 0) > 0;
		this.#registers = rootPortRegisters(this.#identity, this.#slot?.multifunction ?? false);
		this.#setPresence(occupied);
		this.hotPlug?.update();
		this.#slot?.parent.decoder.rebuild();
		this.#secondary?.reset();
	}

	[Symbol.dispose](): void {
		this.unplug();
	}

	get #inReset(): boolean {
		return (this.#registers.view.getUint16(PCI_BRIDGE_CONTROL, true) & PCI_BRIDGE_CTL_BUS_RESET) !== 0;
	}

	#port(slot: BusSlot): DownstreamPort {
		return {
			forwarded: (io, start, end) => this.#forwarded(slot, io, start, end),
			pinBelow: (device, pin, asserted) => this.#drivePin(swizzle(pin, device), asserted),
			messageBelow: (address, data) => slot.message(address, data),
			kvmBelow: (device) => {
				const { kvm } = slot;
				return (
					kvm && {
						...kvm,
						connectIntx: (pin, trigger, resample) => kvm.connectIntx(swizzle(pin, device), trigger, resample),
					}
				);
			},
			directAreasChangedBelow: (fn, bar) => slot.parent.directAreasChanged(fn, bar),
			occupancyChanged: (occupied) => {
				this.#setPresence(occupied);
				this.hotPlug?.presenceChanged(occupied);
			},
		};
	}

	#interruptLines(): { pin(asserted: boolean): void; message(address: bigint, data: number): void } {
		return {
			pin: (asserted) => this.#drivePin(1, asserted),
			message: (address, data) => this.#slot?.message(address, data),
		};
	}

	#drivePin(pin: number, asserted: boolean): void {
		const changed = asserted ? this.#pins.assert(pin - 1) : this.#pins.release(pin - 1);
		if (changed) this.#slot?.setPin(pin, asserted);
	}

	#setPresence(occupied: boolean): void {
		const { view } = this.#registers;
		const set = (offset: number, bits: number): void => {
			const value = view.getUint16(offset, true);
			view.setUint16(offset, occupied ? value | bits : value & ~bits, true);
		};
		set(EXP_CAPABILITY + PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_PDS);
		set(EXP_CAPABILITY + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_DLLLA);
	}

	/** What of a range the windows and the bridges above let through. */
	#forwarded(slot: BusSlot, io: boolean, start: number, end: number): readonly AddressRange[] {
		const ranges: AddressRange[] = [];
		for (const window of this.#windows(io)) {
			const clipped = { start: Math.max(start, window.start), end: Math.min(end, window.end) };
			if (clipped.start < clipped.end) ranges.push(...slot.parent.reach(io, clipped.start, clipped.end));
		}
		return ranges;
	}

	#windows(io: boolean): AddressRange[] {
		const { view } = this.#registers;
		const command = view.getUint16(PCI_COMMAND, true);
		if ((command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) === 0) return [];
		if (io) {
			const start = (view.getUint8(PCI_IO_BASE) & 0xf0) * 0x100;
			return [{ start, end: (view.getUint8(PCI_IO_LIMIT) & 0xf0) * 0x100 + 0x1000 }];
		}
		const megabytes = (offset: number): number => (view.getUint16(offset, true) & 0xfff0) * 0x1_0000;
		const upper = (offset: number): number => view.getUint32(offset, true) * 2 ** 32;
		return [
			{ start: megabytes(PCI_MEMORY_BASE), end: megabytes(PCI_MEMORY_LIMIT) + 0x10_0000 },
			{
				start: upper(PCI_PREF_BASE_UPPER32) + megabytes(PCI_PREF_MEMORY_BASE),
				end: upper(PCI_PREF_LIMIT_UPPER32) + megabytes(PCI_PREF_MEMORY_LIMIT) + 0x10_0000,
			},
		];
	}
}

function touches(offset: number, width: number, register: number, length: number): boolean {
	return offset < register + length && offset + width > register;
}
