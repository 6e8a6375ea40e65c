/**
 * A process of its own on a real Linux: makes the calls that its parent sends, one after another, and answers each. It may
 * sleep in one, and it may die of one.
 */
import process from "node:process";
import type { Mapping, Memory } from "../../core/kernel.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../../core/uapi/fcntl.ts";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { answer, numberOf } from "./calls.ts";
import { limitLockedMemory } from "./memlock.ts";

/** A call, as it comes over the channel. */
export interface Request {
	readonly id: number;
	readonly call: string;
	readonly args: readonly unknown[];
}

const kernel = new LinuxKernel();
const memories: Memory[] = [];
const mappings: Mapping[] = [];

const CALLS: Readonly<Record<string, (...args: never[]) => unknown>> = {
	become(uid: number | undefined, memlock: number | undefined) {
		if (memlock !== undefined) limitLockedMemory(memlock);
		if (uid === undefined) return 0;
		process.setgroups?.([]);
		process.setgid?.(uid);
		process.setuid?.(uid);
		return 0;
	},
	open: (path: string, flags: number) => kernel.open(path, flags),
	close: (fd: number) => kernel.close(fd) ?? 0,
	ioctl(fd: number, request: number, argument: Uint8Array | number) {
		const result = kernel.ioctl(fd, request, argument);
		return { result, argument };
	},
	pread(fd: number, length: number, offset: number) {
		const buffer = new Uint8Array(length);
		return buffer.subarray(0, kernel.pread(fd, buffer, offset));
	},
	eventfd: () => kernel.eventfd(),
	count(fd: number) {
		const buffer = new Uint8Array(8);
		return typeof answer(() => kernel.read(fd, buffer)) === "number" ? numberOf(buffer) : 0;
	},
	allocate(length: number) {
		const memory = kernel.allocate(length);
		memories.push(memory);
		return memory.address;
	},
	map(fd: number, length: number, offset: number) {
		return mappings.push(kernel.mmap(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED, offset)) - 1;
	},
	touch: (mapping: number, offset: number) => mappings[mapping]?.read(offset, 4),
	writeFile: (path: string, text: string) => kernel.writeFile(path, text) ?? 0,
	readFile: (path: string) => new TextDecoder().decode(kernel.readFile(path)),
};

process.on("message", ({ id, call, args }: Request) => {
	let result: unknown;
	let error: string | undefined;
	try {
		result = answer(() => CALLS[call]?.(...(args as never[])));
	} catch (thrown) {
		error = String(thrown);
	}
	process.send?.({ id, result, error });
});
process.send?.({ id: 0 });
