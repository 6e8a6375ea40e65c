import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TYPESCRIPT } from "../../support/typescript.ts";
import { cli } from "../commands/cli.ts";

const DEVICE = ["-device", "vfio-pci,host=01:00.0,addr=5"];
const READ_ID = "outl 0xcf8 0x80002800\ninl 0xcfc\n";
const ANSWER = "OK\nOK 0x11e81234\n";

let folder: string;
beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "qtest-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function answers(socket: Socket): Promise<string> {
	return new Promise((resolve) => {
		let text = "";
		socket.on("data", (chunk) => {
			text += chunk.toString();
			if (text.endsWith(ANSWER)) socket.end();
		});
		socket.on("close", () => resolve(text));
	});
}

describe("vfio-ts qtest", () => {
	it("connects to a socket, as QEMU does, and ends with the connection", async () => {
		const path = join(folder, "socket");
		const server = createServer().listen(path);
		const connected = new Promise<Socket>((resolve) => server.once("connection", resolve));
		const ended = cli(["qtest", "-qtest", `unix:${path}`, ...DEVICE]);
		const socket = await connected;
		const text = answers(socket);
		socket.write(READ_ID.slice(0, 10));
		socket.write(READ_ID.slice(10));
		expect(await text).toBe(ANSWER);
		expect(await ended).toMatchObject({ code: 0, out: "" });
		server.close();
	});

	it("waits at a socket with server=on", async () => {
		const path = join(folder, "socket");
		const ended = cli(["qtest", "-qtest", `unix:${path},server=on`, ...DEVICE]);
		const socket = await new Promise<Socket>((resolve) => {
			const attempt = () => {
				const socket = connect(path, () => resolve(socket));
				socket.on("error", () => setTimeout(attempt, 5));
			};
			attempt();
		});
		const text = answers(socket);
		socket.write(READ_ID);
		expect(await text).toBe(ANSWER);
		expect((await ended).code).toBe(0);
	});

	it("gives up waiting when interrupted", async () => {
		const interrupt = new AbortController();
		const path = join(folder, "socket");
		const ended = cli(["qtest", "-qtest", `unix:${path},server=on`, ...DEVICE], { interrupted: interrupt.signal });
		setTimeout(() => interrupt.abort(), 20);
		expect((await ended).code).toBe(130);
	});

	it("speaks on standard input and output", async () => {
		const child = spawn(process.execPath, [...TYPESCRIPT, "runner/main.ts", "qtest", "--stdio", ...DEVICE]);
		child.stdin.end(READ_ID);
		let text = "";
		child.stdout.on("data", (chunk) => {
			text += chunk;
		});
		expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
		expect(text).toBe(ANSWER);
	});

	it.each([
		[["-qtest", "unix:/x"], 2, "qtest needs a device"],
		[DEVICE, 2, "give one of them"],
		[["-qtest", "unix:/x", "--stdio", ...DEVICE], 2, "give one of them"],
		[["-qtest", "tcp:1", ...DEVICE], 2, "takes unix:PATH, unix:PATH,server=on"],
		[["-qtest", "unix:/nowhere/x", ...DEVICE], 1, 'Cannot speak qtest at "/nowhere/x"'],
		[["--stdio", "-device", "pcie-root-port,addr=4", ...DEVICE], 2, "has no id"],
		[["--stdio", "-device", "pcie-root-port,id=rp1,adr=4", ...DEVICE], 2, 'did you mean "addr"?'],
		[["--stdio", "-device", "pcie-root-port,id=rp1,slot=many", ...DEVICE], 2, "takes a number from 0 to 255"],
		[["--stdio", "-device", "vfio-pci,host=01:00.0,bus=rp9"], 2, "there is no such bus"],
		[["--stdio", "-device", "vfio-pci,host=01:00.0,addr=0"], 1, "memory-controller is there"],
		[["--stdio", "more", ...DEVICE], 2, "takes no words"],
	])("%j is refused", async (args, code, message) => {
		const ended = await cli(["qtest", ...args]);
		expect(ended.err).toContain(message);
		expect(ended.code).toBe(code);
	});
});
