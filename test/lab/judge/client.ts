import type { Duplex } from "node:stream";

/** Milliseconds until an answer is given up: a start, or a reset of a whole machine, takes seconds under emulation. */
const PATIENCE = 60_000;

/** One end of a conversation in the qtest protocol: says lines, and keeps answers and interrupts apart. */
export class QtestClient {
	/** `IRQ raise N` and `IRQ lower N`, as they came. */
	readonly interrupts: string[] = [];
	readonly #socket: Duplex;
	readonly #answers: string[] = [];
	#rest = "";
	#wake: () => void = () => {};
	#closed = false;

	constructor(socket: Duplex) {
		this.#socket = socket;
		socket.on("data", (chunk) => this.#receive(chunk.toString("latin1")));
		const close = () => {
			this.#closed = true;
			this.#wake();
		};
		socket.on("close", close).on("error", close);
	}

	/** Says lines at once. @returns an answer for each */
	async say(lines: readonly string[]): Promise<string[]> {
		this.#socket.write(lines.map((line) => `${line}\n`).join(""));
		const end = Date.now() + PATIENCE;
		while (this.#answers.length < lines.length) {
			if (this.#closed) throw new Error(`The machine hung up on: ${lines[this.#answers.length]}`);
			if (Date.now() > end) throw new Error(`The machine does not answer: ${lines[this.#answers.length]}`);
			await new Promise<void>((resolve) => {
				const timer = setTimeout(resolve, 1000);
				this.#wake = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		}
		return this.#answers.splice(0);
	}

	close(): void {
		this.#socket.destroy();
	}

	#receive(text: string): void {
		const lines = (this.#rest + text).split("\n");
		this.#rest = lines.pop() ?? "";
		for (const line of lines) (line.startsWith("IRQ ") ? this.interrupts : this.#answers).push(line);
		this.#wake();
	}
}
