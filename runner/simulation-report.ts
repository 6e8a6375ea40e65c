import type { IommuFault, SimulatedLinux } from "../kernel-sim/mod.ts";
import type { DeviceReport } from "./run-report.ts";

/** What only a simulated kernel can tell after a run. */
export interface SimulationReport {
	/** DMA that did not get through. */
	readonly faults: readonly IommuFault[];
	/** Bytes that each function moved by DMA; what a mediated device copies does not pass the IOMMU, and is not counted. */
	readonly dma: readonly { readonly address: string; readonly read: number; readonly written: number }[];
	/** What was not given back, such as `2 open files`. */
	readonly leaked: readonly string[];
}

/** Looks at the simulation when everything should have been given back. */
export function simulationReport(linux: SimulatedLinux, devices: readonly DeviceReport[]): SimulationReport {
	const { machine } = linux;
	return {
		faults: linux.faults,
		dma: devices.flatMap(({ address }) => {
			const fn = machine.functions.find((one) => one.name === address);
			return fn ? [{ address, read: machine.iommu.bytesRead(fn), written: machine.iommu.bytesWritten(fn) }] : [];
		}),
		leaked: Object.entries(linux.leaks())
			.filter(([, number]) => number !== 0)
			.map(([what, number]) => `${number} ${what.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}`),
	};
}
