/** An NVM Express controller and the namespaces behind it. @module */
export type { NvmeFunctionOptions } from "./description.ts";
export {
	type BlockFile,
	FileNamespace,
	MemoryNamespace,
	type MemoryNamespaceOptions,
	type Namespace,
	patternContent,
} from "./namespace.ts";
export { Nvme, type NvmeOptions } from "./nvme.ts";
