/**
 * The two ways to write the protocol: as QEMU does, and as the documentation of StratoVirt's first release has it.
 *
 * @module
 */
import { type MachineEvent, nameEvent } from "./events.ts";
import type { QmpFault } from "./fault.ts";
import { jsonText, respaced } from "./json-text.ts";
import type { RunState } from "./machine.ts";

/**
 * `wire`: QEMU's bytes. Capabilities are negotiated first, ids are any JSON, the answer to `device_del` comes before its
 * event, and a device is at `/machine/peripheral/<id>`. `doc`: the bytes that StratoVirt's documentation prints. Nothing is
 * negotiated, ids are strings, `DEVICE_DELETED` comes before the answer (which the commands behind it wait for, until the
 * guest's time is up), a device's path is its id, and no more than a hundred requests are taken in a second.
 */
export type QmpDialect = "wire" | "doc";

/** Who speaks. */
export interface QmpVersion {
	readonly major: number;
	readonly minor: number;
	readonly micro: number;
	/** The program and its own version. */
	readonly package: string;
}

/** How a dialect writes, and what it asks for. */
export interface DialectRules {
	/** `qmp_capabilities` comes before anything else. */
	readonly negotiates: boolean;
	/** Ids are strings, or there is none. */
	readonly stringIds: boolean;
	/** `device_del` is answered when the device has gone. */
	readonly waitsForUnplug: boolean;
	/** A device without a name can be added. */
	readonly idOptional: boolean;
	readonly requestsPerSecond: number | undefined;
	greeting(version: QmpVersion): string;
	version(version: QmpVersion): unknown;
	status(state: RunState): unknown;
	/** @param id as it was written */
	result(value: unknown, id: string | undefined): string;
	/** @param id as it was written */
	failure(fault: QmpFault, id: string | undefined): string;
	/** @param time microseconds since 1970 */
	event(event: MachineEvent, time: number): string;
}

const MICROSECONDS = 1_000_000;

/** The rules of a dialect. */
export function dialectRules(dialect: QmpDialect): DialectRules {
	return dialect === "wire" ? WIRE : DOC;
}

const WIRE: DialectRules = {
	negotiates: true,
	stringIds: false,
	waitsForUnplug: false,
	idOptional: true,
	requestsPerSecond: undefined,
	greeting: (version) => line({ QMP: { version: versionIn(version), capabilities: [] } }, true),
	version: versionIn,
	status: (status) => ({ status, running: status === "running" }),
	result: (value, id) =>
		`{"return": ${jsonText(value, true)}${id === undefined ? "" : `, "id": ${respaced(id, true)}`}}\r\n`,
	failure: (fault, id) =>
		`{${id === undefined ? "" : `"id": ${respaced(id, true)}, `}"error": ${jsonText(wireError(fault), true)}}\r\n`,
	event: (event, time) => {
		const { name, data } = nameEvent(event, (id) => `/machine/peripheral/${id}`);
		return line({ timestamp: timestamp(time), event: name, ...(data && { data }) }, true);
	},
};

const DOC: DialectRules = {
	negotiates: false,
	stringIds: true,
	waitsForUnplug: true,
	idOptional: false,
	requestsPerSecond: 100,
	greeting: (version) => line({ QMP: { version: versionIn(version), capabilities: [] } }, false),
	version: versionIn,
	status: (status) => ({ running: status === "running", singlestep: false, status }),
	result: (value, id) =>
		`{"return":${jsonText(value, false)}${id === undefined ? "" : `,"id":${respaced(id, false)}`}}\r\n`,
	failure: (fault, id) => {
		// What cannot be read as a command has no id that could be trusted.
		const echoed = id === undefined || READING_FAULTS.has(fault.type) ? "" : `,"id":${respaced(id, false)}`;
		return `{"error":${jsonText(docError(fault), false)}${echoed}}\r\n`;
	},
	event: (event, time) => {
		const { name, data } = nameEvent(event, (id) => id);
		return line({ event: name, data: data ?? {}, timestamp: timestamp(time) }, false);
	},
};

/** What is found while a request is read, before it is one. */
const READING_FAULTS: ReadonlySet<QmpFault["type"]> = new Set([
	"syntax",
	"not-an-object",
	"missing-execute",
	"execute-not-a-string",
	"unexpected-member",
	"arguments-not-an-object",
	"id-not-a-string",
	"unknown-command",
	"missing-argument",
	"unexpected-argument",
	"wrong-type",
	"unknown-property",
]);

function line(value: unknown, spaced: boolean): string {
	return `${jsonText(value, spaced)}\r\n`;
}

function versionIn({ micro, minor, major, package: name }: QmpVersion): unknown {
	return { qemu: { micro, minor, major }, package: name };
}

function timestamp(time: number): unknown {
	return { seconds: Math.floor(time / MICROSECONDS), microseconds: Math.floor(time % MICROSECONDS) };
}

