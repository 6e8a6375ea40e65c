/**
 * What names a device tree takes (Devicetree Specification v0.4, sections 2.2.1 and 2.2.4).
 *
 * @module
 */
import { VfioError } from "../../errors.ts";
import type { DeviceTreeNode } from "./node.ts";

const NODE_NAME = /^[A-Za-z0-9,._+-]+(?:@[A-Za-z0-9,._+-]+)?$/;
const PROPERTY_NAME = /^[A-Za-z0-9,._+?#-]+$/;

/**
 * That a tree can be written: from its root down, names that the specification has, none twice.
 *
 * @throws VfioError `invalid-argument`
 */
export function checkDeviceTree(root: DeviceTreeNode): void {
	if (root.name !== "")
		throw new VfioError(
			"invalid-argument",
			`Cannot write a device tree that begins at "${root.name}": it begins at the root, whose name is empty`,
			{ remedy: ['Put the node below a root: deviceTreeNode("", {}, [node]).'] },
		);
	checkNode(root, "/");
}

function checkNode(node: DeviceTreeNode, path: string): void {
	const refuse = (what: string) =>
		new VfioError("invalid-argument", `Cannot write the device tree node ${path}: ${what}`);
	for (const name of node.properties.keys())
		if (!PROPERTY_NAME.test(name)) throw refuse(`"${name}" is no name of a property`);
	const names = new Set<string>();
	for (const child of node.children) {
		if (!NODE_NAME.test(child.name)) throw refuse(`"${child.name}" is no name of a node`);
		if (names.has(child.name)) throw refuse(`it has two nodes of the name "${child.name}"`);
		names.add(child.name);
		checkNode(child, path === "/" ? `/${child.name}` : `${path}/${child.name}`);
	}
}
