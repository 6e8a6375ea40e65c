/**
 * The guest program that comes with this package.
 *
 * @module
 */
import { readFileSync } from "node:fs";

/** The program built from `runner/guest`: a multiboot ELF of some kilobytes. */
export function guestProgram(): Uint8Array {
	return new Uint8Array(readFileSync(new URL("../guest/guest.elf", import.meta.url)));
}
