/**
 * The host: PCI addresses, sysfs, IOMMU groups, binding to VFIO and back.
 *
 * @module
 */
export { comparePciAddresses, formatPciAddress, type PciAddress, parsePciAddress } from "./address.ts";
export { BoundGroup, bindGroup, planBind } from "./bind.ts";
export {
	type BindPlan,
	type BindStep,
	type DeviceBinding,
	type SysfsWrite,
	shellCommand,
} from "./bind-plan.ts";
export { type DoctorOptions, examineHost, type Finding, type FindingLevel } from "./doctor.ts";
export { type GroupMember, groupMembers, groupOf } from "./groups.ts";
export { type DeviceLocation, type DeviceReference, groupAt, locate } from "./location.ts";
export {
	isMediated,
	Mdev,
	type MdevInfo,
	type MdevOptions,
	type MdevType,
	mdevDevices,
	mdevTypes,
	removeMdev,
} from "./mdev.ts";
export { type PciIds, type PciResource, PciSysfs, readText } from "./sysfs.ts";
export { planUnbind, type UnbindOptions, unbindGroup } from "./unbind.ts";
export { inTheWay, requireViable } from "./viability.ts";
