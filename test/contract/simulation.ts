import { readFileSync } from "node:fs";
import type { Mapping } from "../../core/kernel.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../../core/uapi/fcntl.ts";
import { Host, type LspciOptions, mtty, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { answer, numberOf } from "./calls.ts";
import type { Answer, Build, OtherProcess, SpawnOptions, Target, Version } from "./target.ts";

const HOST = new URL("../fixtures/lspci/host.txt", import.meta.url);

/** Without its IOMMU the lab's host has no interrupt remapping either. */
function hardware(build: Build): LspciOptions {
	return build === "no-iommu" ? { iommu: false, interruptRemapping: false } : {};
}

/** The simulated Linux on the lab's own devices. */
export class SimulatedTarget implements Target {
	readonly version: Version;
	readonly linux: SimulatedLinux;
	readonly kernel: SimProcess;

	constructor(build: Build, host: Host = Host.fromLspci(readFileSync(HOST, "utf8"), hardware(build))) {
		this.version = build === "7.2" ? build : "6.12";
		const own = build === "own" || build === "no-iommu";
		this.linux = new SimulatedLinux({ host, version: this.version, iommufd: own, noIommu: own, mediated: [mtty()] });
		this.kernel = this.linux.process({ name: "contract" });
	}

	spawn(options: SpawnOptions = {}): Promise<OtherProcess> {
		const { uid, memlock, inherit = [] } = options;
		let process: SimProcess;
		if (inherit.length > 0) {
			process = this.kernel.fork();
			for (const fd of process.openFiles.keys()) if (!inherit.includes(fd)) process.close(fd);
		} else {
			process = this.linux.process({
				name: "contract-child",
				...(uid === undefined ? {} : { uid }),
				...(memlock === undefined ? {} : { memlock }),
			});
		}
		return Promise.resolve(new SimulatedProcess(this.linux, process, inherit));
	}

	async sleep(milliseconds: number): Promise<void> {
		await Promise.resolve();
		(this.linux.clock as unknown as { advance(duration: number): void }).advance(milliseconds * 1_000_000);
		await Promise.resolve();
	}

	chown(path: string, uid: number): void {
		this.linux.files.chown(path, uid);
	}

	async dispose(): Promise<void> {
		this.kernel.exit();
	}
}

class SimulatedProcess implements OtherProcess {
	readonly inherited: readonly number[];
	readonly #linux: SimulatedLinux;
	readonly #process: SimProcess;
	readonly #mappings: Mapping[] = [];

	constructor(linux: SimulatedLinux, process: SimProcess, inherited: readonly number[]) {
		this.#linux = linux;
		this.#process = process;
		this.inherited = inherited;
	}

	async open(path: string, flags: number): Promise<Answer> {
		return answer(() => this.#process.open(path, flags));
	}

	async close(fd: number): Promise<Answer> {
		return answer(() => this.#process.close(fd)) ?? 0;
	}

	async ioctl(fd: number, request: number, argument: Uint8Array | number): Promise<Answer> {
		return answer(() => this.#process.ioctl(fd, request, argument));
	}

	async pread(fd: number, length: number, offset: number): Promise<Uint8Array | string> {
		const buffer = new Uint8Array(length);
		return answer(() => buffer.subarray(0, this.#process.pread(fd, buffer, offset)));
	}

	async eventfd(): Promise<number> {
		return this.#process.eventfd();
	}

	async count(fd: number): Promise<number> {
		const buffer = new Uint8Array(8);
		return typeof answer(() => this.#process.read(fd, buffer)) === "number" ? numberOf(buffer) : 0;
	}

	async allocate(length: number): Promise<bigint> {
		return this.#process.allocate(length).address;
	}

	async map(fd: number, length: number, offset: number): Promise<Answer> {
		const mapping = answer(() => this.#process.mmap(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED, offset));
		return typeof mapping === "string" ? mapping : this.#mappings.push(mapping) - 1;
	}

	async touch(mapping: number, offset: number): Promise<Answer> {
		const value = answer(() => this.#mappings[mapping]?.read(offset, 4) ?? "no mapping");
		if (value !== "EIO") return value;
		this.#process.exit(); // what the signal does
		return "SIGBUS";
	}

	async writeFile(path: string, text: string): Promise<Answer> {
		try {
			await this.#linux.writeFileAsync(this.#process, path, text);
			return 0;
		} catch (error) {
			return answer(() => {
				throw error;
			});
		}
	}

	async readFile(path: string): Promise<string> {
		return new TextDecoder().decode(this.#process.readFile(path));
	}

	async kill(): Promise<void> {
		this.#process.exit();
	}
}
