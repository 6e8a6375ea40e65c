import { connect, type Socket } from "node:net";

type Message = Readonly<Record<string, unknown>> & { readonly event?: string };

/** A client as programs have them: one connection, answers in order, events in between. */
export class QmpClient {
	readonly #socket: Socket;
	readonly #messages: Message[] = [];
	#rest = "";
	#wake: () => void = () => {};
	closed = false;

	private constructor(socket: Socket) {
		this.#socket = socket;
		socket.setEncoding("utf8");
		socket.on("data", (text: string) => {
			const lines = (this.#rest + text).split("\r\n");
			this.#rest = lines.pop() ?? "";
			for (const line of lines) this.#messages.push(JSON.parse(line));
			this.#wake();
		});
		socket.on("error", () => {});
		socket.on("close", () => {
			this.closed = true;
			this.#wake();
		});
	}

	/** Connects as soon as somebody listens. */
	static async connect(path: string): Promise<QmpClient> {
		for (;;) {
			const socket = await new Promise<Socket | undefined>((resolve) => {
				const attempt = connect(path, () => resolve(attempt));
				attempt.once("error", () => setTimeout(() => resolve(undefined), 5));
			});
			if (socket) return new QmpClient(socket);
		}
	}

	/** The next message that fits, taken out of those that came; undefined when the connection ends first. */
	async next(fits: (message: Message) => boolean): Promise<Message | undefined> {
		for (;;) {
			const at = this.#messages.findIndex(fits);
			if (at >= 0) return this.#messages.splice(at, 1)[0];
			if (this.closed) return undefined;
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
		}
	}

	greeting(): Promise<Message | undefined> {
		return this.next((message) => "QMP" in message);
	}

	event(name: string): Promise<Message | undefined> {
		return this.next(({ event }) => event === name);
	}

	async command(execute: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
		this.send(JSON.stringify({ execute, ...(args ? { arguments: args } : {}) }));
		const answer = await this.next((message) => "return" in message || "error" in message);
		return answer?.["return"] ?? answer?.["error"];
	}

	send(text: string): void {
		this.#socket.write(text);
	}

	/** Says nothing more, and listens on. */
	end(): void {
		this.#socket.end();
	}

	/** Vanishes. */
	destroy(): void {
		this.#socket.destroy();
	}
}
