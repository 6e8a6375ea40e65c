/**
 * The streams that carry an mtty device's state, and what is in them.
 *
 * @module
 */
import { EFAULT, EINVAL, ENODEV, ENOMEM, ENOTTY, ESPIPE } from "../../../../core/uapi/errno.ts";
import { O_RDONLY, O_WRONLY } from "../../../../core/uapi/fcntl.ts";
import { VFIO_MIG_GET_PRECOPY_INFO, vfio_precopy_info } from "../../../../core/uapi/vfio.ts";
import { type IoctlArgument, OpenFile } from "../../file.ts";
import type { SimProcess } from "../../process.ts";
import { PORT_STATE_SIZE } from "./serial-port.ts";

const NAME = "anon_inode:mtty_mig";
const HEADER_SIZE = 24;
const MAGIC = 0x7e9d_0989_8c3e_2c4en;
const MAJOR_VERSION = 1;

/** Bytes of a device's whole state. */
export function stateSize(ports: number): number {
	return HEADER_SIZE + ports * PORT_STATE_SIZE;
}

/** What a stream begins with. */
export function stateHeader(ports: number): Uint8Array {
	const bytes = new Uint8Array(HEADER_SIZE);
	const view = new DataView(bytes.buffer);
	view.setBigUint64(0, MAGIC, true);
	view.setUint32(8, MAJOR_VERSION, true);
	view.setUint32(16, ports, true);
	return bytes;
}

/** The parts of a state behind its header, one for each port. */
export function portStates(state: Uint8Array, ports: number): Uint8Array[] {
	return Array.from({ length: ports }, (_, port) => {
		const start = HEADER_SIZE + port * PORT_STATE_SIZE;
		return state.subarray(start, start + PORT_STATE_SIZE);
	});
}

/** What both directions have in common: they end when the device leaves the state that they belong to. */
abstract class MigrationStream extends OpenFile {
	#ended = false;

	constructor(flags: number) {
		super(NAME);
		this.flags = flags;
	}

	get ended(): boolean {
		return this.#ended;
	}

	/** The device has left the state. */
	end(): void {
		this.#ended = true;
	}

	override pread(): number {
		return -ESPIPE;
	}

	override pwrite(): number {
		return -ESPIPE;
	}
}

/** A device's state on its way out. */
export class SavingStream extends MigrationStream {
	#state: Uint8Array;
	/** Whether the device is in one of the pre-copy states. */
	readonly #precopying: () => boolean;

	constructor(state: Uint8Array, precopying: () => boolean) {
		super(O_RDONLY);
		this.#state = state;
		this.#precopying = precopying;
	}

	/** There is more. */
	append(bytes: Uint8Array): void {
		const state = new Uint8Array(this.#state.length + bytes.length);
		state.set(this.#state);
		state.set(bytes, this.#state.length);
		this.#state = state;
	}

	override read(_process: SimProcess, buffer: Uint8Array): number {
		if (this.ended) return -ENODEV;
		const part = this.#state.subarray(this.position, this.position + buffer.length);
		buffer.set(part);
		this.position += part.length;
		return part.length;
	}

	override ioctl(_process: SimProcess, request: number, argument: IoctlArgument): number {
		if (request !== VFIO_MIG_GET_PRECOPY_INFO) return -ENOTTY;
		const bytes = argument.read(vfio_precopy_info.size);
		if (!bytes) return -EFAULT;
		const info = vfio_precopy_info.view(bytes.slice());
		if (info.argsz < vfio_precopy_info.size || !this.#precopying()) return -EINVAL;
		if (this.ended) return -ENODEV;
		info.flags = 0;
		info.dirty_bytes = 0n;
		info.initial_bytes = BigInt(this.#state.length - this.position);
		return argument.write(info.bytes) ? 0 : -EFAULT;
	}
}

/** A state on its way in. */
export class ResumingStream extends MigrationStream {
	readonly #state: Uint8Array;
	readonly #ports: number;

	constructor(ports: number) {
		super(O_WRONLY);
		this.#ports = ports;
		this.#state = new Uint8Array(stateSize(ports));
	}

	/** The whole state, once all of it has arrived. */
	get state(): Uint8Array | undefined {
		return this.position === this.#state.length ? this.#state : undefined;
	}

	override write(_process: SimProcess, buffer: Uint8Array): number {
		if (this.ended) return -ENODEV;
		const before = this.position;
		if (before + buffer.length > this.#state.length) return -ENOMEM;
		this.#state.set(buffer, before);
		this.position += buffer.length;
		const complete = before < HEADER_SIZE && this.position >= HEADER_SIZE;
		return complete && !this.#headerFits() ? -EFAULT : buffer.length;
	}

	#headerFits(): boolean {
		return stateHeader(this.#ports).every((byte, index) => this.#state[index] === byte);
	}
}
