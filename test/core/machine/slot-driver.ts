import type { GuestPciFunction } from "../../../core/machine/mod.ts";

/** Registers of a root port, as a guest addresses them. */
export const SLOT_CAPABILITIES = 0x54;
export const SLOT_CONTROL = 0x58;
export const SLOT_STATUS = 0x5a;
export const LINK_CONTROL = 0x50;
export const LINK_STATUS = 0x52;
export const COMMAND = 0x04;
export const MSI = 0x80;

/** Bits of slot status. */
export const ABP = 0x01;
export const PDC = 0x08;
export const CC = 0x10;
export const PDS = 0x40;
export const DLLSC = 0x100;

/** Bits of slot control: enables of all events but the completed command, and the switches. */
export const ENABLES = 0x1029;
export const POWER_OFF = 0x400;
export const POWER_ON = 0;
export const INDICATOR_ON = 0x100;
export const INDICATOR_BLINKING = 0x200;
export const INDICATOR_OFF = 0x300;
const ATTENTION_OFF = 0xc0;
const ALL_EVENTS = 0x11f;

/** The configuration space of a root port, however it is reached. */
export type PortConfig = Pick<GuestPciFunction, "configRead" | "configWrite">;

/** What a guest's hot-plug driver does to a port, step by step. */
export class SlotDriver {
	readonly port: PortConfig;

	constructor(port: PortConfig) {
		this.port = port;
	}

	get status(): number {
		return this.port.configRead(SLOT_STATUS, 2);
	}

	/** Slot control without the enables and the attention indicator. */
	get switches(): number {
		return this.port.configRead(SLOT_CONTROL, 2) & (POWER_OFF | INDICATOR_OFF);
	}

	get linkActive(): boolean {
		return (this.port.configRead(LINK_STATUS, 2) & 0x2000) !== 0;
	}

	/** What happened since the last time, as a driver reads and clears it. */
	takeEvents(): number {
		const events = this.status & ~PDS;
		this.port.configWrite(SLOT_STATUS, 2, events);
		return events;
	}

	/** Writes the switches, with the enables. */
	command(switches: number, enables = ENABLES): void {
		this.port.configWrite(SLOT_CONTROL, 2, enables | ATTENTION_OFF | switches);
	}

	/** Starts as a driver that has just been loaded: it clears whatever there may be, and leaves the switches alone. */
	start(): void {
		this.port.configWrite(SLOT_STATUS, 2, ALL_EVENTS);
		this.command(this.switches);
		this.port.configWrite(SLOT_STATUS, 2, CC);
	}

	/** Switches the slot on. @returns whether a link came up */
	powerOn(): boolean {
		this.command(POWER_ON | INDICATOR_BLINKING);
		const up = this.linkActive;
		this.command(up ? POWER_ON | INDICATOR_ON : POWER_OFF | INDICATOR_OFF);
		this.takeEvents();
		return up;
	}

	/** Switches the slot off, in the order that drivers do. */
	powerOff(): void {
		this.command(POWER_ON | INDICATOR_BLINKING);
		this.command(POWER_OFF | INDICATOR_BLINKING);
		this.command(POWER_OFF | INDICATOR_OFF);
		this.takeEvents();
	}
}
