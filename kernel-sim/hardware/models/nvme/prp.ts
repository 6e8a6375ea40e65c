/**
 * Physical Region Pages, NVM Express 1.4 section 4.3: moves a command's data between a buffer and the pages that its two
 * PRP entries describe.
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";
import { DATA_TRANSFER_ERROR, PRP_OFFSET_INVALID, SUCCESS } from "./status.ts";

/** Which way the data goes. */
export type Direction = "to-host" | "from-host";

/** A mover of data that keeps its page for PRP lists. */
export class PrpTransfer {
	readonly #port: DevicePort;
	#list = new Uint8Array(4096);
	#listView = new DataView(this.#list.buffer);

	constructor(port: DevicePort) {
		this.#port = port;
	}

	/**
	 * Moves all of `data`. Every list page but the first starts at its beginning and brings at least one entry, so a walk
	 * ends after as many list pages as the data needs, whatever the lists say.
	 *
	 * @param pageSize bytes of a memory page, CC.MPS
	 * @param prp1 the first page, at any offset in it that is a multiple of 4
	 * @param prp2 nothing, the second page, or the address of a list, by how much is left after the first page
	 * @returns a status of `status.ts`
	 */
	move(data: Uint8Array, direction: Direction, pageSize: number, prp1: bigint, prp2: bigint): number {
		const offset = Number(prp1 & BigInt(pageSize - 1));
		if ((offset & 3) !== 0) return PRP_OFFSET_INVALID;
		let done = Math.min(data.length, pageSize - offset);
		if (!this.#piece(data, 0, done, direction, prp1)) return DATA_TRANSFER_ERROR;
		if (done === data.length) return SUCCESS;
		if (data.length - done <= pageSize) return this.#page(data, done, direction, pageSize, prp2);

		let list = prp2;
		let entry = Number(list & BigInt(pageSize - 1));
		if ((entry & 7) !== 0) return PRP_OFFSET_INVALID;
		while (done < data.length) {
			const needed = Math.ceil((data.length - done) / pageSize);
			const room = (pageSize - entry) / 8;
			// The last entry of a list page points to the next list when the page cannot hold all that is left.
			const chained = needed > room;
			const entries = chained ? room : needed;
			if (!this.#fetch(list, entries * 8, pageSize)) return DATA_TRANSFER_ERROR;
			const pages = chained ? entries - 1 : entries;
			for (let i = 0; i < pages; i++) {
				const status = this.#page(data, done, direction, pageSize, this.#listView.getBigUint64(i * 8, true));
				if (status !== SUCCESS) return status;
				done += Math.min(pageSize, data.length - done);
			}
			if (!chained) break;
			list = this.#listView.getBigUint64((entries - 1) * 8, true);
			entry = 0;
			if ((list & BigInt(pageSize - 1)) !== 0n) return PRP_OFFSET_INVALID;
		}
		return SUCCESS;
	}

	#fetch(address: bigint, length: number, pageSize: number): boolean {
		if (this.#list.length < pageSize) {
			this.#list = new Uint8Array(pageSize);
			this.#listView = new DataView(this.#list.buffer);
		}
		return this.#port.dmaRead(address, this.#list.subarray(0, length));
	}

	/** One whole page, or what is left. Every entry but the first starts at a page. */
	#page(data: Uint8Array, start: number, direction: Direction, pageSize: number, prp: bigint): number {
		if ((prp & BigInt(pageSize - 1)) !== 0n) return PRP_OFFSET_INVALID;
		const length = Math.min(pageSize, data.length - start);
		return this.#piece(data, start, length, direction, prp) ? SUCCESS : DATA_TRANSFER_ERROR;
	}

	#piece(data: Uint8Array, start: number, length: number, direction: Direction, address: bigint): boolean {
		const piece = data.subarray(start, start + length);
		return direction === "to-host" ? this.#port.dmaWrite(address, piece) : this.#port.dmaRead(address, piece);
	}
}
