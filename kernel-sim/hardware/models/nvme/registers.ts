/**
 * Controller registers of NVM Express 1.4, section 3.1: where they are and how their fields are laid out.
 *
 * @module
 */

/** Controller Capabilities, 64 bits. */
export const CAP = 0x00;
/** Version. */
export const VS = 0x08;
/** Interrupt Mask Set. */
export const INTMS = 0x0c;
/** Interrupt Mask Clear. */
export const INTMC = 0x10;
/** Controller Configuration. */
export const CC = 0x14;
/** Controller Status. */
export const CSTS = 0x1c;
/** Admin Queue Attributes. */
export const AQA = 0x24;
/** Admin Submission Queue base, 64 bits. */
export const ASQ = 0x28;
/** Admin Completion Queue base, 64 bits. */
export const ACQ = 0x30;
/** Where the registers of the controller proper end in this model; up to the doorbells everything reads 0. */
export const REGISTERS_END = 0x40;
/** The first doorbell. With CAP.DSTRD 0, doorbell n is at 0x1000 + 4n: the submission queues' even, the completion queues' odd. */
export const DOORBELLS = 0x1000;

export const CC_ENABLE = 0x1;
/** Fields that only change while the controller is disabled: CSS, MPS and AMS. */
export const CC_STATIC = 0x3ff0;
export const CC_WRITABLE = 0x00fffff1;

export const CSTS_READY = 0x1;
export const CSTS_FATAL = 0x2;
export const CSTS_SHUTDOWN = 0xc;
export const CSTS_SHUTDOWN_COMPLETE = 0x8;

/** AQA: two fields of 12 bits, each the number of entries less one. */
export const AQA_WRITABLE = 0x0fff0fff;
/** 1.4.0, as VS and Identify tell it. */
export const VERSION = 0x00010400;

/** The largest memory page the host may choose, as the power of two above 4 KiB (CAP.MPSMAX): 64 KiB. */
export const MPS_MAX = 4;

/** The command set a host chooses (CC.CSS); 0 is the NVM command set, the only one here. */
export const commandSet = (cc: number): number => (cc >>> 4) & 7;
/** Bytes of a memory page (CC.MPS). */
export const pageSize = (cc: number): number => 4096 << ((cc >>> 7) & 0xf);
/** Arbitration mechanism (CC.AMS); 0 is round robin. */
export const arbitration = (cc: number): number => (cc >>> 11) & 7;
/** Shutdown notification (CC.SHN): 0 none, 1 normal, 2 abrupt. */
export const shutdownNotification = (cc: number): number => (cc >>> 14) & 3;
/** Bytes of an I/O submission queue's entry (CC.IOSQES). */
export const submissionEntrySize = (cc: number): number => 1 << ((cc >>> 16) & 0xf);
/** Bytes of an I/O completion queue's entry (CC.IOCQES). */
export const completionEntrySize = (cc: number): number => 1 << ((cc >>> 20) & 0xf);

/** The low half of CAP: largest queue, contiguous queues only, round robin, half a second to become ready. */
export function capabilitiesLow(maximumQueueEntries: number): number {
	const contiguousQueuesRequired = 1 << 16;
	const timeoutHalfSeconds = 1 << 24;
	return (maximumQueueEntries - 1) | contiguousQueuesRequired | timeoutHalfSeconds;
}

/** The high half of CAP: doorbell stride 0, the NVM command set, pages from 4 KiB to 64 KiB. */
export const CAPABILITIES_HIGH = (1 << (37 - 32)) | (MPS_MAX << (52 - 32));
