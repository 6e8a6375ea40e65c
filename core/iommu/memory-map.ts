/**
 * Guest memory becomes DMA mappings, and stays so while it changes.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type { GuestMemory, GuestMemoryListener, GuestMemoryRegion } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import { EFAULT } from "../uapi/errno.ts";
import type { DmaMapping, Iommu } from "./iommu.ts";
import { mayLock, memlock, memlockTooLow } from "./memlock.ts";
import { type MappingPlan, type PlannedMapping, planMappings } from "./planner.ts";

/** Memory that devices do not reach. */
export interface MapReport {
	/** `error`: DMA to guest memory will fail. `warning`: only DMA between devices is lost. */
	readonly severity: "error" | "warning";
	readonly error: VfioError;
	readonly regions: readonly GuestMemoryRegion[];
}

/** Options of {@link GuestMemoryMapper.attach}. */
export interface MapperOptions {
	/** Whom the memory is mapped for, in errors. */
	readonly device?: string;
	/** BARs are mapped as well, so that devices reach each other's; true when left out. */
	readonly peerToPeer?: boolean;
	/** Learns of memory that could not be mapped, or unmapped; a VMM stays alive with that. */
	readonly onReport?: (report: MapReport) => void;
	/**
	 * Called before guest memory is pinned; dispose what it returns once nothing is pinned any more. Between the two, a VMM
	 * must not give back memory that the guest does not use, as a balloon does: the device would go on with the pages that
	 * are pinned, and the guest would get others.
	 */
	readonly inhibitDiscard?: () => Disposable;
}

/**
 * Keeps an I/O address space's DMA mappings the same as a guest's memory. Failing to map RAM fails the attach; later it is reported,
 * as are BARs and misaligned regions at any time.
 *
 * @example
 * ```ts
 * const mapper = GuestMemoryMapper.attach(device.iommu, machine.memory, {
 *   onReport: ({ severity, error }) => console.log(severity, error.message),
 * });
 * mapper[Symbol.dispose](); // unmaps all of it
 * ```
 */
export class GuestMemoryMapper implements GuestMemoryListener, Disposable {
	readonly #iommu: Iommu;
	readonly #options: MapperOptions;
	readonly #mapped = new Map<GuestMemoryRegion, DmaMapping>();
	/** What the memory replays during the attach, to be planned as a whole; undefined afterwards. */
	#replay: GuestMemoryRegion[] | undefined = [];
	#subscription: Disposable | undefined;
	#inhibitor: Disposable | undefined;
	/** iommufd pins pages, and a BAR has none: it is not asked again. */
	#pagesOnly = false;
	/** It was reported that BARs are not mapped. */
	#warned = false;

	private constructor(iommu: Iommu, options: MapperOptions) {
		this.#iommu = iommu;
		this.#options = options;
	}

