/**
 * The mailbox between the physical function and each virtual one (82576 datasheet, section 7.10.2.9): 64 bytes that the one
 * who owns the buffer writes, and bits that tell the other side.
 *
 * @module
 */

// Bits of VFMailbox, as the virtual function sees them.
const REQUEST = 1 << 0;
const ACKNOWLEDGE = 1 << 1;
const VF_OWNS = 1 << 2;
const PF_OWNS = 1 << 3;
const PF_STATUS = 1 << 4;
const PF_ACKNOWLEDGED = 1 << 5;
const RESET_INDICATION = 1 << 6;
const RESET_DONE = 1 << 7;
/** Bits that a read by the virtual function clears. */
const READ_CLEARS = PF_STATUS | PF_ACKNOWLEDGED | RESET_DONE;

// Bits of PFMailbox, as the physical function sees them. Those that say who owns the buffer are the same.
const STATUS = 1 << 0;
const PF_ACKNOWLEDGE = 1 << 1;
const RESET_VF_OWNS = 1 << 4;

/** Who is to be told of a mailbox write. */
export interface MailboxListener {
	/** The virtual function has a message, or has taken one. */
	toPhysical(pool: number, request: boolean, acknowledge: boolean): void;
	/** The physical function has a message, or has taken one. */
	toVirtual(pool: number): void;
}

/** One mailbox. */
export class Mailbox {
	readonly #pool: number;
	readonly #listener: MailboxListener;
	/** Everything but what is only an event. */
	#bits = RESET_INDICATION;

	constructor(pool: number, listener: MailboxListener) {
		this.#pool = pool;
		this.#listener = listener;
	}

	/** The physical function was reset, and its driver has not yet said that it is there again. */
	reset(): void {
		this.#bits = RESET_INDICATION;
	}

	/** The virtual function was reset: it lets go of the buffer. */
	virtualReset(): void {
		this.#bits &= ~(VF_OWNS | PF_STATUS | PF_ACKNOWLEDGED);
	}

	/** CTRL_EXT.PFRSTD: the driver of the physical function is there. */
	resetDone(): void {
		this.#bits = (this.#bits & ~RESET_INDICATION) | RESET_DONE;
	}

	/** A read of VFMailbox. */
	readVirtual(): number {
		const bits = this.#bits;
		this.#bits &= ~READ_CLEARS;
		return bits;
	}

	/** A write to VFMailbox. */
	writeVirtual(value: number): void {
		this.#own(value, VF_OWNS, PF_OWNS);
		const request = (value & REQUEST) !== 0;
		const acknowledge = (value & ACKNOWLEDGE) !== 0;
		if (request || acknowledge) this.#listener.toPhysical(this.#pool, request, acknowledge);
	}

	/** A read of PFMailbox. */
	readPhysical(): number {
		return this.#bits & (VF_OWNS | PF_OWNS);
	}

	/** A write to PFMailbox. */
	writePhysical(value: number): void {
		if ((value & RESET_VF_OWNS) !== 0) this.#bits &= ~VF_OWNS;
		this.#own(value, PF_OWNS, VF_OWNS);
		if ((value & STATUS) !== 0) this.#bits |= PF_STATUS;
		if ((value & PF_ACKNOWLEDGE) !== 0) this.#bits |= PF_ACKNOWLEDGED;
		if ((value & (STATUS | PF_ACKNOWLEDGE)) !== 0) this.#listener.toVirtual(this.#pool);
	}

	/** The buffer is whose bit is set; it is taken only while the other side has it not. */
	#own(value: number, mine: number, other: number): void {
		if ((value & mine) === 0) this.#bits &= ~mine;
		else if ((this.#bits & other) === 0) this.#bits |= mine;
	}
}
