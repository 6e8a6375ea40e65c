/**
 * The node of Calxeda's 10 Gb Ethernet controller (`calxeda,hb-xgmac`).
 *
 * @module
 */
import type { PlatformPlacement } from "../../machine/platform-bus.ts";
import { type HostPlatformDevice, type PlatformNodes, placed, placedName, refused } from "./description.ts";
import { deviceTreeNode } from "./node.ts";

/** Main, power management and, on most, low power. */
const FEWEST_INTERRUPTS = 2;
const MOST_INTERRUPTS = 3;

/** Its DMA is coherent and its interrupts are levels, whatever the host says. @throws VfioError `unassignable-device` */
export function calxedaXgmacNodes(device: HostPlatformDevice, placement: PlatformPlacement): PlatformNodes {
	const { name, regions, interrupts } = device;
	if (regions.length !== 1) throw refused(name, `it has ${regions.length} regions, and a calxeda-xgmac has one`);
	if (interrupts.length < FEWEST_INTERRUPTS || interrupts.length > MOST_INTERRUPTS)
		throw refused(name, `it has ${interrupts.length} interrupts, and a calxeda-xgmac has two or three`);
	const levels = { ...device, interrupts: interrupts.map(() => ({ trigger: "level" as const })) };
	return {
		shared: [],
		device: deviceTreeNode(placedName(device, placement), {
			compatible: "calxeda,hb-xgmac",
			"dma-coherent": true,
			...placed(levels, placement),
		}),
	};
}
