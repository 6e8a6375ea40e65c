/**
 * The configuration space of a root port: what its registers start as, and which bits a guest may change.
 *
 * @module
 */
import {
	PCI_BRIDGE_CONTROL,
	PCI_BRIDGE_CTL_BUS_RESET,
	PCI_CACHE_LINE_SIZE,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_PM,
	PCI_CAPABILITY_LIST,
	PCI_CFG_SPACE_EXP_SIZE,
	PCI_CLASS_PROG,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_IO,
	PCI_COMMAND_MASTER,
	PCI_COMMAND_MEMORY,
	PCI_DEVICE_ID,
	PCI_EXP_DEVCAP,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL2,
	PCI_EXP_DEVSTA,
	PCI_EXP_FLAGS,
	PCI_EXP_FLAGS_SLOT,
	PCI_EXP_LNKCAP,
	PCI_EXP_LNKCAP_DLLLARC,
	PCI_EXP_LNKCAP2,
	PCI_EXP_LNKCTL,
	PCI_EXP_LNKCTL2,
	PCI_EXP_LNKSTA,
	PCI_EXP_RTCTL,
	PCI_EXP_SLTCAP,
	PCI_EXP_SLTCAP_ABP,
	PCI_EXP_SLTCAP_AIP,
	PCI_EXP_SLTCAP_HPC,
	PCI_EXP_SLTCAP_HPS,
	PCI_EXP_SLTCAP_PCP,
	PCI_EXP_SLTCAP_PIP,
	PCI_EXP_SLTCTL,
	PCI_EXP_SLTCTL_ATTN_IND_OFF,
	PCI_EXP_SLTCTL_PCC,
	PCI_EXP_SLTCTL_PWR_IND_OFF,
	PCI_EXP_SLTSTA,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXT_CAP_ID_ERR,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_MFD,
	PCI_INTERRUPT_LINE,
	PCI_INTERRUPT_PIN,
	PCI_IO_BASE,
	PCI_IO_LIMIT,
	PCI_MEMORY_BASE,
	PCI_MEMORY_LIMIT,
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_64BIT,
	PCI_MSI_FLAGS_ENABLE,
	PCI_PM_CTRL,
	PCI_PM_CTRL_NO_SOFT_RESET,
	PCI_PM_CTRL_STATE_MASK,
	PCI_PM_PMC,
	PCI_PREF_BASE_UPPER32,
	PCI_PREF_LIMIT_UPPER32,
	PCI_PREF_MEMORY_BASE,
	PCI_PREF_MEMORY_LIMIT,
	PCI_PREF_RANGE_TYPE_64,
	PCI_PRIMARY_BUS,
	PCI_REVISION_ID,
	PCI_SEC_STATUS,
	PCI_SECONDARY_BUS,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
	PCI_SUBORDINATE_BUS,
	PCI_VENDOR_ID,
} from "../uapi/pci_regs.ts";

/** The bits of slot status that a guest clears: the four that happen here, and three that never do. */
export const SLOT_EVENTS = 0x011f;

/** Where the capabilities are. */
export const EXP_CAPABILITY = 0x40;
export const MSI_CAPABILITY = 0x80;
export const PM_CAPABILITY = 0x90;
export const AER_CAPABILITY = 0x100;

const CLASS_BRIDGE_PCI = 0x0604;
/** Vendor and device guests know as a generic root port. */
const DEFAULT_VENDOR = 0x1b36;
const DEFAULT_DEVICE = 0x000c;
const EXP_RTSTA = 0x20;
const EXP_VERSION_2 = 2;
const EXP_DEVCAP_RBER = 0x8000;
const LINK_X1_2_5GT = 0x11;
const SPEED_VECTOR_2_5GT = 0x02;
const SLOT_NUMBER_SHIFT = 19;
const PM_VERSION_3 = 3;
/** Attention button, power controller, both indicators; what is in it may leave by surprise. */
const SLOT_WITH_HOT_PLUG =
	PCI_EXP_SLTCAP_ABP |
	PCI_EXP_SLTCAP_PCP |
	PCI_EXP_SLTCAP_AIP |
	PCI_EXP_SLTCAP_PIP |
	PCI_EXP_SLTCAP_HPS |
	PCI_EXP_SLTCAP_HPC;

/** Bytes with, for each bit, whether a write sets it or, by writing one, clears it. */
export interface RegisterFile {
	readonly bytes: Uint8Array;
	readonly writable: Uint8Array;
	readonly writeOneToClear: Uint8Array;
	/** The bytes as a DataView. */
	readonly view: DataView;
}

