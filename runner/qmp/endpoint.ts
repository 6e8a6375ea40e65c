/**
 * Where QMP is spoken: a Unix socket that is listened at, one that is connected to, or standard input and output.
 *
 * @module
 */
import { chmodSync, existsSync, lstatSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { VfioError } from "../../core/errors.ts";

/** How many clients may wait for their turn. */
const WAITING = 16;

/**
 * Listens at a path. A socket that a program has left behind, and at which nobody listens any more, is replaced; the new
 * one is for its owner alone.
 *
 * @throws VfioError `invalid-argument`, which says what is in the way
 */
export async function listenAt(path: string): Promise<Server> {
	const folder = dirname(path);
	if (!existsSync(folder))
		throw new VfioError("invalid-argument", `Cannot listen at "${path}": there is no folder ${folder}`, {
			remedy: ["Name a path in a folder that exists and that you may write to."],
		});
	const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
	server.maxConnections = WAITING;
	try {
		await bind(server, path);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw cannot("listen", path, error);
		await removeStale(path);
		try {
			await bind(server, path);
		} catch (again) {
			throw cannot("listen", path, again);
		}
	}
	return server;
}

/** Connects to a path. @throws VfioError `invalid-argument` */
export function connectTo(path: string): Promise<Socket> {
	return new Promise((resolve, reject) => {
		const socket = connect({ path, allowHalfOpen: true }, () => resolve(socket.off("error", refuse)));
		const refuse = (error: Error) => reject(cannot("connect", path, error));
		socket.on("error", refuse);
	});
}

function bind(server: Server, path: string): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once("error", reject);
		server.listen(path, () => resolve(void server.off("error", reject)));
		try {
			// Before this turn of the event loop ends, nobody can have connected.
			chmodSync(path, 0o600);
		} catch {
			// It could not be made: the error event says why.
		}
	});
}

async function removeStale(path: string): Promise<void> {
	if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket())
		throw new VfioError(
			"invalid-argument",
			`Cannot listen at "${path}": there is a file of that name, and it is no socket`,
			{
				remedy: ["Name another path, or remove the file."],
			},
		);
	const answers = await new Promise<boolean>((resolve) => {
		const socket = connect(path, () => {
			socket.destroy();
			resolve(true);
		});
		socket.on("error", (error: NodeJS.ErrnoException) =>
			resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
		);
	});
	if (answers)
		throw new VfioError("invalid-argument", `Cannot listen at "${path}": another program listens there`, {
			remedy: [`sudo fuser -v ${path} shows which one; end it, or name another path.`],
		});
	try {
		unlinkSync(path);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw cannot("listen", path, error);
	}
}

function cannot(what: "listen" | "connect", path: string, cause: unknown): VfioError {
	return new VfioError(
		"invalid-argument",
		`Cannot ${what} ${what === "listen" ? "at" : "to"} "${path}": ${(cause as Error).message}`,
		{
			cause,
			remedy:
				what === "listen"
					? ["Name a path in a folder that you may write to."]
					: ["Have something listen there first, or add ,server=on to listen."],
		},
	);
}
