/**
 * The hot-plug controller of a root port's slot (PCI Express Base, section 6.7).
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import {
	PCI_EXP_SLTCTL,
	PCI_EXP_SLTCTL_AIC,
	PCI_EXP_SLTCTL_PCC,
	PCI_EXP_SLTCTL_PIC,
	PCI_EXP_SLTCTL_PWR_IND_BLINK,
	PCI_EXP_SLTCTL_PWR_IND_OFF,
	PCI_EXP_SLTCTL_PWR_IND_ON,
	PCI_EXP_SLTSTA,
	PCI_EXP_SLTSTA_ABP,
	PCI_EXP_SLTSTA_CC,
	PCI_EXP_SLTSTA_DLLSC,
	PCI_EXP_SLTSTA_PDC,
	PCI_EXP_SLTSTA_PDS,
} from "../uapi/pci_regs.ts";
import type { PciBus } from "./bus.ts";
import { type HotPlugEvent, type Indicator, type Occupant, tellAll } from "./hot-plug-event.ts";
import type { GuestPciFunction } from "./machine.ts";
import { EXP_CAPABILITY, SLOT_EVENTS } from "./root-port-registers.ts";
import { type PortInterrupt, SlotInterrupt } from "./slot-interrupt.ts";

const CONTROL = EXP_CAPABILITY + PCI_EXP_SLTCTL;
const STATUS = EXP_CAPABILITY + PCI_EXP_SLTSTA;
const SWITCHED_OFF = PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF;
/** By the two bits of an indicator; the encoding 0 is reserved and is never kept. */
const INDICATORS: readonly Indicator[] = ["off", "on", "blinking", "off"];

/** The slot, as its controller needs it. */
export interface ControlledSlot {
	readonly bus: PciBus;
	/** What is in it, function 0 first. */
	readonly occupants: readonly Occupant[];
	/** Takes a function out; the controller hears of it by {@link HotPlug.presenceChanged}. */
	remove(occupant: Occupant): void;
	/** The link follows presence and power. @returns whether it came up or went down */
	followPower(): boolean;
}

/**
 * The controller: it tells the guest what was plugged, asks it to let go, and hears when it has. The guest reads and writes
 * two registers, slot control and slot status; everything it writes there is harmless.
 */
export class HotPlug {
	/** Hears of what happens, when the registers are in order again. What it throws reaches whoever made the access. */
	onEvent: (event: HotPlugEvent) => void = () => {};
	readonly #registers: () => DataView;
	readonly #slot: ControlledSlot;
	readonly #interrupt: SlotInterrupt;
	#unplugRequested = false;

	/** @internal */
	constructor(registers: () => DataView, slot: ControlledSlot, interrupt: PortInterrupt) {
		this.#registers = registers;
		this.#slot = slot;
		this.#interrupt = new SlotInterrupt(registers, interrupt);
	}

