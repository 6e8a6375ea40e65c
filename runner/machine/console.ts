/**
 * What a guest program says on its serial console.
 *
 * @module
 */

const SLOT_STATES = ["empty", "plugged", "ready", "requested", "kept", "lost", "failed", "ignored", "stuck"] as const;

/**
 * What the guest's hot-plug driver made of a slot. `empty`: off, at the start and after each removal. `plugged`: it saw
 * something come. `ready`: it has driven the device, which stays. `requested`: it was asked to let go. `kept`: that was
 * taken back. `lost`: the device was pulled out. `failed`: no link came up. `ignored`, `stuck`: in the modes for tests.
 */
export type SlotState = (typeof SLOT_STATES)[number];

/** What {@link GuestConsole} makes of the console. */
export interface ConsoleListener {
	/** A line of the console, without its end. */
	line(text: string): void;
	/** `RESULT name=value`. */
	result(name: string, value: string): void;
	/** `SLOT number state`. */
	slot(slot: number, state: SlotState): void;
	/** `GUEST PASS`, or `GUEST FAIL reason`. */
	verdict(passed: boolean, reason: string): void;
}

/** A line this long is cut, so that a guest that never ends one costs no memory without bound. */
const LONGEST_LINE = 4096;

/** Cuts the bytes of a serial port into lines, and finds the lines meant for a program. */
export class GuestConsole {
	readonly #listener: ConsoleListener;
	#line = "";

	constructor(listener: ConsoleListener) {
		this.#listener = listener;
	}

	/** A byte of the serial port. */
	byte(value: number): void {
		if (value === 0x0a || this.#line.length >= LONGEST_LINE) this.flush();
		if (value !== 0x0a && value !== 0x0d) this.#line += String.fromCharCode(value);
	}

	/** Ends the line that has begun, if one has. */
	flush(): void {
		const line = this.#line;
		if (line === "") return;
		this.#line = "";
		this.#listener.line(line);
		const result = /^RESULT ([A-Za-z0-9_.-]+)=(.*)$/.exec(line);
		if (result) this.#listener.result(result[1] ?? "", result[2] ?? "");
		const slot = /^SLOT (\d+) ([a-z]+)$/.exec(line);
		const state = SLOT_STATES.find((known) => known === slot?.[2]);
		if (state) this.#listener.slot(Number(slot?.[1]), state);
		const verdict = /^GUEST (PASS|FAIL)(?: (.*))?$/.exec(line);
		if (verdict) this.#listener.verdict(verdict[1] === "PASS", verdict[2] ?? "");
	}
}
