/**
 * The writable bits of the header, of types 0 and 1.
 *
 * @module
 */
import {
	PCI_BRIDGE_CONTROL,
	PCI_CACHE_LINE_SIZE,
	PCI_CAP_ID_EXP,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_MASTER,
	PCI_INTERRUPT_LINE,
	PCI_LATENCY_TIMER,
	PCI_PRIMARY_BUS,
	PCI_SECONDARY_BUS,
	PCI_STATUS,
	PCI_SUBORDINATE_BUS,
} from "../../core/uapi/pci_regs.ts";
import { findCapability } from "./config-walk.ts";
import type { FunctionDescription } from "./description.ts";
import { load, setBits } from "./little-endian.ts";
import type { RegisterMasks } from "./register-masks.ts";

/** Command bits that all functions have: I/O, memory, bus master, parity, SERR#. */
const COMMAND_WRITABLE = 0x0147;
const STATUS_CLEARABLE = 0xf900;
const BRIDGE_IO_BASE = 0x1c;
const BRIDGE_SECONDARY_STATUS = 0x1e;
const BRIDGE_MEMORY_BASE = 0x20;
const BRIDGE_PREFETCH_BASE = 0x24;
const BRIDGE_PREFETCH_BASE_UPPER = 0x28;
const BRIDGE_IO_BASE_UPPER = 0x30;

/** Marks the registers of the header that a config write changes (PCI 3.0, section 6.2; PCI-to-PCI Bridge 1.2, section 3.2). */
export function markHeader(
	masks: RegisterMasks,
	config: Uint8Array,
	description: FunctionDescription,
	bridge: boolean,
): void {
	if (description.virtualFunction) {
		setBits(masks.writable, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
		setBits(masks.writeOneToClear, PCI_STATUS, 2, STATUS_CLEARABLE);
		return;
	}
	const express = findCapability(config, PCI_CAP_ID_EXP) !== 0;
	setBits(masks.writable, PCI_COMMAND, 2, COMMAND_WRITABLE);
	if (description.interruptDisable ?? true) setBits(masks.writable, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	setBits(masks.writeOneToClear, PCI_STATUS, 2, STATUS_CLEARABLE);
	setBits(masks.writable, PCI_CACHE_LINE_SIZE, 1, 0xff);
	// PCI Express hardwires the latency timer to zero (PCI Express Base 5.0, section 7.5.1.1.7).
	if (!express) setBits(masks.writable, PCI_LATENCY_TIMER, 1, 0xf8);
	setBits(masks.writable, PCI_INTERRUPT_LINE, 1, 0xff);
	if (!bridge) return;
	setBits(masks.writable, PCI_PRIMARY_BUS, 1, 0xff);
	setBits(masks.writable, PCI_SECONDARY_BUS, 1, 0xff);
	setBits(masks.writable, PCI_SUBORDINATE_BUS, 1, 0xff);
	if (!express) setBits(masks.writable, PCI_PRIMARY_BUS + 3, 1, 0xf8);
	setBits(masks.writable, BRIDGE_IO_BASE, 2, 0xf0f0);
	setBits(masks.writeOneToClear, BRIDGE_SECONDARY_STATUS, 2, STATUS_CLEARABLE);
	setBits(masks.writable, BRIDGE_MEMORY_BASE, 4, 0xfff0fff0);
	setBits(masks.writable, BRIDGE_PREFETCH_BASE, 4, 0xfff0fff0);
	if ((load(config, BRIDGE_PREFETCH_BASE, 1) & 0xf) === 1) {
		setBits(masks.writable, BRIDGE_PREFETCH_BASE_UPPER, 4, 0xffffffff);
		setBits(masks.writable, BRIDGE_PREFETCH_BASE_UPPER + 4, 4, 0xffffffff);
	}
	if ((load(config, BRIDGE_IO_BASE, 1) & 0xf) === 1) setBits(masks.writable, BRIDGE_IO_BASE_UPPER, 4, 0xffffffff);
	setBits(masks.writable, PCI_BRIDGE_CONTROL, 2, express ? 0x005f : 0x0bff);
}
