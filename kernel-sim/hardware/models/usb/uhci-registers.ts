/**
 * Registers and transfer descriptors of UHCI (Universal Host Controller Interface Design Guide 1.1, sections 2.1 and 3).
 *
 * @module
 */

export const USBCMD = 0x00;
export const USBSTS = 0x02;
export const USBINTR = 0x04;
export const FRNUM = 0x06;
export const FRBASEADD = 0x08;
export const SOFMOD = 0x0c;
export const PORTSC = 0x10;
export const PORTS = 2;

export const CMD_RUN = 1 << 0;
export const CMD_HOST_RESET = 1 << 1;
export const CMD_GLOBAL_RESET = 1 << 2;
export const STS_INTERRUPT = 1 << 0;
export const STS_ERROR = 1 << 1;
export const STS_SYSTEM_ERROR = 1 << 3;
export const STS_PROCESS_ERROR = 1 << 4;
export const STS_HALTED = 1 << 5;
export const INTR_ERROR = 1 << 0;
export const INTR_COMPLETION = 1 << 2;
export const INTR_SHORT = 1 << 3;
export const PORT_CONNECTED = 1 << 0;
export const PORT_CONNECT_CHANGED = 1 << 1;
export const PORT_ENABLED = 1 << 2;
export const PORT_ENABLE_CHANGED = 1 << 3;
/** Bit 7 always reads as one. */
export const PORT_ALWAYS = 1 << 7;
export const PORT_LOW_SPEED = 1 << 8;
export const PORT_RESET = 1 << 9;
export const PORT_SUSPENDED = 1 << 12;

// Link pointers.
export const LINK_END = 1 << 0;
export const LINK_QUEUE = 1 << 1;
export const LINK_DEPTH_FIRST = 1 << 2;

// The status dword of a transfer descriptor.
export const TD_ACTUAL_LENGTH = 0x7ff;
export const TD_TIMEOUT = 1 << 18;
export const TD_NAK = 1 << 19;
export const TD_STALLED = 1 << 22;
export const TD_ACTIVE = 1 << 23;
export const TD_INTERRUPT = 1 << 24;
export const TD_ERRORS_SHIFT = 27;
export const TD_SHORT_PACKET = 1 << 29;
/** The longest packet that may be asked for (section 3.2.3). */
export const LONGEST_PACKET = 1280;
