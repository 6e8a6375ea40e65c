/**
 * Registers and descriptors of Calxeda's XGMAC, as the public drivers of Linux and U-Boot name them.
 *
 * @module
 */

/** MAC configuration. */
export const CONTROL = 0x000;
export const CONTROL_RE = 0x4;
export const CONTROL_TE = 0x8;
/** Frames come back at once. */
export const CONTROL_LM = 0x1000;
/** Frame filter. */
export const FRAME_FILTER = 0x004;
export const FRAME_FILTER_PR = 0x1;
export const FRAME_FILTER_PM = 0x10;
export const FRAME_FILTER_DBF = 0x20;
export const FRAME_FILTER_RA = 0x80000000;
export const VERSION = 0x020;
/** Interrupts of the MAC itself: power management and low power. */
export const INT_STAT = 0x03c;
export const INT_STAT_PMT = 0x80;
export const INT_STAT_LPI = 0x40;
export const INT_STAT_PMTIM = 0x00800000;
/** Station addresses, 16 pairs of high and low. */
export const ADDR_HIGH = 0x040;
export const ADDR_COUNT = 16;
export const ADDR_AE = 0x80000000;
export const PMT = 0x704;
export const PMT_POWERDOWN = 0x1;
export const PMT_MAGIC_PKT_EN = 0x2;
export const PMT_MAGIC_PKT = 0x20;
/** Frame counters, each with its upper half behind it. */
export const MMC_TXOCTET_G = 0x884;
export const MMC_TXFRAME_G = 0x88c;
export const MMC_RXFRAME_GB = 0x900;
export const MMC_RXOCTET_G = 0x910;

export const DMA_BUS_MODE = 0xf00;
export const DMA_BUS_MODE_SFT_RESET = 0x1;
export const DMA_BUS_MODE_ATDS = 0x80;
export const DMA_TX_POLL = 0xf04;
export const DMA_RX_POLL = 0xf08;
export const DMA_RX_BASE_ADDR = 0xf0c;
export const DMA_TX_BASE_ADDR = 0xf10;
export const DMA_STATUS = 0xf14;
export const DMA_CONTROL = 0xf18;
export const DMA_CONTROL_SR = 0x2;
export const DMA_CONTROL_ST = 0x2000;
export const DMA_INTR_ENA = 0xf1c;
export const DMA_MISS_FRAME_CTR = 0xf20;
export const DMA_HW_FEATURE = 0xf58;

/** Bits of {@link DMA_STATUS} and {@link DMA_INTR_ENA}. */
export const DMA_NIS = 0x10000;
export const DMA_AIS = 0x8000;
export const DMA_FBI = 0x2000;
export const DMA_RPS = 0x100;
export const DMA_RU = 0x80;
export const DMA_RI = 0x40;
export const DMA_TU = 0x4;
export const DMA_TPS = 0x2;
export const DMA_TI = 0x1;
export const DMA_NORMAL = DMA_RI | DMA_TU | DMA_TI;
export const DMA_ABNORMAL = DMA_FBI | DMA_RPS | DMA_RU | DMA_TPS;

/** Bytes of a descriptor: flags, buffer sizes, two buffer addresses, extended status, three reserved words. */
export const DESC_SIZE = 32;
export const DESC_OWN = 0x80000000;
export const BUFFER1_MASK = 0x1fff;
export const TXDESC_FIRST_SEG = 0x10000000;
export const TXDESC_LAST_SEG = 0x20000000;
export const TXDESC_INTERRUPT = 0x40000000;
export const TXDESC_END_RING = 0x00200000;
export const TXDESC_2ND_ADDR_CHAINED = 0x00100000;
export const RXDESC_FIRST_SEG = 0x200;
export const RXDESC_LAST_SEG = 0x100;
export const RXDESC_FRAME_LEN_SHIFT = 16;
export const RXDESC_ERROR_SUMMARY = 0x8000;
export const RXDESC_OVERFLOW_ERR = 0x800;
/** In the word of buffer sizes. */
export const RXDESC1_END_RING = 0x8000;
/** In the word of buffer sizes: no interrupt when this one is done. */
export const RXDESC1_DISABLE_INTERRUPT = 0x80000000;
