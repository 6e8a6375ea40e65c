/**
 * The interrupt routing of v86's chipset, an Intel 82371SB (PIIX3): from a device's pin to a line of the 8259s.
 *
 * @module
 */
import { PIN_COUNT } from "../../core/machine/mod.ts";

/** The ISA bridge's bus, device and function: 00:01.0. */
const ISA_BRIDGE = 0x0008;
/** PIRQRC: four routing registers of a byte each. */
const PIRQ_REGISTERS = 0x60;
/** Bit 7 of a routing register: not routed. */
const NOT_ROUTED = 0x80;
const DEVICES = 32;

/**
 * Follows the PIRQ routing registers by watching the guest write them, since v86 keeps its own copy of them to itself, and
 * drives the lines accordingly. Lines shared by several of our devices are wired-OR; v86's own PCI functions are not part
 * of that, as none of them interrupts without a disk or a network card.
 */
export class Piix3Router {
	readonly #setIrq: (line: number, asserted: boolean) => void;
	readonly #routes = new Uint8Array(PIN_COUNT).fill(NOT_ROUTED);
	/** Pins that are asserted on each link. */
	readonly #asserted = new Uint16Array(PIN_COUNT);
	readonly #pins = new Uint8Array(DEVICES * PIN_COUNT);

	constructor(setIrq: (line: number, asserted: boolean) => void) {
		this.#setIrq = setIrq;
	}

	/** A pin of a device on the root bus changed its level. */
	pin(device: number, pin: number, asserted: boolean): void {
		const index = device * PIN_COUNT + pin - 1;
		if ((this.#pins[index] === 1) === asserted) return;
		this.#pins[index] = asserted ? 1 : 0;
		const link = linkOf(device, pin);
		this.#asserted[link] = (this.#asserted[link] ?? 0) + (asserted ? 1 : -1);
		this.#drive(this.#routes[link] ?? NOT_ROUTED);
	}

	/** The guest writes configuration space of a chipset function. @param configAddress what port 0xcf8 holds */
	configWrite(configAddress: number, offset: number, width: number, value: number): void {
		if (((configAddress >>> 8) & 0xffff) !== ISA_BRIDGE) return;
		for (let i = 0; i < width; i++) {
			const link = offset + i - PIRQ_REGISTERS;
			if (link < 0 || link >= PIN_COUNT) continue;
			const before = this.#routes[link] ?? NOT_ROUTED;
			this.#routes[link] = (value >>> (8 * i)) & 0xff;
			this.#drive(before);
			this.#drive(this.#routes[link] ?? NOT_ROUTED);
		}
	}

	/** The chipset is reset: no link is routed. */
	reset(): void {
		for (let link = 0; link < PIN_COUNT; link++) {
			const before = this.#routes[link] ?? NOT_ROUTED;
			this.#routes[link] = NOT_ROUTED;
			this.#drive(before);
		}
	}

	/** Calls back for every asserted pin that is routed to a line. */
	eachAsserted(line: number, callback: (device: number, pin: number) => void): void {
		for (let device = 0; device < DEVICES; device++) {
			for (let pin = 1; pin <= PIN_COUNT; pin++) {
				if (this.#pins[device * PIN_COUNT + pin - 1] === 1 && this.lineOf(device, pin) === line) callback(device, pin);
			}
		}
	}

	/** The line a pin is routed to, or undefined. */
	lineOf(device: number, pin: number): number | undefined {
		const route = this.#routes[linkOf(device, pin)] ?? NOT_ROUTED;
		return route & NOT_ROUTED ? undefined : route & 0x0f;
	}

	#drive(route: number): void {
		if (route & NOT_ROUTED) return;
		const line = route & 0x0f;
		let asserted = false;
		for (let link = 0; link < PIN_COUNT; link++) {
			const linkRoute = this.#routes[link] ?? NOT_ROUTED;
			if (!(linkRoute & NOT_ROUTED) && (linkRoute & 0x0f) === line && (this.#asserted[link] ?? 0) > 0) asserted = true;
		}
		this.#setIrq(line, asserted);
	}
}

/** Which of the links PIRQA to PIRQD a pin is wired to, as the PIIX3's board is: adjacent devices use different ones. */
function linkOf(device: number, pin: number): number {
	return (pin - 1 + device - 1) & 3;
}
