/**
 * The extended capability list a guest sees (PCI Express Base, 7.6.3).
 *
 * @module
 */
import { hex } from "../bytes.ts";
import {
	PCI_CFG_SPACE_SIZE,
	PCI_EXT_CAP_ID_ARI,
	PCI_EXT_CAP_ID_REBAR,
	PCI_EXT_CAP_ID_SRIOV,
} from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";
import { fixResizableBars } from "./resizable-bar.ts";
import { type ExtendedCapability, walkExtendedCapabilities } from "./walk.ts";

/** The field of a header that points to the next one, less its two reserved bits. */
const NEXT = 0xffc00000;

/**
 * Bytes of the capabilities a guest never sees and whose content is not its business either: SR-IOV holds host addresses
 * of the virtual functions' BARs, ARI the host's function numbering. They read zero.
 */
const HIDDEN: ReadonlyMap<number, number> = new Map([
	[PCI_EXT_CAP_ID_SRIOV, 0x40],
	[PCI_EXT_CAP_ID_ARI, 8],
]);

/**
 * Relinks the list in the registers, which hold what the device reads: same order, same offsets. The one at 0x100 cannot
 * be unlinked, as nothing points to it; hidden, it becomes a header with id 0 that points to the next.
 *
 * @param problems gets a sentence for what ends the list early or is left out
 */
export function buildExtendedCapabilities(registers: ConfigRegisters, problems: string[]): void {
	const { capabilities, problem } = walkExtendedCapabilities(registers.cfg);
	if (problem) problems.push(problem);
	const kept = capabilities.filter((capability) => shows(registers, capability, problems));
	for (const { offset } of capabilities) registers.emulate(offset, 4, 0, 0, NEXT);
	if (registers.cfg.length > PCI_CFG_SPACE_SIZE) {
		const head = kept[0]?.offset === PCI_CFG_SPACE_SIZE;
		registers.emulate(PCI_CFG_SPACE_SIZE, 4, head ? registers.get(PCI_CFG_SPACE_SIZE, 4) : 0);
		if (!head && kept[0]) registers.set(PCI_CFG_SPACE_SIZE, 4, kept[0].offset << 20);
	}
	for (const [n, { offset }] of kept.entries()) {
		const header = registers.get(offset, 4) & ~NEXT;
		registers.set(offset, 4, header | ((kept[n + 1]?.offset ?? 0) << 20));
	}
}

function shows(registers: ConfigRegisters, capability: ExtendedCapability, problems: string[]): boolean {
	const { id, offset, size } = capability;
	const secret = HIDDEN.get(id);
	if (secret !== undefined) registers.blank(offset, offset + Math.min(secret, size));
	// Id 0 is what the kernel leaves of a head that it hides.
	if (secret !== undefined || id === 0) return false;
	if (id === PCI_EXT_CAP_ID_REBAR && !fixResizableBars(registers, capability)) {
		problems.push(`The Resizable BAR capability at ${hex(offset)} names a size above 512 GiB: it is left out`);
		return false;
	}
	return true;
}
