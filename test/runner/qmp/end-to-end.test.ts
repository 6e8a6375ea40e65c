import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cli } from "../commands/cli.ts";
import { QmpClient } from "./client.ts";

const PORT = ["-device", "pcie-root-port,id=pcie.1"];

let folder: string;
let path: string;
beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "qmp-"));
	path = join(folder, "q");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Starts the machine, and learns of the guest's lines. */
function start(...args: string[]) {
	const lines: string[] = [];
	let wake = () => {};
	const interrupt = new AbortController();
	const ended = cli(["run", "-qmp", `unix:${path},server,nowait`, ...PORT, ...args], {
		interrupted: interrupt.signal,
		onLine: (line) => {
			lines.push(line);
			wake();
		},
	});
	/** Waits for a line, and forgets those before it. */
	const line = async (text: string) => {
		for (;;) {
			const at = lines.findIndex((one) => one.includes(text));
			if (at >= 0) return void lines.splice(0, at + 1);
			await new Promise<void>((resolve) => {
				wake = resolve;
			});
		}
	};
	return { ended, line, interrupt };
}

describe("vfio-ts run -qmp", () => {
	it("V-05 plugs a device into a guest that runs, which uses it and lets go of it", async () => {
		const { ended, line } = start("--blocks", "16");
		const client = await QmpClient.connect(path);
		expect(await client.greeting()).toMatchObject({ QMP: { version: { qemu: { major: 10 } } } });
		expect(statSync(path).mode & 0o777).toBe(0o600);
		expect(await client.command("qmp_capabilities")).toEqual({});
		await line("SLOT 1 empty");
		const place = { driver: "vfio-pci", bus: "pcie.1", addr: "0x0", host: "0000:05:00.0" };
		expect(await client.command("device_add", { id: "vfio-0", ...place })).toEqual({});
		await line("RESULT nvme0.spurious=0");
		await line("SLOT 1 ready");
		const [bus] = (await client.command("query-pci")) as [{ devices: { pci_bridge?: { devices: unknown[] } }[] }];
		expect(bus.devices.flatMap(({ pci_bridge }) => pci_bridge?.devices ?? [])).toMatchObject([
			{ bus: 1, slot: 0, qdev_id: "vfio-0", class_info: { class: 0x108 }, id: { vendor: 0x1b36, device: 0x10 } },
		]);
		expect(await client.command("device_del", { id: "vfio-0" })).toEqual({});
		expect(await client.event("DEVICE_DELETED")).toMatchObject({
			data: { device: "vfio-0", path: "/machine/peripheral/vfio-0" },
			timestamp: { seconds: expect.any(Number), microseconds: expect.any(Number) },
		});
		expect(await client.command("system_reset")).toEqual({});
		await line("SLOT 1 empty");
		expect(await client.command("quit")).toEqual({});
		expect(await client.event("SHUTDOWN")).toMatchObject({ data: { guest: false, reason: "host-qmp-quit" } });
		const { code, out } = await ended;
		expect(out).toContain(`QMP at ${path}\n`);
		expect(out).toContain("not given back: nothing");
		expect(out.split("\n").at(-1)).toMatch(/^QUIT: the machine had 1 device with \d+ interrupts in/);
		expect(code).toBe(0);
		expect(existsSync(path)).toBe(false);
	});

	it("starts when cont says so with -S, and serves one client at a time, of whom any may vanish", async () => {
		const { ended, line } = start("-S");
		const first = await QmpClient.connect(path);
		await first.greeting();
		const second = await QmpClient.connect(path);
		const third = await QmpClient.connect(path);
		third.destroy();
		const fourth = await QmpClient.connect(path);
		fourth.send('{"execute":"qmp_capabilities"}{"execute":"query-status","id":4}');
		fourth.end();
		await first.command("qmp_capabilities");
		expect(await first.command("query-status")).toEqual({ status: "prelaunch", running: false });
		first.send('{"execute":"query-st'); // and is gone in the middle of a word
		first.destroy();
		await second.greeting();
		expect(await second.command("query-status")).toMatchObject({ class: "CommandNotFound" });
		await second.command("qmp_capabilities");
		second.destroy();
		// The last one has said all it wanted long ago, and gets its answers.
		await fourth.greeting();
		expect(await fourth.next((message) => message["id"] === 4)).toMatchObject({ return: { status: "prelaunch" } });
		expect(await fourth.next(() => false)).toBeUndefined();
		const fifth = await QmpClient.connect(path);
		await fifth.command("qmp_capabilities");
		expect(await fifth.command("cont")).toEqual({});
		await line("SLOT 1 empty");
		expect(await fifth.command("stop")).toEqual({});
		expect(await fifth.command("query-status")).toEqual({ status: "paused", running: false });
		await fifth.command("quit");
		expect((await ended).code).toBe(0);
	});

	it("ends with what it has when interrupted, and tells the client", async () => {
		const { ended, interrupt } = start("-device", "vfio-pci,host=05:00.0,id=disk,bus=pcie.1", "--qmp-dialect", "doc");
		const client = await QmpClient.connect(path);
		await client.greeting();
		expect(
			await client.command("device_add", { id: "disk", driver: "vfio-pci", bus: "pcie.1", host: "1:0.0" }),
		).toEqual({
			class: "GenericError",
			desc: "Device id disk existed",
		});
		interrupt.abort();
		expect(await client.event("SHUTDOWN")).toMatchObject({ data: { reason: "host-signal" } });
		const { code, out } = await ended;
		expect(code).toBe(130);
		expect(out).toContain("not given back: nothing");
		expect(existsSync(path)).toBe(false);
	});

	it("replaces a socket that nobody listens at any more, and nothing else", async () => {
		const refused = async (message: string) => {
			const { ended } = start();
			const { code, err } = await ended;
			expect(err).toContain(message);
			expect(code).toBe(1);
		};
		const other = createServer().listen(path);
		await new Promise((resolve) => other.once("listening", resolve));
		await refused(`Cannot listen at "${path}": another program listens there`);
		await new Promise((resolve) => other.close(resolve));
		writeFileSync(path, "precious");
		await refused("there is a file of that name, and it is no socket");
		rmSync(path);
		// A socket that its server does not find when it closes stays, as after a crash.
		const crashed = createServer().listen(join(folder, "old"));
		await new Promise((resolve) => crashed.once("listening", resolve));
		renameSync(join(folder, "old"), path);
		await new Promise((resolve) => crashed.close(resolve));
		expect(existsSync(path)).toBe(true);
		const { ended } = start();
		const client = await QmpClient.connect(path);
		await client.command("qmp_capabilities");
		await client.command("quit");
		expect((await ended).code).toBe(0);
	});

	it("waits for a client before the guest starts, unless told not to, and ends the wait when interrupted", async () => {
		const interrupt = new AbortController();
		const lines: string[] = [];
		const { code } = await cli(["run", "-qmp", `unix:${path},server=on`, ...PORT], {
			interrupted: interrupt.signal,
			onLine: (line) => {
				lines.push(line);
				if (line.startsWith("QMP at")) interrupt.abort();
			},
		});
		expect(lines).toContain(`QMP at ${path}: the guest starts when a client has connected`);
		expect(lines.some((line) => line.includes("guest|"))).toBe(false);
		expect(code).toBe(130);
		expect(existsSync(path)).toBe(false);
	});

	it.each([
		[["-qmp", "tcp:1"], 2, 'Option "--qmp" takes unix:PATH'],
		[["-qmp", "unix:/tmp/q,servr"], 2, 'Option "--qmp" takes unix:PATH'],
		[["-qmp", "unix:/nowhere/q,server,nowait"], 1, 'Cannot listen at "/nowhere/q": there is no folder /nowhere'],
		[["-qmp", `unix:/tmp/${"q".repeat(103)},server`], 2, "has a path of 108 bytes, and a socket's has at most 107"],
		[["-qmp", "unix:/nowhere/q"], 1, 'Cannot connect to "/nowhere/q"'],
		[["-qmp", "stdio", "--json"], 2, "both want standard output"],
		[["-S"], 2, "With -S nobody would start the guest"],
	])("%j is refused", async (args, code, message) => {
		const ended = await cli(["run", ...args]);
		expect(ended.err).toContain(message);
		expect(ended.out).not.toContain("the machine has ended");
		expect(ended.code).toBe(code);
	});
});
