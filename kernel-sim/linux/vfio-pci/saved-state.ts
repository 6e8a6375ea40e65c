/**
 * What the kernel writes back after a reset or a sleep has cleared a function's registers.
 *
 * @module
 */
import {
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_PCIX,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL2,
	PCI_EXP_LNKCTL,
	PCI_EXP_LNKCTL2,
	PCI_EXP_RTCTL,
	PCI_EXP_SLTCTL,
	PCI_EXT_CAP_ID_ACS,
	PCI_EXT_CAP_ID_ATS,
	PCI_EXT_CAP_ID_ERR,
	PCI_EXT_CAP_ID_LTR,
	PCI_EXT_CAP_ID_REBAR,
	PCI_EXT_CAP_ID_SRIOV,
	PCI_EXT_CAP_ID_TPH,
	PCI_MSIX_ENTRY_SIZE,
	PCI_MSIX_FLAGS,
	PCI_MSIX_FLAGS_ENABLE,
	PCI_STD_HEADER_SIZEOF,
} from "../../../core/uapi/pci_regs.ts";
import { walkCapabilities, walkExtendedCapabilities } from "../../hardware/config-walk.ts";
import type { PciFunction } from "../../hardware/function.ts";
import { load } from "../../hardware/little-endian.ts";
import { allowIntx, withMemoryEnabled } from "./command.ts";

const EXPRESS_CONTROLS: readonly number[] = [
	PCI_EXP_DEVCTL,
	PCI_EXP_LNKCTL,
	PCI_EXP_SLTCTL,
	PCI_EXP_RTCTL,
	PCI_EXP_DEVCTL2,
	PCI_EXP_LNKCTL2,
];
const PCIX_COMMAND = 2;
const SRIOV_CONTROL = 0x08;
const SRIOV_NUM_VFS = 0x10;
/** System Page Size, and the BARs of virtual functions behind it. */
const SRIOV_PAGE_SIZE = 0x20;
const SRIOV_BARS_END = 0x3c;
/** Registers of extended capabilities that hold settings, bytes from the capability's start. */
const EXTENDED_SETTINGS: ReadonlyMap<number, readonly number[]> = new Map([
	[PCI_EXT_CAP_ID_ERR, [0x08, 0x0c, 0x14, 0x18]],
	[PCI_EXT_CAP_ID_ACS, [0x04]],
	[PCI_EXT_CAP_ID_ATS, [0x04]],
	[PCI_EXT_CAP_ID_LTR, [0x04]],
	[PCI_EXT_CAP_ID_REBAR, [0x08]],
	[PCI_EXT_CAP_ID_TPH, [0x08]],
]);

/** A function's settings at one moment. */
export class SavedState {
	readonly #fn: PciFunction;
	readonly #config: Uint8Array;
	/** The MSI-X table, while it is in use. */
	readonly #table: Uint32Array | undefined;

	private constructor(fn: PciFunction, config: Uint8Array, table: Uint32Array | undefined) {
		this.#fn = fn;
		this.#config = config;
		this.#table = table;
	}

	/** Takes the settings of a function in D0. */
	static of(fn: PciFunction): SavedState {
		const config = fn.config.slice();
		const msix = fn.msix;
		if (!msix || (load(config, msix.offset + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE) === 0)
			return new SavedState(fn, config, undefined);
		const table = new Uint32Array((msix.vectors * PCI_MSIX_ENTRY_SIZE) / 4);
		withMemoryEnabled(fn, () => {
			for (let index = 0; index < table.length; index++)
				table[index] = fn.read(msix.table.bar, msix.table.offset + 4 * index, 4);
		});
		return new SavedState(fn, config, table);
	}

	/** Writes them back, as often as needed: a reset has taken all of them, the virtual functions included. */
	restore(): void {
		for (const { id, offset } of walkExtendedCapabilities(this.#config))
			if (id === PCI_EXT_CAP_ID_SRIOV) this.#restoreVirtualFunctions(offset);
		this.restoreOwn();
	}

	/** Writes the function's own settings back. How many virtual functions it has may have changed since. */
	restoreOwn(): void {
		for (const { id, offset } of walkCapabilities(this.#config)) {
			if (id === PCI_CAP_ID_EXP) for (const at of EXPRESS_CONTROLS) this.#write(offset + at, 2);
			else if (id === PCI_CAP_ID_PCIX) this.#write(offset + PCIX_COMMAND, 2);
		}
		for (const { id, offset } of walkExtendedCapabilities(this.#config))
			for (const at of EXTENDED_SETTINGS.get(id) ?? []) this.#write(offset + at, 4);
		// From the end, so that the BARs are right before COMMAND lets them decode.
		for (let offset = PCI_STD_HEADER_SIZEOF - 4; offset >= 0; offset -= 4) this.#write(offset, 4);
		const { msi, msix } = this.#fn;
		// The flags come last: they are what sends.
		if (msi) for (let at = msi.length & ~1; at > 0; at -= 2) if (at < msi.length) this.#write(msi.offset + at, 2);
		if (msix) {
			if (this.#table) this.#restoreTable(this.#table);
			this.#write(msix.offset + PCI_MSIX_FLAGS, 2);
		}
		// With its messages Linux shuts a function's pin.
		if (msi?.enabled || msix?.enabled) allowIntx(this.#fn, false);
	}

	/** How many, and where their BARs are, counts as it is when they are enabled: that comes last. */
	#restoreVirtualFunctions(offset: number): void {
		for (let at = SRIOV_PAGE_SIZE; at < SRIOV_BARS_END; at += 4) this.#write(offset + at, 4);
		this.#write(offset + SRIOV_NUM_VFS, 2);
		this.#write(offset + SRIOV_CONTROL, 2);
	}

	#restoreTable(table: Uint32Array): void {
		const msix = this.#fn.msix;
		if (!msix) return;
		const { bar, offset } = msix.table;
		withMemoryEnabled(this.#fn, () => {
			for (let index = 0; index < table.length; index++) this.#fn.write(bar, offset + 4 * index, 4, table[index] ?? 0);
		});
	}

	/** Only what differs: some devices do not like to be told again. */
	#write(offset: number, width: 2 | 4): void {
		if (offset + width > this.#config.length) return;
		const value = load(this.#config, offset, width);
		if (this.#fn.configRead(offset, width) !== value) this.#fn.configWrite(offset, width, value);
	}
}
