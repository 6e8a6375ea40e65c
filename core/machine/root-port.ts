/**
 * A PCI Express root port: a bridge on the root bus with one slot below it.
 *
 * @module
 */
import { ALL_ONES_64, allOnes } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import { Releases } from "../release.ts";
import {
	PCI_BRIDGE_CONTROL,
	PCI_BRIDGE_CTL_BUS_RESET,
	PCI_COMMAND,
	PCI_COMMAND_IO,
	PCI_COMMAND_MEMORY,
	PCI_EXP_LNKCTL,
	PCI_EXP_LNKCTL_LD,
	PCI_EXP_LNKSTA,
	PCI_EXP_LNKSTA_DLLLA,
	PCI_EXP_SLTCTL,
	PCI_EXP_SLTSTA,
	PCI_EXP_SLTSTA_PDS,
	PCI_IO_BASE,
	PCI_IO_LIMIT,
	PCI_MEMORY_BASE,
	PCI_MEMORY_LIMIT,
	PCI_PREF_BASE_UPPER32,
	PCI_PREF_LIMIT_UPPER32,
	PCI_PREF_MEMORY_BASE,
	PCI_PREF_MEMORY_LIMIT,
	PCI_SECONDARY_BUS,
	PCI_SUBORDINATE_BUS,
} from "../uapi/pci_regs.ts";
import type { AddressRange } from "./address-space.ts";
import type { PciBridge } from "./bus.ts";
import { DownstreamBus, type DownstreamPort } from "./downstream-bus.ts";
import { type ControlledSlot, HotPlug } from "./hot-plug.ts";
import { PIN_COUNT, swizzle, WiredOr } from "./intx.ts";
import type { DirectArea, GuestBar, PciSlot } from "./machine.ts";
import {
	EXP_CAPABILITY,
	MSI_CAPABILITY,
	type RegisterFile,
	type RootPortIdentity,
	rootPortRegisters,
	writeRegister,
} from "./root-port-registers.ts";
import { BusSlot } from "./slot.ts";
import { SLOTS_PER_BUS } from "./slot-address.ts";
import type { BridgeWindows } from "./window-room.ts";

