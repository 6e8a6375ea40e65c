/**
 * Where a function sits on its bus, as the option `addr` writes it.
 *
 * @module
 */
import { VfioError } from "../errors.ts";

/** How many device numbers a bus has. */
export const SLOTS_PER_BUS = 32;
/** How many functions a device has. */
export const FUNCTIONS_PER_SLOT = 8;

/** A device number and a function number on one bus. */
export interface SlotAddress {
	/** The device number, 0 to 31: what users call the slot. */
	readonly device: number;
	/** 0 to 7. */
	readonly function: number;
}

/**
 * Reads the option `addr`: `slot[.function]`, each decimal, or hexadecimal with `0x`.
 *
 * @throws VfioError `invalid-argument`
 * @example
 * ```ts
 * parseSlotAddress("0x03.0x1"); // { device: 3, function: 1 }
 * parseSlotAddress("5"); // { device: 5, function: 0 }
 * ```
 */
export function parseSlotAddress(text: string): SlotAddress {
	const parts = text.split(".");
	if (parts.length > 2) {
		throw malformed(text, `it has ${parts.length} parts; slot and function are all there is`);
	}
	const device = parseNumber(parts[0] ?? "");
	if (device === undefined || device >= SLOTS_PER_BUS) {
		throw malformed(text, `"${parts[0]}" is not a slot from 0 to ${SLOTS_PER_BUS - 1}`);
	}
	const fn = parts[1] === undefined ? 0 : parseNumber(parts[1]);
	if (fn === undefined || fn >= FUNCTIONS_PER_SLOT) {
		throw malformed(text, `"${parts[1]}" is not a function from 0 to ${FUNCTIONS_PER_SLOT - 1}`);
	}
	return { device, function: fn };
}

/** Writes an address as `lspci` does within a bus: `05.0`. */
export function formatSlotAddress(address: SlotAddress): string {
	return `${address.device.toString(16).padStart(2, "0")}.${address.function}`;
}

function parseNumber(text: string): number | undefined {
	return /^(?:0[xX][0-9a-fA-F]{1,4}|[0-9]{1,4})$/.test(text) ? Number(text) : undefined;
}

function malformed(text: string, reason: string): VfioError {
	return new VfioError("invalid-argument", `Cannot use "${text}" as an address on a bus: ${reason}`, {
		remedy: ["Write it as slot or slot.function, such as 5, 0x5 or 5.0"],
	});
}
