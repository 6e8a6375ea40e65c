// Configuration spaces for tests of core/pci.
import { store } from "./fake-vfio-device.ts";

export interface ConfigOptions {
	readonly size?: 256 | 4096;
	readonly pin?: number;
	readonly headerType?: number;
	/** Registers at 0x10, 0x14, ... */
	readonly bars?: readonly number[];
	/** In the order of the list: where, id, and the bytes behind id and next pointer. */
	readonly capabilities?: readonly (readonly [offset: number, id: number, body?: readonly number[]])[];
	readonly extended?: readonly (readonly [offset: number, id: number, body?: readonly number[]])[];
}

/** An endpoint's configuration space: vendor 0x8086, device 0x10c9. */
export function configSpace(options: ConfigOptions = {}): Uint8Array {
	const config = new Uint8Array(options.size ?? 256);
	store(config, 0, 4, 0x10c98086);
	store(config, 4, 4, 0x00000002);
	store(config, 8, 4, 0x02000001);
	config[0x0e] = options.headerType ?? 0;
	for (const [n, bar] of (options.bars ?? []).entries()) store(config, 0x10 + 4 * n, 4, bar);
	config[0x3d] = options.pin ?? 1;
	let pointer = 0x34;
	for (const [offset, id, body] of options.capabilities ?? []) {
		config[6] = 0x10;
		config[pointer] = offset;
		config[offset] = id;
		config[offset + 1] = 0;
		config.set(body ?? [], offset + 2);
		pointer = offset + 1;
	}
	let previous = -1;
	for (const [offset, id, body] of options.extended ?? []) {
		store(config, offset, 4, id + 0x10000);
		config.set(body ?? [], offset + 4);
		if (previous >= 0) store(config, previous + 2, 2, (offset << 4) | 1);
		previous = offset;
	}
	return config;
}

/** The body of an MSI-X capability. */
export function msixBody(
	vectors: number,
	table: readonly [bar: number, offset: number],
	pba: readonly [number, number],
): number[] {
	const body = new Uint8Array(10);
	store(body, 0, 2, vectors - 1);
	store(body, 2, 4, table[1] + table[0]);
	store(body, 6, 4, pba[1] + pba[0]);
	return [...body];
}

/** The body of an MSI capability. */
export function msiBody(options: { vectors?: number; address64?: boolean; maskable?: boolean } = {}): number[] {
	const { vectors = 1, address64 = true, maskable = false } = options;
	const flags = (Math.log2(vectors) << 1) | (address64 ? 0x80 : 0) | (maskable ? 0x100 : 0);
	return [flags & 0xff, flags >> 8];
}

/** The body of a PCI Express capability of 0x3c bytes. @param type such as 0 for an endpoint */
export function expressBody(type: number, version = 2, flr = true): number[] {
	const body = new Uint8Array(0x3a);
	store(body, 0, 2, version | (type << 4));
	store(body, 2, 4, flr ? 0x10000000 : 0);
	store(body, 0x0c - 2, 4, 0x00425c42);
	store(body, 0x10 - 2, 2, 0x40);
	store(body, 0x12 - 2, 2, 0x1042);
	store(body, 0x2c - 2, 4, 0x0e);
	return [...body];
}
