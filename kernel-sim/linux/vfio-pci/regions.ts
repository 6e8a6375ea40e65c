/**
 * The regions of an open device: how large they are, and pread(2) and pwrite(2) on them (contract D.5).
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { EINVAL, EIO } from "../../../core/uapi/errno.ts";
import { PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_ENABLE } from "../../../core/uapi/pci_regs.ts";
import {
	VFIO_PCI_BAR5_REGION_INDEX,
	VFIO_PCI_CONFIG_REGION_INDEX,
	VFIO_PCI_ROM_REGION_INDEX,
	VFIO_PCI_VGA_REGION_INDEX,
} from "../../../core/uapi/vfio.ts";
import type { PciFunction } from "../../hardware/function.ts";
import { load, store } from "../../hardware/little-endian.ts";
import { REGION_STRIDE } from "../vfio/region-offset.ts";
import type { ConfigSpace } from "./config-space.ts";

/** Bytes of the VGA region: it begins at address 0, as the legacy ranges are addressed. */
export const VGA_REGION_SIZE = 0xc0000;
/** First and last legacy address that a VGA controller decodes: its frame buffer and its ports. */
const VGA_WINDOWS: readonly (readonly [first: number, end: number])[] = [
	[0xa0000, 0xc0000],
	[0x3b0, 0x3bc],
	[0x3c0, 0x3e0],
];
const CLASS_VGA = 0x030000;

/** What regions need to know of the open device. */
export interface RegionHost {
	readonly fn: PciFunction;
	readonly config: ConfigSpace;
	/** COMMAND and the power state let memory be read and written. */
	/** A BAR is used from now on. */
	claim(bar: number): void;
	readonly memoryUsable: boolean;
	/** `disable_vga` is off. */
	readonly vgaEnabled: boolean;
}

/** Reads and writes regions. Each access that a device sees is as wide as alignment and length allow. */
export class Regions {
	readonly #host: RegionHost;
	readonly #fn: PciFunction;
	readonly #romSize: number;
	/** Bytes of the MSI-X table in its BAR, which are the kernel's. */
	readonly #tableBar: number;
	readonly #tableStart: number;
	readonly #tableEnd: number;

	constructor(host: RegionHost) {
		this.#host = host;
		this.#fn = host.fn;
		const msix = this.#fn.msix;
		this.#tableBar = msix?.table.bar ?? -1;
		this.#tableStart = msix?.table.offset ?? 0;
		this.#tableEnd = this.#tableStart + 16 * (msix?.vectors ?? 0);
		this.#romSize = hasRomImage(this.#fn) ? this.#fn.romSize : 0;
	}

	/** The BAR whose MSI-X table the kernel keeps to itself; -1 when there is none. */
	get tableBar(): number {
		return this.#tableBar;
	}

	/** Bytes, 0 for a region that is not there; -EINVAL for one that this device cannot have. */
	size(index: number): number {
		if (index <= VFIO_PCI_BAR5_REGION_INDEX) return this.#fn.bar(index)?.size ?? 0;
		switch (index) {
			case VFIO_PCI_ROM_REGION_INDEX:
				return this.#romSize;
			case VFIO_PCI_CONFIG_REGION_INDEX:
				return this.#host.config.size;
			case VFIO_PCI_VGA_REGION_INDEX:
				return this.#isVga ? VGA_REGION_SIZE : -EINVAL;
			default:
				return -EINVAL;
		}
	}

	/** Whether `[offset, offset + length)` of a BAR touches the MSI-X table. */
	touchesTable(bar: number, offset: number, length: number): boolean {
		return bar === this.#tableBar && offset < this.#tableEnd && offset + length > this.#tableStart;
	}

	/** pread(2). @param offset bytes in the device's file @returns the bytes read, or -errno */
	read(offset: number, into: Uint8Array): number {
		if (into.length === 0) return 0;
		const index = Math.floor(offset / REGION_STRIDE);
		const position = offset % REGION_STRIDE;
		if (index === VFIO_PCI_CONFIG_REGION_INDEX) return this.#host.config.read(position, into);
		if (index === VFIO_PCI_VGA_REGION_INDEX) return this.#readVga(position, into);
		const size = this.size(index);
		if (size <= 0 || position >= size) return -EINVAL;
		const length = Math.min(into.length, size - position);
		return index === VFIO_PCI_ROM_REGION_INDEX
			? this.#readRom(position, into, length)
			: this.#readBar(index, position, into, length);
	}

