/**
 * A 16550 whose transmitter is wired to its receiver, as mtty has them (National Semiconductor PC16550D, section 8).
 *
 * @module
 */

/** Bytes of its registers, and of the BAR that they are in. */
export const PORT_SIZE = 8;
/** Bytes of a port in a migration stream. */
export const PORT_STATE_SIZE = 36;

const DATA = 0;
const IER = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const IER_RECEIVED = 0x01;
const IER_EMPTY = 0x02;
const IER_LINE_STATUS = 0x04;
const IER_MODEM_STATUS = 0x08;

const IIR_NONE = 0x01;
const IIR_EMPTY = 0x02;
const IIR_RECEIVED = 0x04;
const IIR_LINE_STATUS = 0x06;
const IIR_FIFOS = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_CLEAR = 0x06;
const LCR_DIVISOR = 0x80;
const MCR_DTR_RTS = 0x03;
const MCR_OUT2 = 0x08;
const MCR_FLOW_CONTROL = 0x20;
const LSR_READY = 0x01;
const LSR_OVERRUN = 0x02;
const LSR_EMPTY = 0x60;
const MSR_PEER_READY = 0xa2;
const MSR_CLEAR_TO_SEND = 0x11;

const FIFO_SIZE = 16;

/** Where the parts of a port are in its migration state, bytes. */
const STATE = {
	registers: 0,
	fifo: 8,
	head: 24,
	tail: 25,
	count: 26,
	divisorAccess: 27,
	overrun: 28,
	divisor: 30,
	control: 32,
	capacity: 33,
	triggerLevel: 34,
} as const;

/** One port. */
export class SerialPort {
	/** What was written, by offset. */
	readonly #registers = new Uint8Array(PORT_SIZE);
	readonly #fifo = new Uint8Array(FIFO_SIZE);
	/** Where the next byte goes, and where the oldest one is: they meet when it is empty, and when it is full. */
	#head = 0;
	#tail = 0;
	#count = 0;
	#divisorAccess = false;
	#overrun = false;
	#divisor = 0;
	#control = 0;
	#capacity = FIFO_SIZE;
	/** 0 until the FIFO's control is written, and no count of bytes ever gets to that: seen on Linux 6.12. */
	#triggerLevel = 0;
	readonly #interrupt: () => void;

	/** @param interrupt the port wants attention: once for each reason, there is no level */
	constructor(interrupt: () => void) {
		this.#interrupt = interrupt;
	}

