/**
 * A conversation in the qtest protocol.
 *
 * @module
 */
import type { Clock } from "../../core/kernel.ts";
import type { QtestMachine } from "./machine.ts";
import { formatData, formatMemoryValue, formatPortValue, parseCommand, QtestSyntaxError } from "./protocol.ts";

/** What the protocol calls the interrupt controller whose inputs are watched. */
const INTERRUPT_CONTROLLER = "ioapic";
const NS_PER_MS = 1e6;

/** Options of a {@link QtestSession}. */
export interface QtestSessionOptions {
	/** Takes a line, without its end. */
	readonly send: (line: string) => void;
	/** What `clock_step` waits on: the clock of the kernel. */
	readonly clock: Clock;
	/** Moves a clock that stands still; a clock that runs by itself is waited for. */
	readonly advance?: (nanoseconds: number) => void;
}

/**
 * Answers commands in their order, and tells of interrupt lines once `irq_intercept_in ioapic` has asked for it. Interrupts
 * that are due arrive between two commands.
 */
export class QtestSession {
	readonly #machine: QtestMachine;
	readonly #options: QtestSessionOptions;
	readonly #lines: string[] = [];
	#rest = "";
	#running: Promise<void> | undefined;
	#intercepting = false;

	constructor(machine: QtestMachine, options: QtestSessionOptions) {
		this.#machine = machine;
		this.#options = options;
		machine.onInterruptLine = (line, asserted) => {
			if (this.#intercepting) options.send(`IRQ ${asserted ? "raise" : "lower"} ${line}`);
		};
	}

	/** Takes what came in, whole lines or not. @returns when all commands that are whole have been answered */
	receive(text: string): Promise<void> {
		const lines = (this.#rest + text).split("\n");
		this.#rest = lines.pop() ?? "";
		this.#lines.push(...lines);
		this.#running ??= this.#run().finally(() => {
			this.#running = undefined;
		});
		return this.#running;
	}

	async #run(): Promise<void> {
		for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
			const answer = this.#answer(line.replace(/\r$/, ""));
			this.#options.send(typeof answer === "string" ? answer : await answer);
			await undefined; // interrupts of a simulated kernel arrive now
		}
	}

	#answer(line: string): string | Promise<string> {
		try {
			return this.#execute(line);
		} catch (error) {
			if (error instanceof QtestSyntaxError) return `FAIL ${error.message}`;
			throw error;
		}
	}

	#execute(line: string): string | Promise<string> {
		const machine = this.#machine;
		const command = parseCommand(line);
		switch (command.type) {
			case "in":
				return formatPortValue(machine.portRead(command.port, command.width));
			case "out":
				machine.portWrite(command.port, command.width, command.value);
				return "OK";
			case "load":
				return formatMemoryValue(this.#read(command.address, command.width));
			case "read":
				return formatData(this.#read(command.address, command.length), command.encoding);
			case "write":
				machine.write(command.address, command.data);
				return "OK";
			case "fill":
				machine.write(command.address, new Uint8Array(command.length).fill(command.value));
				return "OK";
			case "clock-step":
				return this.#step(command.nanoseconds ?? 0);
			case "intercept":
				if (command.path !== INTERRUPT_CONTROLLER) return "FAIL Unknown device";
				this.#intercepting = true;
				return "OK";
			case "endianness":
				return "OK little";
		}
	}

	#read(address: bigint, length: number): Uint8Array {
		const bytes = new Uint8Array(length);
		this.#machine.read(address, bytes);
		return bytes;
	}

	async #step(nanoseconds: number): Promise<string> {
		const { clock, advance } = this.#options;
		if (advance) advance(nanoseconds);
		else await new Promise<void>((resolve) => setTimeout(resolve, nanoseconds / NS_PER_MS));
		return `OK ${Math.floor(clock.now())}`;
	}
}
