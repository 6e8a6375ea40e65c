/** Device trees: as values, as source, as blobs, and the host's. @module */
export { type BlobOptions, type MemoryReservation, toDtb } from "./blob.ts";
export {
	type HostPlatformDevice,
	Phandles,
	type PlatformNodes,
} from "./description.ts";
export {
	type PlacedPlatformDevice,
	type PlatformBusWindow,
	platformBusNodes,
	platformNodes,
} from "./device-node.ts";
export { findPhandle, HOST_DEVICE_TREE, readDeviceTree } from "./host.ts";
export {
	cells64,
	cellsOf,
	type DeviceTreeNode,
	type DeviceTreeValue,
	deviceTreeNode,
	stringsOf,
} from "./node.ts";
export { printNode, toDts } from "./source.ts";
