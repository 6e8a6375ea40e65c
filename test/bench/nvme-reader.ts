import type { VfioDevice } from "../../core/device/device.ts";
import type { Kernel, Mapping, Memory } from "../../core/kernel.ts";
import { Releases } from "../../core/release.ts";

const PAGE = 4096;
const ENTRIES = 64;
const READ = 0x02;
const CREATE_IO_SQ = 0x01;
const CREATE_IO_CQ = 0x05;

interface Queue {
	readonly id: number;
	/** Where the queue is in the driver's memory. */
	readonly submission: number;
	readonly completion: number;
	tail: number;
	head: number;
	phase: number;
}

/**
 * A user-space driver that reads blocks, as small as it can be: one I/O queue, no interrupts, one command at a time.
 * (NVM Express 1.4, sections 3.1, 4.2, 4.6 and 6.9.)
 */
export class NvmeReader implements Disposable {
	readonly #registers: Mapping;
	readonly #memory: Memory;
	readonly #view: DataView;
	readonly #admin: Queue = { id: 0, submission: 0, completion: PAGE, tail: 0, head: 0, phase: 1 };
	readonly #io: Queue = { id: 1, submission: 2 * PAGE, completion: 3 * PAGE, tail: 0, head: 0, phase: 1 };
	readonly #data = 4 * PAGE;
	readonly #releases = new Releases();

	constructor(kernel: Kernel, device: VfioDevice) {
		this.#registers = this.#releases.use(device.mapRegion(0));
		this.#memory = this.#releases.use(kernel.allocate(16 * PAGE));
		this.#releases.use(device.iommu.map(0n, this.#memory.address, BigInt(this.#memory.length)));
		this.#view = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset);
		device.writeRegion(7, 4, 2, 0x6);
		this.#registers.write(0x14, 4, 0);
		this.#registers.write(0x24, 4, (ENTRIES - 1) | ((ENTRIES - 1) << 16));
		this.#registers.write64(0x28, BigInt(this.#admin.submission));
		this.#registers.write64(0x30, BigInt(this.#admin.completion));
		this.#registers.write(0x14, 4, 1 | (6 << 16) | (4 << 20));
		if ((this.#registers.read(0x1c, 4) & 1) === 0) throw new Error("The controller does not become ready");
		this.#run(this.#admin, CREATE_IO_CQ, this.#io.completion, this.#io.id | ((ENTRIES - 1) << 16), 1);
		this.#run(
			this.#admin,
			CREATE_IO_SQ,
			this.#io.submission,
			this.#io.id | ((ENTRIES - 1) << 16),
			1 | (this.#io.id << 16),
		);
	}

	/** Reads 4 KiB from a block on. @returns the first 64 bits of them */
	read(block: number): bigint {
		this.#run(this.#io, READ, this.#data, block, 0, PAGE / 512 - 1);
		return this.#view.getBigUint64(this.#data, true);
	}

	[Symbol.dispose](): void {
		this.#registers.write(0x14, 4, 0);
		this.#releases[Symbol.dispose]();
	}

	#run(queue: Queue, opcode: number, prp: number, dword10: number, dword11: number, dword12 = 0): void {
		const view = this.#view;
		const at = queue.submission + queue.tail * 64;
		view.setUint32(at, opcode | (queue.tail << 16), true);
		view.setUint32(at + 4, queue.id, true); // namespace 1 for I/O, none for these admin commands
		view.setUint32(at + 24, prp, true);
		view.setUint32(at + 40, dword10, true);
		view.setUint32(at + 44, dword11, true);
		view.setUint32(at + 48, dword12, true);
		queue.tail = (queue.tail + 1) % ENTRIES;
		this.#registers.write(0x1000 + queue.id * 8, 4, queue.tail);
		const status = view.getUint16(queue.completion + queue.head * 16 + 14, true);
		if ((status & 1) !== queue.phase || status >> 1 !== 0)
			throw new Error(`NVMe command ${opcode}: status ${status.toString(16)}`);
		queue.head = (queue.head + 1) % ENTRIES;
		if (queue.head === 0) queue.phase ^= 1;
		this.#registers.write(0x1004 + queue.id * 8, 4, queue.head);
	}
}
