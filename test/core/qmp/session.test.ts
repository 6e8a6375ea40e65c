import { beforeEach, describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import { type QmpDialect, QmpMonitor, type QmpSession } from "../../../core/qmp/mod.ts";
import { FakeMachine } from "./fake-machine.ts";
import { play, transcript } from "./transcript.ts";

const TIME = 1_614_310_541_554_250;
const VERSION = { major: 10, minor: 0, micro: 2, package: "vfio-ts 1.2.3" };
const soon = () => new Promise<void>((resolve) => setImmediate(resolve));

let machine: FakeMachine;
let monitor: QmpMonitor;
let session: QmpSession;
let text: string;
let time: number;

function connect(dialect: QmpDialect): void {
	machine = new FakeMachine();
	monitor = new QmpMonitor({ machine, dialect, version: VERSION, now: () => time, limits: { length: 2000 } });
	machine.monitor = monitor;
	session = monitor.connect((sent) => {
		text += sent;
		return undefined;
	});
}

/** Sends requests and takes what was answered, greeting and earlier answers left out. */
async function ask(...requests: unknown[]): Promise<string[]> {
	text = "";
	for (const request of requests)
		await session.receive(`${typeof request === "string" ? request : JSON.stringify(request)}\n`);
	return text.split("\r\n").slice(0, -1);
}

beforeEach(() => {
	text = "";
	time = TIME;
});

describe("QmpSession in the dialect wire", () => {
	beforeEach(() => connect("wire"));

	it("answers byte by byte what QEMU 10.0.2 answered", async () => {
		const stamp = /"timestamp": \{[^}]*\}/g;
		const lines = transcript("qemu-10.0.2.txt").map((line) => ({
			...line,
			text: line.text.replaceAll(stamp, '"timestamp": {"seconds": 1614310541, "microseconds": 554250}'),
		}));
		text = "";
		const { was, expected } = await play(lines, {
			send: (sent) => void session.receive(sent),
			act: () => {},
			received: async () => {
				await soon();
				const received = text;
				text = "";
				return received;
			},
		});
		expect(was).toEqual(expected);
	});

	it("greets", () => {
		expect(text).toBe(
			'{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "vfio-ts 1.2.3"}, "capabilities": []}}\r\n',
		);
	});

	it("tells nothing before capabilities were negotiated", async () => {
		text = "";
		monitor.tell({ type: "stop" });
		expect(text).toBe("");
		await ask({ execute: "qmp_capabilities" });
		monitor.tell({ type: "stop" });
		expect(text).toContain('"event": "STOP"');
	});

	it("has no capability to enable", async () => {
		expect(await ask({ execute: "qmp_capabilities", arguments: { enable: ["oob"] } })).toEqual([
			expect.stringContaining("Capability 'oob' is not available"),
		]);
		expect(await ask({ execute: "query-status" })).toEqual([expect.stringContaining("negotiation")]);
	});

	it("echoes an id of any kind, numbers to the last digit", async () => {
		await ask({ execute: "qmp_capabilities" });
		const ids = ["12345678901234567890", "-0.10e+5", "null", "false", '{"a": ["\\u00e9", {}]}', '""'];
		const answers = await ask(...ids.map((id) => `{"execute":"stop","id":${id}}`));
		expect(answers.filter((line) => line.startsWith('{"return'))).toEqual(
			ids.map((id) => `{"return": {}, "id": ${id}}`),
		);
	});

	it("answers several requests of one piece in their order, and waits for those that take time", async () => {
		await ask({ execute: "qmp_capabilities" });
		let stopped: () => void = () => {};
		machine.stopping = new Promise((resolve) => {
			stopped = resolve;
		});
		text = "";
		const done = session.receive('{"execute":"stop","id":1}{"execute":"query-status","id":2}');
		await soon();
		expect(text).toBe("");
		stopped();
		await done;
		expect(text.split("\r\n").map((line) => /"id": (\d)/.exec(line)?.[1] ?? line.slice(-17))).toEqual([
			expect.stringContaining("STOP"),
			"1",
			"2",
			"",
		]);
	});

	it("refuses a request that is too long, and lives", async () => {
		await ask({ execute: "qmp_capabilities" });
		const long = JSON.stringify({ execute: "query-status", id: "x".repeat(3000) });
		expect(await ask(long, { execute: "query-version" })).toEqual([
			'{"error": {"class": "GenericError", "desc": "JSON token size limit exceeded: a request has at most 2000 characters"}}',
			'{"return": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "vfio-ts 1.2.3"}}',
		]);
	});

	it("refuses what is no JSON, in words of its own", async () => {
		expect(await ask("foo", '{"execute":bad}', `{${"x".repeat(100)}}`)).toEqual([
			'{"error": {"class": "GenericError", "desc": "JSON parse error, this is not JSON: foo"}}',
			'{"error": {"class": "GenericError", "desc": "JSON parse error, this is not JSON: {\\"execute\\":bad}"}}',
			`{"error": {"class": "GenericError", "desc": "JSON parse error, this is not JSON: {${"x".repeat(39)}…"}}`,
		]);
	});

	it("does not take prototypes for arguments or commands", async () => {
		await ask({ execute: "qmp_capabilities" });
		expect(
			await ask('{"execute":"constructor"}', '{"execute":"device_del","arguments":{"__proto__":{"id":"a"}}}'),
		).toEqual([
			expect.stringContaining("The command constructor has not been found"),
			expect.stringContaining("Parameter 'id' is missing"),
		]);
	});

	it("refuses values that are no properties", async () => {
		await ask({ execute: "qmp_capabilities" });
		expect(await ask({ execute: "device_add", arguments: { driver: "vfio-pci", host: ["a"] } })).toEqual([
			expect.stringContaining("Invalid parameter type for 'host', expected: string"),
		]);
		expect(machine.calls).not.toContain("addDevice");
	});

	it("tells an error of the machine with its reason and its remedy", async () => {
		await ask({ execute: "qmp_capabilities" });
		machine.addDevice = () => {
			throw new VfioError("not-bound", "Cannot open 0000:05:00.0: it is with nvme", {
				remedy: ["Bind it."],
				cause: new Error("open /dev/vfio/1: no such file"),
			});
		};
		machine.cont = () => {
			throw new AggregateError([new Error("one"), new Error("two")], "Cannot go on");
		};
		machine.reset = () => {
			throw "a word";
		};
		await machine.stop();
		expect(
			await ask(
				{ execute: "device_add", arguments: { driver: "vfio-pci" } },
				{ execute: "cont" },
				{ execute: "system_reset" },
			),
		).toEqual([
			'{"error": {"class": "GenericError", "desc": "Cannot open 0000:05:00.0: it is with nvme: open /dev/vfio/1: no such file. To mend it: Bind it."}}',
			'{"error": {"class": "GenericError", "desc": "Cannot go on: one: two"}}',
			'{"error": {"class": "GenericError", "desc": "a word"}}',
		]);
	});

	it("does nothing more for a client that has gone", async () => {
		await ask({ execute: "qmp_capabilities" });
		let stopped: () => void = () => {};
		machine.stopping = new Promise((resolve) => {
			stopped = resolve;
		});
		text = "";
		const done = session.receive('{"execute":"stop"}{"execute":"device_add","arguments":{"driver":"x"}}');
		session.end();
		stopped();
		await done;
		await session.receive('{"execute":"stop"}');
		expect(text).toBe("");
		expect(machine.calls).toEqual(["stop"]);
	});

	it("leaves a client when the next one comes", async () => {
		let second = "";
		monitor.connect((sent) => {
			second += sent;
			return undefined;
		});
		text = "";
		await session.receive('{"execute":"qmp_capabilities"}');
		expect(text).toBe("");
		expect(second).toContain("QMP");
	});
});

