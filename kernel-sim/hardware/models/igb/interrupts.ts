/**
 * The interrupts of the physical function (82576 datasheet, section 7.3): ICR and its mask for the pin, MSI and a single
 * MSI-X vector; vectors by cause through IVAR with several. Throttling (EITR) is not here: every message is sent at once.
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import { ExtendedInterrupts } from "./extended-interrupts.ts";
import type { Direction } from "./queue-place.ts";
import type { RegisterFile } from "./register-file.ts";
import * as registers from "./registers.ts";

const EXTENDED_BITS = 0xffffffff;

/** Causes in, messages or a pin out. */
export class Interrupts {
	readonly #registers: RegisterFile;
	readonly #port: () => DevicePort | undefined;
	readonly #extended = new ExtendedInterrupts(EXTENDED_BITS, (vector) => this.#port()?.signal(vector));
	#causes = 0;
	#mask = 0;
	#autoMask = 0;
	/** What a single message has told of already. */
	#announced = 0;
	#extendedAnnounced = 0;

	constructor(file: RegisterFile, port: () => DevicePort | undefined) {
		this.#registers = file;
		this.#port = port;
	}

	reset(): void {
		this.#extended.reset();
		this.#causes = 0;
		this.#mask = 0;
		this.#autoMask = 0;
		this.#announced = 0;
		this.#extendedAnnounced = 0;
		this.#port()?.setIntx(false);
	}

	/** Causes of ICR happened. */
	raise(causes: number): void {
		this.#causes = (this.#causes | causes) >>> 0;
		// With several vectors all of ICR is one cause, named in the upper half of IVAR_MISC's low word.
		if (this.#multiple && (causes & this.#mask) !== 0) this.#raiseEntry(this.#registers.get(registers.IVAR_MISC) >>> 8);
		this.#announce();
	}

	/** A queue has written descriptors back. */
	queue(index: number, direction: Direction): void {
		const entries = this.#registers.get(registers.IVAR + 4 * (index & 7));
		this.#raiseEntry(entries >>> ((index < 8 ? 0 : 16) + (direction === "receive" ? 0 : 8)));
		if (!this.#multiple) this.#causes |= direction === "receive" ? registers.INT_RECEIVED : registers.INT_TRANSMITTED;
		this.#announce();
	}

	/** @returns undefined when the register is not one of interrupts */
	read(offset: number): number | undefined {
		switch (offset) {
			case registers.ICR:
				return this.#readCauses();
			case registers.ICS:
			case registers.IMC:
			case registers.EICS:
			case registers.EIMC:
				return 0;
			case registers.IMS:
				return this.#mask;
			case registers.IAM:
				return this.#autoMask;
			case registers.EIMS:
				return this.#extended.mask;
			case registers.EIAC:
				return this.#extended.autoClear;
			case registers.EIAM:
				return this.#extended.autoMask;
			case registers.EICR:
				return this.#readExtended();
			default:
				return undefined;
		}
	}

	/** @returns false when the register is not one of interrupts */
	write(offset: number, value: number): boolean {
		switch (offset) {
			case registers.ICR:
				this.#clear(value);
				break;
			case registers.ICS:
				this.raise(value & ~registers.INT_ASSERTED);
				return true;
			case registers.IMS:
				this.#unmask(value);
				break;
			case registers.IMC:
				this.#mask = (this.#mask & ~value) >>> 0;
				break;
			case registers.IAM:
				this.#autoMask = value >>> 0;
				break;
			case registers.EICS:
				this.#extended.raise(value);
				break;
			case registers.EIMS:
				this.#extended.setMask(value);
				break;
			case registers.EIMC:
				this.#extended.clearMask(value);
				break;
			case registers.EIAC:
				this.#extended.autoClear = value >>> 0;
				break;
			case registers.EIAM:
				this.#extended.autoMask = value >>> 0;
				break;
			case registers.EICR:
				this.#extended.clear(value);
				break;
			default:
				return false;
		}
		this.#announce();
		return true;
	}

	get #multiple(): boolean {
		return this.#registers.has(registers.GPIE, registers.GPIE_MULTIPLE_MSIX);
	}

	/** @param entry a byte of IVAR: the vector, and whether it is one */
	#raiseEntry(entry: number): void {
		if ((entry & registers.IVAR_VALID) !== 0) this.#extended.raise(1 << (entry & 0x1f));
	}

	#unmask(bits: number): void {
		const fresh = bits & ~this.#mask & this.#causes;
		this.#mask = (this.#mask | bits) >>> 0;
		if (fresh !== 0 && this.#multiple) this.#raiseEntry(this.#registers.get(registers.IVAR_MISC) >>> 8);
	}

	/** Reading clears, unless the driver masked what is there and did not ask for it (section 7.3.2.4). */
	#readCauses(): number {
		const asserted = (this.#causes & this.#mask) !== 0;
		const value = (this.#causes | (asserted ? registers.INT_ASSERTED : 0)) >>> 0;
		if (asserted || this.#mask === 0 || this.#registers.has(registers.GPIE, registers.GPIE_CLEAR_ON_READ)) {
			if (asserted && this.#registers.has(registers.CTRL_EXT, registers.CTRL_EXT_INTERRUPT_AUTO_MASK))
				this.#mask = (this.#mask & ~this.#autoMask) >>> 0;
			this.#clear(0xffffffff);
			this.#announce();
		}
		return value;
	}

	/** Reading clears with a single vector; with several only writing does (section 8.8.11). */
	#readExtended(): number {
		const value = this.#extended.causes;
		if (!this.#multiple) {
			this.#extended.clear(value);
			this.#announce();
		}
		return value;
	}

	#clear(bits: number): void {
		this.#causes = (this.#causes & ~bits) >>> 0;
	}

	#announce(): void {
		const port = this.#port();
		if (!port) return;
		if (this.#multiple) {
			port.setIntx(false);
			this.#extended.announce(this.#registers.has(registers.GPIE, registers.GPIE_AUTO_MASK));
			return;
		}
		const due = this.#causes & this.#mask;
		const extended = this.#extended.due;
		port.setIntx((due | extended) !== 0);
		const fresh = (due & ~this.#announced) | (extended & ~this.#extendedAnnounced);
		this.#announced = due;
		this.#extendedAnnounced = extended;
		// One vector for everything; without messages the pin tells.
		if (fresh !== 0) port.signal(0);
	}
}
