/**
 * Writes to the header: COMMAND and what hangs on it, and BARs that only look programmable.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import {
	PCI_BASE_ADDRESS_0,
	PCI_BASE_ADDRESS_MEM_PREFETCH,
	PCI_BASE_ADDRESS_MEM_TYPE_64,
	PCI_BASE_ADDRESS_SPACE_IO,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_IO,
	PCI_COMMAND_MEMORY,
	PCI_ROM_ADDRESS,
	PCI_ROM_ADDRESS_ENABLE,
} from "../../../core/uapi/pci_regs.ts";
import { load, store } from "../../hardware/little-endian.ts";
import type { BarDescription } from "../../hardware/model.ts";
import { covers, type RegisterEffect } from "./config-effects.ts";
import type { ConfigSpace } from "./config-space.ts";

const BARS = 6;
const BAR_REGISTERS_END = PCI_BASE_ADDRESS_0 + 4 * BARS;
const REGISTERS: readonly number[] = [
	...Array.from({ length: BARS }, (_, index) => PCI_BASE_ADDRESS_0 + 4 * index),
	PCI_ROM_ADDRESS,
];

/** The write path of the first 64 bytes. */
export class HeaderEffect implements RegisterEffect {
	readonly offset = 0;
	readonly #config: ConfigSpace;
	/** BARs and ROM as the host programmed them, for when a reset behind the kernel's back loses them. */
	readonly #programmed: Uint32Array;

	constructor(config: ConfigSpace) {
		this.#config = config;
		this.#programmed = Uint32Array.from(REGISTERS, (register) => load(config.shadow, register, 4));
	}

	write(at: number, width: AccessWidth, value: number): number {
		if (covers(at, width, PCI_COMMAND) || covers(at, width, PCI_COMMAND + 1))
			return this.#writeCommand(at, width, value);
		const answer = this.#config.store(at, width, value);
		if ((at >= PCI_BASE_ADDRESS_0 && at < BAR_REGISTERS_END) || (at & ~3) === PCI_ROM_ADDRESS) this.fixBaseAddresses();
		return answer;
	}

	/** Gives the copy's BARs the type bits and the alignment that hardware of these sizes would show. */
	fixBaseAddresses(): void {
		const { fn, shadow } = this.#config;
		for (let index = 0; index < BARS; index++) {
			const register = PCI_BASE_ADDRESS_0 + 4 * index;
			const bar = fn.bar(index);
			if (!bar) {
				store(shadow, register, 4, 0);
				continue;
			}
			store(shadow, register, 4, (load(shadow, register, 4) & lowMask(bar.size)) | typeBits(bar));
			if (bar.kind !== "mem64") continue;
			store(shadow, register + 4, 4, load(shadow, register + 4, 4) & highMask(bar.size));
			index++;
		}
		const romSize = fn.romSize;
		const rom = load(shadow, PCI_ROM_ADDRESS, 4);
		store(shadow, PCI_ROM_ADDRESS, 4, romSize === 0 ? 0 : rom & (lowMask(romSize) | PCI_ROM_ADDRESS_ENABLE));
	}

	#writeCommand(at: number, width: AccessWidth, value: number): number {
		const config = this.#config;
		const before = config.command;
		let after = before;
		for (let index = 0; index < width; index++) {
			const byte = at + index - PCI_COMMAND;
			if (byte < 0 || byte > 1) continue;
			after = (after & ~(0xff << (8 * byte))) | (((value >>> (8 * index)) & 0xff) << (8 * byte));
		}
		if (this.#lostByHardware(before, after)) this.#reprogram();
		const answer = config.store(at, width, value);
		if (answer < 0) return answer;
		store(config.shadow, PCI_COMMAND, 2, after);
		// Of a virtual function memory decoding is the copy's matter, and the hardware is told all the same.
		if (config.host.virtualIds !== undefined && ((before ^ after) & PCI_COMMAND_MEMORY) !== 0)
			config.fn.configWrite(
				PCI_COMMAND,
				1,
				(config.fn.configRead(PCI_COMMAND, 1) & ~PCI_COMMAND_MEMORY) | (after & PCI_COMMAND_MEMORY),
			);
		if (((before ^ after) & PCI_COMMAND_INTX_DISABLE) !== 0)
			config.host.maskIntx((after & PCI_COMMAND_INTX_DISABLE) !== 0);
		return answer;
	}

	/** The user turns on what should be on already and is not: the device was reset by a way the kernel did not see. */
	#lostByHardware(before: number, after: number): boolean {
		const decoding = PCI_COMMAND_MEMORY | PCI_COMMAND_IO;
		if ((after & decoding) === 0) return false;
		const { fn, host } = this.#config;
		if (host.virtualIds !== undefined) return false;
		if ((before & after & decoding & ~fn.configRead(PCI_COMMAND, 2)) !== 0) return true;
		return REGISTERS.some((register, index) => fn.configRead(register, 4) !== this.#programmed[index]);
	}

	#reprogram(): void {
		for (const [index, register] of REGISTERS.entries())
			this.#config.fn.configWrite(register, 4, this.#programmed[index] ?? 0);
	}
}

function typeBits(bar: BarDescription): number {
	if (bar.kind === "io") return PCI_BASE_ADDRESS_SPACE_IO;
	return (
		(bar.kind === "mem64" ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) | (bar.prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0)
	);
}

/** The address bits of a BAR's low dword. */
function lowMask(size: number): number {
	return size >= 2 ** 32 ? 0 : ~(size - 1);
}

function highMask(size: number): number {
	return size > 2 ** 32 ? ~(size / 2 ** 32 - 1) : -1;
}
