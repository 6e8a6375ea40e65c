import { KernelError } from "../../core/errors.ts";
import { errnoName } from "../../core/uapi/errno.ts";
import type { Answer } from "./target.ts";

/** What a call answers, its error as a name. */
export function answer<T>(call: () => T): T | string {
	try {
		return call();
	} catch (error) {
		if (error instanceof KernelError) return errnoName(error.errno);
		throw error;
	}
}

/** Makes an answer of a call that must not fail. */
export function must<T>(result: T | string, what: string): T {
	if (typeof result === "string") throw new Error(`${what}: ${result}`);
	return result;
}

/** Bytes in hexadecimal, two digits each. */
export function hex(bytes: Uint8Array): string {
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes that hexadecimal digits stand for. */
export function unhex(digits: string): Uint8Array {
	return Uint8Array.from(digits.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** A number as little-endian bytes. */
export function bytesOf(value: number | bigint, length: number): Uint8Array {
	const bytes = new Uint8Array(length);
	for (let index = 0; index < length; index++) bytes[index] = Number((BigInt(value) >> BigInt(8 * index)) & 0xffn);
	return bytes;
}

/** Little-endian bytes as a number. */
export function numberOf(bytes: Uint8Array): number {
	return Array.from(bytes).reduceRight((value, byte) => value * 256 + byte, 0);
}

/** A path, a device name: with the NUL that ends it in C. */
export function cString(text: string): Uint8Array {
	return new TextEncoder().encode(`${text}\0`);
}

/** What a call answered, for a report. */
export function inWords(value: unknown): string {
	if (typeof value === "bigint") return `0x${value.toString(16)}`;
	if (typeof value === "string") return value;
	return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? inWords(part) : part));
}

export type { Answer };
