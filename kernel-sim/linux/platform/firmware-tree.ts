/**
 * The host's device tree in sysfs: a directory for each node, a file with the bytes of each property.
 *
 * @module
 */
import { HOST_DEVICE_TREE } from "../../../core/platform/device-tree/host.ts";
import type { DeviceTreeNode } from "../../../core/platform/device-tree/node.ts";
import type { FileSystem } from "../filesystem.ts";
import { encodeText } from "../text.ts";

/** Where a node below the root is. */
export function nodePath(node: DeviceTreeNode): string {
	return `${HOST_DEVICE_TREE}/${node.name}`;
}

/** Makes the directories of nodes below the root, and the root with the first of them. */
export function addFirmwareNodes(files: FileSystem, nodes: readonly DeviceTreeNode[]): void {
	if (nodes.length > 0 && typeof files.lookup(HOST_DEVICE_TREE) === "number") {
		files.directory(HOST_DEVICE_TREE);
		files.link("/proc/device-tree", HOST_DEVICE_TREE);
	}
	for (const node of nodes) addNode(files, node, nodePath(node));
}

/** One that is there already, as two devices may share a clock, is left as it is. */
function addNode(files: FileSystem, node: DeviceTreeNode, path: string): void {
	if (typeof files.lookup(path) !== "number") return;
	files.directory(path);
	const property = (name: string, bytes: Uint8Array) => files.file(`${path}/${name}`, { read: () => bytes }, 0o444);
	property("name", encodeText(`${node.name.split("@")[0]}\0`));
	for (const [name, bytes] of node.properties) property(name, bytes);
	for (const child of node.children) addNode(files, child, `${path}/${child.name}`);
}
