/**
 * Registers of the 82576 (Intel 82576EB Gigabit Ethernet Controller Datasheet, section 8): where they are, and the bits that
 * this model acts on.
 *
 * @module
 */

// General (8.2).
export const CTRL = 0x0000;
export const CTRL_ALIAS = 0x0004;
export const STATUS = 0x0008;
export const EEC = 0x0010;
export const EERD = 0x0014;
export const CTRL_EXT = 0x0018;
export const MDIC = 0x0020;
export const SWSM = 0x5b50;
export const FWSM = 0x5b54;
export const SW_FW_SYNC = 0x5b5c;

export const CTRL_FULL_DUPLEX = 1 << 0;
export const CTRL_MASTER_DISABLE = 1 << 2;
export const CTRL_LINK_UP = 1 << 6;
export const CTRL_SPEED_1000 = 2 << 8;
export const CTRL_RESET = 1 << 26;
export const CTRL_PHY_RESET = 1 << 31;
export const STATUS_FULL_DUPLEX = 1 << 0;
export const STATUS_LINK_UP = 1 << 1;
export const STATUS_SPEED_1000 = 2 << 6;
export const STATUS_VFS_SHIFT = 14;
export const STATUS_IOV = 1 << 18;
export const STATUS_MASTER_ENABLE = 1 << 19;
export const CTRL_EXT_PF_RESET_DONE = 1 << 14;
export const CTRL_EXT_INTERRUPT_AUTO_MASK = 1 << 27;
/** An EEPROM is present, and its content was read. */
export const EEC_PRESENT = (1 << 8) | (1 << 9);
export const EERD_START = 1 << 0;
export const EERD_DONE = 1 << 1;
export const SWSM_SEMAPHORE = 1 << 0;

// Interrupts (8.8). Those at 0x00c0 to 0x00e0 are the addresses of older controllers.
export const ICR = 0x1500;
export const ICS = 0x1504;
export const IMS = 0x1508;
export const IMC = 0x150c;
export const IAM = 0x1510;
export const GPIE = 0x1514;
export const EICS = 0x1520;
export const EIMS = 0x1524;
export const EIMC = 0x1528;
export const EIAC = 0x152c;
export const EIAM = 0x1530;
export const EICR = 0x1580;
export const EITR = 0x1680;
export const EITR_COUNT = 25;
export const IVAR = 0x1700;
export const IVAR_END = 0x1720;
export const IVAR_MISC = 0x1740;
/** From an older address to the one above; undefined for any other register. */
export const INTERRUPT_ALIASES: ReadonlyMap<number, number> = new Map([
	[0x00c0, ICR],
	[0x00c8, ICS],
	[0x00d0, IMS],
	[0x00d8, IMC],
	[0x00e0, IAM],
]);

export const INT_TRANSMITTED = 1 << 0;
export const INT_LINK = 1 << 2;
export const INT_RECEIVE_OVERRUN = 1 << 6;
export const INT_RECEIVED = 1 << 7;
export const INT_MAILBOX = 1 << 8;
/** MDIO access complete. */
export const INT_MDIO = 1 << 9;
export const INT_ASSERTED = 1 << 31;
/** ICR is cleared by reading whatever is masked. */
export const GPIE_CLEAR_ON_READ = 1 << 0;
export const GPIE_MULTIPLE_MSIX = 1 << 4;
/** Sending a message masks what EIAM names. */
export const GPIE_AUTO_MASK = 1 << 30;
/** The bit of IVAR that says the entry is used, in each byte. */
export const IVAR_VALID = 0x80;

// Receive (8.10).
export const RCTL = 0x0100;
export const RCTL_ENABLE = 1 << 1;
export const RCTL_UNICAST_PROMISCUOUS = 1 << 3;
export const RCTL_MULTICAST_PROMISCUOUS = 1 << 4;
export const RCTL_LONG_PACKETS = 1 << 5;
export const RCTL_MAC_LOOPBACK = 1 << 6;
export const RCTL_LOOPBACK_MASK = 3 << 6;
export const RCTL_BROADCAST = 1 << 15;
export const RCTL_STRIP_CRC = 1 << 26;
export const RLPML = 0x5004;
/** Without RCTL.LPE the longest frame, VLAN tag and CRC included. */
export const LONGEST_STANDARD_FRAME = 1522;
export const MTA = 0x5200;
export const RAL = 0x5400;
export const RAL_HIGH = 0x54e0;
export const ADDRESSES = 24;
export const RAH_VALID = 1 << 31;
export const RAH_POOL_SHIFT = 18;
export const MRQC = 0x5818;
export const VT_CTL = 0x581c;
export const VT_CTL_DEFAULT_POOL_SHIFT = 7;
export const VT_CTL_NO_DEFAULT_POOL = 1 << 29;
export const VT_CTL_REPLICATE = 1 << 30;
export const VMOLR = 0x5ad0;
export const VMOLR_MULTICAST_TABLE = 1 << 25;
export const VMOLR_BROADCAST = 1 << 27;
export const VMOLR_MULTICAST_PROMISCUOUS = 1 << 28;

// Transmit (8.12).
export const TCTL = 0x0400;
export const TCTL_ENABLE = 1 << 1;
export const TCTL_PAD_SHORT = 1 << 3;

