/**
 * What a USB host controller sees of a device: transactions of one packet each (Universal Serial Bus 2.0, section 8.5).
 *
 * @module
 */

/** Bits per second on the wire: 1.5, 12 or 480 million. */
export type UsbSpeed = "low" | "full" | "high";

/** How a device answers a packet: taken, not now, never. */
export type UsbHandshake = "ack" | "nak" | "stall";

/** A device on a port. */
export interface UsbDevice {
	readonly speed: UsbSpeed;
	/** What it answers to, 0 to 127; 0 after a bus reset. */
	readonly address: number;
	/** A bus reset. */
	reset(): void;
	/** A SETUP packet. @param packet eight bytes, only valid in the call */
	setup(endpoint: number, packet: Uint8Array): UsbHandshake;
	/** A packet from the host. @param data only valid in the call */
	out(endpoint: number, data: Uint8Array): UsbHandshake;
	/** A packet to the host. @param into room for the longest packet that the host takes @returns its length in bytes */
	in(endpoint: number, into: Uint8Array): number | "nak" | "stall";
}

/** Packet identifiers of the tokens (section 8.3.1). */
export const PID_SETUP = 0x2d;
export const PID_IN = 0x69;
export const PID_OUT = 0xe1;
