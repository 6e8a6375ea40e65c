/**
 * A device bound to vfio-platform, as VFIO's group offers it.
 *
 * @module
 */
import type { IommuGroup } from "../iommu-group.ts";
import type { PlatformBusDevice } from "../platform/device.ts";
import type { VfioDeviceOps } from "../vfio/device.ts";
import type { RegisteredDevice } from "../vfio/registered-device.ts";
import { PlatformDeviceFile } from "./device-file.ts";
import type { InterruptNumbers } from "./interrupt-numbers.ts";
import { OpenPlatformDevice } from "./open-device.ts";
import { type PlatformReset, resetOf } from "./reset.ts";

/** What vfio-platform was loaded with, and shares among its devices. */
export interface VfioPlatformOptions {
	readonly version: "6.12" | "7.2";
	readonly numbers: InterruptNumbers;
	/** `reset_required`. */
	readonly resetRequired: boolean;
	/** Makes groups for devices without an IOMMU; absent where the kernel cannot give those to users. */
	readonly noIommu?: {
		/** @returns undefined while the mode is not switched on */
		add(device: PlatformBusDevice): IommuGroup | undefined;
		remove(device: PlatformBusDevice, group: IommuGroup): void;
	};
}

/** A device bound to vfio-platform. */
export class VfioPlatformDevice implements VfioDeviceOps {
	readonly device: PlatformBusDevice;
	readonly version: "6.12" | "7.2";
	readonly numbers: InterruptNumbers;
	readonly resetRequired: boolean;
	readonly reset: PlatformReset | undefined;
	#opened: OpenPlatformDevice | undefined;

	constructor(device: PlatformBusDevice, { version, numbers, resetRequired }: VfioPlatformOptions) {
		this.device = device;
		this.version = version;
		this.numbers = numbers;
		this.resetRequired = resetRequired;
		this.reset = resetOf(device);
	}

	get name(): string {
		return this.device.name;
	}

	/** The open instance, while there is one. */
	get opened(): OpenPlatformDevice | undefined {
		return this.#opened;
	}

	open(): number {
		const opened = OpenPlatformDevice.open(this);
		if (typeof opened === "number") return opened;
		this.#opened = opened;
		return 0;
	}

	close(): void {
		const opened = this.#opened;
		this.#opened = undefined;
		opened?.close();
	}

	file(record: RegisteredDevice): PlatformDeviceFile {
		if (!this.#opened) throw new Error(`Cannot make a file of ${this.name}: it is not open`);
		return new PlatformDeviceFile(record, this.#opened);
	}

	/** The whole name, and nothing behind it. */
	match(name: string): "yes" | "no" {
		return name === this.name ? "yes" : "no";
	}
}
