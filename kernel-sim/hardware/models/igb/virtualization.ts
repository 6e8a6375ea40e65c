/**
 * What the physical function knows of its virtual ones (82576 datasheet, section 7.10): which there are, their mailboxes, and
 * the registers that tell who wants something.
 *
 * @module
 */
import type { IgbVf } from "./igb-vf.ts";
import type { Interrupts } from "./interrupts.ts";
import { Mailbox, type MailboxListener } from "./mailbox.ts";
import type { RegisterFile } from "./register-file.ts";
import * as registers from "./registers.ts";

/** The virtual functions of one controller. */
export class Virtualization implements MailboxListener {
	/** By pool. */
	readonly functions: (IgbVf | undefined)[] = new Array(registers.POOLS).fill(undefined);
	readonly mailboxes: readonly Mailbox[];
	readonly #registers: RegisterFile;
	readonly #interrupts: Interrupts;
	/** MBVFICR: requests below, acknowledgements in the upper half. */
	#mail = 0;
	/** VFLRE: virtual functions that were reset. */
	#resets = 0;

	constructor(file: RegisterFile, interrupts: Interrupts) {
		this.#registers = file;
		this.#interrupts = interrupts;
		this.mailboxes = Array.from({ length: registers.POOLS }, (_, pool) => new Mailbox(pool, this));
	}

	/** The physical function was reset. */
	reset(): void {
		this.#mail = 0;
		this.#resets = 0;
		for (const box of this.mailboxes) box.reset();
	}

	/** What STATUS tells: whether there are virtual functions, and how many. */
	get status(): number {
		let count = 0;
		for (const vf of this.functions) if (vf) count += 1;
		return count === 0 ? 0 : registers.STATUS_IOV | (count << registers.STATUS_VFS_SHIFT);
	}

	/**
	 * A virtual function was reset: it neither sends nor receives until the physical function's driver lets it again, who is
	 * told; and its side of the mailbox is free.
	 */
	functionReset(pool: number): void {
		const file = this.#registers;
		for (const enable of [registers.VFRE, registers.VFTE]) file.set(enable, file.get(enable) & ~(1 << pool));
		this.mailboxes[pool]?.virtualReset();
		this.#resets |= 1 << pool;
		this.#interrupts.raise(registers.INT_MAILBOX);
	}

	/** CTRL_EXT.PFRSTD. */
	resetDone(): void {
		for (const box of this.mailboxes) box.resetDone();
	}

	toPhysical(pool: number, request: boolean, acknowledge: boolean): void {
		this.#mail |= (request ? 1 << pool : 0) | (acknowledge ? 1 << (pool + 16) : 0);
		if (this.#registers.has(registers.MBVFIMR, 1 << pool)) this.#interrupts.raise(registers.INT_MAILBOX);
	}

	toVirtual(pool: number): void {
		this.functions[pool]?.mail();
	}

	/** @returns undefined when the register is none of these */
	read(offset: number): number | undefined {
		if (offset >= registers.PF_MAILBOX && offset < registers.PF_MAILBOX_END)
			return this.mailboxes[(offset - registers.PF_MAILBOX) / 4]?.readPhysical();
		if (offset === registers.MBVFICR) return this.#mail;
		return offset === registers.VFLRE ? this.#resets : undefined;
	}

	/** @returns false when the register is none of these */
	write(offset: number, value: number): boolean {
		if (offset >= registers.PF_MAILBOX && offset < registers.PF_MAILBOX_END)
			this.mailboxes[(offset - registers.PF_MAILBOX) / 4]?.writePhysical(value);
		else if (offset === registers.MBVFICR) this.#mail &= ~value;
		else if (offset === registers.VFLRE) this.#resets &= ~value;
		else return false;
		return true;
	}
}
