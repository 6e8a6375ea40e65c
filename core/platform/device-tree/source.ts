/**
 * A device tree as source text, which `dtc -I dts` compiles (Devicetree Specification v0.4, chapter 6).
 *
 * @module
 */
import { checkDeviceTree } from "./check.ts";
import { type DeviceTreeNode, decodeStrings } from "./node.ts";

/**
 * Writes a tree as source. Values are shown as text where they can be read as such, else as cells, else as bytes: what
 * they are is not in a tree, and the compiled bytes are the same.
 *
 * @param root the tree's root
 * @throws VfioError `invalid-argument` when it is not a root, or a name is none
 * @example
 * ```ts
 * const root = deviceTreeNode("", { model: "example", "#address-cells": 2 });
 * toDts(root); // '/dts-v1/;\n\n/ {\n\tmodel = "example";\n\t#address-cells = <0x2>;\n};\n'
 * ```
 */
export function toDts(root: DeviceTreeNode): string {
	checkDeviceTree(root);
	return `/dts-v1/;\n\n${printNode(root)}`;
}

/** One node and what is below it, as it stands in a source. @param depth how far it is indented */
export function printNode(node: DeviceTreeNode, depth = 0): string {
	const indent = "\t".repeat(depth);
	const properties = [...node.properties].map(([name, bytes]) => `${indent}\t${name}${printValue(bytes)};\n`);
	const children = node.children.map((child) => printNode(child, depth + 1));
	const parts = [...(properties.length > 0 ? [properties.join("")] : []), ...children];
	return `${indent}${node.name === "" ? "/" : node.name} {\n${parts.join("\n")}${indent}};\n`;
}

function printValue(bytes: Uint8Array): string {
	if (bytes.length === 0) return "";
	const texts = decodeStrings(bytes);
	if (texts?.every((text) => /^[ -~]+$/.test(text)))
		return ` = ${texts.map((text) => `"${text.replace(/[\\"]/g, "\\$&")}"`).join(", ")}`;
	if (bytes.length % 4 !== 0) return ` = [${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}]`;
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	const cells = Array.from({ length: bytes.length / 4 }, (_, index) => `0x${view.getUint32(4 * index).toString(16)}`);
	return ` = <${cells.join(" ")}>`;
}
