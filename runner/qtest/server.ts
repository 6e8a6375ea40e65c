/**
 * Where the qtest protocol is spoken: a Unix socket, or standard input and output.
 *
 * @module
 */
import { createServer, connect as dial, type Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { VfioError } from "../../core/errors.ts";
import type { QtestMachine } from "./machine.ts";
import { QtestSession, type QtestSessionOptions } from "./session.ts";

/** Where to speak. */
export interface QtestEndpoint {
	/** Of a Unix socket. */
	readonly path: string;
	/** Waits for somebody to connect; otherwise connects to somebody who waits. */
	readonly listen: boolean;
}

/** A byte stream in both directions. */
export interface QtestStreams {
	readonly input: Readable;
	readonly output: Writable;
}

/**
 * Opens the socket.
 *
 * @param interrupted ends the wait
 * @returns the connection; undefined when interrupted
 * @throws VfioError `invalid-argument` when the path cannot be used
 */
export async function openEndpoint(endpoint: QtestEndpoint, interrupted: AbortSignal): Promise<Socket | undefined> {
	const { path } = endpoint;
	try {
		return await (endpoint.listen ? accept(path, interrupted) : connect(path));
	} catch (cause) {
		throw new VfioError("invalid-argument", `Cannot speak qtest at "${path}": ${(cause as Error).message}`, {
			cause,
			remedy: endpoint.listen
				? ["Name a path that does not exist yet, in a folder that does"]
				: ["Have something listen there first, or add ,server=on to listen"],
		});
	}
}

/** Speaks until the other side has said all it wanted, or until interrupted. */
export function serve(
	machine: QtestMachine,
	streams: QtestStreams,
	options: Omit<QtestSessionOptions, "send">,
	interrupted: AbortSignal,
): Promise<void> {
	const { input, output } = streams;
	return new Promise((resolve, reject) => {
		const session = new QtestSession(machine, {
			...options,
			send: (line) => void (output.writable && output.write(`${line}\n`)),
		});
		let last = Promise.resolve();
		const stop = (error?: unknown) => {
			input.off("data", receive).off("end", ended).off("error", stop);
			output.off("error", stop);
			interrupted.removeEventListener("abort", abort);
			input.pause();
			if (error instanceof Error && (error as NodeJS.ErrnoException).code !== "EPIPE") reject(error);
			else resolve();
		};
		const receive = (chunk: Buffer | string) => {
			last = session.receive(chunk.toString()).catch(stop);
		};
		const ended = () => void last.then(() => stop());
		const abort = () => stop();
		input.on("data", receive).on("end", ended).on("error", stop);
		output.on("error", stop);
		interrupted.addEventListener("abort", abort);
		if (interrupted.aborted) stop();
	});
}

function connect(path: string): Promise<Socket> {
	return new Promise((resolve, reject) => {
		const socket = dial(path, () => resolve(socket.off("error", reject)));
		socket.on("error", reject);
	});
}

function accept(path: string, interrupted: AbortSignal): Promise<Socket | undefined> {
	return new Promise((resolve, reject) => {
		const server = createServer();
		const end = (socket?: Socket) => {
			interrupted.removeEventListener("abort", abort);
			server.close();
			resolve(socket);
		};
		const abort = () => end();
		server.once("connection", end);
		server.on("error", reject);
		interrupted.addEventListener("abort", abort);
		server.listen(path);
	});
}
