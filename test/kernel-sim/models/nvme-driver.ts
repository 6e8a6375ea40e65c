/** The smallest NVMe driver that can test a controller: queues in the memory of a FakePort, commands one at a time. */
import { Nvme, type NvmeOptions } from "../../../kernel-sim/hardware/models/nvme/mod.ts";
import { FakePort } from "./fake-port.ts";

export const ADMIN_ENTRIES = 8;
export const ADMIN_SQ = 0x1000;
export const ADMIN_CQ = 0x2000;
/** Free for I/O queues: 0x3000 to 0xffff; for data: 0x10000 and up. */
export const DATA = 0x10000;

export interface CommandFields {
	opcode: number;
	flags?: number;
	id?: number;
	nsid?: number;
	prp1?: bigint | number;
	prp2?: bigint | number;
	/** Dwords 10 to 15. */
	dwords?: readonly number[];
}

export interface Completion {
	result: number;
	sqHead: number;
	sqId: number;
	id: number;
	phase: number;
	/** Status code type and code, as `status.ts` has them. */
	status: number;
	doNotRetry: boolean;
}

interface Ring {
	base: number;
	entries: number;
	at: number;
	phase: number;
}

export class NvmeDriver {
	readonly port: FakePort;
	readonly nvme: Nvme;
	readonly #sq = new Map<number, Ring>();
	readonly #cq = new Map<number, Ring>();
	#nextId = 1;

	constructor(options: NvmeOptions = {}, port = new FakePort()) {
		this.port = port;
		this.nvme = new Nvme(options);
		this.nvme.attach(port);
	}

	read(offset: number): number {
		return this.nvme.read(0, offset, 4);
	}
	write(offset: number, value: number): void {
		this.nvme.write(0, offset, 4, value);
	}

	/** Enables the controller. @param mps CC.MPS */
	enable(mps = 0): this {
		this.write(0x24, (ADMIN_ENTRIES - 1) | ((ADMIN_ENTRIES - 1) << 16));
		this.write(0x28, ADMIN_SQ);
		this.write(0x2c, 0);
		this.write(0x30, ADMIN_CQ);
		this.write(0x34, 0);
		this.port.memory.fill(0, ADMIN_CQ, ADMIN_CQ + ADMIN_ENTRIES * 16);
		this.write(0x14, 1 | (mps << 7) | (6 << 16) | (4 << 20));
		this.#sq.set(0, { base: ADMIN_SQ, entries: ADMIN_ENTRIES, at: 0, phase: 1 });
		this.#cq.set(0, { base: ADMIN_CQ, entries: ADMIN_ENTRIES, at: 0, phase: 1 });
		return this;
	}

	/** Makes an I/O queue pair. */
	ioQueue(id: number, base: number, entries: number, vector = 0): void {
		const cq = base;
		const sq = base + 0x1000;
		const create = (opcode: number, prp1: number, dword11: number) => {
			const { status } = this.run({ opcode, prp1, dwords: [id | ((entries - 1) << 16), dword11] });
			if (status !== 0) throw new Error(`create ${opcode}: ${status.toString(16)}`);
		};
		this.port.memory.fill(0, cq, cq + entries * 16);
		create(5, cq, 3 | (vector << 16));
		create(1, sq, 1 | (id << 16));
		this.#cq.set(id, { base: cq, entries, at: 0, phase: 1 });
		this.#sq.set(id, { base: sq, entries, at: 0, phase: 1 });
	}

	/** Puts a command into a queue without telling the controller. @returns its identifier */
	put(command: CommandFields, queue = 0): number {
		const ring = this.#sq.get(queue) as Ring;
		const id = command.id ?? this.#nextId++;
		const view = new DataView(this.port.memory.buffer, ring.base + ring.at * 64, 64);
		for (let at = 0; at < 64; at += 4) view.setUint32(at, 0);
		view.setUint8(0, command.opcode);
		view.setUint8(1, command.flags ?? 0);
		view.setUint16(2, id, true);
		view.setUint32(4, command.nsid ?? 0, true);
		view.setBigUint64(24, BigInt(command.prp1 ?? 0), true);
		view.setBigUint64(32, BigInt(command.prp2 ?? 0), true);
		command.dwords?.forEach((dword, index) => void view.setUint32(40 + index * 4, dword, true));
		ring.at = (ring.at + 1) % ring.entries;
		return id;
	}

	/** Rings the doorbell for what was put. */
	ring(queue = 0): void {
		this.write(0x1000 + queue * 8, (this.#sq.get(queue) as Ring).at);
	}

	/** The next completion, if there is one. @param acknowledge whether to ring the doorbell */
	poll(queue = 0, acknowledge = true): Completion | undefined {
		const ring = this.#cq.get(queue) as Ring;
		const view = new DataView(this.port.memory.buffer, ring.base + ring.at * 16, 16);
		const field = view.getUint16(14, true);
		if ((field & 1) !== ring.phase) return undefined;
		ring.at = (ring.at + 1) % ring.entries;
		if (ring.at === 0) ring.phase ^= 1;
		if (acknowledge) this.acknowledge(queue);
		return {
			result: view.getUint32(0, true),
			sqHead: view.getUint16(8, true),
			sqId: view.getUint16(10, true),
			id: view.getUint16(12, true),
			phase: field & 1,
			status: (field >>> 1) & 0x7ff,
			doNotRetry: (field & 0x8000) !== 0,
		};
	}

	acknowledge(queue = 0): void {
		this.write(0x1004 + queue * 8, (this.#cq.get(queue) as Ring).at);
	}

	/** One command, start to end. */
	run(command: CommandFields, queue = 0): Completion {
		const id = this.put(command, queue);
		this.ring(queue);
		const completion = this.poll(queue);
		if (completion?.id !== id) throw new Error(`no completion of command ${id}`);
		return completion;
	}

	text(offset: number, length: number): string {
		return String.fromCharCode(...this.port.memory.subarray(offset, offset + length)).trimEnd();
	}
}
