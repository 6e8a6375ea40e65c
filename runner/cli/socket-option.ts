import { UsageError } from "./usage-error.ts";

/** Where to speak: a Unix socket as QEMU writes it, or standard input and output. */
export type SocketOption =
	| {
			readonly type: "unix";
			readonly path: string;
			/** Waits for somebody to connect; otherwise connects to somebody who waits. */
			readonly listen: boolean;
			/** Nothing starts before somebody has connected. */
			readonly wait: boolean;
	  }
	| { readonly type: "stdio" };

const SWITCHES: Readonly<Record<string, { readonly listen?: boolean; readonly wait?: boolean }>> = {
	server: { listen: true },
	"server=on": { listen: true },
	"server=off": { listen: false },
	wait: { wait: true },
	"wait=on": { wait: true },
	"wait=off": { wait: false },
	nowait: { wait: false },
};

/** Of a Unix socket, in bytes; Linux cuts longer ones off. */
const LONGEST_PATH = 107;

/**
 * Parses `unix:PATH[,server[=on]][,wait=off]` or `stdio`; `nowait` is the older word for `wait=off`.
 *
 * @param name the option that it is the value of
 * @throws UsageError
 * @example
 * ```ts
 * parseSocketOption("qmp", "unix:/tmp/q,server,nowait"); // { type: "unix", path: "/tmp/q", listen: true, wait: false }
 * ```
 */
export function parseSocketOption(name: string, text: string): SocketOption {
	if (text === "stdio") return { type: "stdio" };
	const [, path = "", rest = ""] = /^unix:([^,]+)((?:,[^,]*)*)$/.exec(text) ?? [];
	const words = rest.split(",").slice(1);
	if (path === "" || words.some((word) => !Object.hasOwn(SWITCHES, word)))
		throw new UsageError(`Option "--${name}" takes unix:PATH, unix:PATH,server=on[,wait=off] or stdio, not "${text}"`);
	const bytes = new TextEncoder().encode(path).length;
	if (bytes > LONGEST_PATH)
		throw new UsageError(`Option "--${name}" has a path of ${bytes} bytes, and a socket's has at most ${LONGEST_PATH}`);
	return Object.assign(
		{ type: "unix" as const, path, listen: false, wait: true },
		...words.map((word) => SWITCHES[word]),
	);
}
