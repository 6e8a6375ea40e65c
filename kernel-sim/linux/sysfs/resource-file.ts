/**
 * The files `resource0` to `resource5` of a PCI device, and `resource0_wc` to `resource5_wc` of prefetchable memory: a BAR
 * to map, or ports to read and write, past every driver.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { EINVAL, EIO, ENODEV } from "../../../core/uapi/errno.ts";
import type { PciFunction } from "../../hardware/function.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { PciDevice } from "../driver.ts";
import type { OpenFile } from "../file.ts";
import type { FileContent } from "../file-content.ts";
import type { FileSystem } from "../filesystem.ts";
import type { SimProcess } from "../process.ts";
import { RegionMapping } from "../region-mapping.ts";
import { BarMemory, type MemoryGate } from "../vfio-pci/bar-memory.ts";

const MODE = 0o600;

/** Makes the files of all BARs. */
export function addResourceFiles(files: FileSystem, device: PciDevice, version: "6.12" | "7.2"): void {
	for (let bar = 0; bar < 6; bar++) {
		const description = device.fn.bar(bar);
		if (!description) continue;
		const path = `${device.syspath}/resource${bar}`;
		if (description.kind === "io") {
			files.file(path, new PortFile(device.fn, bar, version), MODE);
			continue;
		}
		files.file(path, new MemoryFile(device, bar, description.size), MODE);
		// The same memory; writes may be put together on their way, which a device model cannot tell.
		if (description.prefetchable) files.file(`${path}_wc`, new MemoryFile(device, bar, description.size), MODE);
	}
}

/** Memory: it can be mapped, and nothing else. */
class MemoryFile implements FileContent {
	readonly #device: PciDevice;
	readonly #bar: number;
	readonly #size: number;

	constructor(device: PciDevice, bar: number, size: number) {
		this.#device = device;
		this.#bar = bar;
		this.#size = size;
	}

	read(): number {
		return -EIO;
	}

	write(): number {
		return -EIO;
	}

	mmap(file: OpenFile, length: number, protection: number, offset: number): RegionMapping | number {
		const pages = (bytes: number) => Math.ceil(bytes / PAGE_SIZE);
		if (pages(offset) + pages(length) > pages(this.#size) || !this.#device.claims.mappable(this.#bar)) return -EINVAL;
		const gate = new ClaimGate(this.#device, this.#bar);
		return new RegionMapping(file, new BarMemory(gate, this.#bar, offset), length, protection);
	}
}

/** A driver that takes the BAR takes it away from whoever has it mapped: a touch is a SIGBUS from then on. */
class ClaimGate implements MemoryGate {
	readonly #device: PciDevice;
	readonly #bar: number;
	readonly #revocations: number;

	constructor(device: PciDevice, bar: number) {
		this.#device = device;
		this.#bar = bar;
		this.#revocations = device.claims.revocations(bar);
	}

	get fn(): PciFunction {
		return this.#device.fn;
	}

	get mappable(): boolean {
		return this.#device.claims.revocations(this.#bar) === this.#revocations;
	}
}

/** Ports: one access of their width at a time. */
class PortFile implements FileContent {
	readonly #fn: PciFunction;
	readonly #bar: number;
	readonly #version: "6.12" | "7.2";

	constructor(fn: PciFunction, bar: number, version: "6.12" | "7.2") {
		this.#fn = fn;
		this.#bar = bar;
		this.#version = version;
	}

	readAt(into: Uint8Array, offset: number): number {
		const width = this.#width(into.length, offset);
		if (width === undefined) return -EINVAL;
		const value = this.#fn.read(this.#bar, offset, width);
		for (let byte = 0; byte < width; byte++) into[byte] = (value >>> (8 * byte)) & 0xff;
		return width;
	}

	write(_opener: SimProcess, bytes: Uint8Array, offset: number): number {
		const width = this.#width(bytes.length, offset);
		if (width === undefined) return -EINVAL;
		let value = 0;
		for (let byte = 0; byte < width; byte++) value += (bytes[byte] ?? 0) * 2 ** (8 * byte);
		this.#fn.write(this.#bar, offset, width, value);
		return width;
	}

	/** x86 has no ports in memory. */
	mmap(): number {
		return this.#version === "6.12" ? -ENODEV : -EINVAL;
	}

	#width(length: number, offset: number): AccessWidth | undefined {
		const size = this.#fn.bar(this.#bar)?.size ?? 0;
		return (length === 1 || length === 2 || length === 4) && offset + length <= size ? length : undefined;
	}
}
