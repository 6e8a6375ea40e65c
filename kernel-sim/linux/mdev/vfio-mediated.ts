/**
 * A mediated device as VFIO's core has it, and its descriptors.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import { VFIO_DEVICE_FEATURE } from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import { IommufdAccess } from "../iommufd/access.ts";
import type { IommufdBinding } from "../iommufd/binding.ts";
import type { IommufdFile } from "../iommufd/file.ts";
import type { SimProcess } from "../process.ts";
import type { RegionMapping } from "../region-mapping.ts";
import type { VfioDeviceOps } from "../vfio/device.ts";
import { deviceFeature } from "../vfio/device-feature.ts";
import { VfioDeviceFile } from "../vfio/device-file.ts";
import type { EmulatedDma } from "../vfio/emulated-dma.ts";
import type { RegisteredDevice } from "../vfio/registered-device.ts";
import type { MdevDevice } from "./mdev-device.ts";
import type { MediatedDevice } from "./mediated-device.ts";

/** What a mediated driver offers to its group. */
export class VfioMediated implements VfioDeviceOps {
	readonly device: MdevDevice;
	readonly mediated: MediatedDevice;
	/** The way to memory when it is bound to an open /dev/iommu. */
	#bound: IommufdAccess | undefined;

	constructor(device: MdevDevice, mediated: MediatedDevice) {
		this.device = device;
		this.mediated = mediated;
	}

	get name(): string {
		return this.device.name;
	}

	open(dma: EmulatedDma | undefined = this.#bound): number {
		if (!dma) throw new Error(`Cannot open ${this.name}: it was given no way to memory`);
		return this.mediated.open?.(dma) ?? 0;
	}

	bindIommufd(file: IommufdFile): IommufdBinding {
		this.#bound = IommufdAccess.bindTo(file);
		return this.#bound;
	}

	close(): void {
		this.mediated.close?.();
	}

	file(record: RegisteredDevice): VfioDeviceFile {
		return new MediatedFile(record, this);
	}

	/** Compared as a whole: there are no options behind the name. */
	match(name: string): "yes" | "no" {
		return name === this.name ? "yes" : "no";
	}

	request(count: number): void {
		this.mediated.wanted?.(count);
	}
}

/** A descriptor of an open mediated device. */
class MediatedFile extends VfioDeviceFile {
	readonly #ops: VfioMediated;

	constructor(record: RegisteredDevice, ops: VfioMediated) {
		super(record);
		this.#ops = ops;
	}

	protected override request(process: SimProcess, request: number, argument: IoctlArgument): number {
		const { mediated } = this.#ops;
		return request === VFIO_DEVICE_FEATURE
			? deviceFeature(mediated, process, argument)
			: mediated.ioctl(process, request, argument);
	}

	override pread(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		return this.#ops.mediated.read(offset, buffer);
	}

	override pwrite(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		return this.#ops.mediated.write(offset, buffer);
	}

	protected override map(length: number, protection: number, offset: number): RegionMapping | number {
		return this.#ops.mediated.mmap?.(this, length, protection, offset) ?? -EINVAL;
	}
}
