/**
 * What the command line is made of, for programs: the embedded guest machine, the main job, the plan of a device.
 *
 * @module
 */
export {
	type AssignedKind,
	type AssignedReference,
	type DeviceOption,
	parseDeviceOption,
} from "./cli/device-option.ts";
export { parseRootPortOption, type RootPortOption } from "./cli/root-port-option.ts";
export { parseSocketOption, type SocketOption } from "./cli/socket-option.ts";
export { UsageError } from "./cli/usage-error.ts";
export { type DevicePlan, type DevicePlanOptions, planDevice } from "./device-plan.ts";
export { HostClock } from "./host-clock.ts";
export * from "./machine/mod.ts";
export { type MachineControl, type MainJob, type RunEvent, runMainJob } from "./main-job.ts";
export { type QmpServer, type QmpStreams, serveQmp } from "./qmp/server.ts";
export type { DeviceReport, RunReport } from "./run-report.ts";
