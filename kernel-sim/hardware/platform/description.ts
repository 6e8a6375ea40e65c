/**
 * What a platform device is made of: blocks of registers at fixed addresses, and interrupt lines. Nothing about it can be
 * discovered, so that a device tree says it.
 *
 * @module
 */
import type { DeviceTreeNode } from "../../../core/platform/device-tree/node.ts";

/** A resource: one `reg` entry of its device tree node. */
export interface PlatformRegion {
	/** `mmio`: memory-mapped. `io`: I/O ports. */
	readonly kind: "mmio" | "io";
	/** Physical address of the first byte, or number of the first port. */
	readonly address: bigint;
	/** Bytes. */
	readonly size: number;
	/** Writes have no effect, and Linux knows that (`IORESOURCE_READONLY`). */
	readonly readOnly?: boolean;
	/** `memory`: plain bytes whose accesses nobody needs to see. `registers`: every access goes to the model. */
	readonly backing: "memory" | "registers";
}

/** An interrupt line to the host's interrupt controller. */
export interface PlatformInterrupt {
	/** Its number at the controller. */
	readonly number: number;
	/** `level`: it interrupts as long as it is up. `edge`: when it goes up. */
	readonly trigger: "edge" | "level";
}

/** A platform device. */
export interface PlatformDescription {
	/** As on the platform bus, such as `fff51000.ethernet`. */
	readonly name: string;
	readonly regions: readonly PlatformRegion[];
	readonly interrupts: readonly PlatformInterrupt[];
	/** Its node in the host's device tree; `compatible` in it is what drivers are matched by. */
	readonly node?: DeviceTreeNode;
	/**
	 * A reset module of vfio-platform knows the device, and does what the model's `reset` does. For devices whose modules
	 * Linux itself has, that is known without it; left out for others, there is none.
	 */
	readonly resettable?: boolean;
}
