/**
 * Status of a command, NVM Express 1.4 section 4.6.1: the status code type in bits 10:8, the status code in bits 7:0, as
 * the completion's status field has them; and {@link DO_NOT_RETRY}, for errors that the same command would meet again.
 *
 * @module
 */

export const SUCCESS = 0x000;

// Generic command status
export const INVALID_OPCODE = 0x001;
export const INVALID_FIELD = 0x002;
export const DATA_TRANSFER_ERROR = 0x004;
export const INTERNAL_ERROR = 0x006;
export const ABORT_REQUESTED = 0x007;
export const INVALID_NAMESPACE = 0x00b;
export const COMMAND_SEQUENCE_ERROR = 0x00c;
export const PRP_OFFSET_INVALID = 0x013;
export const LBA_OUT_OF_RANGE = 0x080;

// Command specific status
export const COMPLETION_QUEUE_INVALID = 0x100;
export const INVALID_QUEUE_ID = 0x101;
export const INVALID_QUEUE_SIZE = 0x102;
export const ABORT_LIMIT_EXCEEDED = 0x103;
export const ASYNC_EVENT_LIMIT_EXCEEDED = 0x105;
export const INVALID_VECTOR = 0x108;
export const INVALID_LOG_PAGE = 0x109;
export const INVALID_QUEUE_DELETION = 0x10c;
export const FEATURE_NOT_SAVEABLE = 0x10d;
export const FEATURE_NOT_CHANGEABLE = 0x10e;
export const ATTEMPTED_WRITE_TO_READ_ONLY = 0x182;

// Media and data integrity errors
export const WRITE_FAULT = 0x280;
export const UNRECOVERED_READ_ERROR = 0x281;

/** Bit 14 of the status field: the host need not try again. */
export const DO_NOT_RETRY = 0x4000;

/** Errors that may be gone the next time: a page that was not mapped, a disk that failed once. */
const TRANSIENT: readonly number[] = [
	DATA_TRANSFER_ERROR,
	INTERNAL_ERROR,
	ABORT_REQUESTED,
	WRITE_FAULT,
	UNRECOVERED_READ_ERROR,
];

/** The status field (bits 31:17 of a completion's last word, shifted down to 0) for a status. */
export function statusField(status: number): number {
	return status === SUCCESS || TRANSIENT.includes(status) ? status : status | DO_NOT_RETRY;
}