	/**
	 * Maps all guest memory there is, and follows its changes from then on. The IOMMU disposes it before it goes.
	 *
	 * @throws VfioError `iova-out-of-range`, `dma-entries-exhausted`, `memlock-too-low`, `overlapping-memory`,
	 *   `mapping-failed`, `kernel`; nothing is mapped then
	 */
	static attach(iommu: Iommu, memory: GuestMemory, options: MapperOptions = {}): GuestMemoryMapper {
		const mapper = new GuestMemoryMapper(iommu, options);
		const releases = new Releases();
		try {
			releases.use(mapper);
			mapper.#inhibitor = options.inhibitDiscard?.();
			mapper.#subscription = memory.subscribe(mapper);
			mapper.#mapAll();
			releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
		return iommu.use(mapper);
	}

	/** See {@link GuestMemoryListener.added}. A failure is reported. */
	added(region: GuestMemoryRegion): void {
		if (region.kind === "device" && this.#options.peerToPeer === false) return;
		if (this.#replay) {
			this.#replay.push(region);
			return;
		}
		try {
			const ram = region.kind === "ram";
			if (ram) this.#makeRoom(region);
			// RAM that covers RAM replaces it, as when shadow RAM takes the place of a ROM; a BAR replaces nothing.
			const plan = planMappings([region], this.#iommu.info(), ram ? [] : this.#iommu.mappings);
			for (const { regions, error } of plan.skipped) if (error) this.#report(error, regions);
			for (const mapping of plan.map) this.#map(mapping);
		} catch (error) {
			this.#report(error, [region]);
		}
	}

	/** See {@link GuestMemoryListener.removed}. A failure is reported. */
	removed(region: GuestMemoryRegion): void {
		if (this.#replay) this.#replay = this.#replay.filter((one) => one !== region);
		const mapping = this.#mapped.get(region);
		if (!mapping) return;
		this.#mapped.delete(region);
		try {
			// Regions that share a mapping go together: the first that is removed takes it away, the others find it gone.
			mapping[Symbol.dispose]();
		} catch (error) {
			this.#report(error, [region]);
		}
	}

	/** Stops listening and unmaps what it mapped. @throws VfioError `kernel` */
	[Symbol.dispose](): void {
		const releases = new Releases();
		if (this.#inhibitor) releases.use(this.#inhibitor);
		this.#inhibitor = undefined;
		for (const mapping of new Set(this.#mapped.values())) releases.use(mapping);
		this.#mapped.clear();
		if (this.#subscription) releases.use(this.#subscription);
		this.#subscription = undefined;
		releases[Symbol.dispose]();
	}

	#mapAll(): void {
		const regions = this.#replay ?? [];
		this.#replay = undefined;
		const info = this.#iommu.info();
		const plan = planMappings(regions, info);
		const fatal = plan.skipped.find((skipped) => skipped.fatal);
		if (fatal?.error) throw this.#forDevice(fatal.error);
		// Without IOVA ranges there is no IOMMU behind the container, as with mediated devices, and mapping pins nothing.
		if (info.iovaRanges) this.#requireMemlock(plan);
		for (const { regions: left, error } of plan.skipped) if (error) this.#report(error, left);
		for (const mapping of plan.map) {
			try {
				this.#map(mapping);
			} catch (error) {
				if (mapping.kind === "ram") throw this.#forDevice(error);
				this.#report(error, mapping.regions);
			}
		}
	}

	/** RAM appears where a BAR is: DMA between devices gives way to it, as the guest's accesses do. */
	#makeRoom({ guestAddress, length }: GuestMemoryRegion): void {
		const end = guestAddress + BigInt(length);
		for (const [other, mapping] of this.#mapped) {
			if (other.kind !== "device" || mapping.start >= end || mapping.start + mapping.size <= guestAddress) continue;
			this.removed(other);
		}
	}

	#map(planned: PlannedMapping): void {
		const mapping = this.#mapExport(planned) ?? this.#mapAddress(planned);
		if (mapping) for (const region of planned.regions) this.#mapped.set(region, mapping);
	}

	/** What iommufd maps as a file: a BAR whose owner exports it. */
	#mapExport({ iova, write, regions }: PlannedMapping): DmaMapping | undefined {
		const exportDmaBuf = regions[0]?.exportDmaBuf;
		if (!exportDmaBuf || !this.#iommu.mapDmaBuf) return undefined;
		const file = new Releases();
		const made = new Releases();
		try {
			const buffer = file.use(exportDmaBuf());
			const mapping = made.use(this.#iommu.mapDmaBuf(iova, buffer, { write }));
			// The IOMMU keeps it open for as long as it is mapped.
			file[Symbol.dispose]();
			made.move();
			return mapping;
		} finally {
			made[Symbol.dispose]();
			file[Symbol.dispose]();
		}
	}

	/** What is mapped by its address in this process; nothing when that is a BAR, and iommufd has refused one already. */
	#mapAddress({ iova, vaddr, size, write, kind }: PlannedMapping): DmaMapping | undefined {
		return kind === "device" && this.#pagesOnly ? undefined : this.#iommu.map(iova, vaddr, size, { write });
	}

	#requireMemlock(plan: MappingPlan): void {
		const needed = lockedBytes(plan);
		const state = this.#iommu.lockable();
		if (state && !mayLock(state, needed)) throw this.#forDevice(memlockTooLow(needed, state));
	}

	#report(error: unknown, regions: readonly GuestMemoryRegion[]): void {
		if (!(error instanceof VfioError)) throw error;
		const severity = regions.every(({ kind }) => kind === "device") ? "warning" : "error";
		if (severity === "error" || this.#iommu.backend !== "iommufd" || !isDeviceMemoryRefused(error)) {
			this.#options.onReport?.({ severity, error, regions });
			return;
		}
		if (error.errno === EFAULT) this.#pagesOnly = true;
		if (this.#warned) return;
		this.#warned = true;
		this.#options.onReport?.({ severity, error: noDeviceMemory(error), regions });
	}

	#forDevice(error: unknown): unknown {
		const { device } = this.#options;
		if (!(error instanceof VfioError) || device === undefined || error.device !== undefined) return error;
		const { code, message, cause, remedy } = error;
		return new VfioError(code, message, { device, remedy, ...(cause === undefined ? {} : { cause }) });
	}
}

/** Whether that says that BARs are not mapped at all, rather than that something is wrong with this one. */
function isDeviceMemoryRefused({ code, errno }: VfioError): boolean {
	return code === "no-dma-buf" || errno === EFAULT;
}

function noDeviceMemory({ cause }: VfioError): VfioError {
	return new VfioError("mapping-failed", "Cannot map BARs for DMA: this kernel's iommufd does not map device memory", {
		cause,
		remedy: [
			"Linux 6.19 and later map BARs that are exported as dma-bufs, as PeerMemory offers them.",
			"Devices do not reach each other's BARs; a single device, and DMA to the guest's memory, need no such mapping.",
			"Leave iommufd out where devices do: a container maps BARs.",
		],
	});
}

/** How many bytes a plan locks: RAM, not BARs, which are no memory. */
export function lockedBytes(plan: MappingPlan): bigint {
	return plan.map.reduce((sum, { kind, size }) => (kind === "ram" ? sum + size : sum), 0n);
}

/**
 * Looks, before anything is opened, whether a guest's memory may be locked.
 *
 * @param needed bytes of guest memory
 * @throws VfioError `memlock-too-low`
 */
export function requireMemlock(kernel: Kernel, needed: bigint): void {
	const state = memlock(kernel);
	if (state && !mayLock(state, needed)) throw memlockTooLow(needed, state);
}
