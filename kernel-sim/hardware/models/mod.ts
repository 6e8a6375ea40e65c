/** The device models that ship, and the registry that picks one. @module */
export { Edu, type EduOptions } from "./edu.ts";
export * from "./nvme/mod.ts";
export {
	defaultModels,
	type ModelFactory,
	type ModelMatch,
	ModelRegistry,
	type ServedFunction,
	serveNvme,
} from "./registry.ts";
export { SparseMemory } from "./sparse-memory.ts";
