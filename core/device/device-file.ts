/**
 * What opening a device gives, whichever way it was opened.
 *
 * @module
 */
import type { Iommu } from "../iommu/iommu.ts";
import type { Container } from "./container.ts";
import type { Group } from "./group.ts";
import type { DeviceIdentity } from "./open-devices.ts";

/** An opened device's file, and where its DMA goes. Whoever opened it knows how to give it back. */
export interface DeviceFile {
	readonly identity: DeviceIdentity;
	readonly fd: number;
	/** Where its DMA goes. */
	readonly iommu: Iommu;
	/** Whether its DMA snoops the processor's caches. @throws VfioError `kernel` */
	coherent(): boolean;
	/** When it was opened through its group. */
	readonly group: Group | undefined;
	/** When it was opened through its group: what that is in. */
	readonly container: Container | undefined;
	/** What was opened, such as `/dev/vfio/25`. */
	readonly node: string;
}