interface ErrorObject {
	readonly class: string;
	readonly desc: string;
}

/** QEMU's words where it has some. */
function wireError(fault: QmpFault): ErrorObject {
	switch (fault.type) {
		case "unknown-command":
			return { class: "CommandNotFound", desc: `The command ${fault.name} has not been found` };
		case "not-negotiated":
			return { class: "CommandNotFound", desc: "Expecting capabilities negotiation with 'qmp_capabilities'" };
		case "negotiated-already":
			return {
				class: "CommandNotFound",
				desc: "Capabilities negotiation is already complete, command ignored",
			};
		case "device-not-found":
			return { class: "DeviceNotFound", desc: `Device '${fault.id}' not found` };
		default:
			return { class: "GenericError", desc: wireWords(fault) };
	}
}

function wireWords(
	fault: Exclude<QmpFault, { type: "unknown-command" | "not-negotiated" | "negotiated-already" | "device-not-found" }>,
): string {
	switch (fault.type) {
		case "syntax":
			return `JSON parse error, this is not JSON: ${fault.near}`;
		case "oversize":
			return `JSON token size limit exceeded: a request has at most ${fault.limit} characters`;
		case "too-deep":
			return `JSON nesting depth limit exceeded: a request has at most ${fault.depth} levels`;
		case "not-an-object":
			return "QMP input must be a JSON object";
		case "missing-execute":
			return "QMP input lacks member 'execute'";
		case "execute-not-a-string":
			return "QMP input member 'execute' must be a string";
		case "unexpected-member":
			return `QMP input member '${fault.name}' is unexpected`;
		case "arguments-not-an-object":
			return "QMP input member 'arguments' must be an object";
		case "id-not-a-string":
			return "QMP input member 'id' must be a string";
		case "missing-argument":
			return `Parameter '${fault.name}' is missing`;
		case "unexpected-argument":
			return `Parameter '${fault.name}' is unexpected`;
		case "wrong-type":
			return `Invalid parameter type for '${fault.name}', expected: ${fault.expected}`;
		case "unknown-capability":
			return `Capability '${fault.name}' is not available: this server has none`;
		case "throttled":
			return `More than ${fault.requests} requests received during 1 second`;
		case "empty-id":
			return "Parameter 'id' is empty";
		case "duplicate-id":
			return `Duplicate device ID '${fault.id}'`;
		case "unknown-driver":
			return `'${fault.driver}' is not a valid device model name; known are ${fault.known.join(", ")}`;
		case "unknown-property":
			return `Property '${fault.driver}.${fault.name}' not found; known are ${fault.known.join(", ")}`;
		case "unplugging-already":
			return `Device ${fault.id} is already in the process of unplug`;
		case "failed":
			return fault.reason;
	}
}

/** The words of StratoVirt and of the JSON reader that it uses; everything is a GenericError unless documented otherwise. */
function docError(fault: QmpFault): ErrorObject {
	const generic = (desc: string): ErrorObject => ({ class: "GenericError", desc });
	switch (fault.type) {
		case "throttled":
			return { class: "OperationThrottled", desc: wireWords(fault) };
		case "device-not-found":
			return { class: "DeviceNotFound", desc: `Device ${fault.id} not found` };
		case "syntax":
			return generic(`expected value: ${fault.near}`);
		case "not-an-object":
			return generic("invalid type, expected a request object");
		case "missing-execute":
			return generic("missing field `execute`");
		case "execute-not-a-string":
			return generic("invalid type for `execute`, expected a string");
		case "unexpected-member":
			return generic(`unknown field \`${fault.name}\`, expected one of ${quoted(["execute", "arguments", "id"])}`);
		case "arguments-not-an-object":
			return generic("invalid type for `arguments`, expected an object");
		case "id-not-a-string":
			return generic(`invalid type: ${fault.got}, expected a string`);
		case "unknown-command":
			return generic(`unknown variant \`${fault.name}\`, expected one of ${quoted(fault.known)}`);
		case "missing-argument":
			return generic(`missing field \`${fault.hasArguments ? fault.name : "arguments"}\``);
		case "unexpected-argument":
		case "unknown-property":
			return generic(`unknown field \`${fault.name}\`, expected one of ${quoted(fault.known)}`);
		case "wrong-type":
			return generic(`invalid type: ${fault.got}, expected a ${fault.expected}`);
		case "empty-id":
			return generic("Device id is empty");
		case "duplicate-id":
			return generic(`Device id ${fault.id} existed`);
		case "unknown-driver":
			return generic(`Failed to add device: Driver ${fault.driver} is not support`);
		case "not-negotiated":
		case "negotiated-already":
			return wireError(fault);
		default:
			return generic(wireWords(fault));
	}
}

function quoted(names: readonly string[]): string {
	return names.map((name) => `\`${name}\``).join(", ");
}
