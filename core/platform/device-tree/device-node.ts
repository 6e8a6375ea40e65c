/**
 * The node of an assigned platform device in its guest's device tree.
 *
 * @module
 */
import type { PlatformPlacement } from "../../machine/platform-bus.ts";
import { amdXgbeNodes } from "./amd-xgbe.ts";
import { calxedaXgmacNodes } from "./calxeda-xgmac.ts";
import {
	compatibleOf,
	copied,
	type HostPlatformDevice,
	Phandles,
	type PlatformNodes,
	placed,
	placedName,
} from "./description.ts";
import { cells64, type DeviceTreeNode, deviceTreeNode } from "./node.ts";

/** How a node is made, by what the device is compatible with. */
const KINDS: Readonly<
	Record<string, (device: HostPlatformDevice, placement: PlatformPlacement, phandles: Phandles) => PlatformNodes>
> = {
	"amd,xgbe-seattle-v1a": amdXgbeNodes,
	"calxeda,hb-xgmac": calxedaXgmacNodes,
};

/**
 * The nodes of one device: for amd-xgbe and calxeda-xgmac with what their drivers need, for any other what can be said of
 * every device: what it is compatible with, its regions and interrupts, and that its DMA is coherent.
 *
 * @param placement where the guest has it; interrupt numbers are those of shared peripheral interrupts of a GIC
 * @param phandles gives those of nodes that it refers to
 * @throws VfioError `unassignable-device`, which names the property that is missing, or says what is not as it has to be
 */
export function platformNodes(
	device: HostPlatformDevice,
	placement: PlatformPlacement,
	phandles: Phandles,
): PlatformNodes {
	const compatible = compatibleOf(device);
	for (const text of compatible) {
		const make = Object.hasOwn(KINDS, text) ? KINDS[text] : undefined;
		if (make) return make(device, placement, phandles);
	}
	const properties = { ...copied(device, { compatible: true, "dma-coherent": false }), ...placed(device, placement) };
	return { shared: [], device: deviceTreeNode(placedName(device, placement), properties) };
}

/** Where a guest's machine has its platform bus. */
export interface PlatformBusWindow {
	/** Guest-physical address. */
	readonly base: bigint;
	/** Bytes. */
	readonly size: bigint;
	/** The phandle of the interrupt controller, a GIC. */
	readonly interruptParent: number;
	/** The lowest phandle that is free in the guest's tree; the one behind the controller's when left out. */
	readonly firstPhandle?: number;
}

/** A device and where it is. */
export interface PlacedPlatformDevice {
	readonly device: HostPlatformDevice;
	readonly placement: PlatformPlacement;
}

/**
 * What a machine adds to the root of its guest's device tree for its platform bus: the bus with a node for each device,
 * and the clocks that they refer to.
 *
 * @throws VfioError as {@link platformNodes}
 * @example
 * ```ts
 * const window = { base: 0xc000000n, size: 0x2000000n, interruptParent: 1 };
 * const nodes = platformBusNodes(window, [{ device: nicDescription, placement: nicPlacement }]);
 * const gic = deviceTreeNode("interrupt-controller", { "interrupt-controller": true, "#interrupt-cells": 3, phandle: 1 });
 * toDts(deviceTreeNode("", { "#address-cells": 2, "#size-cells": 2 }, [gic, ...nodes]));
 * ```
 */
export function platformBusNodes(
	window: PlatformBusWindow,
	devices: readonly PlacedPlatformDevice[],
): DeviceTreeNode[] {
	const { base, size, interruptParent, firstPhandle = interruptParent + 1 } = window;
	const phandles = new Phandles(firstPhandle);
	const nodes = devices.map(({ device, placement }) => platformNodes(device, placement, phandles));
	const bus = deviceTreeNode(
		`platform-bus@${base.toString(16)}`,
		{
			compatible: "simple-bus",
			"#address-cells": 2,
			"#size-cells": 2,
			ranges: [...cells64(base), ...cells64(base), ...cells64(size)],
			"interrupt-parent": interruptParent,
		},
		nodes.map(({ device }) => device),
	);
	return [...nodes.flatMap(({ shared }) => shared), bus];
}
