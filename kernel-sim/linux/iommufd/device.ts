/**
 * A device that is bound to an open /dev/iommu.
 *
 * @module
 */
import { EINVAL, ENODEV, ENOENT, EPERM } from "../../../core/uapi/errno.ts";
import type { BusDevice } from "../device.ts";
import type { IommufdBinding } from "./binding.ts";
import type { IommufdContext } from "./context.ts";
import type { IommufdFile } from "./file.ts";
import { IommufdGroup } from "./group.ts";
import { Hwpt } from "./hwpt.ts";
import { Ioas } from "./ioas.ts";
import { IommufdObject } from "./object.ts";

/** A device with DMA of its own, which an IOMMU translates. */
export class IommufdDevice extends IommufdObject implements IommufdBinding {
	readonly file: IommufdFile;
	readonly device: BusDevice;
	readonly #group: IommufdGroup;
	#attached = false;

	private constructor(file: IommufdFile, device: BusDevice, group: IommufdGroup) {
		super();
		this.file = file;
		this.device = device;
		this.#group = group;
		// A program cannot destroy it: it goes when the device is closed.
		this.users = 1;
	}

	/**
	 * Takes the DMA of the device's group, which is blocked until it is attached. The file stays open for as long.
	 *
	 * @returns -ENODEV without an IOMMU; -EPERM when messages are not isolated, or somebody else has the group
	 */
	static bindTo(file: IommufdFile, device: BusDevice): IommufdDevice | number {
		const { context } = file;
		const { platform } = context;
		if (!device.group) return -ENODEV;
		if (!platform.isolatedMsi && !platform.parameters.flag("iommufd", "allow_unsafe_interrupts")) return -EPERM;
		const group = IommufdGroup.join(context, device.group);
		if (typeof group === "number") return group;
		file.reference();
		return context.add(new IommufdDevice(file, device, group));
	}

	get #context(): IommufdContext {
		return this.file.context;
	}

	attach(id: number): number {
		const object = this.#context.objects.get(id);
		if (!object) return -ENOENT;
		if (object instanceof Hwpt) return this.#attachTo(object) || object.id;
		return object instanceof Ioas ? this.#attachToAny(object) : -EINVAL;
	}

	/** Only page tables that were made for it, and this IOMMU makes none. @returns -ENOENT or -EINVAL */
	attachPasid(id: number): number {
		return this.#context.objects.has(id) ? -EINVAL : -ENOENT;
	}

	detach(): void {
		this.#group.detach(this);
		this.#attached = false;
	}

	unbind(): void {
		this.detach();
		this.users = 0;
		this.#context.remove(this);
		this.file.unreference();
	}

	override destroy(): void {
		this.#group.leave();
	}

	/** @returns 0 or -errno */
	#attachTo(hwpt: Hwpt): number {
		// No device here has the page request interface.
		if (hwpt.deliversFaults) return -ENODEV;
		const answer = this.#attached ? this.#group.replace(hwpt) : this.#group.attach(this, hwpt);
		if (answer === 0) this.#attached = true;
		return answer;
	}

	/** A page table of the address space that it shares with other devices, or a new one. @returns its number, or -errno */
	#attachToAny(ioas: Ioas): number {
		for (const hwpt of ioas.hwpts) {
			if (!hwpt.automatic) continue;
			const answer = this.#attachTo(hwpt);
			if (answer !== -EINVAL) return answer || hwpt.id;
		}
		const hwpt = Hwpt.create(this.#context, ioas, { automatic: true, tracksDirty: false });
		const answer = this.#attached ? this.#moveTo(hwpt) : this.#startWith(hwpt);
		return answer || hwpt.id;
	}

	/** The new page table has everything in it before the device leaves its old one. */
	#moveTo(hwpt: Hwpt): number {
		const answer = hwpt.fill() || this.#attachTo(hwpt);
		if (answer < 0) this.#context.remove(hwpt);
		return answer;
	}

	/** What the device reserves is out of the way before the page table is filled. */
	#startWith(hwpt: Hwpt): number {
		const attached = this.#attachTo(hwpt);
		if (attached < 0) {
			this.#context.remove(hwpt);
			return attached;
		}
		const filled = hwpt.fill();
		// The page table goes with the only device that it had.
		if (filled < 0) this.detach();
		return filled;
	}
}
