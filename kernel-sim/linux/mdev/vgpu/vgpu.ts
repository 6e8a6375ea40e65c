/**
 * A virtual GPU: a display whose driver fills, copies and shows a frame buffer by commands in the guest's memory.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";
import { msi } from "../../../hardware/capabilities.ts";
import type { FunctionDescription } from "../../../hardware/description.ts";
import type { DeviceModel, DevicePort } from "../../../hardware/model.ts";

/** Registers, BAR 0, four bytes each. */
export const VGPU = {
	/** Reads 0x55504756, "VGPU". */
	ID: 0x00,
	/** Bytes of the frame buffer. */
	SIZE: 0x04,
	/** Where the commands are: low and high half of the guest-physical address. */
	RING_LOW: 0x08,
	RING_HIGH: 0x0c,
	/** Writing a number of commands runs that many, from the first one. */
	DOORBELL: 0x10,
	/** Commands that were run since the last reset. */
	DONE: 0x14,
	/** Bit 0: commands are done; bit 1: one could not be run. Writing ones clears them. */
	INTERRUPT_STATUS: 0x18,
	/** Which of these interrupt. */
	INTERRUPT_ENABLE: 0x1c,
	/** Frames that were shown. */
	FRAMES: 0x20,
} as const;

/** Where the frame buffer begins in BAR 0, bytes: what comes before are registers, which cannot be mapped. */
export const FRAME_BUFFER = 0x1000;
/** Bytes of a command: what to do, the offset in the frame buffer, the length, a value, a guest-physical address. */
export const COMMAND_SIZE = 32;
/** What a command does. */
export const COMMANDS = { fill: 1, copyIn: 2, copyOut: 3, show: 4 } as const;

const ID = 0x5550_4756;
const DONE = 1;
const FAILED = 2;
const MOST_COMMANDS = 1024;

/** The model behind a virtual GPU. */
export class Vgpu implements DeviceModel {
	readonly #frameBuffer: DataView;
	readonly #command = new Uint8Array(COMMAND_SIZE);
	readonly #view = new DataView(this.#command.buffer);
	#port: DevicePort | undefined;
	#ringLow = 0;
	#ringHigh = 0;
	#done = 0;
	#status = 0;
	#enabled = 0;
	#frames = 0;

	/** @param size bytes of the frame buffer, a multiple of 4096 */
	constructor(size: number) {
		this.#frameBuffer = new DataView(new ArrayBuffer(size));
	}

	/** The function it lives in. @param size bytes of the frame buffer */
	static description(size: number): FunctionDescription {
		let bar = FRAME_BUFFER * 2;
		while (bar < FRAME_BUFFER + size) bar *= 2;
		return {
			name: "virtual GPU",
			vendor: 0x1234,
			device: 0x11ea,
			classCode: 0x038000,
			subsystemVendor: 0x1af4,
			subsystemDevice: 0x1100,
			interruptPin: 1,
			bars: [{ index: 0, kind: "mem64", size: bar, prefetchable: true, backing: "registers" }],
			capabilities: [msi({ vectors: 1 })],
		};
	}

	attach(port: DevicePort): void {
		this.#port = port;
	}

	reset(): void {
		new Uint8Array(this.#frameBuffer.buffer).fill(0);
		this.#ringLow = this.#ringHigh = this.#done = this.#status = this.#enabled = this.#frames = 0;
		this.#port?.setIntx(false);
	}

	detach(): void {
		this.#port = undefined;
	}

	read(_bar: number, offset: number, width: AccessWidth): number {
		if (offset >= FRAME_BUFFER) return this.#readMemory(offset - FRAME_BUFFER, width);
		if (width !== 4) return 0;
		switch (offset) {
			case VGPU.ID:
				return ID;
			case VGPU.SIZE:
				return this.#frameBuffer.byteLength;
			case VGPU.RING_LOW:
				return this.#ringLow;
			case VGPU.RING_HIGH:
				return this.#ringHigh;
			case VGPU.DONE:
				return this.#done;
			case VGPU.INTERRUPT_STATUS:
				return this.#status;
			case VGPU.INTERRUPT_ENABLE:
				return this.#enabled;
			case VGPU.FRAMES:
				return this.#frames;
			default:
				return 0;
		}
	}

	write(_bar: number, offset: number, width: AccessWidth, value: number): void {
		if (offset >= FRAME_BUFFER) {
			this.#writeMemory(offset - FRAME_BUFFER, width, value);
			return;
		}
		if (width !== 4) return;
		switch (offset) {
			case VGPU.RING_LOW:
				this.#ringLow = value;
				return;
			case VGPU.RING_HIGH:
				this.#ringHigh = value;
				return;
			case VGPU.DOORBELL:
				this.#run(Math.min(value, MOST_COMMANDS));
				return;
			case VGPU.INTERRUPT_STATUS:
				this.#status &= ~value;
				this.#updateLine();
				return;
			case VGPU.INTERRUPT_ENABLE:
				this.#enabled = value & (DONE | FAILED);
				this.#updateLine();
		}
	}

	#run(count: number): void {
		const ring = (BigInt(this.#ringHigh) << 32n) | BigInt(this.#ringLow);
		let status = DONE;
		for (let n = 0; n < count; n++) {
			const read = this.#port?.dmaRead(ring + BigInt(n * COMMAND_SIZE), this.#command) ?? false;
			if (read && this.#execute()) this.#done++;
			else status |= FAILED;
		}
		this.#status |= status;
		if ((this.#status & this.#enabled) !== 0 && this.#port?.signal(0) === false) this.#updateLine();
	}

	/** @returns false when the command makes no sense, or reaches memory that is not there */
	#execute(): boolean {
		const offset = this.#view.getUint32(4, true);
		const length = this.#view.getUint32(8, true);
		const address = this.#view.getBigUint64(16, true);
		if (offset + length > this.#frameBuffer.byteLength) return false;
		const area = new Uint8Array(this.#frameBuffer.buffer, offset, length);
		switch (this.#view.getUint32(0, true)) {
			case COMMANDS.fill:
				area.fill(this.#view.getUint32(12, true) & 0xff);
				return true;
			case COMMANDS.copyIn:
				return this.#port?.dmaRead(address, area) ?? false;
			case COMMANDS.copyOut:
				return this.#port?.dmaWrite(address, area) ?? false;
			case COMMANDS.show:
				this.#frames++;
				return true;
			default:
				return false;
		}
	}

	#updateLine(): void {
		this.#port?.setIntx(this.#port.interruptMode === "intx" && (this.#status & this.#enabled) !== 0);
	}

	/** The end of the BAR has no memory behind it. */
	#readMemory(offset: number, width: AccessWidth): number {
		const memory = this.#frameBuffer;
		if (offset + width > memory.byteLength) return 0xffff_ffff;
		if (width === 4) return memory.getUint32(offset, true);
		return width === 2 ? memory.getUint16(offset, true) : memory.getUint8(offset);
	}

	#writeMemory(offset: number, width: AccessWidth, value: number): void {
		const memory = this.#frameBuffer;
		if (offset + width > memory.byteLength) return;
		if (width === 4) memory.setUint32(offset, value, true);
		else if (width === 2) memory.setUint16(offset, value, true);
		else memory.setUint8(offset, value);
	}
}
