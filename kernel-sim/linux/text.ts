/**
 * Text in sysfs and procfs: ASCII bytes, and numbers as the kernel's parsers take them.
 *
 * @module
 */

/** Bytes of a text; one byte a character. */
export function encodeText(text: string): Uint8Array {
	return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
}

/** The text of bytes. */
export function decodeText(bytes: Uint8Array): string {
	let text = "";
	for (const byte of bytes) text += String.fromCharCode(byte);
	return text;
}

/** A number as hexadecimal digits. */
export function hex(value: number | bigint, digits: number): string {
	return value.toString(16).padStart(digits, "0");
}

/** kstrtoul with base 0: `10`, `0x10`, `010`. @returns undefined when it is no number */
export function parseNumber(text: string): number | undefined {
	const trimmed = text.replace(/\n$/, "").replace(/^\+/, "");
	if (/^0x[0-9a-f]+$/i.test(trimmed)) return Number.parseInt(trimmed.slice(2), 16);
	if (/^0[0-7]+$/.test(trimmed)) return Number.parseInt(trimmed, 8);
	return /^\d+$/.test(trimmed) ? Number.parseInt(trimmed, 10) : undefined;
}

/** kstrtobool: y, n, 1, 0, on, off, t, f. @returns undefined when it is none of them */
export function parseBoolean(text: string): boolean | undefined {
	if (/^(?:[yt1]|on)/i.test(text)) return true;
	return /^(?:[nf0]|of)/i.test(text) ? false : undefined;
}