/** What may differ between root ports. */
export interface RootPortIdentity {
	readonly vendor?: number;
	readonly device?: number;
	readonly revision?: number;
	/** The physical slot number guests see, 0 to 8191. */
	readonly slot?: number;
	/** The port number in its link capabilities, 0 to 255. */
	readonly port?: number;
	/** Shows the Advanced Error Reporting capability. */
	readonly aer?: boolean;
	/** The slot can be plugged and unplugged while the guest runs; true when left out. */
	readonly hotPlug?: boolean;
}

/** The registers of a root port as they are after reset. */
export function rootPortRegisters(identity: RootPortIdentity, multifunction: boolean): RegisterFile {
	const file = makeFile();
	const { view } = file;
	const writable = new DataView(file.writable.buffer);
	const clearable = new DataView(file.writeOneToClear.buffer);

	view.setUint16(PCI_VENDOR_ID, identity.vendor ?? DEFAULT_VENDOR, true);
	view.setUint16(PCI_DEVICE_ID, identity.device ?? DEFAULT_DEVICE, true);
	view.setUint8(PCI_REVISION_ID, identity.revision ?? 0);
	view.setUint16(PCI_CLASS_PROG + 1, CLASS_BRIDGE_PCI, true);
	view.setUint8(PCI_HEADER_TYPE, PCI_HEADER_TYPE_BRIDGE | (multifunction ? PCI_HEADER_TYPE_MFD : 0));
	view.setUint8(PCI_INTERRUPT_PIN, 1);
	view.setUint16(PCI_STATUS, PCI_STATUS_CAP_LIST, true);
	view.setUint16(PCI_PREF_MEMORY_BASE, PCI_PREF_RANGE_TYPE_64, true);
	view.setUint16(PCI_PREF_MEMORY_LIMIT, PCI_PREF_RANGE_TYPE_64, true);
	writable.setUint16(
		PCI_COMMAND,
		PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE | 0x0140,
		true,
	);
	clearable.setUint16(PCI_STATUS, 0xf900, true);
	clearable.setUint16(PCI_SEC_STATUS, 0xf900, true);
	for (const byte of [
		PCI_CACHE_LINE_SIZE,
		PCI_PRIMARY_BUS,
		PCI_SECONDARY_BUS,
		PCI_SUBORDINATE_BUS,
		PCI_INTERRUPT_LINE,
	]) {
		writable.setUint8(byte, 0xff);
	}
	writable.setUint8(PCI_IO_BASE, 0xf0);
	writable.setUint8(PCI_IO_LIMIT, 0xf0);
	for (const word of [PCI_MEMORY_BASE, PCI_MEMORY_LIMIT, PCI_PREF_MEMORY_BASE, PCI_PREF_MEMORY_LIMIT]) {
		writable.setUint16(word, 0xfff0, true);
	}
	writable.setUint32(PCI_PREF_BASE_UPPER32, 0xffff_ffff, true);
	writable.setUint32(PCI_PREF_LIMIT_UPPER32, 0xffff_ffff, true);
	// Parity and SERR forwarding have no effect here, but are there in every bridge; ISA and VGA modes are not offered.
	writable.setUint16(PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET | 0x03, true);

	view.setUint8(PCI_CAPABILITY_LIST, EXP_CAPABILITY);
	addExpress(file, identity);
	addMsi(file);
	addPowerManagement(file);
	if (identity.aer) addErrorReporting(file);
	return file;
}

/** Applies a guest's write to one byte, by the per-bit rule. */
export function writeRegister(file: RegisterFile, offset: number, value: number): void {
	const writable = file.writable[offset] ?? 0;
	const cleared = (file.writeOneToClear[offset] ?? 0) & value;
	file.bytes[offset] = (((file.bytes[offset] ?? 0) & ~writable) | (value & writable)) & ~cleared;
}

function makeFile(): RegisterFile {
	const bytes = new Uint8Array(PCI_CFG_SPACE_EXP_SIZE);
	return {
		bytes,
		writable: new Uint8Array(PCI_CFG_SPACE_EXP_SIZE),
		writeOneToClear: new Uint8Array(PCI_CFG_SPACE_EXP_SIZE),
		view: new DataView(bytes.buffer),
	};
}

