/**
 * UUIDs, which name mediated devices and are the tokens of virtual functions.
 *
 * @module
 */

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether a text is a UUID, such as `00112233-4455-6677-8899-aabbccddeeff`. */
export function isUuid(text: string): boolean {
	return UUID.test(text);
}

/** The 16 bytes of a UUID, in the order in which it is written. @param uuid one that {@link isUuid} takes */
export function uuidBytes(uuid: string): Uint8Array {
	const digits = uuid.replaceAll("-", "");
	return Uint8Array.from({ length: 16 }, (_, n) => Number.parseInt(digits.slice(2 * n, 2 * n + 2), 16));
}
