/**
 * UUIDs as the kernel reads them.
 *
 * @module
 */

/** Bytes of one. */
export const UUID_SIZE = 16;
const LENGTH = 36;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;

/** What was written to a `create` file: a UUID and at most one character more. @returns it in small letters, or undefined */
export function readUuid(text: string): string | undefined {
	if (text.length < LENGTH || text.length > LENGTH + 1 || !UUID.test(text)) return undefined;
	return text.slice(0, LENGTH).toLowerCase();
}

/** The text of a UUID in its order of bytes. @param bytes 16 of them */
export function uuidText(bytes: Uint8Array): string {
	const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
	return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
