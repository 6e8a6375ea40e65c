/**
 * A device tree as a value: nodes with properties (Devicetree Specification v0.4, section 2.2).
 *
 * @module
 */

/** A node. Values are the bytes of a blob, so that what a host says passes through unchanged. */
export interface DeviceTreeNode {
	/** With its unit address, such as `ethernet@e0700000`; the root's is empty. */
	readonly name: string;
	/** In the order they are written. */
	readonly properties: ReadonlyMap<string, Uint8Array>;
	readonly children: readonly DeviceTreeNode[];
}

/**
 * A property's value as a person writes it: text (several: a list), 32-bit cells, bytes, or `true` for one that is only
 * there.
 */
export type DeviceTreeValue = string | readonly string[] | number | readonly number[] | Uint8Array | true;

/**
 * Makes a node.
 *
 * @param name with its unit address; empty for a root
 * @example
 * ```ts
 * const uart = deviceTreeNode("serial@9000000", { compatible: "arm,pl011", reg: [0, 0x9000000, 0, 0x1000] });
 * const root = deviceTreeNode("", { "#address-cells": 2, "#size-cells": 2 }, [uart]);
 * ```
 */
export function deviceTreeNode(
	name: string,
	properties: Readonly<Record<string, DeviceTreeValue>>,
	children: readonly DeviceTreeNode[] = [],
): DeviceTreeNode {
	const encoded = Object.entries(properties).map(([key, value]) => [key, encodeValue(value)] as const);
	return { name, properties: new Map(encoded), children };
}

/** The bytes of a value: text ends in NUL, cells are big-endian. Cells are taken modulo 2^32. */
export function encodeValue(value: DeviceTreeValue): Uint8Array {
	if (value instanceof Uint8Array) return value;
	if (value === true) return new Uint8Array(0);
	if (typeof value === "string") return encodeStrings([value]);
	if (typeof value === "number") return encodeCells([value]);
	return isText(value) ? encodeStrings(value) : encodeCells(value);
}

/** 32-bit cells. @returns undefined when the property is not there, or not of whole cells */
export function cellsOf(node: DeviceTreeNode, name: string): number[] | undefined {
	const bytes = node.properties.get(name);
	if (!bytes || bytes.length % 4 !== 0) return undefined;
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	return Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(4 * index));
}

/** A list of texts, NUL-separated. @returns undefined when the property is not there, or does not end in NUL */
export function stringsOf(node: DeviceTreeNode, name: string): string[] | undefined {
	const bytes = node.properties.get(name);
	return bytes && decodeStrings(bytes);
}

/** @returns undefined when the bytes do not end in NUL */
export function decodeStrings(bytes: Uint8Array): string[] | undefined {
	if (bytes.length === 0 || bytes[bytes.length - 1] !== 0) return undefined;
	let text = "";
	for (const byte of bytes.subarray(0, bytes.length - 1)) text += String.fromCharCode(byte);
	return text.split("\0");
}

/** A 64-bit number as two cells, the upper first. */
export function cells64(value: bigint): [high: number, low: number] {
	return [Number(BigInt.asUintN(32, value >> 32n)), Number(BigInt.asUintN(32, value))];
}

function isText(values: readonly string[] | readonly number[]): values is readonly string[] {
	return typeof values[0] === "string";
}

function encodeStrings(texts: readonly string[]): Uint8Array {
	return Uint8Array.from(texts.map((text) => `${text}\0`).join(""), (character) => character.charCodeAt(0) & 0xff);
}

function encodeCells(cells: readonly number[]): Uint8Array {
	const bytes = new Uint8Array(4 * cells.length);
	const view = new DataView(bytes.buffer);
	cells.forEach((cell, index) => {
		view.setUint32(4 * index, cell);
	});
	return bytes;
}