// Virtualization (8.14).
export const VMB_MEMORY = 0x0800;
export const VMB_MEMORY_END = 0x0a00;
export const PF_MAILBOX = 0x0c00;
export const PF_MAILBOX_END = 0x0c20;
export const MBVFICR = 0x0c80;
export const MBVFIMR = 0x0c84;
export const VFLRE = 0x0c88;
export const VFRE = 0x0c8c;
export const VFTE = 0x0c90;
export const DTXSWC = 0x3500;
export const DTXSWC_LOOPBACK = 1 << 31;
/** Virtual machine pools, and so the most virtual functions. */
export const POOLS = 8;

// Queues: a block of 0x40 bytes each, and the first four also at the addresses of older controllers, 0x100 bytes apart.
export const RECEIVE_QUEUES = 0xc000;
export const TRANSMIT_QUEUES = 0xe000;
export const QUEUES = 16;
export const QUEUE_SHIFT = 6;
export const RECEIVE_QUEUES_ALIAS = 0x2800;
export const TRANSMIT_QUEUES_ALIAS = 0x3800;
export const QUEUE_ALIASES = 4;
export const QUEUE_ALIAS_SHIFT = 8;
export const Q_BASE_LOW = 0x00;
export const Q_BASE_HIGH = 0x04;
export const Q_LENGTH = 0x08;
/** SRRCTL, of receive queues only. */
export const Q_SPLIT = 0x0c;
export const Q_HEAD = 0x10;
export const Q_TAIL = 0x18;
export const Q_CONTROL = 0x28;
/** RQDPC: frames dropped since there was no descriptor; of receive queues only. */
export const Q_DROPPED = 0x30;
/** TDWBAL, TDWBAH: where the head is written to; of transmit queues only. */
export const Q_HEAD_WRITEBACK_LOW = 0x38;
export const Q_HEAD_WRITEBACK_HIGH = 0x3c;
export const QUEUE_ENABLE = 1 << 25;

// Statistics (8.19), cleared by reading.
export const MPC = 0x4010;
export const GPRC = 0x4074;
export const BPRC = 0x4078;
export const MPRC = 0x407c;
export const GPTC = 0x4080;
export const GORCL = 0x4088;
export const GOTCL = 0x4090;

// Registers of a virtual function (8.28) that a physical one does not have at the same place.
export const VTCTRL = 0x0000;
export const VTSTATUS = 0x0008;
export const VF_MAILBOX = 0x0c40;
export const VTEICS = 0x1520;
export const VTEIMS = 0x1524;
export const VTEIMC = 0x1528;
export const VTEIAC = 0x152c;
export const VTEIAM = 0x1530;
export const VTEICR = 0x1580;
export const VTEITR = 0x1680;
export const VTIVAR = 0x1700;
export const VTIVAR_MISC = 0x1740;
export const VF_RECEIVED = 0x0f10;
export const VF_TRANSMITTED = 0x0f14;

/** Registers that hold what was written and do nothing more here: [first, end, bits that can be written]. */
export const PLAIN_REGISTERS: readonly (readonly [number, number, number])[] = [
	[CTRL_EXT, CTRL_EXT + 4, ~0],
	[0x0028, 0x0034, ~0], // FCAL, FCAH, FCT
	[0x0038, 0x003c, ~0], // VET
	[RCTL, RCTL + 4, ~0],
	[0x0170, 0x0174, ~0], // FCTTV
	[TCTL, TCTL + 4, ~0],
	[0x0404, 0x0414, ~0], // TCTL_EXT, TIPG
	[0x0e00, 0x0e04, ~0], // LEDCTL
	[VMB_MEMORY, VMB_MEMORY_END, ~0],
	[MBVFIMR, MBVFIMR + 4, 0xff],
	[VFRE, VFRE + 4, 0xff],
	[VFTE, VFTE + 4, 0xff],
	[0x1000, 0x1008, ~0], // PBA, PBS
	[GPIE, GPIE + 4, ~0],
	[EITR, EITR + 4 * EITR_COUNT, 0x7fff],
	[IVAR, IVAR_END, ~0],
	[IVAR_MISC, IVAR_MISC + 4, ~0],
	[0x2404, 0x240c, ~0], // RXPBS, QDE
	[0x3404, 0x3408, ~0], // TXPBS
	[DTXSWC, DTXSWC + 4, ~0],
	[0x3590, 0x3594, ~0], // DTXCTL
	[0x5000, RLPML + 8, ~0], // RXCSUM, RLPML, RFCTL
	[MTA, 0x54a0, ~0], // multicast table, receive addresses 0 to 15, PSRTYPE
	[RAL_HIGH, 0x5520, ~0], // receive addresses 16 to 23
	[0x5600, 0x5800, ~0], // VFTA
	[0x5800, 0x5804, ~0], // WUC
	[0x5808, 0x580c, ~0], // WUFC
	[MRQC, VT_CTL + 4, ~0],
	[VMOLR, VMOLR + 4 * POOLS, ~0],
	[SW_FW_SYNC, SW_FW_SYNC + 4, ~0],
	[0x5c00, 0x5ca8, ~0], // RETA, RSSRK
	[0x5d00, 0x5d80, ~0], // VLVF
];
