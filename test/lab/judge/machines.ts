import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { Kernel } from "../../../core/kernel.ts";
import { parseDeviceOption } from "../../../runner/cli/device-option.ts";
import { parseRootPortOption } from "../../../runner/cli/root-port-option.ts";
import { type Assembly, assemble, openEndpoint, serve } from "../../../runner/qtest/mod.ts";
import { labSystem } from "../system.ts";
import { QtestClient } from "./client.ts";
import { MEMORY_SIZE, type Placement, PORT_SLOT, ROOT_SLOT } from "./guest.ts";

/** A machine that a script can talk to. */
export interface Machine {
	readonly client: QtestClient;
	stop(): Promise<void>;
}

let sockets = 0;

/** The `-device` arguments, the same for both. */
function deviceArguments(address: string, placement: Placement): string[] {
	if (placement === "on the root bus") return ["-device", `vfio-pci,host=${address},addr=${ROOT_SLOT}`];
	return [
		...["-device", `pcie-root-port,id=rp1,chassis=1,slot=1,addr=${PORT_SLOT}`],
		...["-device", `vfio-pci,host=${address},bus=rp1`],
	];
}

/**
 * QEMU, which runs no guest code: -S keeps its processor stopped.
 *
 * @param wrapper what QEMU runs under, such as strace
 */
export async function startQemu(
	address: string,
	placement: Placement,
	options: { readonly wrapper?: readonly string[]; readonly extra?: readonly string[] } = {},
): Promise<Machine> {
	const system = labSystem();
	const data = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"].flatMap((path) => [
		"-L",
		join(system.folder, path),
	]);
	const path = `/tmp/qtest-${++sockets}`;
	const [loader, args] = system.command("usr/bin/qemu-system-x86_64", [
		...data,
		...["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg", "-S"],
		...["-m", `${MEMORY_SIZE >> 20}M`, "-qtest", `unix:${path}`, "-qtest-log", "/dev/null"],
		...(options.extra ?? []),
		...deviceArguments(address, placement),
	]);
	const [file = "", ...rest] = [...(options.wrapper ?? []), loader, ...args];
	const server = createServer().listen(path);
	const child = spawn(file, rest, {
		stdio: ["ignore", "ignore", "pipe"],
		detached: true,
		env: { ...process.env, QEMU_MODULE_DIR: join(system.folder, "usr/lib/x86_64-linux-gnu/qemu") },
	});
	let said = "";
	child.stderr?.on("data", (chunk) => {
		said += chunk;
	});
	const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
	const socket = await new Promise<Socket>((resolve, reject) => {
		server.once("connection", resolve);
		void ended.then(() => reject(new Error(`QEMU ended: ${said}`)));
	});
	server.close();
	const client = new QtestClient(socket);
	try {
		await client.say(["endianness"]);
	} catch (error) {
		kill(child, "SIGKILL");
		await ended;
		throw new Error(`${(error as Error).message}\n${said}`);
	}
	return {
		client,
		stop: async () => {
			client.close();
			kill(child, "SIGTERM");
			const patience = setTimeout(() => kill(child, "SIGKILL"), 5000);
			await ended;
			clearTimeout(patience);
			rmSync(path, { force: true });
		},
	};
}

/** Ours: the runner's machine, on the same kernel and at the end of a socket as well. */
export async function startOurs(
	kernel: Kernel,
	address: string,
	placement: Placement,
): Promise<Machine & { readonly assembly: Assembly; readonly reports: readonly string[] }> {
	const specs = deviceArguments(address, placement).filter((word) => word !== "-device");
	const reports: string[] = [];
	const assembly = assemble({
		kernel,
		devices: specs.filter((spec) => spec.startsWith("vfio-pci")).map(parseDeviceOption),
		rootPorts: specs.filter((spec) => spec.startsWith("pcie-root-port")).map(parseRootPortOption),
		memorySize: MEMORY_SIZE,
		onReport: (message) => reports.push(message),
	});
	const path = `/tmp/qtest-${++sockets}`;
	const interrupt = new AbortController();
	const listening = createServer().listen(path);
	const connected = new Promise<Socket>((resolve) => listening.once("connection", resolve));
	const socket = await openEndpoint({ path, listen: false }, interrupt.signal);
	if (!socket) throw new Error("interrupted");
	const served = serve(assembly.machine, { input: socket, output: socket }, { clock: kernel.clock }, interrupt.signal);
	const client = new QtestClient(await connected);
	listening.close();
	return {
		client,
		assembly,
		reports,
		stop: async () => {
			interrupt.abort();
			await served;
			socket.destroy();
			client.close();
			assembly[Symbol.dispose]();
		},
	};
}

/** The whole process group: a wrapper does not always end what it runs. */
function kill(child: ChildProcess, signal: NodeJS.Signals): void {
	try {
		if (child.pid !== undefined) process.kill(-child.pid, signal);
	} catch {
		// It has ended already.
	}
}
