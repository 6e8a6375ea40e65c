/**
 * QMP on byte streams: one client has the monitor, others wait for their turn.
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { QmpMonitor } from "../../core/qmp/mod.ts";
import type { SocketOption } from "../cli/socket-option.ts";
import { connectTo, listenAt } from "./endpoint.ts";

/** A byte stream in both directions. */
export interface QmpStreams {
	readonly input: Readable;
	readonly output: Writable;
}

/** A server; closing it sends what was answered already, and removes the socket. */
export interface QmpServer {
	/** Settles when the first client is there. */
	readonly connected: Promise<void>;
	close(): Promise<void>;
}

/**
 * Speaks where the option says.
 *
 * @param stdio what standard input and output are
 * @throws VfioError `invalid-argument` when a path cannot be used
 */
export async function serveQmp(monitor: QmpMonitor, option: SocketOption, stdio: QmpStreams): Promise<QmpServer> {
	if (option.type === "stdio") return converse(monitor, stdio);
	if (option.listen) return new Listener(monitor, await listenAt(option.path));
	const socket = await connectTo(option.path);
	return converse(monitor, { input: socket, output: socket });
}

/** A client that does not read is not waited for longer than this when everything ends. */
const LAST_WORDS_MS = 250;

/** One client, from its greeting to its end. */
class Conversation {
	/** Settles when the client has gone, or has said all it wanted and been answered. */
	readonly ended: Promise<void>;
	readonly #streams: QmpStreams;
	readonly #close: () => Promise<void>;

	constructor(monitor: QmpMonitor, streams: QmpStreams) {
		this.#streams = streams;
		const { input, output } = streams;
		const decoder = new StringDecoder("utf8");
		let last: Promise<void> = Promise.resolve();
		let end: () => void = () => {};
		this.ended = new Promise((resolve) => {
			end = resolve;
		});
		const session = monitor.connect((text) => {
			if (!output.writable || output.write(text)) return undefined;
			return new Promise<void>((resolve) => {
				const done = () => {
					output.off("drain", done).off("close", done).off("error", done);
					resolve();
				};
				output.on("drain", done).on("close", done).on("error", done);
			});
		});
		const receive = (chunk: Buffer) => {
			// Until this has been answered nothing more is read: that bounds what a client can have us keep.
			input.pause();
			last = session.receive(decoder.write(chunk)).finally(() => input.resume());
		};
		const gone = () => {
			input.off("data", receive).off("end", said).off("error", gone).off("close", gone);
			output.off("error", gone).off("close", gone);
			input.pause();
			// What a client that vanished leaves behind in the streams is nobody's error.
			for (const stream of new Set([input, output])) stream.on("error", () => {});
			session.end();
			end();
		};
		const said = () => void last.then(gone);
		input.on("data", receive).on("end", said).on("error", gone).on("close", gone);
		output.on("error", gone).on("close", gone);
		input.resume();
		this.#close = async () => {
			await orLater(last);
			gone();
		};
	}

	/** Lets it finish what it has begun, and leaves it. */
	async close(): Promise<void> {
		await this.#close();
		await this.finish();
	}

	/** What was written is sent before the stream ends. Standard output stays. */
	async finish(): Promise<void> {
		const { input, output } = this.#streams;
		if (!isSocket(output)) return;
		await orLater(
			new Promise<void>((resolve) => {
				output.once("close", resolve);
				if (output.destroyed) resolve();
				else output.end(resolve);
			}),
		);
		for (const socket of new Set([input, output])) socket.destroy();
	}
}

/** Waits, but not for ever. */
async function orLater(promise: Promise<void>): Promise<void> {
	let timer: ReturnType<typeof setTimeout> | undefined;
	const late = new Promise<void>((resolve) => {
		timer = setTimeout(resolve, LAST_WORDS_MS);
	});
	await Promise.race([promise, late]);
	clearTimeout(timer);
}

function isSocket(stream: Readable | Writable): stream is Socket {
	return "connecting" in stream && !("fd" in stream && (stream.fd === 0 || stream.fd === 1));
}

function converse(monitor: QmpMonitor, streams: QmpStreams): QmpServer {
	const conversation = new Conversation(monitor, streams);
	void conversation.ended.then(() => conversation.finish());
	return { connected: Promise.resolve(), close: () => conversation.close() };
}

/** Takes clients one after the other. */
class Listener implements QmpServer {
	readonly connected: Promise<void>;
	readonly #monitor: QmpMonitor;
	readonly #server: Server;
	readonly #waiting: Socket[] = [];
	#current: Conversation | undefined;
	#closed = false;

	constructor(monitor: QmpMonitor, server: Server) {
		this.#monitor = monitor;
		this.#server = server;
		this.connected = new Promise((resolve) => server.once("connection", () => resolve()));
		server.on("connection", (socket: Socket) => {
			socket.on("error", () => {}); // one that waits may vanish
			this.#waiting.push(socket);
			this.#next();
		});
	}

	async close(): Promise<void> {
		this.#closed = true;
		for (const socket of this.#waiting.splice(0)) socket.destroy();
		const closed = new Promise<void>((resolve) => this.#server.close(() => resolve())); // removes the socket
		await this.#current?.close();
		await closed;
	}

	#next(): void {
		if (this.#current || this.#closed) return;
		const socket = this.#waiting.shift();
		if (!socket) return;
		if (socket.destroyed) {
			this.#next();
			return;
		}
		const conversation = new Conversation(this.#monitor, { input: socket, output: socket });
		this.#current = conversation;
		void conversation.ended
			.then(() => conversation.finish())
			.then(() => {
				this.#current = undefined;
				this.#next();
			});
	}
}
