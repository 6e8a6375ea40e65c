/**
 * Registers and descriptors of AMD's 10 Gb Ethernet controller, as the public driver of Linux names them.
 *
 * @module
 */

// ---- region 0: MAC, MTL and DMA ----

export const MAC_TCR = 0x0000;
export const MAC_TCR_TE = 0x1;
export const MAC_RCR = 0x0004;
export const MAC_RCR_RE = 0x1;
/** The frame check sequence is not stored. */
export const MAC_RCR_CST = 0x4;
/** Frames come back at once. */
export const MAC_RCR_LM = 0x400;
/** The size of header buffers: 64 bytes, shifted by this. */
export const MAC_RCR_HDSMS_SHIFT = 12;
export const MAC_PFR = 0x0008;
export const MAC_PFR_PR = 0x1;
export const MAC_PFR_PM = 0x10;
export const MAC_PFR_DBF = 0x20;
export const MAC_PFR_RA = 0x80000000;
/** Which receive queues are on, two bits each. */
export const MAC_RQC0R = 0x00a0;
export const MAC_VR = 0x0110;
export const MAC_HWF0R = 0x011c;
export const MAC_HWF1R = 0x0120;
export const MAC_HWF2R = 0x0124;
export const MAC_MACA0HR = 0x0300;
export const MAC_ADDRESSES = 32;
export const MAC_MACA_AE = 0x80000000;

export const MTL_Q_BASE = 0x1100;
export const MTL_Q_INC = 0x80;
export const MTL_Q_TQOMR = 0x00;
export const MTL_Q_TQOMR_FTQ = 0x1;
export const MTL_Q_TQOMR_TXQEN = 0xc;

export const DMA_MR = 0x3000;
export const DMA_MR_SWR = 0x1;
export const DMA_ISR = 0x3008;
export const DMA_CH_BASE = 0x3100;
export const DMA_CH_INC = 0x80;
export const CHANNELS = 4;

/** Of a channel, from its base. */
export const CR = 0x00;
/** Split headers: the first buffer of a receive descriptor is a header buffer. */
export const CR_SPH = 0x01000000;
export const TCR = 0x04;
export const TCR_ST = 0x1;
export const RCR = 0x08;
export const RCR_SR = 0x1;
export const RCR_RBSZ_SHIFT = 1;
export const RCR_RBSZ_MASK = 0x3fff;
export const TDLR_HI = 0x10;
export const TDLR_LO = 0x14;
export const RDLR_HI = 0x18;
export const RDLR_LO = 0x1c;
export const TDTR_LO = 0x24;
export const RDTR_LO = 0x2c;
/** Descriptors in a ring, less one. */
export const TDRLR = 0x30;
export const RDRLR = 0x34;
export const IER = 0x38;
export const CATDR_LO = 0x44;
export const CARDR_LO = 0x4c;
export const SR = 0x60;

/** Bits of {@link SR} and {@link IER}. */
export const TI = 0x1;
export const TPS = 0x2;
export const TBU = 0x4;
export const RI = 0x40;
export const RBU = 0x80;
export const RPS = 0x100;
export const FBE = 0x1000;
export const AIS = 0x8000;
export const NIS = 0x10000;
export const NORMAL = TI | TBU | RI;
export const ABNORMAL = TPS | RBU | RPS | FBE;

/** Bytes of a descriptor: four words. */
export const DESC_SIZE = 16;
export const DESC3_OWN = 0x80000000;
/** A context descriptor, which has no data. */
export const DESC3_CTXT = 0x40000000;
export const DESC3_FD = 0x20000000;
export const DESC3_LD = 0x10000000;
export const TX_DESC2_IC = 0x80000000;
export const TX_DESC2_LENGTH = 0x3fff;
/** In a receive descriptor that the DMA has not written yet: an interrupt when it is done. */
export const RX_DESC3_INTE = 0x40000000;
export const RX_DESC3_ADDRESS = 0xff;

// ---- region 1: PCS, by a window of 256 registers ----

export const PCS_WINDOW_SELECT = 0x3fc;
export const MMD_AN = 7;
/** Registers of clause 45. */
export const MDIO_CTRL1 = 0x0000;
export const MDIO_CTRL1_AN_ENABLE = 0x1000;
export const MDIO_CTRL1_AN_RESTART = 0x0200;
export const MDIO_CTRL1_RESET = 0x8000;
export const MDIO_STAT1 = 0x0001;
export const MDIO_STAT1_LINK = 0x0004;
export const MDIO_STAT1_AN_COMPLETE = 0x0020;
export const MDIO_AN_INTMASK = 0x8001;
export const MDIO_AN_INT = 0x8002;
export const MDIO_AN_INT_COMPLETE = 0x1;

// ---- region 3: SerDes integration ----

export const SIR0_STATUS = 0x40;
/** Receiver and transmitter are ready. */
export const SIR0_STATUS_READY = 0x0101;
