/**
 * Registers, queue heads and transfer descriptors of EHCI (Enhanced Host Controller Interface Specification 1.0, sections 2
 * and 3).
 *
 * @module
 */

/** Bytes of the capability registers: where the operational ones start. */
export const CAPLENGTH = 0x20;
export const HCIVERSION = 0x0100;
/** Six ports that are always powered, two per companion (ICH9 datasheet, section 17.2.1.3). */
export const PORTS = 6;
export const HCSPARAMS = 0x00103200 | PORTS;
/** Extended capabilities at 0x68 of the configuration space, isochronous threshold 7, addresses of 32 bits. */
export const HCCPARAMS = 0x00006870;
export const EXTENDED_CAPABILITIES = 0x68;

// Operational registers, from CAPLENGTH on.
export const USBCMD = 0x00;
export const USBSTS = 0x04;
export const USBINTR = 0x08;
export const FRINDEX = 0x0c;
export const PERIODICLISTBASE = 0x14;
export const ASYNCLISTADDR = 0x18;
export const CONFIGFLAG = 0x40;
export const PORTSC = 0x44;

export const CMD_RUN = 1 << 0;
export const CMD_RESET = 1 << 1;
export const CMD_PERIODIC = 1 << 4;
export const CMD_ASYNC = 1 << 5;
export const CMD_DOORBELL = 1 << 6;
export const CMD_WRITABLE = 0x00ff0b7d;
export const CMD_DEFAULT = 0x00080000;
export const STS_INTERRUPT = 1 << 0;
export const STS_ERROR = 1 << 1;
export const STS_PORT_CHANGE = 1 << 2;
export const STS_FRAME_ROLLOVER = 1 << 3;
export const STS_SYSTEM_ERROR = 1 << 4;
export const STS_ASYNC_ADVANCE = 1 << 5;
export const STS_CLEARABLE = 0x3f;
export const STS_HALTED = 1 << 12;
export const STS_PERIODIC = 1 << 14;
export const STS_ASYNC = 1 << 15;
export const PORT_CONNECTED = 1 << 0;
export const PORT_CONNECT_CHANGED = 1 << 1;
export const PORT_ENABLED = 1 << 2;
export const PORT_ENABLE_CHANGED = 1 << 3;
export const PORT_SUSPENDED = 1 << 7;
export const PORT_RESET = 1 << 8;
export const PORT_POWER = 1 << 12;
/** A companion controller has the port. */
export const PORT_COMPANION = 1 << 13;

// Links of the lists.
export const LINK_END = 1 << 0;
export const LINK_TYPE = 3 << 1;
export const LINK_QUEUE_HEAD = 1 << 1;

// A queue head: link, characteristics, capabilities, current descriptor, and an overlay of that.
export const QH_SIZE = 48;
export const QH_CHARACTERISTICS = 0x04;
export const QH_CURRENT = 0x0c;
export const QH_OVERLAY = 0x10;
export const QH_TOGGLE_FROM_DESCRIPTOR = 1 << 14;

// A transfer descriptor, and so the overlay.
export const QTD_SIZE = 32;
export const QTD_NEXT = 0x00;
export const QTD_ALTERNATE = 0x04;
export const QTD_TOKEN = 0x08;
export const QTD_BUFFERS = 0x0c;
export const QTD_PAGES = 5;
export const TOKEN_TRANSACTION_ERROR = 1 << 3;
export const TOKEN_BUFFER_ERROR = 1 << 5;
export const TOKEN_HALTED = 1 << 6;
export const TOKEN_ACTIVE = 1 << 7;
export const TOKEN_ERRORS_SHIFT = 10;
export const TOKEN_PAGE_SHIFT = 12;
export const TOKEN_INTERRUPT = 1 << 15;
export const TOKEN_BYTES_SHIFT = 16;
export const TOKEN_BYTES = 0x7fff;
export const TOKEN_TOGGLE = 1 << 31;
export const PID_OUT = 0;
export const PID_IN = 1;
export const PID_SETUP = 2;
