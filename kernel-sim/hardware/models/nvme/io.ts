/**
 * The NVM command set, NVM Express 1.4 section 6: Read, Write, Flush and Write Zeroes.
 *
 * @module
 */
import type { Command } from "./command.ts";
import type { ControllerContext } from "./context.ts";
import type { Namespace } from "./namespace.ts";
import {
	ATTEMPTED_WRITE_TO_READ_ONLY,
	INVALID_FIELD,
	INVALID_NAMESPACE,
	INVALID_OPCODE,
	LBA_OUT_OF_RANGE,
	SUCCESS,
	UNRECOVERED_READ_ERROR,
	WRITE_FAULT,
} from "./status.ts";

const FLUSH = 0x00;
const WRITE = 0x01;
const READ = 0x02;
const WRITE_ZEROES = 0x08;

/** Every namespace at once. */
const BROADCAST = 0xffffffff;
const FORCE_UNIT_ACCESS = 0x40000000;

/** Executes I/O commands. */
export class IoCommands {
	readonly #controller: ControllerContext;
	/** Bytes that commands have moved or zeroed, for the controller's budget. */
	bytes = 0;

	constructor(controller: ControllerContext) {
		this.#controller = controller;
	}

	/** @returns a status of `status.ts` */
	execute(command: Command): number {
		const { opcode, namespaceId } = command;
		if (opcode !== FLUSH && opcode !== WRITE && opcode !== READ && opcode !== WRITE_ZEROES) return INVALID_OPCODE;
		const { namespaces, log } = this.#controller;
		if (opcode === FLUSH && namespaceId === BROADCAST)
			return namespaces.every((ns) => ns.flush()) ? SUCCESS : this.#mediaError(WRITE_FAULT);
		const ns = namespaceId === 0 ? undefined : namespaces[namespaceId - 1];
		if (ns === undefined) return INVALID_NAMESPACE;
		if (opcode === FLUSH) return ns.flush() ? SUCCESS : this.#mediaError(WRITE_FAULT);

		const blocks = (command.dword(12) & 0xffff) + 1;
		const length = blocks * ns.blockSize;
		if (opcode !== WRITE_ZEROES && length > this.#controller.identity.maximumTransfer) return INVALID_FIELD;
		// Two words make a number exactly when the upper has 21 bits; past that no disk reaches anyway.
		const upper = command.dword(11);
		const offset = (upper * 2 ** 32 + command.dword(10)) * ns.blockSize;
		if (upper >= 2 ** 21 || offset + length > ns.size) return LBA_OUT_OF_RANGE;
		if (opcode !== READ && ns.readOnly === true) return ATTEMPTED_WRITE_TO_READ_ONLY;
		this.bytes += length;

		if (opcode === READ) {
			log.readCommands += 1;
			log.blocksRead += length / 512;
			return this.#read(command, ns, offset, length);
		}
		if (opcode === WRITE) {
			log.writeCommands += 1;
			log.blocksWritten += length / 512;
			return this.#write(command, ns, offset, length);
		}
		return ns.zero(offset, length) ? this.#persist(command, ns) : this.#mediaError(WRITE_FAULT);
	}

	#read(command: Command, ns: Namespace, offset: number, length: number): number {
		const { transfer, pageSize } = this.#controller;
		const data = this.#controller.data(length);
		if (!ns.read(offset, data)) return this.#mediaError(UNRECOVERED_READ_ERROR);
		return transfer.move(data, "to-host", pageSize, command.prp1, command.prp2);
	}

	/** All of the data is fetched before any of it is written: a fault half way leaves the blocks as they were. */
	#write(command: Command, ns: Namespace, offset: number, length: number): number {
		const { transfer, pageSize } = this.#controller;
		const data = this.#controller.data(length);
		const status = transfer.move(data, "from-host", pageSize, command.prp1, command.prp2);
		if (status !== SUCCESS) return status;
		return ns.write(offset, data) ? this.#persist(command, ns) : this.#mediaError(WRITE_FAULT);
	}

	#persist(command: Command, ns: Namespace): number {
		const through = (command.dword(12) & FORCE_UNIT_ACCESS) !== 0 || !this.#controller.features.writeCache;
		return !through || ns.flush() ? SUCCESS : this.#mediaError(WRITE_FAULT);
	}

	#mediaError(status: number): number {
		this.#controller.log.mediaErrors += 1;
		return status;
	}
}
