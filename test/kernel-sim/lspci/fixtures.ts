/** The recorded outputs of `lspci -vvvnnxxxx` that the tests read. */
import { readdirSync, readFileSync } from "node:fs";

const folder = new URL("../../fixtures/lspci/", import.meta.url);

export function fixture(name: string): string {
	return readFileSync(new URL(name, folder), "utf8");
}

/** Every file with a single device. */
export const singleDevices: readonly string[] = readdirSync(folder)
	.filter((name) => name.endsWith(".txt") && !name.startsWith("host"))
	.sort();

/** Only the header lines and the rows: what -xxxx prints. */
export function bytesOnly(text: string): string {
	return text
		.split("\n")
		.filter((line) => line === "" || /^[0-9a-f]{4}:|^[0-9a-f]{2,3}: /.test(line))
		.join("\n");
}
