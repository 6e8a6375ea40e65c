/**
 * A submission queue entry, NVM Express 1.4 section 4.2, decoded in place: one object is filled again and again.
 *
 * @module
 */

/** Bytes of a submission queue entry. */
export const COMMAND_SIZE = 64;

/** The command being executed. */
export class Command {
	/** The entry as DMA fetched it. */
	readonly bytes: Uint8Array = new Uint8Array(COMMAND_SIZE);
	readonly #view = new DataView(this.bytes.buffer);
	/** Dword 0 of the completion, for commands that answer with a value. */
	result = 0;

	get opcode(): number {
		return this.#view.getUint8(0);
	}
	/** FUSE and PSDT: nonzero for fused operations and scatter-gather lists, neither of which we have. */
	get flags(): number {
		return this.#view.getUint8(1);
	}
	/** The command identifier (CID). */
	get id(): number {
		return this.#view.getUint16(2, true);
	}
	get namespaceId(): number {
		return this.#view.getUint32(4, true);
	}
	get prp1(): bigint {
		return this.#view.getBigUint64(24, true);
	}
	get prp2(): bigint {
		return this.#view.getBigUint64(32, true);
	}
	/** A command dword. @param index 10 to 15 */
	dword(index: number): number {
		return this.#view.getUint32(index * 4, true);
	}
}
