/**
 * iommufd: /dev/iommu, its address spaces and page tables, and the devices bound to it (contract F).
 *
 * @module
 */
export { IommufdAccess } from "./access.ts";
export { UserAccounts } from "./accounts.ts";
export type { IommufdBinding } from "./binding.ts";
export { IommufdContext } from "./context.ts";
export { IommufdDevice } from "./device.ts";
export { IommufdFile } from "./file.ts";
export type { IommufdPlatform } from "./platform.ts";
