/**
 * QMP, the protocol that controls a QEMU, for any machine: parsing, checking, commands, events, two dialects. No sockets.
 *
 * @module
 */
export type { QmpDialect, QmpVersion } from "./dialect.ts";
export type { MachineEvent } from "./events.ts";
export { QmpError, type QmpFault } from "./fault.ts";
export type { JsonLimits } from "./json-input.ts";
export type { DeviceRequest, QmpMachine, RunState } from "./machine.ts";
export { QmpMonitor, type QmpMonitorOptions } from "./monitor.ts";
export { type PciBusInfo, type PciDeviceInfo, type PciRange, type PciRegionInfo, pciInfo } from "./pci-info.ts";
export { type AddOptions, type OpenedPeripheral, Peripherals, type PeripheralsOptions } from "./peripherals.ts";
export type { QmpSession, SessionOptions } from "./session.ts";
