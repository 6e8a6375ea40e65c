import type { OpenedBy } from "../core/device/open-file.ts";
import type { FunctionPlan } from "../core/pci/plan.ts";
import type { GuestOutcome } from "./machine/mod.ts";

/** One device of a run. */
export interface DeviceReport {
	/** The host's, such as `0000:05:00.0`. */
	readonly address: string;
	/** The name that the guest's machine has for it. */
	readonly id: string;
	/** Its IOMMU group, where that is known. */
	readonly group: number | undefined;
	/** What was opened of it, which way and why. */
	readonly opened: OpenedBy;
	/** Where the guest sees it. */
	readonly guestBus: string;
	/** Slot and function there, such as `05.0`. */
	readonly guestSlot: string;
	/** What the guest sees of its BARs, and which parts are mapped. */
	readonly bars: FunctionPlan["bars"];
	/** What is wrong with it, a sentence each. */
	readonly problems: readonly string[];
	/** What the guest chose: `msix`, `msi`, `intx`. */
	readonly interruptMode: string;
	/** Interrupts delivered to the guest, by vector. */
	readonly interrupts: readonly number[];
}

/** What a run of the main job came to. */
export interface RunReport {
	/** The guest's own checks passed. */
	readonly passed: boolean;
	/** How the guest ended. */
	readonly outcome: Pick<GuestOutcome, "kind" | "reason"> & { readonly guestMilliseconds: number };
	/** Whoever controlled the machine has ended it. */
	readonly quit: boolean;
	/** Which kernel. */
	readonly kernel: string;
	/** In the order of {@link MainJob.devices}, and then those that were added, as long as there are not too many. */
	readonly devices: readonly DeviceReport[];
	/** What was mapped for DMA when the guest started. */
	readonly mappings: readonly { readonly iova: bigint; readonly size: bigint }[];
	/** What the guest printed. */
	readonly console: readonly string[];
	/** What the guest measured, by name. */
	readonly results: Readonly<Record<string, string>>;
	/** System calls by name, ioctls by their request. */
	readonly calls: Readonly<Record<string, number>>;
	/** From the first system call to the last. */
	readonly milliseconds: number;
}
