import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { chownSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import type { Request } from "./linux-child.ts";
import type { Answer, OtherProcess, SpawnOptions, Target, Version } from "./target.ts";

/** The Linux this process runs on. It must be root, and may do as it likes with the devices. */
export class LinuxTarget implements Target {
	readonly kernel = new LinuxKernel();
	readonly version: Version;
	readonly #children = new Set<LinuxProcess>();

	constructor() {
		const release = /(\d+)\.(\d+)/.exec(this.kernel.name);
		this.version = Number(release?.[1]) >= 7 ? "7.2" : "6.12";
	}

	async spawn(options: SpawnOptions = {}): Promise<OtherProcess> {
		const process = new LinuxProcess(options.inherit ?? []);
		this.#children.add(process);
		await process.started;
		if (options.uid !== undefined || options.memlock !== undefined)
			await process.call("become", options.uid, options.memlock);
		return process;
	}

	sleep(milliseconds: number): Promise<void> {
		return new Promise((resolve) => setTimeout(resolve, milliseconds));
	}

	chown(path: string, uid: number): void {
		chownSync(path, uid, uid);
	}

	async dispose(): Promise<void> {
		for (const child of this.#children) await child.kill();
	}
}

const FIRST_INHERITED = 4;

class LinuxProcess implements OtherProcess {
	readonly inherited: readonly number[];
	readonly started: Promise<void>;
	readonly #child: ChildProcess;
	readonly #exited: Promise<void>;
	readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
	#signal: string | undefined;
	#last = 0;

	constructor(inherit: readonly number[]) {
		this.inherited = inherit.map((_, index) => FIRST_INHERITED + index);
		const stdio: StdioOptions = ["ignore", "inherit", "inherit", "ipc", ...inherit];
		const script = fileURLToPath(new URL("./linux-child.ts", import.meta.url));
		const args = [...process.execArgv, script];
		this.#child = spawn(process.execPath, args, { stdio, serialization: "advanced" });
		this.started = new Promise((resolve, reject) => {
			this.#waiting.set(0, { resolve: () => resolve(), reject });
		});
		this.#exited = new Promise((resolve) => {
			this.#child.once("exit", (_code, signal) => {
				this.#signal = signal ?? "exit";
				for (const { resolve: answered } of this.#waiting.values()) answered(this.#signal);
				this.#waiting.clear();
				resolve();
			});
		});
		this.#child.on("message", ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
			const waiting = this.#waiting.get(id);
			this.#waiting.delete(id);
			if (error === undefined) waiting?.resolve(result);
			else waiting?.reject(new Error(error));
		});
	}

	/** Sends a call. @returns what it answered, or the signal that ended the process */
	call(call: string, ...args: unknown[]): Promise<unknown> {
		if (this.#signal !== undefined) return Promise.resolve(this.#signal);
		const request: Request = { id: ++this.#last, call, args };
		return new Promise((resolve, reject) => {
			this.#waiting.set(request.id, { resolve, reject });
			this.#child.send(request);
		});
	}

	open(path: string, flags: number): Promise<Answer> {
		return this.call("open", path, flags) as Promise<Answer>;
	}

	close(fd: number): Promise<Answer> {
		return this.call("close", fd) as Promise<Answer>;
	}

	async ioctl(fd: number, request: number, argument: Uint8Array | number): Promise<Answer> {
		const answered = await this.call("ioctl", fd, request, argument);
		if (typeof answered === "string") return answered;
		const { result, argument: written } = answered as { result: number; argument: Uint8Array | number };
		if (typeof argument !== "number") argument.set(written as Uint8Array);
		return result;
	}

	pread(fd: number, length: number, offset: number): Promise<Uint8Array | string> {
		return this.call("pread", fd, length, offset) as Promise<Uint8Array | string>;
	}

	eventfd(): Promise<number> {
		return this.call("eventfd") as Promise<number>;
	}

	count(fd: number): Promise<number> {
		return this.call("count", fd) as Promise<number>;
	}

	allocate(length: number): Promise<bigint> {
		return this.call("allocate", length) as Promise<bigint>;
	}

	map(fd: number, length: number, offset: number): Promise<Answer> {
		return this.call("map", fd, length, offset) as Promise<Answer>;
	}

	touch(mapping: number, offset: number): Promise<Answer> {
		return this.call("touch", mapping, offset) as Promise<Answer>;
	}

	writeFile(path: string, text: string): Promise<Answer> {
		return this.call("writeFile", path, text) as Promise<Answer>;
	}

	readFile(path: string): Promise<string> {
		return this.call("readFile", path) as Promise<string>;
	}

	kill(): Promise<void> {
		if (this.#signal === undefined) this.#child.kill("SIGKILL");
		return this.#exited;
	}
}