	/** The slot has power: the guest switches it. */
	get powered(): boolean {
		return (this.#control & PCI_EXP_SLTCTL_PCC) === 0;
	}

	/** What the guest shows by the power indicator: `blinking` while it plugs or unplugs. */
	get powerIndicator(): Indicator {
		return INDICATORS[(this.#control & PCI_EXP_SLTCTL_PIC) >>> 8] ?? "off";
	}

	/** What the guest shows by the attention indicator: anything but `off` means that it could not use what is there. */
	get attentionIndicator(): Indicator {
		return INDICATORS[(this.#control & PCI_EXP_SLTCTL_AIC) >>> 6] ?? "off";
	}

	/** The guest is in the middle of plugging or unplugging. */
	get busy(): boolean {
		return this.powerIndicator === "blinking";
	}

	/** The guest was asked for what is in the slot and has not answered yet. */
	get unplugRequested(): boolean {
		return this.#unplugRequested;
	}

	/**
	 * Asks the guest to let go of what is in the slot, as if somebody pressed the attention button beside it. A guest that
	 * does not answer, because it has not booted or has no hot-plug driver, may be asked again; it finds the request when it
	 * looks.
	 *
	 * @returns `unplugged` when the guest has switched the slot off already: nobody needs to be asked
	 * @throws VfioError `guest-busy` while the power indicator blinks: a second press of the button would mean "never mind"
	 */
	requestUnplug(): "unplugged" | "requested" {
		if (this.busy) {
			throw new VfioError(
				"guest-busy",
				`Cannot unplug ${this.#slot.bus.name}: the guest is in the middle of plugging or unplugging there`,
				{
					remedy: [
						"Ask again when the slot's power indicator no longer blinks: it takes some seconds at most",
						"Reset the machine if the guest hangs there",
					],
				},
			);
		}
		if ((this.#control & SWITCHED_OFF) === SWITCHED_OFF) {
			this.#tell(this.#empty());
			return "unplugged";
		}
		this.#unplugRequested = true;
		this.#raise(PCI_EXP_SLTSTA_ABP);
		return "requested";
	}

	/**
	 * Takes a request back: one that the guest has not noticed is withdrawn, and while the guest's power indicator blinks
	 * the button is pressed once more, which cancels within five seconds of the first press (section 6.7.1.5).
	 *
	 * @returns `requested` when it is up to the guest, which answers by `unplug-refused` or by `unplugged`
	 */
	cancelUnplug(): "cancelled" | "requested" {
		if (this.#unplugRequested && this.busy) {
			this.#raise(PCI_EXP_SLTSTA_ABP);
			return "requested";
		}
		if (this.#unplugRequested) this.#withdraw();
		return "cancelled";
	}

	/** @internal Takes out a function that the guest does not see, for want of a function 0. */
	remove(fn: GuestPciFunction): "unplugged" {
		this.#tell(this.#take(this.#slot.occupants.filter((occupant) => occupant.function === fn)));
		return "unplugged";
	}

	/**
	 * @internal The slot was filled or emptied.
	 *
	 * @param link whether the link came up or went down by that
	 */
	presenceChanged(occupied: boolean, link: boolean): void {
		// A press that nobody has noticed was about what is no longer there.
		if (!occupied) this.#withdraw();
		// The attention button starts the guest's plug sequence where it ignores mere presence.
		this.#raise(PCI_EXP_SLTSTA_PDC | (link ? PCI_EXP_SLTSTA_DLLSC : 0) | (occupied ? PCI_EXP_SLTSTA_ABP : 0));
	}

	/** @internal The link went down or came up for another reason. */
	linkChanged(): void {
		this.#raise(PCI_EXP_SLTSTA_DLLSC);
	}

	/** @internal Slot control and slot status, in one number; hand it to {@link written}. */
	get state(): number {
		return this.#registers().getUint32(CONTROL, true);
	}

	/**
	 * @internal The guest wrote slot control or slot status.
	 *
	 * @param before what {@link state} was
	 * @param control whether control was part of the write
	 * @param ones which bits of status were written as one
	 */
	written(before: number, control: boolean, ones: number): void {
		this.#keepEvents((before >>> 16) & SLOT_EVENTS, ones);
		if (control) this.#command(before & 0xffff);
		else this.update();
	}

	/** @internal Brings the interrupt in line with the registers. */
	update(): void {
		this.#interrupt.update();
	}

	/**
	 * @internal The machine is being reset. What the guest was asked for leaves: it will not answer any more.
	 *
	 * @param restart makes the registers anew, and resets what is below
	 */
	reset(restart: () => void): void {
		const events = this.#unplugRequested ? this.#empty() : [];
		restart();
		this.update();
		this.#tell(events);
	}

	/** @internal As after power-on: a slot with something in it has power, and shows it. */
	powerUp(): void {
		const control = this.#control & ~(PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC);
		this.#control = control | (this.#present ? PCI_EXP_SLTCTL_PWR_IND_ON : SWITCHED_OFF);
	}

	get #control(): number {
		return this.#registers().getUint16(CONTROL, true);
	}

	set #control(value: number) {
		this.#registers().setUint16(CONTROL, value, true);
	}

	get #present(): boolean {
		return (this.#registers().getUint16(STATUS, true) & PCI_EXP_SLTSTA_PDS) !== 0;
	}

	/**
	 * A guest that starts clears every event without having read which there are. An event that came a moment before would
	 * be lost; so a write that clears what is not there clears nothing.
	 */
	#keepEvents(before: number, ones: number): void {
		if ((ones & SLOT_EVENTS & ~before) === 0) return;
		const registers = this.#registers();
		registers.setUint16(STATUS, registers.getUint16(STATUS, true) | before, true);
	}

	/** The guest has written slot control. */
	#command(before: number): void {
		for (const indicator of [PCI_EXP_SLTCTL_PIC, PCI_EXP_SLTCTL_AIC]) {
			if ((this.#control & indicator) === 0) this.#control |= before & indicator;
		}
		const now = this.#control;
		const events: HotPlugEvent[] = [];
		if (((now ^ before) & (PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_AIC)) !== 0) {
			const { powered, powerIndicator: power, attentionIndicator: attention } = this;
			events.push({ type: "slot", bus: this.#slot.bus, powered, power, attention });
		}
		// Only when it becomes so: a guest may write to a slot that is off before it switches it on.
		const off = (now & SWITCHED_OFF) === SWITCHED_OFF && (before & SWITCHED_OFF) !== SWITCHED_OFF;
		if (off && this.#present) events.push(...this.#empty());
		else if (this.#unplugRequested && keptBy(before, now)) {
			this.#unplugRequested = false;
			events.push({ type: "unplug-refused", bus: this.#slot.bus, occupants: this.#slot.occupants });
		}
		const link = this.#slot.followPower();
		this.#raise(PCI_EXP_SLTSTA_CC | (link ? PCI_EXP_SLTSTA_DLLSC : 0));
		this.#tell(events);
	}

	/** Takes everything out, function 0 last: the guest sees all or nothing. */
	#empty(): HotPlugEvent[] {
		this.#unplugRequested = false;
		return this.#take(this.#slot.occupants.toReversed());
	}

	#take(occupants: readonly Occupant[]): HotPlugEvent[] {
		const { bus } = this.#slot;
		return occupants.map((occupant): HotPlugEvent => {
			try {
				this.#slot.remove(occupant);
				return { type: "unplugged", bus, ...occupant };
			} catch (error) {
				return { type: "unplugged", bus, ...occupant, error };
			}
		});
	}

	#withdraw(): void {
		this.#unplugRequested = false;
		const registers = this.#registers();
		registers.setUint16(STATUS, registers.getUint16(STATUS, true) & ~PCI_EXP_SLTSTA_ABP, true);
		this.update();
	}

	#raise(events: number): void {
		const registers = this.#registers();
		registers.setUint16(STATUS, registers.getUint16(STATUS, true) | events, true);
		this.update();
	}

	#tell(events: readonly HotPlugEvent[]): void {
		tellAll([this.onEvent], events);
	}
}

/** The guest began to unplug, and stopped: the power indicator blinked and is steady again. */
function keptBy(before: number, now: number): boolean {
	return (
		(before & PCI_EXP_SLTCTL_PIC) === PCI_EXP_SLTCTL_PWR_IND_BLINK &&
		(now & PCI_EXP_SLTCTL_PIC) === PCI_EXP_SLTCTL_PWR_IND_ON &&
		(now & PCI_EXP_SLTCTL_PCC) === 0
	);
}
