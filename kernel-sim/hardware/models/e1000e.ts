/**
 * The Intel 82574L gigabit controller, as far as a program sees it that does not send: its registers with what they hold
 * after a reset, and the window to them in its I/O ports (82574 datasheet, sections 10.2 and 9.2.2).
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { load, store } from "../little-endian.ts";
import type { DeviceModel, DevicePort } from "../model.ts";

const REGISTERS = 0;
const PORTS = 2;
/** The ports: which register, and its value. */
const IOADDR = 0;
const IODATA = 4;

/** What registers hold after a reset, where that is not 0. The station address is QEMU's first, 52:54:00:12:34:56. */
const AFTER_RESET: readonly (readonly [offset: number, value: number])[] = [
	[0x0000, 0x00140241], // CTRL
	[0x0008, 0x00080283], // STATUS: link up, full duplex, 1000 Mb/s
	[0x0010, 0x00000300], // EECD: an EEPROM is present
	[0x0014, 0x00000002], // EERD: the last read is done
	[0x0038, 0x00008100], // VET
	[0x0040, 0x12005452],
	[0x0044, 0x80005634],
	[0x0410, 0x00602008], // TIPG
	[0x0e00, 0x00068302], // LEDCTL
	[0x1000, 0x00140014], // PBA: 20 KiB to receive, 20 to send
	[0x5000, 0x00000300], // RXCSUM
	[0x5400, 0x12005452], // RAL
	[0x5404, 0x80005634], // RAH, valid
	[0x5b00, 0x06800200], // GCR
	[0x5b50, 0x00000001], // SWSM
];

/** Options of {@link E1000e}. */
export interface E1000eOptions {
	/** Bytes of BAR 0; 128 KiB when left out. */
	readonly size?: number;
}

/** An Intel 82574L on no wire. */
export class E1000e implements DeviceModel {
	readonly #registers: Uint8Array;
	#selected = 0;

	constructor(options: E1000eOptions = {}) {
		this.#registers = new Uint8Array(options.size ?? 0x20000);
		this.reset();
	}

	attach(_port: DevicePort): void {}

	reset(): void {
		this.#registers.fill(0);
		for (const [offset, value] of AFTER_RESET)
			if (offset < this.#registers.length) store(this.#registers, offset, 4, value);
		this.#selected = 0;
	}

	read(bar: number, offset: number, width: AccessWidth): number {
		if (bar === REGISTERS) return load(this.#registers, offset, width);
		if (bar !== PORTS) return 0;
		if (offset === IOADDR) return this.#selected;
		return offset === IODATA && this.#selected < this.#registers.length ? load(this.#registers, this.#selected, 4) : 0;
	}

	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (bar === REGISTERS) store(this.#registers, offset, width, value);
		else if (bar === PORTS && offset === IOADDR) this.#selected = (value & 0x1fffc) >>> 0;
		else if (bar === PORTS && offset === IODATA && this.#selected < this.#registers.length)
			store(this.#registers, this.#selected, 4, value);
	}
}