	/** A read of one register. @returns 0 for the data register when there is nothing to take, and beyond the registers */
	read(offset: number): number {
		switch (offset) {
			case DATA:
				return this.#divisorAccess ? this.#divisor & 0xff : this.#receive();
			case IER:
				return this.#divisorAccess ? this.#divisor >> 8 : this.#enabled & 0x0f;
			case IIR_FCR:
				return this.#identification | IIR_FIFOS;
			case LCR:
			case MCR:
			case SCR:
				return this.#registers[offset] ?? 0;
			case LSR:
				return (this.#meets ? LSR_EMPTY : LSR_READY) | (this.#overrun ? LSR_OVERRUN : 0);
			case MSR: {
				const held = (this.#modem & MCR_FLOW_CONTROL) !== 0 && this.#count >= this.#capacity;
				return MSR_PEER_READY | (held ? 0 : MSR_CLEAR_TO_SEND);
			}
			default:
				return 0;
		}
	}

	/** A write of one register. */
	write(offset: number, value: number): void {
		switch (offset) {
			case DATA:
				if (this.#divisorAccess) this.#divisor |= value;
				else this.#transmit(value);
				return;
			case IER:
				if (this.#divisorAccess) {
					this.#divisor |= value << 8;
					return;
				}
				this.#registers[IER] = value;
				if ((value & IER_EMPTY) !== 0 && this.#meets) this.#interrupt();
				return;
			case IIR_FCR:
				this.#control = value;
				if ((value & FCR_CLEAR) !== 0) this.#count = this.#head = this.#tail = 0;
				// A higher trigger level would need a timer for what stays below it: there is none.
				this.#triggerLevel = 1;
				this.#capacity = (value & FCR_ENABLE) !== 0 ? FIFO_SIZE : 1;
				return;
			case LCR:
				this.#divisorAccess = (value & LCR_DIVISOR) !== 0;
				if (this.#divisorAccess) this.#divisor = 0;
				this.#registers[LCR] = value;
				return;
			case MCR:
				this.#registers[MCR] = value;
				if ((this.#enabled & IER_MODEM_STATUS) === 0) return;
				if ((value & MCR_OUT2) !== 0) this.#interrupt();
				if ((value & MCR_DTR_RTS) !== 0) this.#interrupt();
				return;
			case SCR:
				this.#registers[SCR] = value;
		}
	}

	/** Its state as a migration stream has it. */
	save(): Uint8Array {
		const bytes = new Uint8Array(PORT_STATE_SIZE);
		bytes.set(this.#registers, STATE.registers);
		bytes.set(this.#fifo, STATE.fifo);
		bytes[STATE.head] = this.#head;
		bytes[STATE.tail] = this.#tail;
		bytes[STATE.count] = this.#count;
		bytes[STATE.divisorAccess] = this.#divisorAccess ? 1 : 0;
		bytes[STATE.overrun] = this.#overrun ? 1 : 0;
		bytes[STATE.divisor] = this.#divisor & 0xff;
		bytes[STATE.divisor + 1] = this.#divisor >> 8;
		bytes[STATE.control] = this.#control;
		bytes[STATE.capacity] = this.#capacity;
		bytes[STATE.triggerLevel] = this.#triggerLevel;
		return bytes;
	}

	/** Takes a saved state, which may be anything. */
	load(bytes: Uint8Array): void {
		const at = (offset: number) => bytes[offset] ?? 0;
		this.#registers.set(bytes.subarray(STATE.registers, STATE.registers + PORT_SIZE));
		this.#fifo.set(bytes.subarray(STATE.fifo, STATE.fifo + FIFO_SIZE));
		this.#head = at(STATE.head) % FIFO_SIZE;
		this.#tail = at(STATE.tail) % FIFO_SIZE;
		this.#count = at(STATE.count);
		this.#divisorAccess = at(STATE.divisorAccess) !== 0;
		this.#overrun = at(STATE.overrun) !== 0;
		this.#divisor = at(STATE.divisor) | (at(STATE.divisor + 1) << 8);
		this.#control = at(STATE.control);
		this.#capacity = at(STATE.capacity);
		this.#triggerLevel = at(STATE.triggerLevel);
	}

	get #enabled(): number {
		return this.#registers[IER] ?? 0;
	}

	get #modem(): number {
		return this.#registers[MCR] ?? 0;
	}

	get #meets(): boolean {
		return this.#head === this.#tail;
	}

	/** Every reason that is enabled, one over the other; a 16550 would show the first. */
	get #identification(): number {
		const enabled = this.#enabled;
		let reasons = 0;
		if ((enabled & IER_LINE_STATUS) !== 0 && this.#overrun) reasons |= IIR_LINE_STATUS;
		if ((enabled & IER_RECEIVED) !== 0 && this.#count >= this.#triggerLevel) reasons |= IIR_RECEIVED;
		if ((enabled & IER_EMPTY) !== 0 && this.#meets) reasons |= IIR_EMPTY;
		// The modem's status is the reason whose number is 0, which no other number can show: it reads as none.
		return reasons === 0 ? IIR_NONE : reasons;
	}

	#receive(): number {
		if (this.#meets) {
			this.#emptied();
			return 0;
		}
		const value = this.#fifo[this.#tail] ?? 0;
		this.#tail = (this.#tail + 1) % FIFO_SIZE;
		this.#count--;
		this.#emptied();
		return value;
	}

	#emptied(): void {
		if (this.#meets && (this.#enabled & IER_EMPTY) !== 0) this.#interrupt();
	}

	/** What goes out comes in. */
	#transmit(value: number): void {
		if (this.#count >= this.#capacity) {
			this.#overrun = true;
			if ((this.#enabled & IER_LINE_STATUS) !== 0) this.#interrupt();
			return;
		}
		this.#fifo[this.#head] = value;
		this.#head = (this.#head + 1) % FIFO_SIZE;
		this.#count++;
		this.#overrun = false;
		if ((this.#enabled & IER_RECEIVED) !== 0 && this.#count === this.#triggerLevel) this.#interrupt();
	}
}
