/**
 * A device tree as a flattened blob, version 17 (Devicetree Specification v0.4, chapter 5).
 *
 * @module
 */
import { checkDeviceTree } from "./check.ts";
import type { DeviceTreeNode } from "./node.ts";

const MAGIC = 0xd00dfeed;
const VERSION = 17;
/** Readers of version 16 can read it. */
const LAST_COMPATIBLE_VERSION = 16;
const HEADER_SIZE = 40;
const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const END = 9;

/** Memory that whoever boots from the blob leaves alone. */
export interface MemoryReservation {
	readonly address: bigint;
	/** Bytes. */
	readonly size: bigint;
}

/** Options of {@link toDtb}. */
export interface BlobOptions {
	/** None when left out. */
	readonly reservations?: readonly MemoryReservation[];
	/** The physical id of the processor that boots; 0 when left out. */
	readonly bootCpu?: number;
}

/**
 * Flattens a tree.
 *
 * @param root the tree's root
 * @returns the blob, as a boot loader hands it to a kernel and `dtc -I dtb` reads it
 * @throws VfioError `invalid-argument` when it is not a root, or a name is none
 * @example
 * ```ts
 * const blob = toDtb(deviceTreeNode("", { model: "example" }));
 * new DataView(blob.buffer).getUint32(0); // 0xd00dfeed
 * ```
 */
export function toDtb(root: DeviceTreeNode, options: BlobOptions = {}): Uint8Array {
	checkDeviceTree(root);
	const { reservations = [], bootCpu = 0 } = options;
	const strings = new StringsBlock();
	const structure = new Writer();
	writeNode(structure, strings, root);
	structure.cell(END);
	const reserved = new Writer();
	for (const { address, size } of reservations) {
		reserved.quad(address);
		reserved.quad(size);
	}
	reserved.quad(0n);
	reserved.quad(0n);
	const atStructure = HEADER_SIZE + reserved.length;
	const atStrings = atStructure + structure.length;
	const blob = new Writer();
	blob.cell(MAGIC);
	blob.cell(atStrings + strings.text.length);
	blob.cell(atStructure);
	blob.cell(atStrings);
	blob.cell(HEADER_SIZE);
	blob.cell(VERSION);
	blob.cell(LAST_COMPATIBLE_VERSION);
	blob.cell(bootCpu);
	blob.cell(strings.text.length);
	blob.cell(structure.length);
	blob.bytes(reserved.take());
	blob.bytes(structure.take());
	blob.text(strings.text);
	return blob.take();
}

function writeNode(out: Writer, strings: StringsBlock, node: DeviceTreeNode): void {
	out.cell(BEGIN_NODE);
	out.text(`${node.name}\0`);
	out.align();
	for (const [name, value] of node.properties) {
		out.cell(PROPERTY);
		out.cell(value.length);
		out.cell(strings.offsetOf(name));
		out.bytes(value);
		out.align();
	}
	for (const child of node.children) writeNode(out, strings, child);
	out.cell(END_NODE);
}

/** The names of properties, each once: one that is the end of another is not written again. */
class StringsBlock {
	text = "";

	offsetOf(name: string): number {
		const terminated = `${name}\0`;
		const known = this.text.indexOf(terminated);
		if (known >= 0) return known;
		const at = this.text.length;
		this.text += terminated;
		return at;
	}
}

/** Big-endian bytes that grow. */
class Writer {
	#bytes = new Uint8Array(1024);
	#view = new DataView(this.#bytes.buffer);
	#length = 0;

	get length(): number {
		return this.#length;
	}

	take(): Uint8Array {
		return this.#bytes.slice(0, this.#length);
	}

	cell(value: number): void {
		this.#reserve(4);
		this.#view.setUint32(this.#length, value);
		this.#length += 4;
	}

	quad(value: bigint): void {
		this.#reserve(8);
		this.#view.setBigUint64(this.#length, value);
		this.#length += 8;
	}

	bytes(value: Uint8Array): void {
		this.#reserve(value.length);
		this.#bytes.set(value, this.#length);
		this.#length += value.length;
	}

	/** Names are ASCII. */
	text(value: string): void {
		this.bytes(Uint8Array.from(value, (character) => character.charCodeAt(0)));
	}

	/** To the next cell. */
	align(): void {
		this.bytes(new Uint8Array(-this.#length & 3));
	}

	#reserve(count: number): void {
		if (this.#length + count <= this.#bytes.length) return;
		const larger = new Uint8Array(2 * (this.#length + count));
		larger.set(this.#bytes);
		this.#bytes = larger;
		this.#view = new DataView(larger.buffer);
	}
}
