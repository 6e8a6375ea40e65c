/**
 * UUIDs as the kernel reads them.
 *
 * @module
 */

const LENGTH = 36;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;

/** What was written to a `create` file: a UUID and at most one character more. @returns it in small letters, or undefined */
export function readUuid(text: string): string | undefined {
	if (text.length < LENGTH || text.length > LENGTH + 1 || !UUID.test(text)) return undefined;
	return text.slice(0, LENGTH).toLowerCase();
}
