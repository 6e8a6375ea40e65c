/**
 * QEMU's qtest line protocol: one command a line, one answer a line (`system/qtest.c` of QEMU describes it in its first
 * comment; `docs/devel/testing/qtest.rst` is about its users).
 *
 * @module
 */
import type { AccessWidth } from "../../core/kernel.ts";

/** A command, understood. Memory addresses are guest-physical. */
export type QtestCommand =
	| { readonly type: "in"; readonly port: number; readonly width: AccessWidth }
	| { readonly type: "out"; readonly port: number; readonly width: AccessWidth; readonly value: number }
	/** `readb`, `readw`, `readl`, `readq`. */
	| { readonly type: "load"; readonly address: bigint; readonly width: 1 | 2 | 4 | 8 }
	/** `writeb`, `writew`, `writel`, `writeq`: the value as the bytes that are written. */
	| { readonly type: "write"; readonly address: bigint; readonly data: Uint8Array }
	| { readonly type: "read"; readonly address: bigint; readonly length: number; readonly encoding: "hex" | "base64" }
	| { readonly type: "fill"; readonly address: bigint; readonly length: number; readonly value: number }
	/** @property nanoseconds undefined: until the next thing that is due */
	| { readonly type: "clock-step"; readonly nanoseconds: number | undefined }
	| { readonly type: "intercept"; readonly path: string }
	| { readonly type: "endianness" };

/** A line that is no command. The message follows `FAIL`. */
export class QtestSyntaxError extends Error {
	override readonly name = "QtestSyntaxError";
}

/** Bytes that one command moves at most. */
export const LENGTH_LIMIT = 64 << 20;

const WIDTHS = { b: 1, w: 2, l: 4, q: 8 } as const;

/**
 * Reads a line.
 *
 * @param line without its end
 * @throws QtestSyntaxError
 * @example
 * ```ts
 * parseCommand("outl 0xcf8 0x80000800"); // { type: "out", port: 0xcf8, width: 4, value: 0x80000800 }
 * ```
 */
export function parseCommand(line: string): QtestCommand {
	const [name = "", ...words] = line.split(" ");
	const port = /^(in|out)([bwl])$/.exec(name);
	if (port) {
		const width = WIDTHS[port[2] as "b" | "w" | "l"];
		const address = Number(number(name, words, 0, "ADDR", 0xffffn));
		if (port[1] === "in") return { type: "in", port: address, width };
		return { type: "out", port: address, width, value: Number(value(name, words, 1, width)) };
	}
	const access = /^(read|write)([bwlq])$/.exec(name);
	if (access) {
		const width = WIDTHS[access[2] as "b" | "w" | "l" | "q"];
		const address = number(name, words, 0, "ADDR");
		if (access[1] === "read") return { type: "load", address, width };
		return { type: "write", address, data: littleEndian(value(name, words, 1, width), width) };
	}
	switch (name) {
		case "read":
		case "b64read":
			return {
				type: "read",
				address: number(name, words, 0, "ADDR"),
				length: length(name, words, 1),
				encoding: name === "read" ? "hex" : "base64",
			};
		case "write":
			return { type: "write", address: number(name, words, 0, "ADDR"), data: hexData(name, words) };
		case "b64write":
			return { type: "write", address: number(name, words, 0, "ADDR"), data: base64Data(name, words) };
		case "memset":
			return {
				type: "fill",
				address: number(name, words, 0, "ADDR"),
				length: length(name, words, 1),
				value: Number(value(name, words, 2, 1)),
			};
		case "clock_step":
			return {
				type: "clock-step",
				nanoseconds: words[0] === undefined ? undefined : Number(number(name, words, 0, "NS", 2n ** 53n - 1n)),
			};
		case "irq_intercept_in":
			if (!words[0]) throw new QtestSyntaxError(`${name} needs PATH`);
			return { type: "intercept", path: words[0] };
		case "endianness":
			return { type: "endianness" };
		default:
			throw new QtestSyntaxError(`Unknown command '${name}'`);
	}
}

/** The answer to `inb`, `inw` and `inl`. */
export function formatPortValue(value: number): string {
	return `OK 0x${value.toString(16).padStart(4, "0")}`;
}

/** The answer to `readb` to `readq`. @param bytes 1 to 8 of them, little-endian */
export function formatMemoryValue(bytes: Uint8Array): string {
	let digits = "";
	for (const byte of bytes) digits = byte.toString(16).padStart(2, "0") + digits;
	return `OK 0x${digits.padStart(16, "0")}`;
}

/** The answer to `read` and `b64read`. */
export function formatData(bytes: Uint8Array, encoding: "hex" | "base64"): string {
	const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	return encoding === "hex" ? `OK 0x${buffer.toString("hex")}` : `OK ${buffer.toString("base64")}`;
}

function number(name: string, words: readonly string[], at: number, what: string, limit = 2n ** 64n - 1n): bigint {
	const word = words[at];
	if (word === undefined || word === "") throw new QtestSyntaxError(`${name} needs ${what}`);
	// As strtoul(3) with base 0 reads it: a leading zero means octal.
	const text = /^0[0-7]+$/.test(word) ? `0o${word.slice(1)}` : word;
	if (!/^(?:0[xX][0-9a-fA-F]+|0o[0-7]+|[0-9]+)$/.test(text))
		throw new QtestSyntaxError(`${name} takes a number as ${what}, not '${word}'`);
	const parsed = BigInt(text);
	if (parsed > limit) throw new QtestSyntaxError(`${name} takes at most 0x${limit.toString(16)} as ${what}`);
	return parsed;
}

/** Bits that the access is too narrow for are dropped, as the machine drops them. */
function value(name: string, words: readonly string[], at: number, width: number): bigint {
	return BigInt.asUintN(8 * width, number(name, words, at, "VALUE"));
}

function length(name: string, words: readonly string[], at: number): number {
	return Number(number(name, words, at, "SIZE", BigInt(LENGTH_LIMIT)));
}

function littleEndian(value: bigint, width: number): Uint8Array {
	const bytes = new Uint8Array(8);
	new DataView(bytes.buffer).setBigUint64(0, value, true);
	return bytes.subarray(0, width);
}

/** What the data is too short for becomes zero; what is too much is not written. */
function hexData(name: string, words: readonly string[]): Uint8Array {
	const data = new Uint8Array(length(name, words, 1));
	const digits = /^0[xX]((?:[0-9a-fA-F]{2})*)$/.exec(words[2] ?? "")?.[1];
	if (digits === undefined) throw new QtestSyntaxError(`${name} takes whole bytes as DATA, such as 0x00ff`);
	data.set(Buffer.from(digits, "hex").subarray(0, data.length));
	return data;
}

function base64Data(name: string, words: readonly string[]): Uint8Array {
	const data = new Uint8Array(length(name, words, 1));
	const text = words[2] ?? "";
	if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new QtestSyntaxError(`${name} takes base64 as B64_DATA`);
	data.set(Buffer.from(text, "base64").subarray(0, data.length));
	return data;
}