	/** pwrite(2). @param offset bytes in the device's file @returns the bytes written, or -errno */
	write(offset: number, from: Uint8Array): number {
		if (from.length === 0) return 0;
		const index = Math.floor(offset / REGION_STRIDE);
		const position = offset % REGION_STRIDE;
		if (index === VFIO_PCI_CONFIG_REGION_INDEX) return this.#host.config.write(position, from);
		if (index === VFIO_PCI_VGA_REGION_INDEX) return this.#vgaLength(position, from.length);
		if (index > VFIO_PCI_BAR5_REGION_INDEX) return -EINVAL;
		const size = this.size(index);
		if (size <= 0 || position >= size) return -EINVAL;
		return this.#writeBar(index, position, from, Math.min(from.length, size - position));
	}

	#readBar(bar: number, position: number, into: Uint8Array, length: number): number {
		this.#host.claim(bar);
		const widest = this.#fn.bar(bar)?.kind === "io" ? 4 : 8;
		for (let done = 0; done < length; ) {
			const at = position + done;
			const hidden = this.#hidden(bar, at, length - done);
			if (hidden > 0) {
				into.fill(0xff, done, done + hidden);
				done += hidden;
				continue;
			}
			if (widest === 8 && !this.#host.memoryUsable) return -EIO;
			const width = accessWidth(at, this.#untilTable(bar, at, length - done), widest);
			if (width === 8) {
				const value = this.#fn.read64(bar, at);
				store(into, done, 4, Number(BigInt.asUintN(32, value)));
				store(into, done + 4, 4, Number(value >> 32n));
			} else store(into, done, width, this.#fn.read(bar, at, width));
			done += width;
		}
		return length;
	}

	#writeBar(bar: number, position: number, from: Uint8Array, length: number): number {
		this.#host.claim(bar);
		const widest = this.#fn.bar(bar)?.kind === "io" ? 4 : 8;
		for (let done = 0; done < length; ) {
			const at = position + done;
			const hidden = this.#hidden(bar, at, length - done);
			if (hidden > 0) {
				done += hidden;
				continue;
			}
			if (widest === 8 && !this.#host.memoryUsable) return -EIO;
			const width = accessWidth(at, this.#untilTable(bar, at, length - done), widest);
			if (width === 8)
				this.#fn.write64(bar, at, (BigInt(load(from, done + 4, 4)) << 32n) | BigInt(load(from, done, 4)));
			else this.#fn.write(bar, at, width, load(from, done, width));
			done += width;
		}
		return length;
	}

	/** How many of the next bytes belong to the MSI-X table. */
	#hidden(bar: number, at: number, left: number): number {
		if (bar !== this.#tableBar || at < this.#tableStart || at >= this.#tableEnd) return 0;
		return Math.min(left, this.#tableEnd - at);
	}

	/** How many of the next bytes come before the MSI-X table. */
	#untilTable(bar: number, at: number, left: number): number {
		return bar === this.#tableBar && at < this.#tableStart ? Math.min(left, this.#tableStart - at) : left;
	}

	#readRom(position: number, into: Uint8Array, length: number): number {
		if (!this.#host.memoryUsable) return -EIO;
		withRomEnabled(this.#fn, () => {
			for (let done = 0; done < length; ) {
				const width = accessWidth(position + done, length - done, 4) as AccessWidth;
				store(into, done, width, this.#fn.readRom(position + done, width));
				done += width;
			}
		});
		return length;
	}

	get #isVga(): boolean {
		return this.#host.vgaEnabled && this.#fn.configRead(0x08, 4) >>> 8 === CLASS_VGA;
	}

	/** No function of the machine decodes legacy addresses, so that reads find nobody. */
	#readVga(position: number, into: Uint8Array): number {
		const length = this.#vgaLength(position, into.length);
		if (length > 0) into.fill(0xff, 0, length);
		return length;
	}

	#vgaLength(position: number, length: number): number {
		const window = VGA_WINDOWS.find(([first, end]) => position >= first && position < end);
		return this.#isVga && window ? Math.min(length, window[1] - position) : -EINVAL;
	}
}

/** The widest aligned access that moves no more than is left. */
function accessWidth(at: number, left: number, widest: 4 | 8): 1 | 2 | 4 | 8 {
	if (widest === 8 && left >= 8 && at % 8 === 0) return 8;
	if (left >= 4 && at % 4 === 0) return 4;
	return left >= 2 && at % 2 === 0 ? 2 : 1;
}

/** The ROM begins with its signature (PCI Firmware 3.0, section 5.1.1); anything else counts as no ROM. */
function hasRomImage(fn: PciFunction): boolean {
	return fn.romSize > 0 && fn.rom?.[0] === 0x55 && fn.rom[1] === 0xaa;
}

/** The ROM decodes only while the kernel reads it. */
function withRomEnabled(fn: PciFunction, action: () => void): void {
	const before = fn.configRead(PCI_ROM_ADDRESS, 4);
	fn.configWrite(PCI_ROM_ADDRESS, 4, (before | PCI_ROM_ADDRESS_ENABLE) >>> 0);
	action();
	fn.configWrite(PCI_ROM_ADDRESS, 4, before);
}
