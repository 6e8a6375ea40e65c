/**
 * A platform device while somebody has it open: one instance, whatever the number of descriptors.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import type { VfioPlatformDevice } from "./device.ts";
import { PlatformIrq } from "./irq.ts";
import { PlatformRegions } from "./regions.ts";

/** Everything that the first open makes and the last close takes down. */
export class OpenPlatformDevice {
	readonly bound: VfioPlatformDevice;
	readonly regions: PlatformRegions;
	readonly irqs: readonly PlatformIrq[];

	private constructor(bound: VfioPlatformDevice) {
		const { hardware } = bound.device;
		this.bound = bound;
		this.regions = new PlatformRegions(hardware);
		this.irqs = hardware.description.interrupts.map((_, index) => new PlatformIrq(hardware, index, bound.numbers));
	}

	/** The first open, with a reset. @returns why that did not work, where it has to */
	static open(bound: VfioPlatformDevice): OpenPlatformDevice | number {
		const opened = new OpenPlatformDevice(bound);
		let works = false;
		try {
			const answer = opened.reset();
			works = answer === 0 || !bound.resetRequired;
			return works ? opened : answer;
		} finally {
			if (!works) opened.#closeInterrupts();
		}
	}

	/** The kernel has a way to reset it. */
	get resettable(): boolean {
		return this.bound.reset !== undefined;
	}

	/** VFIO_DEVICE_RESET. @returns 0; -EINVAL without a reset; or what that answered */
	reset(): number {
		return this.bound.reset?.(this.bound.device.hardware) ?? -EINVAL;
	}

	/** The last close, with a reset. */
	close(): void {
		try {
			this.reset();
		} finally {
			this.#closeInterrupts();
		}
	}

	#closeInterrupts(): void {
		for (const irq of this.irqs) irq.close();
	}
}
