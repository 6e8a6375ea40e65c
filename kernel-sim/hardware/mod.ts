/** The machine under the simulated Linux: PCI functions, the buses they are on, the IOMMU, the interrupt controller. @module */
export {
	type BridgeOptions,
	hostBridge,
	isaBridge,
	type PortOptions,
	pciBridge,
	pcieToPciBridge,
	rootPort,
	switchDownstreamPort,
	switchUpstreamPort,
} from "./bridges.ts";
export {
	af,
	type CapabilityPlace,
	type ExpressOptions,
	express,
	type MsiOptions,
	msi,
	msix,
	type PmOptions,
	pm,
	rawCapability,
	subsystem,
	type VendorOptions,
	vendor,
	vpd,
} from "./capabilities.ts";
export type {
	BridgeDescription,
	Capability,
	ExtendedCapability,
	FunctionDescription,
	RomDescription,
} from "./description.ts";
export {
	type AcsOptions,
	acs,
	aer,
	ari,
	type ExtendedPlace,
	rawExtendedCapability,
	type SriovOptions,
	serialNumber,
	sriov,
} from "./extended-capabilities.ts";
export { programHotplugged, programMachine } from "./firmware.ts";
export { PciFunction, type ResetMethod } from "./function.ts";
export type { AllocatedMessages, DroppedMessage, InterruptController } from "./interrupts.ts";
export {
	DMA_READ,
	DMA_WRITE,
	type DmaMapping,
	type DmaTarget,
	type Iommu,
	IommuDomain,
	type IommuFault,
	type IommuOptions,
} from "./iommu.ts";
export { type MemoryDeviceOptions, memoryDevice } from "./memory-device.ts";
export type { BarDescription, BarKind, DeviceModel, DevicePort, MsixDescription } from "./model.ts";
export { barTarget } from "./peer-to-peer.ts";
export type { PlatformDescription, PlatformInterrupt, PlatformRegion } from "./platform/description.ts";
export { PlatformHardware, type PlatformInterconnect } from "./platform/hardware.ts";
export type { PlatformModel, PlatformPort } from "./platform/model.ts";
export { AmdXgbe, type AmdXgbeOptions, type AmdXgbePlace } from "./platform/models/amd-xgbe/mod.ts";
export {
	CalxedaXgmac,
	type CalxedaXgmacOptions,
	type CalxedaXgmacPlace,
} from "./platform/models/calxeda-xgmac/mod.ts";
export type { PowerState } from "./pm-unit.ts";
export { type CapturedFunction, describeConfig } from "./raw-config.ts";
export type { SriovUnit, VirtualFunction, VirtualFunctionChange } from "./sriov.ts";
export { Machine, type MachineListener, type MachineOptions, type PlugOptions } from "./topology.ts";
