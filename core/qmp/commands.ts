/**
 * The commands, and what each takes.
 *
 * @module
 */
import { QmpError } from "./fault.ts";
import { memberText } from "./json-text.ts";

type ArgumentType = "string" | "array";

/** A command's arguments. */
export interface CommandSpec {
	readonly arguments: Readonly<Record<string, { readonly type: ArgumentType; readonly required?: boolean }>>;
	/** Takes others as well, if they are strings, numbers or truth values. */
	readonly open?: boolean;
}

const NONE: CommandSpec = { arguments: {} };

/** By name, in the order in which `query-commands` lists them. */
export const COMMANDS = {
	qmp_capabilities: { arguments: { enable: { type: "array" } } },
	"query-version": NONE,
	"query-commands": NONE,
	"query-status": NONE,
	"query-pci": NONE,
	stop: NONE,
	cont: NONE,
	system_reset: NONE,
	quit: NONE,
	device_add: {
		arguments: { driver: { type: "string", required: true }, id: { type: "string" } },
		open: true,
	},
	device_del: { arguments: { id: { type: "string", required: true } } },
} as const satisfies Readonly<Record<string, CommandSpec>>;

/** The name of a command. */
export type CommandName = keyof typeof COMMANDS;

/** What a client asks for. */
export interface QmpRequest {
	readonly command: CommandName;
	readonly arguments: Readonly<Record<string, unknown>>;
}

/** The id of a request as it was written, whatever else is wrong with the request. */
export function requestId(text: string): string | undefined {
	return memberText(text, "id");
}

/**
 * Checks that an object is a request.
 *
 * @param stringIds an id must be a string
 * @throws QmpError
 */
export function readRequest(value: Readonly<Record<string, unknown>>, stringIds: boolean): QmpRequest {
	const { execute, id } = value;
	if (stringIds && id !== undefined && id !== null && typeof id !== "string")
		throw new QmpError({ type: "id-not-a-string", got: describeType(id) });
	const unexpected = Object.keys(value).find((name) => !["execute", "arguments", "id"].includes(name));
	if (unexpected !== undefined) throw new QmpError({ type: "unexpected-member", name: unexpected });
	if (execute === undefined) throw new QmpError({ type: "missing-execute" });
	if (typeof execute !== "string") throw new QmpError({ type: "execute-not-a-string" });
	const hasArguments = Object.hasOwn(value, "arguments");
	const given = hasArguments ? value["arguments"] : {};
	if (!isObject(given)) throw new QmpError({ type: "arguments-not-an-object" });
	if (!isCommand(execute)) throw new QmpError({ type: "unknown-command", name: execute, known: Object.keys(COMMANDS) });
	checkArguments(COMMANDS[execute], given, hasArguments);
	return { command: execute, arguments: given };
}

function checkArguments(spec: CommandSpec, given: Readonly<Record<string, unknown>>, hasArguments: boolean): void {
	for (const [name, { type, required }] of Object.entries(spec.arguments)) {
		const value = Object.hasOwn(given, name) ? given[name] : undefined;
		if (value === undefined) {
			if (required) throw new QmpError({ type: "missing-argument", name, hasArguments });
		} else if (type === "array") requireStrings(name, value);
		else if (typeof value !== type) throw wrongType(name, type, value);
	}
	for (const [name, value] of Object.entries(given)) {
		if (Object.hasOwn(spec.arguments, name)) continue;
		if (!spec.open) throw new QmpError({ type: "unexpected-argument", name, known: Object.keys(spec.arguments) });
		if (!["string", "number", "boolean"].includes(typeof value)) throw wrongType(name, "string", value);
	}
}

function requireStrings(name: string, value: unknown): void {
	if (!Array.isArray(value)) throw wrongType(name, "array", value);
	const wrong = value.findIndex((element) => typeof element !== "string");
	if (wrong >= 0) throw wrongType(`${name}[${wrong}]`, "string", value[wrong]);
}

function wrongType(name: string, expected: string, value: unknown): QmpError {
	return new QmpError({ type: "wrong-type", name, expected, got: describeType(value) });
}

/** As the reader of JSON that StratoVirt uses says it. */
function describeType(value: unknown): string {
	if (value === null) return "null";
	if (Array.isArray(value)) return "sequence";
	if (typeof value === "number") return `${Number.isInteger(value) ? "integer" : "floating point"} \`${value}\``;
	if (typeof value === "string") return `string ${JSON.stringify(value)}`;
	if (typeof value === "boolean") return `boolean \`${value}\``;
	return "map";
}

function isCommand(name: string): name is CommandName {
	return Object.hasOwn(COMMANDS, name);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}
