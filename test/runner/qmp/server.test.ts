import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { QmpMonitor } from "../../../core/qmp/mod.ts";
import type { SocketOption } from "../../../runner/cli/socket-option.ts";
import { type QmpServer, serveQmp } from "../../../runner/qmp/mod.ts";
import { FakeMachine } from "../../core/qmp/fake-machine.ts";
import { QmpClient } from "./client.ts";
import { soon } from "./controlled.ts";

let folder: string;
let path: string;
let machine: FakeMachine;
let monitor: QmpMonitor;
let server: QmpServer;
let stdio: { input: PassThrough; output: PassThrough };

async function serve(option: SocketOption): Promise<void> {
	server = await serveQmp(monitor, option, stdio);
}

const listening = (): SocketOption => ({ type: "unix", path, listen: true, wait: false });

beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "qmp-"));
	path = join(folder, "q");
	machine = new FakeMachine();
	monitor = new QmpMonitor({
		machine,
		version: { major: 10, minor: 0, micro: 2, package: "vfio-ts" },
		now: () => 0,
	});
	machine.monitor = monitor;
	stdio = { input: new PassThrough(), output: new PassThrough() };
});
afterEach(async () => {
	await server.close();
	rmSync(folder, { recursive: true });
});

describe("serveQmp()", () => {
	it("speaks on standard input and output, and leaves them open", async () => {
		let text = "";
		stdio.output.on("data", (chunk) => {
			text += chunk;
		});
		await serve({ type: "stdio" });
		await server.connected;
		stdio.input.write('{"execute":"qmp_capabilities","id":"é"}'.slice(0, 20));
		const rest = Buffer.from('{"execute":"qmp_capabilities","id":"é"}').subarray(20);
		for (const byte of rest) stdio.input.write(Uint8Array.of(byte)); // in the middle of a character as well
		while (!text.includes("return")) await soon();
		expect(text.split("\r\n")[1]).toBe('{"return": {}, "id": "é"}');
		stdio.input.end();
		await soon();
		await server.close();
		expect(stdio.output.writable).toBe(true);
	});

	it("connects to somebody who waits", async () => {
		const waiting = createServer().listen(path);
		const connected = new Promise<Socket>((resolve) => waiting.once("connection", resolve));
		await serve({ type: "unix", path, listen: false, wait: true });
		const socket = await connected;
		const greeting = new Promise((resolve) => socket.once("data", (chunk) => resolve(chunk.toString())));
		expect(await greeting).toContain("QMP");
		await server.close();
		waiting.close();
	});

	it("answers what was asked before it closes", async () => {
		await serve(listening());
		const client = await QmpClient.connect(path);
		await client.command("qmp_capabilities");
		let stopped: () => void = () => {};
		machine.stopping = new Promise((resolve) => {
			stopped = resolve;
		});
		client.send('{"execute":"stop","id":"last"}');
		while (!machine.calls.includes("stop")) await soon();
		const closed = server.close();
		stopped();
		expect(await client.next(({ id }) => id === "last")).toMatchObject({ return: {} });
		await closed;
	});

	it("does not wait for ever for a client that does not read", async () => {
		await serve(listening());
		const socket = await new Promise<Socket>((resolve) => {
			const dialled = connect(path, () => resolve(dialled));
		});
		socket.on("error", () => {});
		socket.pause();
		socket.write('{"execute":"qmp_capabilities"}');
		// More answers than a socket takes; reading stops, so that no memory grows.
		const commands = '{"execute":"query-commands"}'.repeat(1000);
		for (let n = 0; n < 20 && socket.writableLength < 1 << 20; n++) socket.write(commands);
		for (let n = 0; n < 50; n++) await soon();
		const before = performance.now();
		await server.close();
		expect(performance.now() - before).toBeLessThan(5000);
		socket.destroy();
	});

	it("turns clients away when too many wait", async () => {
		await serve(listening());
		const clients = [];
		for (let n = 0; n < 20; n++) clients.push(await QmpClient.connect(path));
		await clients[0]?.greeting();
		while (clients.filter(({ closed }) => closed).length < 4) await soon();
		expect(clients.filter(({ closed }) => closed)).toHaveLength(4);
		for (const client of clients) client.destroy();
	});
});
