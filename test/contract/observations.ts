import type { Mapping, Memory } from "../../core/kernel.ts";

/** One call and what it answered: what `record` writes, and what two kernels are compared by. */
export interface Observation {
	readonly call: string;
	/** In words, with names for descriptors and addresses, which differ from run to run. */
	readonly args: string;
	/** A number, `fd`, or the error's name. */
	readonly answer: number | string;
	/** What the call wrote, in hexadecimal. */
	readonly bytes?: string;
}

/** What a case saw, and the names by which it speaks of descriptors and memory. */
export class Observations {
	readonly list: Observation[] = [];
	readonly #descriptors = new Map<number, string>();
	readonly #memories: { readonly name: string; readonly memory: Memory | Mapping }[] = [];
	readonly #counts = new Map<string, number>();

	add(call: string, args: string, answer: number | string, bytes?: string): void {
		this.list.push({ call, args, answer, ...(bytes === undefined ? {} : { bytes }) });
	}

	/** The last call, for a report. */
	get last(): string {
		const last = this.list.at(-1);
		return last ? `${last.call}(${last.args})` : "at first";
	}

	/** Gives a descriptor a name such as `container2`. */
	named(fd: number, kind: string): void {
		const count = (this.#counts.get(kind) ?? 0) + 1;
		this.#counts.set(kind, count);
		this.#descriptors.set(fd, count === 1 ? kind : `${kind}${count}`);
	}

	/** A descriptor's name; the number itself when the case made it up. */
	fd(fd: number): string {
		return this.#descriptors.get(fd) ?? String(fd);
	}

	/** Gives memory, or a mapped region, a name: A, B, ... */
	remember(memory: Memory | Mapping): void {
		this.#memories.push({ name: String.fromCharCode(65 + this.#memories.length), memory });
	}

	/** An address in words: `A+0x1000`, or itself. */
	address(value: bigint): string {
		for (const { name, memory } of this.#memories) {
			const offset = value - memory.address;
			if (offset >= 0n && offset < BigInt(memory.length))
				return offset === 0n ? name : `${name}+0x${offset.toString(16)}`;
		}
		return `0x${value.toString(16)}`;
	}
}
