/**
 * What of an assigned function is kept when its guest is saved: everything that is emulated. The device's own state is
 * the device's business.
 *
 * @module
 */
import { load } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import { PCI_COMMAND, PCI_DEVICE_ID, PCI_VENDOR_ID } from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";
import type { Interrupts } from "./interrupts.ts";
import type { FunctionLayout } from "./plan.ts";

/** A function's emulated state: plain data, that can be cloned and stored. */
export interface FunctionState {
	/** Of this description; another number is refused. */
	readonly format: 1;
	/** Vendor and device as the guest reads them: it can only be restored into the same. */
	readonly vendor: number;
	readonly device: number;
	/** The copy of configuration space. */
	readonly config: Uint8Array;
	/** What the guest reads of COMMAND: the part of it that is the device's own is written again. */
	readonly command: number;
	readonly bars: readonly { readonly index: number; readonly kind: string; readonly size: number }[];
	/** The MSI-X table, and the vectors that wait for being unmasked. */
	readonly msix: { readonly entries: Uint8Array; readonly pending: readonly number[] } | undefined;
	/** A bit for each vector of MSI that waits for being unmasked. */
	readonly msiPending: number;
}

/** Bits of COMMAND that a device may have; the rest is reserved. */
const COMMAND_BITS = 0x7ff;

/** @throws VfioError `invalid-argument` when the state is not of a function that looks the same to its guest */
export function checkState(name: string, state: FunctionState, layout: FunctionLayout): void {
	const { registers, plan, capabilities } = layout;
	const refuse = (reason: string) =>
		new VfioError("invalid-argument", `Cannot restore ${name}: ${reason}`, { device: name });
	if (state.format !== 1) throw refuse(`the state has format ${state.format}, not 1`);
	const identity = (vendor: number, device: number) => `${vendor.toString(16)}:${device.toString(16)}`;
	const ours = identity(registers.get(0, 2), registers.get(2, 2));
	const theirs = identity(state.vendor, state.device);
	if (ours !== theirs) throw refuse(`the state is of a ${theirs}, and it is a ${ours}`);
	if (state.config.length !== registers.cfg.length)
		throw refuse(
			`the state has ${state.config.length} bytes of configuration space, and it has ${registers.cfg.length}`,
		);
	const describe = (bars: FunctionState["bars"]) =>
		bars.map(({ index, kind, size }) => `BAR ${index} ${kind} of ${size}`).join(", ");
	if (describe(state.bars) !== describe(plan.bars))
		throw refuse(`the state has ${describe(state.bars) || "no BARs"}, and it has ${describe(plan.bars) || "none"}`);
	const vectors = (state.msix?.entries.length ?? 0) / 16;
	if (vectors !== (capabilities.msix?.vectors ?? 0))
		throw refuse(`the state has ${vectors} MSI-X vectors, and it has ${capabilities.msix?.vectors ?? 0}`);
	// A capability that was elsewhere when it was saved would come back as something else.
	for (let at = 0x34; at < registers.cfg.length; at++) {
		const fixed = (registers.emu[at] as number) & ~(registers.wmask[at] as number);
		const msiPending = capabilities.msi?.mask === undefined ? -1 : capabilities.msi.mask + 4;
		if (msiPending >= 0 && at >= msiPending && at < msiPending + 4) continue;
		if (((state.config[at] as number) ^ (registers.cfg[at] as number)) & fixed)
			throw refuse(`its configuration space at 0x${at.toString(16)} differs from the state's`);
	}
}

/** Takes the state of a function. @param command what the guest reads of COMMAND */
export function captureState(
	registers: ConfigRegisters,
	bars: FunctionState["bars"],
	{ msi, msix }: Pick<Interrupts, "msi" | "msix">,
	command: number,
): FunctionState {
	return {
		format: 1,
		vendor: registers.get(PCI_VENDOR_ID, 2),
		device: registers.get(PCI_DEVICE_ID, 2),
		config: registers.cfg.slice(),
		command,
		bars: bars.map(({ index, kind, size }) => ({ index, kind, size })),
		msix: msix?.table.save(),
		msiPending: msi?.capability.mask === undefined ? 0 : registers.get(msi.capability.mask + 4, 4),
	};
}

/** Puts into the copy and the table what a guest can have written there, and nothing else. */
export function restoreState(
	registers: ConfigRegisters,
	{ msi, msix }: Pick<Interrupts, "msi" | "msix">,
	state: FunctionState,
): void {
	for (let at = 0; at < registers.cfg.length; at++) {
		const writable = registers.wmask[at] as number;
		registers.cfg[at] = ((registers.cfg[at] as number) & ~writable) | ((state.config[at] as number) & writable);
	}
	if (msi?.capability.mask !== undefined) registers.set(msi.capability.mask + 4, 4, state.msiPending);
	if (msix && state.msix) msix.table.load(state.msix.entries, state.msix.pending);
}

/** What COMMAND of the device has to be. */
export function commandOf(state: FunctionState): number {
	const copy = load(state.config, PCI_COMMAND, 2);
	// A device that did not answer when it was saved has no COMMAND to restore: the copy's will do.
	return (state.command === 0xffff ? copy : state.command) & COMMAND_BITS;
}
