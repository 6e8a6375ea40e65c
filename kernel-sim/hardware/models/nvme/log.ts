/**
 * Log pages, NVM Express 1.4 section 5.14.1: errors, health, firmware slots.
 *
 * @module
 */
import { ascii } from "./ascii.ts";
import type { Command } from "./command.ts";
import { statusField } from "./status.ts";

export const ERROR_LOG = 0x01;
export const HEALTH_LOG = 0x02;
export const FIRMWARE_LOG = 0x03;

/** How many errors the log keeps. */
export const ERROR_LOG_ENTRIES = 4;
const ERROR_ENTRY_SIZE = 64;

/** Critical warning: the temperature is outside its thresholds. */
export const WARNING_TEMPERATURE = 0x02;

/** Degrees Kelvin: 50 °C, always. */
export const TEMPERATURE = 323;

/** What a controller remembers. It survives resets, as it does on a drive. */
export class Log {
	/** Blocks of 512 bytes. */
	blocksRead = 0;
	blocksWritten = 0;
	readCommands = 0;
	writeCommands = 0;
	mediaErrors = 0;
	/** How many errors there were; each entry of the error log carries its number. */
	errors = 0;
	readonly #errors = new Uint8Array(ERROR_LOG_ENTRIES * ERROR_ENTRY_SIZE);

	/** Adds an entry to the error log: the newest is the first. */
	error(queueId: number, command: Command, status: number): void {
		this.errors += 1;
		this.#errors.copyWithin(ERROR_ENTRY_SIZE, 0);
		const entry = new DataView(this.#errors.buffer, 0, ERROR_ENTRY_SIZE);
		entry.setBigUint64(0, BigInt(this.errors), true);
		entry.setUint16(8, queueId, true);
		entry.setUint16(10, command.id, true);
		entry.setUint16(12, statusField(status) << 1, true);
		entry.setUint16(14, 0xffff, true); // parameter error location: none
		entry.setBigUint64(16, queueId === 0 ? 0n : BigInt(command.dword(10)) | (BigInt(command.dword(11)) << 32n), true);
		entry.setUint32(24, command.namespaceId, true);
		for (let at = 28; at < ERROR_ENTRY_SIZE; at += 4) entry.setUint32(at, 0, true);
	}

	/**
	 * A log page from its start.
	 *
	 * @param warning the critical warning bits
	 * @param hours power on hours
	 * @returns undefined when there is no such page
	 */
	page(id: number, firmware: string, warning: number, hours: number): Uint8Array | undefined {
		switch (id) {
			case ERROR_LOG:
				return this.#errors;
			case HEALTH_LOG:
				return this.#health(warning, hours);
			case FIRMWARE_LOG: {
				const page = new Uint8Array(512);
				page[0] = 1; // the active slot
				ascii(page, 8, 8, firmware);
				return page;
			}
			default:
				return undefined;
		}
	}

	#health(warning: number, hours: number): Uint8Array {
		const page = new Uint8Array(512);
		const view = new DataView(page.buffer);
		page[0] = warning;
		view.setUint16(1, TEMPERATURE, true);
		page[3] = 100; // available spare, percent
		page[4] = 10; // its threshold
		// Data units are thousands of 512-byte blocks, rounded up.
		view.setBigUint64(32, BigInt(Math.ceil(this.blocksRead / 1000)), true);
		view.setBigUint64(48, BigInt(Math.ceil(this.blocksWritten / 1000)), true);
		view.setBigUint64(64, BigInt(this.readCommands), true);
		view.setBigUint64(80, BigInt(this.writeCommands), true);
		view.setBigUint64(112, 1n, true); // power cycles
		view.setBigUint64(128, BigInt(hours), true);
		view.setBigUint64(160, BigInt(this.mediaErrors), true);
		view.setBigUint64(176, BigInt(this.errors), true);
		return page;
	}
}
