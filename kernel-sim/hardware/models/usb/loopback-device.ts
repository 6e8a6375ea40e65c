/**
 * A simple USB device: it answers the standard requests (Universal Serial Bus 2.0, section 9.4), and its bulk endpoints give
 * back what they got.
 *
 * @module
 */
import type { UsbDevice, UsbHandshake, UsbSpeed } from "./device.ts";

const GET_STATUS = 0;
const SET_ADDRESS = 5;
const GET_DESCRIPTOR = 6;
const GET_CONFIGURATION = 8;
const SET_CONFIGURATION = 9;
const DEVICE = 1;
const CONFIGURATION = 2;
const STRING = 3;
const CONTROL_PACKET = 64;
/** Packets that it keeps until the host reads them back. */
const CAPACITY = 1024;
const STRINGS: readonly string[] = ["vfio-ts", "Loopback device"];

/** The device. Endpoint 1 takes packets, and endpoint 1 in the other direction gives them back in order. */
export class LoopbackDevice implements UsbDevice {
	readonly speed: UsbSpeed;
	/** What SET_CONFIGURATION chose; 0 for none. */
	configuration = 0;
	#address = 0;
	#newAddress: number | undefined;
	#response: Uint8Array = new Uint8Array();
	#sent = 0;
	#stalled = false;
	readonly #packets: Uint8Array[] = [];

	constructor(speed: UsbSpeed = "full") {
		this.speed = speed;
	}

	get address(): number {
		return this.#address;
	}

	/** The descriptor that tells who it is (section 9.6.1). */
	get deviceDescriptor(): Uint8Array {
		const [release, packet] = this.speed === "high" ? [2, CONTROL_PACKET] : [1, 8];
		return Uint8Array.of(18, DEVICE, 0, release, 0xff, 0, 0, packet, 0x34, 0x12, 0x78, 0x56, 0, 1, 1, 2, 0, 1);
	}

	reset(): void {
		this.#address = 0;
		this.configuration = 0;
		this.#newAddress = undefined;
		this.#response = new Uint8Array();
		this.#sent = 0;
		this.#stalled = false;
		this.#packets.length = 0;
	}

	setup(endpoint: number, packet: Uint8Array): UsbHandshake {
		if (endpoint !== 0) return "stall";
		const [type = 0, request = 0] = packet;
		const value = (packet[2] ?? 0) | ((packet[3] ?? 0) << 8);
		const length = (packet[6] ?? 0) | ((packet[7] ?? 0) << 8);
		const response = this.#answer((type << 8) | request, value);
		this.#stalled = response === undefined;
		this.#response = response?.subarray(0, length) ?? new Uint8Array();
		this.#sent = 0;
		return "ack";
	}

	out(endpoint: number, data: Uint8Array): UsbHandshake {
		if (endpoint === 0) return this.#stalled || data.length > 0 ? "stall" : "ack";
		if (endpoint !== 1 || this.configuration === 0) return "stall";
		if (this.#packets.length >= CAPACITY) return "nak";
		this.#packets.push(data.slice());
		return "ack";
	}

	in(endpoint: number, into: Uint8Array): number | "nak" | "stall" {
		if (endpoint === 0) return this.#control(into);
		if (endpoint !== 1 || this.configuration === 0) return "stall";
		const packet = this.#packets.shift();
		if (!packet) return "nak";
		into.set(packet.subarray(0, into.length));
		return Math.min(packet.length, into.length);
	}

	/** Data of a control read, or the status of a control write: what was asked for takes effect with that (section 9.4.6). */
	#control(into: Uint8Array): number | "stall" {
		if (this.#stalled) return "stall";
		if (this.#newAddress !== undefined) {
			this.#address = this.#newAddress;
			this.#newAddress = undefined;
		}
		const part = this.#response.subarray(this.#sent, this.#sent + Math.min(into.length, CONTROL_PACKET));
		into.set(part);
		this.#sent += part.length;
		return part.length;
	}

	/** @returns the data of the answer, or undefined for a request it does not know */
	#answer(request: number, value: number): Uint8Array | undefined {
		switch (request) {
			case 0x0000 | SET_ADDRESS:
				this.#newAddress = value & 0x7f;
				return new Uint8Array();
			case 0x0000 | SET_CONFIGURATION:
				if (value > 1) return undefined;
				this.configuration = value;
				return new Uint8Array();
			case 0x8000 | GET_CONFIGURATION:
				return Uint8Array.of(this.configuration);
			case 0x8000 | GET_STATUS:
				return Uint8Array.of(1, 0);
			case 0x8000 | GET_DESCRIPTOR:
				return this.#descriptor(value >>> 8, value & 0xff);
			default:
				return undefined;
		}
	}

	#descriptor(type: number, index: number): Uint8Array | undefined {
		if (type === DEVICE) return this.deviceDescriptor;
		if (type === CONFIGURATION && index === 0) return this.#configurationDescriptor();
		if (type !== STRING) return undefined;
		if (index === 0) return Uint8Array.of(4, STRING, 0x09, 0x04);
		const text = STRINGS[index - 1];
		if (text === undefined) return undefined;
		const bytes = new Uint8Array(2 + 2 * text.length);
		bytes.set([bytes.length, STRING]);
		for (let at = 0; at < text.length; at++) bytes[2 + 2 * at] = text.charCodeAt(at);
		return bytes;
	}

	/** One configuration, one vendor-specific interface, bulk endpoint 1 in both directions (sections 9.6.3 to 9.6.6). */
	#configurationDescriptor(): Uint8Array {
		const packet = this.speed === "high" ? 512 : 64;
		const endpoint = (address: number) => [7, 5, address, 2, packet & 0xff, packet >>> 8, 0];
		const interfaces = [9, 4, 0, 0, 2, 0xff, 0, 0, 0, ...endpoint(0x01), ...endpoint(0x81)];
		return Uint8Array.from([9, CONFIGURATION, 9 + interfaces.length, 0, 1, 1, 0, 0xc0, 0, ...interfaces]);
	}
}
