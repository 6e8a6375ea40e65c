/**
 * The host's device tree, as Linux shows it in sysfs: a directory for each node, a file for each property.
 *
 * @module
 */
import { VfioError } from "../../errors.ts";
import { readingIfThere, readNames } from "../../host/sysfs.ts";
import type { Kernel } from "../../kernel.ts";
import { isErrno } from "../../retry.ts";
import { EACCES, EISDIR, EPERM } from "../../uapi/errno.ts";
import { cellsOf, type DeviceTreeNode } from "./node.ts";

/** The host's whole tree. */
export const HOST_DEVICE_TREE = "/sys/firmware/devicetree/base";
/** Trees of real hosts are less than a dozen levels deep; a link that leads in a circle is not followed further. */
const DEEPEST = 32;
/** And have some thousand nodes: what goes in circles beside that ends here. */
const MOST_NODES = 65536;

/**
 * Reads a node and everything below it.
 *
 * @param path its directory, such as `/sys/bus/platform/devices/fff51000.ethernet/of_node`
 * @returns undefined when there is none, as on a host without a device tree
 * @throws VfioError `kernel`, also for a tree of more than 65536 nodes
 */
export function readDeviceTree(kernel: Kernel, path: string, name = ""): DeviceTreeNode | undefined {
	return readNode(kernel, path, name, 0, { nodes: 0 });
}

function readNode(
	kernel: Kernel,
	path: string,
	name: string,
	depth: number,
	read: { nodes: number },
): DeviceTreeNode | undefined {
	const entries = readNames(kernel, path);
	if (entries === undefined) return undefined;
	if (++read.nodes > MOST_NODES)
		throw new VfioError("kernel", `Cannot read the device tree at ${path}: it has more than ${MOST_NODES} nodes`);
	const properties = new Map<string, Uint8Array>();
	const children: DeviceTreeNode[] = [];
	for (const entry of entries) {
		// Linux makes this one up from the node's own name.
		if (entry === "name") continue;
		const bytes = readProperty(kernel, `${path}/${entry}`);
		if (bytes === "node") {
			const child = depth < DEEPEST ? readNode(kernel, `${path}/${entry}`, entry, depth + 1, read) : undefined;
			if (child) children.push(child);
		} else if (bytes) properties.set(entry, bytes);
	}
	return { name, properties, children };
}

/** @returns `node` for a directory; undefined for what this process may not read, as a host keeps some from all but root */
function readProperty(kernel: Kernel, path: string): Uint8Array | "node" | undefined {
	try {
		return readingIfThere(path, () => kernel.readFile(path));
	} catch (error) {
		const { cause } = error as Error;
		if (isErrno(cause, EISDIR)) return "node";
		if (isErrno(cause, EACCES, EPERM)) return undefined;
		throw error;
	}
}

/** The node that has this phandle, anywhere below. */
export function findPhandle(tree: DeviceTreeNode, phandle: number): DeviceTreeNode | undefined {
	const own = cellsOf(tree, "phandle") ?? cellsOf(tree, "linux,phandle");
	if (own?.[0] === phandle) return tree;
	for (const child of tree.children) {
		const found = findPhandle(child, phandle);
		if (found) return found;
	}
	return undefined;
}