describe("QmpSession with a client that does not read", () => {
	it("keeps the last 50 events, answers when there is room, and asks the machine for nothing meanwhile", async () => {
		connect("wire");
		let room: () => void = () => {};
		let full = false;
		const lines: string[] = [];
		session = monitor.connect((sent) => {
			lines.push(sent);
			if (!full) return undefined;
			return new Promise((resolve) => {
				room = resolve;
			});
		});
		await session.receive('{"execute":"qmp_capabilities"}');
		full = true;
		monitor.tell({ type: "stop" }); // fills it
		lines.length = 0;
		for (let n = 0; n < 60; n++) monitor.tell({ type: "device-error", id: `d${n}` });
		const answered = session.receive('{"execute":"device_add","arguments":{"driver":"vfio-pci"}}');
		await soon();
		expect(lines).toEqual([]);
		expect(machine.calls).toEqual([]);
		expect(session.droppedEvents).toBe(10);
		full = false;
		room();
		await answered;
		expect(lines).toHaveLength(51);
		expect(lines[0]).toContain('"device": "d10"');
		expect(lines.filter((line) => line.includes("return"))).toHaveLength(1);
		expect(machine.calls).toEqual(["addDevice"]);
	});

	it("gives up on one whose connection fails", async () => {
		connect("wire");
		session = monitor.connect(() => Promise.reject(new Error("EPIPE")));
		await session.receive('{"execute":"qmp_capabilities"}');
		await session.receive('{"execute":"stop"}');
		expect(machine.calls).toEqual([]);
	});
});

describe("QmpSession in the dialect doc", () => {
	beforeEach(() => connect("doc"));

	it("greets in one line that ends with CR and LF", () => {
		expect(text).toBe(
			'{"QMP":{"version":{"qemu":{"micro":2,"minor":0,"major":10},"package":"vfio-ts 1.2.3"},"capabilities":[]}}\r\n',
		);
	});

	it("takes more than a hundred requests in a second for too many", async () => {
		const requests = Array.from({ length: 102 }, (_, n) => ({ execute: "query-status", id: String(n) }));
		const answers = await ask(...requests);
		expect(answers[99]).toBe('{"return":{"running":true,"singlestep":false,"status":"running"},"id":"99"}');
		expect(answers.slice(100)).toEqual(
			["100", "101"].map(
				(id) =>
					`{"error":{"class":"OperationThrottled","desc":"More than 100 requests received during 1 second"},"id":"${id}"}`,
			),
		);
		time += 1_000_000;
		expect(await ask({ execute: "query-status" })).toEqual([expect.stringContaining("running")]);
	});
});