function addExpress(file: RegisterFile, identity: RootPortIdentity): void {
	const { view } = file;
	const writable = new DataView(file.writable.buffer);
	const clearable = new DataView(file.writeOneToClear.buffer);
	const at = EXP_CAPABILITY;
	view.setUint8(at, PCI_CAP_ID_EXP);
	view.setUint8(at + 1, MSI_CAPABILITY);
	view.setUint16(at + PCI_EXP_FLAGS, EXP_VERSION_2 | (PCI_EXP_TYPE_ROOT_PORT << 4) | PCI_EXP_FLAGS_SLOT, true);
	view.setUint32(at + PCI_EXP_DEVCAP, EXP_DEVCAP_RBER, true);
	writable.setUint16(at + PCI_EXP_DEVCTL, 0x78ff, true);
	clearable.setUint16(at + PCI_EXP_DEVSTA, 0x000f, true);
	view.setUint32(at + PCI_EXP_LNKCAP, LINK_X1_2_5GT | PCI_EXP_LNKCAP_DLLLARC | ((identity.port ?? 0) << 24), true);
	writable.setUint16(at + PCI_EXP_LNKCTL, 0x00d3, true);
	view.setUint16(at + PCI_EXP_LNKSTA, LINK_X1_2_5GT, true);
	const slot = (identity.slot ?? 0) << SLOT_NUMBER_SHIFT;
	const hotPlug = identity.hotPlug ?? true;
	view.setUint32(at + PCI_EXP_SLTCAP, (slot | (hotPlug ? SLOT_WITH_HOT_PLUG : 0)) >>> 0, true);
	if (hotPlug) {
		// There is no sensor for power faults and none for a latch, whose events bits 1 and 2 would enable.
		writable.setUint16(at + PCI_EXP_SLTCTL, 0x17f9, true);
		// Indicators never read as 00, which is reserved.
		const control = PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_ATTN_IND_OFF;
		view.setUint16(at + PCI_EXP_SLTCTL, control, true);
		clearable.setUint16(at + PCI_EXP_SLTSTA, SLOT_EVENTS, true);
	}
	writable.setUint16(at + PCI_EXP_RTCTL, 0x000f, true);
	clearable.setUint32(at + EXP_RTSTA, 0x0001_0000, true);
	writable.setUint16(at + PCI_EXP_DEVCTL2, 0x001f, true);
	view.setUint32(at + PCI_EXP_LNKCAP2, SPEED_VECTOR_2_5GT, true);
	view.setUint16(at + PCI_EXP_LNKCTL2, 1, true);
	writable.setUint16(at + PCI_EXP_LNKCTL2, 0x000f, true);
}

function addMsi(file: RegisterFile): void {
	const writable = new DataView(file.writable.buffer);
	file.view.setUint8(MSI_CAPABILITY, PCI_CAP_ID_MSI);
	file.view.setUint8(MSI_CAPABILITY + 1, PM_CAPABILITY);
	file.view.setUint16(MSI_CAPABILITY + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT, true);
	writable.setUint16(MSI_CAPABILITY + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, true);
	writable.setUint32(MSI_CAPABILITY + PCI_MSI_ADDRESS_LO, 0xffff_fffc, true);
	writable.setUint32(MSI_CAPABILITY + PCI_MSI_ADDRESS_HI, 0xffff_ffff, true);
	writable.setUint16(MSI_CAPABILITY + PCI_MSI_DATA_64, 0xffff, true);
}

function addPowerManagement(file: RegisterFile): void {
	file.view.setUint8(PM_CAPABILITY, PCI_CAP_ID_PM);
	file.view.setUint16(PM_CAPABILITY + PCI_PM_PMC, PM_VERSION_3, true);
	file.view.setUint16(PM_CAPABILITY + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET, true);
	new DataView(file.writable.buffer).setUint16(PM_CAPABILITY + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK, true);
}

// Advanced Error Reporting, version 2, with a root port's registers (PCI Express Base, section 7.8.4).
function addErrorReporting(file: RegisterFile): void {
	const writable = new DataView(file.writable.buffer);
	const clearable = new DataView(file.writeOneToClear.buffer);
	const at = AER_CAPABILITY;
	const uncorrectable = 0x07ff_f030;
	const correctable = 0x0000_f1c1;
	file.view.setUint32(at, PCI_EXT_CAP_ID_ERR | (2 << 16), true);
	clearable.setUint32(at + 0x04, uncorrectable, true);
	writable.setUint32(at + 0x08, uncorrectable, true);
	file.view.setUint32(at + 0x0c, 0x0046_2030, true);
	writable.setUint32(at + 0x0c, uncorrectable, true);
	clearable.setUint32(at + 0x10, correctable, true);
	file.view.setUint32(at + 0x14, 0x0000_2000, true);
	writable.setUint32(at + 0x14, correctable, true);
	writable.setUint32(at + 0x2c, 0x07, true);
	clearable.setUint32(at + 0x30, 0x7f, true);
}
