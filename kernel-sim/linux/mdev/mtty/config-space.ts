/**
 * The configuration space of an mtty device: 255 bytes of a serial controller without capabilities.
 *
 * @module
 */
import {
	PCI_BASE_ADDRESS_0,
	PCI_COMMAND,
	PCI_INTERRUPT_LINE,
	PCI_INTERRUPT_PIN,
	PCI_STATUS,
	PCI_SUBSYSTEM_VENDOR_ID,
	PCI_VENDOR_ID,
} from "../../../../core/uapi/pci_regs.ts";
import { load, store } from "../../../hardware/little-endian.ts";
import { PORT_SIZE } from "./serial-port.ts";

/** Bytes: one fewer than a configuration space has. */
export const CONFIG_SIZE = 0xff;
/** WCH CH353, which the driver poses as. */
const IDS = 0x3253_4348;
const BAR_IO = 1;
/** The bits of a BAR that say what it is. */
const BAR_KIND = 3;
/** Written to a BAR by whoever wants to know its size. */
const SIZING = 0xffff_ffff;
/** The lines of a chip that nobody asked for, and its name. */
const VENDOR_SPECIFIC: readonly (readonly [offset: number, value: number])[] = [
	[0x40, 0x23],
	[0x43, 0x80],
	[0x44, 0x23],
	[0x48, 0x23],
	[0x4c, 0x23],
];
const NAME_AT = 0x60;
const NAME = "PCI Serial/UART";

/** Registers that a user reads, and few that he can write. */
export class MttyConfig {
	readonly #bytes = new Uint8Array(CONFIG_SIZE + 1);
	readonly #ports: number;

	/** @param ports 1 or 2, a BAR each */
	constructor(ports: number) {
		this.#ports = ports;
		const bytes = this.#bytes;
		store(bytes, PCI_VENDOR_ID, 4, IDS);
		store(bytes, PCI_COMMAND, 2, 0x0001);
		store(bytes, PCI_STATUS, 2, 0x0200);
		bytes.set([0x10, 0x02, 0x00, 0x07], 8);
		for (let port = 0; port < ports; port++) store(bytes, PCI_BASE_ADDRESS_0 + 4 * port, 4, BAR_IO);
		store(bytes, PCI_SUBSYSTEM_VENDOR_ID, 4, IDS);
		bytes[PCI_INTERRUPT_PIN] = 1;
		for (const [offset, value] of VENDOR_SPECIFIC) bytes[offset] = value;
		bytes.set(new TextEncoder().encode(NAME), NAME_AT);
	}

	/** @returns the bytes read */
	read(offset: number, into: Uint8Array): number {
		into.set(this.#bytes.subarray(offset, offset + into.length));
		return into.length;
	}

	/** Only whole registers at their own offset change. @returns the bytes written */
	write(offset: number, from: Uint8Array): number {
		if (offset === PCI_INTERRUPT_LINE) this.#bytes[offset] = from[0] ?? 0;
		else if (offset >= PCI_BASE_ADDRESS_0 && offset < PCI_BASE_ADDRESS_0 + 24 && offset % 4 === 0)
			this.#writeBar(offset, from.length >= 4 ? load(from, 0, 4) : 0);
		return from.length;
	}

	/** Only the question for the size is answered with an aligned value, and a kind that was once written stays. */
	#writeBar(offset: number, value: number): void {
		const exists = (offset - PCI_BASE_ADDRESS_0) / 4 < this.#ports;
		const address = value === SIZING ? value & ~(PORT_SIZE - 1) : value;
		const kind = load(this.#bytes, offset, 4) & BAR_KIND;
		store(this.#bytes, offset, 4, exists ? (address | kind) >>> 0 : 0);
	}
}
