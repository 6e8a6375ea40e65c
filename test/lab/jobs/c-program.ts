import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";

/** Compiles `bench.c`. @returns the program's path @throws Error that says what is missing */
export function compileBench(): string {
	const program = join(tmpdir(), "vfio-bench");
	const source = new URL("./bench.c", import.meta.url).pathname;
	const { error, status, stderr } = spawnSync("cc", ["-O2", "-Wall", "-o", program, source], { encoding: "utf8" });
	if (error)
		throw new Error("Cannot compile bench.c: this machine has no C compiler: sudo apt-get install gcc libc6-dev");
	if (status !== 0) throw new Error(`Cannot compile bench.c:\n${stderr}`);
	return program;
}

/** `bench open`: how long a C program takes until a device is ready, in nanoseconds. */
export function openInC(program: string, address: string, group: number): number {
	return Number(execFileSync(program, ["open", address, String(group)], { encoding: "utf8" }));
}

/** `bench serve`: a C program that shares our container and device. */
export class CProgram {
	readonly #child: ChildProcess;
	readonly #commands: Writable;
	readonly #lines: AsyncIterator<string>;

	/** @param page a file that it maps, to share the time of a signal */
	constructor(program: string, container: number, device: number, page: string) {
		this.#child = spawn(program, ["serve", page], { stdio: ["pipe", "pipe", "inherit", container, device] });
		const { stdin, stdout } = this.#child;
		if (!stdin || !stdout) throw new Error("Cannot talk to bench.c");
		this.#commands = stdin;
		this.#lines = createInterface(stdout)[Symbol.asyncIterator]();
	}

	/** Has it do something `count` times. @returns nanoseconds each */
	async measure(name: string, count: number): Promise<number> {
		this.start(name, count);
		return Number(await this.line());
	}

	/** The same without waiting for the answer. */
	start(name: string, count: number): void {
		this.#commands.write(`${name} ${count}\n`);
	}

	/** Its next answer. */
	async line(): Promise<string> {
		const { value, done } = await this.#lines.next();
		if (done) throw new Error("bench.c has ended before its work was done");
		return value;
	}

	/** Lets it end: until then it holds the device. */
	async end(): Promise<void> {
		if (this.#child.exitCode !== null) return;
		const closed = new Promise((resolve) => this.#child.once("close", resolve));
		this.#commands.end();
		await closed;
	}
}
