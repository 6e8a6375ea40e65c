/**
 * Realtek RTL8168: two registers lead to the device's MSI-X table, past the emulated one. A driver that uses them would
 * read the host's messages, and could write others.
 *
 * Register 0x74 takes a command: bits 0 to 11 the offset, bits 16 to 30 what is meant (1: the MSI-X table), bit 31 set to
 * write and clear to read; the device inverts bit 31 when it is done. Register 0x70 has the data. The same registers are
 * in the memory of BAR 2 and in the ports of BAR 0.
 *
 * @module
 */
import { allOnes } from "../../bytes.ts";
import type { AccessWidth } from "../../kernel.ts";
import type { BarQuirk, DeviceQuirk, QuirkHost } from "./quirk.ts";

const DATA = 0x70;
const COMMAND = 0x74;
const KIND = 0x7fff0000;
const MSIX_TABLE = 0x00010000;
const OFFSET = 0xfff;
const WRITE = 0x80000000;

/** The quirk of 10ec:8168. */
export const rtl8168: DeviceQuirk = {
	name: "RTL8168 back door to the MSI-X table",
	matches: (vendor, device) => vendor === 0x10ec && device === 0x8168,
	places: (bars) => [
		{
			stretches: bars
				.filter(({ index, kind, size }) => index === (kind === "io" ? 0 : 2) && size >= COMMAND + 4)
				.map(({ index }) => ({ bar: index, start: DATA, end: COMMAND + 4 })),
			create: (host) => new BackDoor(host),
		},
	],
};

class BackDoor implements BarQuirk {
	readonly #host: QuirkHost;
	/** The last command, when it was about the table; 0 when it was not. */
	#command = 0;
	#data = 0;

	constructor(host: QuirkHost) {
		this.#host = host;
	}

	read(bar: number, offset: number, width: AccessWidth): number {
		if (width !== 4) return allOnes(width);
		const value = this.#host.read(bar, offset, 4);
		if (this.#command === 0) return value;
		if (offset === COMMAND) return (this.#command ^ WRITE) >>> 0;
		return offset === DATA ? this.#host.tableRead(this.#command & OFFSET) : allOnes(4);
	}

	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		// Parts of a register could make up a command that nobody has looked at as a whole.
		if (width !== 4 || (offset !== COMMAND && offset !== DATA)) return;
		if (offset === DATA) {
			this.#data = value >>> 0;
			this.#host.write(bar, offset, 4, value);
			return;
		}
		const table = (value & KIND) === MSIX_TABLE;
		this.#command = table ? value >>> 0 : 0;
		if (!table) this.#host.write(bar, offset, 4, value);
		else if (value & WRITE) this.#host.tableWrite(value & OFFSET, this.#data);
	}

	reset(): void {
		this.#command = 0;
		this.#data = 0;
	}
}