const NOTHING: readonly never[] = [];
const CLOSED: BridgeWindows = { memory: { start: 0, end: 0 }, prefetchable: { start: 0, end: 0 } };
const LINK_CONTROL = EXP_CAPABILITY + PCI_EXP_LNKCTL;
const LINK_STATUS = EXP_CAPABILITY + PCI_EXP_LNKSTA;
const SLOT_CONTROL = EXP_CAPABILITY + PCI_EXP_SLTCTL;
const SLOT_STATUS = EXP_CAPABILITY + PCI_EXP_SLTSTA;

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
	/** What the guest does with the slot, and asking it to let go; undefined with the option `hotPlug: false`. */
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
		this.hotPlug =
			(identity.hotPlug ?? true)
				? new HotPlug(() => this.#registers.view, this.#controlledSlot(), this.#interruptLines())
				: undefined;
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

	/** The memory windows that the guest gave to the bus below. */
	get windows(): BridgeWindows {
		const { view } = this.#registers;
		if ((view.getUint16(PCI_COMMAND, true) & PCI_COMMAND_MEMORY) === 0) return CLOSED;
		const megabytes = (offset: number): number => (view.getUint16(offset, true) & 0xfff0) * 0x1_0000;
		const upper = (offset: number): number => view.getUint32(offset, true) * 2 ** 32;
		return {
			memory: { start: megabytes(PCI_MEMORY_BASE), end: megabytes(PCI_MEMORY_LIMIT) + 0x10_0000 },
			prefetchable: {
				start: upper(PCI_PREF_BASE_UPPER32) + megabytes(PCI_PREF_MEMORY_BASE),
				end: upper(PCI_PREF_LIMIT_UPPER32) + megabytes(PCI_PREF_MEMORY_LIMIT) + 0x10_0000,
			},
		};
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
		const releases = new Releases();
		releases.defer(() => {
			this.#slot = undefined;
			this.#secondary = undefined;
		});
		for (const fn of this.#secondary?.functions ?? []) releases.defer(() => this.#secondary?.unplug(fn));
		releases[Symbol.dispose]();
	}

	configRead(offset: number, width: AccessWidth): number {
		const { view } = this.#registers;
		if (offset < 0 || offset + width > view.byteLength) return allOnes(width);
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
		const slot = this.hotPlug?.state ?? 0;
		for (let i = 0; i < width; i++) writeRegister(registers, offset + i, (value >>> (8 * i)) & 0xff);

		if (touches(offset, width, PCI_COMMAND, 2) || touches(offset, width, PCI_IO_BASE, 0x14)) {
			this.#slot?.parent.decoder.rebuild();
		}
		if (this.#inReset && !inReset) this.#secondary?.reset();
		if (touches(offset, width, LINK_CONTROL, 2) && this.#followPower()) this.hotPlug?.linkChanged();
		if (touches(offset, width, SLOT_CONTROL, 4)) {
			const control = touches(offset, width, SLOT_CONTROL, 2);
			this.hotPlug?.written(slot, control, bitsAt(offset, width, value, SLOT_STATUS));
		} else if (touches(offset, width, PCI_COMMAND, 2) || touches(offset, width, MSI_CAPABILITY, 0x10)) {
			this.hotPlug?.update();
		}
	}

	barRead(_bar: number, _offset: number, width: AccessWidth): number {
		return allOnes(width);
	}

	barRead64(_bar: number, _offset: number): bigint {
		return ALL_ONES_64;
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
		const restart = (): void => {
			this.#registers = rootPortRegisters(this.#identity, this.#slot?.multifunction ?? false);
			this.#setBit(SLOT_STATUS, PCI_EXP_SLTSTA_PDS, this.#occupied);
			this.hotPlug?.powerUp();
			this.#followPower();
			this.#slot?.parent.decoder.rebuild();
			this.#secondary?.reset();
		};
		if (this.hotPlug) this.hotPlug.reset(restart);
		else restart();
	}

	[Symbol.dispose](): void {
		this.unplug();
	}

	get #inReset(): boolean {
		return (this.#registers.view.getUint16(PCI_BRIDGE_CONTROL, true) & PCI_BRIDGE_CTL_BUS_RESET) !== 0;
	}

	get #occupied(): boolean {
		return this.#secondary?.occupied ?? false;
	}

	get #linkActive(): boolean {
		return (this.#registers.view.getUint16(LINK_STATUS, true) & PCI_EXP_LNKSTA_DLLLA) !== 0;
	}

	#port(slot: BusSlot): DownstreamPort {
		const linkActive = (): boolean => this.#linkActive;
		const windows = (): BridgeWindows => this.windows;
		return {
			hotPlug: this.hotPlug,
			get windows() {
				return windows();
			},
			get linkActive() {
				return linkActive();
			},
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
			occupancyChanged: (hot) => this.#occupancyChanged(hot),
		};
	}

	#controlledSlot(): ControlledSlot {
		const port = this;
		return {
			get bus() {
				return port.secondary;
			},
			get occupants() {
				return port.#secondary?.occupants ?? NOTHING;
			},
			remove: (occupant) => this.#secondary?.unplug(occupant.function),
			followPower: () => this.#followPower(),
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

	#setBit(register: number, bit: number, on: boolean): void {
		const { view } = this.#registers;
		const value = view.getUint16(register, true);
		view.setUint16(register, on ? value | bit : value & ~bit, true);
	}

	/** Something was plugged or unplugged. @param hot the guest is to be told */
	#occupancyChanged(hot: boolean): void {
		const occupied = this.#occupied;
		if (occupied === ((this.#registers.view.getUint16(SLOT_STATUS, true) & PCI_EXP_SLTSTA_PDS) !== 0)) return;
		this.#setBit(SLOT_STATUS, PCI_EXP_SLTSTA_PDS, occupied);
		if (!hot) this.hotPlug?.powerUp();
		const link = this.#followPower();
		if (hot) this.hotPlug?.presenceChanged(occupied, link);
	}

	/**
	 * There is a link when there is a device, it has power, and the link is not disabled. A device that loses it starts
	 * anew. @returns whether the link came up or went down
	 */
	#followPower(): boolean {
		const disabled = (this.#registers.view.getUint16(LINK_CONTROL, true) & PCI_EXP_LNKCTL_LD) !== 0;
		const active = this.#occupied && (this.hotPlug?.powered ?? true) && !disabled;
		if (active === this.#linkActive) return false;
		this.#setBit(LINK_STATUS, PCI_EXP_LNKSTA_DLLLA, active);
		this.#slot?.parent.decoder.rebuild();
		if (!active) this.#secondary?.reset();
		return true;
	}

	/** What of a range the windows and the bridges above let through. */
	#forwarded(slot: BusSlot, io: boolean, start: number, end: number): readonly AddressRange[] {
		const ranges: AddressRange[] = [];
		if (!this.#linkActive) return ranges;
		for (const window of this.#windows(io)) {
			const clipped = { start: Math.max(start, window.start), end: Math.min(end, window.end) };
			if (clipped.start < clipped.end) ranges.push(...slot.parent.reach(io, clipped.start, clipped.end));
		}
		return ranges;
	}

	#windows(io: boolean): readonly AddressRange[] {
		const { view } = this.#registers;
		if (!io) {
			const { memory, prefetchable } = this.windows;
			return [memory, prefetchable];
		}
		if ((view.getUint16(PCI_COMMAND, true) & PCI_COMMAND_IO) === 0) return NOTHING;
		const start = (view.getUint8(PCI_IO_BASE) & 0xf0) * 0x100;
		return [{ start, end: (view.getUint8(PCI_IO_LIMIT) & 0xf0) * 0x100 + 0x1000 }];
	}
}

function touches(offset: number, width: number, register: number, length: number): boolean {
	return offset < register + length && offset + width > register;
}

/** What a write has for a 16-bit register, at the register's own bits. */
function bitsAt(offset: number, width: number, value: number, register: number): number {
	let bits = 0;
	for (let i = 0; i < width; i++) {
		const byte = offset + i - register;
		if (byte === 0 || byte === 1) bits |= ((value >>> (8 * i)) & 0xff) << (8 * byte);
	}
	return bits;
}
