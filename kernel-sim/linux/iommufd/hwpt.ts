/**
 * A page table of the IOMMU that iommufd has made (`hw_pagetable`), filled from an address space.
 *
 * @module
 */
import { IommuDomain } from "../../hardware/iommu-domain.ts";
import type { IommufdContext } from "./context.ts";
import { DirtyPages } from "./dirty-pages.ts";
import type { FaultQueue } from "./fault-queue.ts";
import type { Ioas } from "./ioas.ts";
import { IommufdObject } from "./object.ts";

/** Options of {@link Hwpt}. */
export interface HwptOptions {
	/** Nobody asked for it: a device was attached to an address space. It goes with the last one. */
	readonly automatic: boolean;
	/** It notes what devices write to. */
	readonly tracksDirty: boolean;
}

/** A page table that devices are attached to. */
export class Hwpt extends IommufdObject {
	readonly ioas: Ioas;
	readonly automatic: boolean;
	/** What devices have written to, when it notes that. */
	readonly dirty: DirtyPages | undefined;
	readonly domain: IommuDomain;
	/** The highest address it can translate. */
	readonly lastAddress: bigint;
	/** A bit for each size of its pages, in bytes. */
	readonly pageSizes: bigint;
	#faults: FaultQueue | undefined;

	private constructor(context: IommufdContext, ioas: Ioas, options: HwptOptions) {
		super();
		const { pageSizes, addressWidth } = context.platform;
		this.pageSizes = pageSizes;
		this.ioas = ioas;
		this.automatic = options.automatic;
		this.domain = new IommuDomain({ pageSize: pageSizes & -pageSizes });
		this.dirty = options.tracksDirty ? new DirtyPages(this.domain.pageSize) : undefined;
		this.domain.dirty = this.dirty;
		this.lastAddress = (1n << BigInt(addressWidth)) - 1n;
	}

	/** A page table with nothing in it yet. */
	static create(context: IommufdContext, ioas: Ioas, options: HwptOptions): Hwpt {
		ioas.users++;
		return context.add(new Hwpt(context, ioas, options));
	}

	/** Fills it with what is mapped. @returns 0 or -errno */
	fill(): number {
		return this.ioas.addHwpt(this);
	}

	/** Nothing is mapped in a range any more. */
	unmap(iova: bigint, size: bigint): void {
		this.domain.unmap(iova, size);
		this.dirty?.forget(iova, iova + size - 1n);
	}

	/** Its user resolves its faults: only devices that can ask for pages can be attached. */
	deliverFaults(queue: FaultQueue): void {
		queue.users++;
		this.#faults = queue;
	}

	get deliversFaults(): boolean {
		return this.#faults !== undefined;
	}

	override destroy(): void {
		if (this.#faults) this.#faults.users--;
		this.ioas.removeHwpt(this);
		this.ioas.users--;
	}
}
