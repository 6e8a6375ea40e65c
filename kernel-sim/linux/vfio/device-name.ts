/**
 * What VFIO_GROUP_GET_DEVICE_FD takes for a PCI device: `0000:05:00.0`, or `0000:05:00.0 vf_token=<uuid>`.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";

/** A name that fits, and the token that came with it. */
export interface MatchedName {
	/** 36 characters, as they were given. */
	readonly token: string | undefined;
}

const TOKEN = "vf_token=";
const UUID_LENGTH = 36;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * Compares a string with the name of a device.
 *
 * @returns "no" when it names another one; -EINVAL when its options are unknown, repeated or malformed
 */
export function matchDeviceName(name: string, text: string): MatchedName | "no" | number {
	if (!text.startsWith(name)) return "no";
	let rest = text.slice(name.length);
	if (rest !== "" && !rest.startsWith(" ")) return "no";
	let token: string | undefined;
	for (rest = skipBlanks(rest); rest !== ""; rest = skipBlanks(rest)) {
		if (token !== undefined || !rest.startsWith(TOKEN)) return -EINVAL;
		token = rest.slice(TOKEN.length, TOKEN.length + UUID_LENGTH);
		if (!UUID.test(token)) return -EINVAL;
		rest = rest.slice(TOKEN.length + UUID_LENGTH);
	}
	return { token };
}

function skipBlanks(text: string): string {
	return text.replace(/^ +/, "");
}
