/** The device models that ship, and the registry that picks one. @module */
export { E1000e, type E1000eOptions } from "./e1000e.ts";
export { Edu, type EduOptions } from "./edu.ts";
export * from "./hda/mod.ts";
export * from "./igb/mod.ts";
export { frameCheckSequence, type NetworkPeer } from "./network.ts";
export * from "./nvme/mod.ts";
export {
	defaultModels,
	type ModelFactory,
	type ModelMatch,
	ModelRegistry,
	type ServedFunction,
	serveNvme,
} from "./registry.ts";
export * from "./usb/mod.ts";
