/**
 * What processes have taken of a simulated Linux and not given back.
 *
 * @module
 */
import type { SimClock } from "../clock.ts";
import type { EventFd } from "./eventfd.ts";
import type { OpenFile } from "./file.ts";
import type { IommufdPlatform } from "./iommufd/mod.ts";
import type { Kvm } from "./kvm/mod.ts";
import type { SimProcess } from "./process.ts";
import type { Vfio } from "./vfio/core.ts";

/** Everything that has been taken and not yet given back. */
export interface Leaks {
	readonly openFiles: number;
	/** Regions of devices that are mapped into processes. */
	readonly mappings: number;
	/** Mappings of containers and of iommufd's address spaces. */
	readonly dmaMappings: number;
	readonly pinnedPages: number;
	/** Numbered objects of open /dev/iommu files. */
	readonly iommufdObjects: number;
	readonly eventfds: number;
	readonly watches: number;
	readonly timers: number;
	/** Stretches of memory that were allocated or adopted. */
	readonly memory: number;
	/** Virtual machines of KVM. */
	readonly virtualMachines: number;
}

/** Where it is counted. */
export interface Held {
	readonly processes: readonly SimProcess[];
	readonly containers: Vfio["containers"];
	readonly contexts: IommufdPlatform["contexts"];
	readonly eventfds: ReadonlySet<EventFd>;
	readonly clock: SimClock;
	readonly machines: Kvm["machines"];
}

/** Counts it. */
export function countLeaks({ processes, containers, contexts, eventfds, clock, machines }: Held): Leaks {
	const files = new Set<OpenFile>();
	for (const process of processes) {
		for (const file of process.openFiles.values()) files.add(file);
		for (const mapping of process.memory.mappings) files.add(mapping.file);
		files.delete(process.standardStreams);
	}
	const areas = processes.map((process) => process.memory.count());
	const records = [...containers].flatMap((container) => container.iommu?.records ?? []);
	const mapped = [...contexts].flatMap((context) => context.areas);
	const pages = new Set(mapped.map((area) => area.pages));
	return {
		openFiles: files.size,
		mappings: sum(areas.map((area) => area.mappings)),
		dmaMappings: records.length + mapped.length,
		pinnedPages: sum(records.map((record) => record.lockedPages)) + sum([...pages].map(({ pinned }) => pinned)),
		iommufdObjects: sum([...contexts].map(({ objects }) => objects.size)),
		eventfds: eventfds.size,
		watches: sum([...eventfds].map((eventfd) => eventfd.watches)),
		timers: clock.pending,
		memory: sum(areas.map((area) => area.memory)),
		virtualMachines: machines.size,
	};
}

function sum(numbers: readonly number[]): number {
	return numbers.reduce((total, number) => total + number, 0);
}
