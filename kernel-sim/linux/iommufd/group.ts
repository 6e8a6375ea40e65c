/**
 * An IOMMU group as an open /dev/iommu sees it: its devices share one page table.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import type { IommuGroup } from "../iommu-group.ts";
import type { IommufdContext } from "./context.ts";
import type { IommufdDevice } from "./device.ts";
import type { Hwpt } from "./hwpt.ts";
import type { Ioas } from "./ioas.ts";
import type { Span } from "./iova-allocation.ts";

/** The devices of a group that are bound to one /dev/iommu. */
export class IommufdGroup {
	readonly #context: IommufdContext;
	readonly #group: IommuGroup;
	readonly #attached = new Set<IommufdDevice>();
	#bound = 0;
	#hwpt: Hwpt | undefined;

	private constructor(context: IommufdContext, group: IommuGroup) {
		this.#context = context;
		this.#group = group;
	}

	/** A device of the group is bound. @returns -EPERM when somebody else directs the group's DMA */
	static join(context: IommufdContext, group: IommuGroup): IommufdGroup | number {
		const claimed = group.claim(context);
		if (claimed < 0) return claimed;
		let joined = context.groups.get(group);
		if (!joined) {
			joined = new IommufdGroup(context, group);
			context.groups.set(group, joined);
		}
		joined.#bound++;
		return joined;
	}

	/** A device is unbound. */
	leave(): void {
		if (--this.#bound === 0) this.#context.groups.delete(this.#group);
		this.#group.release(this.#context);
	}

	/** What its devices' DMA goes through. */
	get hwpt(): Hwpt | undefined {
		return this.#hwpt;
	}

	/** A device's DMA goes through a page table; it must be the one of the others. @returns 0, -EINVAL or -EADDRINUSE */
	attach(device: IommufdDevice, hwpt: Hwpt): number {
		if (this.#hwpt && this.#hwpt !== hwpt) return -EINVAL;
		const reserved = this.#reserve(hwpt.ioas, device);
		if (reserved < 0) return reserved;
		if (this.#attached.size === 0) {
			const attached = this.#group.attach(hwpt.domain);
			if (attached < 0) {
				hwpt.ioas.unreserve(device);
				return attached;
			}
			this.#hwpt = hwpt;
		}
		this.#attached.add(device);
		hwpt.users++;
		return 0;
	}

	/** All of them go over to another page table, with no moment in between. @returns 0 or -EADDRINUSE */
	replace(hwpt: Hwpt): number {
		const old = this.#hwpt;
		if (!old || old === hwpt) return 0;
		const moves = old.ioas !== hwpt.ioas;
		const done: IommufdDevice[] = [];
		for (const device of moves ? this.#attached : []) {
			const reserved = this.#reserve(hwpt.ioas, device);
			if (reserved < 0) {
				for (const other of done) hwpt.ioas.unreserve(other);
				return reserved;
			}
			done.push(device);
		}
		this.#group.replace(hwpt.domain);
		for (const device of done) old.ioas.unreserve(device);
		this.#hwpt = hwpt;
		hwpt.users += this.#attached.size;
		this.#drop(old, this.#attached.size);
		return 0;
	}

	/** A device's DMA is blocked, when it is the last one. */
	detach(device: IommufdDevice): void {
		const hwpt = this.#hwpt;
		if (!hwpt || !this.#attached.delete(device)) return;
		if (this.#attached.size === 0) {
			this.#group.detach();
			this.#hwpt = undefined;
		}
		hwpt.ioas.unreserve(device);
		this.#drop(hwpt, 1);
	}

	/** A page table that nobody asked for goes with its last device. */
	#drop(hwpt: Hwpt, users: number): void {
		hwpt.users -= users;
		if (hwpt.automatic && hwpt.users === 0) this.#context.remove(hwpt);
	}

	#reserve(ioas: Ioas, device: IommufdDevice): number {
		const spans: Span[] = this.#group.reserved
			.filter(({ kind }) => kind !== "direct-relaxable")
			.map(({ start, end }) => ({ start, last: end }));
		return ioas.reserve(spans, device);
	}
}
