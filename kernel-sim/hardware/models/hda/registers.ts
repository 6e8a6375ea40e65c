/**
 * Registers of a High Definition Audio controller (Intel High Definition Audio Specification 1.0a, section 3.3), and how wide
 * each is: they are bytes, words and dwords, and software reaches several with one access.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";

export const GCAP = 0x00;
export const VMAJ = 0x03;
export const OUTPAY = 0x04;
export const INPAY = 0x06;
export const GCTL = 0x08;
export const WAKEEN = 0x0c;
export const STATESTS = 0x0e;
export const GSTS = 0x10;
export const INTCTL = 0x20;
export const INTSTS = 0x24;
export const WALCLK = 0x30;
export const SSYNC = 0x38;
export const CORBLBASE = 0x40;
export const CORBUBASE = 0x44;
export const CORBWP = 0x48;
export const CORBRP = 0x4a;
export const CORBCTL = 0x4c;
export const CORBSTS = 0x4d;
export const CORBSIZE = 0x4e;
export const RIRBLBASE = 0x50;
export const RIRBUBASE = 0x54;
export const RIRBWP = 0x58;
export const RINTCNT = 0x5a;
export const RIRBCTL = 0x5c;
export const RIRBSTS = 0x5d;
export const RIRBSIZE = 0x5e;
/** Immediate command, response and status. */
export const ICOI = 0x60;
export const ICII = 0x64;
export const ICIS = 0x68;
export const DPLBASE = 0x70;
export const DPUBASE = 0x74;
/** The first stream descriptor; each has 0x20 bytes. */
export const STREAMS = 0x80;
export const STREAM_SIZE = 0x20;

export const GCTL_RUN = 1 << 0;
export const INTCTL_CONTROLLER = 1 << 30;
export const INTCTL_GLOBAL = 1 << 31;
export const POINTER_RESET = 1 << 15;
export const CORBCTL_RUN = 1 << 1;
export const CORBCTL_ERROR_INTERRUPT = 1 << 0;
export const CORBSTS_ERROR = 1 << 0;
export const RIRBCTL_INTERRUPT = 1 << 0;
export const RIRBCTL_RUN = 1 << 1;
export const RIRBCTL_OVERRUN_INTERRUPT = 1 << 2;
export const RIRBSTS_RESPONSE = 1 << 0;
export const RIRBSTS_OVERRUN = 1 << 2;
export const ICIS_BUSY = 1 << 0;
export const ICIS_VALID = 1 << 1;
export const DPLBASE_ENABLE = 1 << 0;

// In a stream descriptor (3.3.35 and following).
export const SD_CTL = 0x00;
export const SD_STREAM = 0x02;
export const SD_STS = 0x03;
export const SD_LPIB = 0x04;
export const SD_CBL = 0x08;
export const SD_LVI = 0x0c;
export const SD_FIFOS = 0x10;
export const SD_FMT = 0x12;
export const SD_BDPL = 0x18;
export const SD_BDPU = 0x1c;
export const SD_CTL_RESET = 1 << 0;
export const SD_CTL_RUN = 1 << 1;
export const SD_CTL_COMPLETION_INTERRUPT = 1 << 2;
export const SD_CTL_FIFO_INTERRUPT = 1 << 3;
export const SD_CTL_DESCRIPTOR_INTERRUPT = 1 << 4;
export const SD_STS_COMPLETION = 1 << 2;
export const SD_STS_FIFO = 1 << 3;
export const SD_STS_DESCRIPTOR = 1 << 4;
export const SD_STS_FIFO_READY = 1 << 5;

const GLOBAL_WIDTHS: ReadonlyMap<number, AccessWidth> = new Map<number, AccessWidth>([
	[GCAP, 2],
	[0x02, 1],
	[VMAJ, 1],
	[OUTPAY, 2],
	[INPAY, 2],
	[GCTL, 4],
	[WAKEEN, 2],
	[STATESTS, 2],
	[GSTS, 2],
	[0x18, 2],
	[0x1a, 2],
	[INTCTL, 4],
	[INTSTS, 4],
	[WALCLK, 4],
	[SSYNC, 4],
	[CORBLBASE, 4],
	[CORBUBASE, 4],
	[CORBWP, 2],
	[CORBRP, 2],
	[CORBCTL, 1],
	[CORBSTS, 1],
	[CORBSIZE, 1],
	[RIRBLBASE, 4],
	[RIRBUBASE, 4],
	[RIRBWP, 2],
	[RINTCNT, 2],
	[RIRBCTL, 1],
	[RIRBSTS, 1],
	[RIRBSIZE, 1],
	[ICOI, 4],
	[ICII, 4],
	[ICIS, 2],
	[DPLBASE, 4],
	[DPUBASE, 4],
]);

const STREAM_WIDTHS: ReadonlyMap<number, AccessWidth> = new Map<number, AccessWidth>([
	[SD_CTL, 2],
	[SD_STREAM, 1],
	[SD_STS, 1],
	[SD_LPIB, 4],
	[SD_CBL, 4],
	[SD_LVI, 2],
	[SD_FIFOS, 2],
	[SD_FMT, 2],
	[SD_BDPL, 4],
	[SD_BDPU, 4],
]);

/** How wide the register that starts at an offset is; 0 when none starts there. @param end where the streams end */
export function registerWidth(offset: number, end: number): AccessWidth | 0 {
	if (offset < STREAMS) return GLOBAL_WIDTHS.get(offset) ?? 0;
	return offset < end ? (STREAM_WIDTHS.get((offset - STREAMS) % STREAM_SIZE) ?? 0) : 0;
}
