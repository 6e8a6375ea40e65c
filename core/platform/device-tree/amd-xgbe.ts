/**
 * The node of AMD's 10 Gb Ethernet controller (`amd,xgbe-seattle-v1a`).
 *
 * @module
 */
import type { PlatformPlacement } from "../../machine/platform-bus.ts";
import {
	copied,
	type HostPlatformDevice,
	type Phandles,
	type PlatformNodes,
	placed,
	placedName,
	refused,
} from "./description.ts";
import { findPhandle } from "./host.ts";
import { cellsOf, type DeviceTreeNode, deviceTreeNode, stringsOf } from "./node.ts";

/** MAC, PCS and three blocks of the SerDes. */
const REGIONS = 5;
/** For DMA and for time stamps. */
const CLOCKS = 2;

/** What the guest's driver needs of the host's node; true for what it does not start without. */
const PROPERTIES: Readonly<Record<string, boolean>> = {
	compatible: true,
	"dma-coherent": false,
	"amd,per-channel-interrupt": false,
	"phy-mode": true,
	"mac-address": false,
	"amd,speed-set": true,
	"amd,serdes-blwc": false,
	"amd,serdes-cdr-rate": false,
	"amd,serdes-pq-skew": false,
	"amd,serdes-tx-amp": false,
	"amd,serdes-dfe-tap-config": false,
	"amd,serdes-dfe-tap-enable": false,
	"clock-names": true,
};
const CLOCK_PROPERTIES = ["compatible", "#clock-cells", "clock-frequency", "clock-output-names"];

/** @throws VfioError `unassignable-device`, which says what is missing or not as it has to be */
export function amdXgbeNodes(
	device: HostPlatformDevice,
	placement: PlatformPlacement,
	phandles: Phandles,
): PlatformNodes {
	const { name, regions, hostNode, hostTree } = device;
	if (regions.length !== REGIONS)
		throw refused(name, `it has ${regions.length} regions, and an amd-xgbe has ${REGIONS}`);
	const properties = copied(device, PROPERTIES);
	const hostClocks = cellsOf(hostNode, "clocks") ?? [];
	if (hostClocks.length !== CLOCKS)
		throw refused(
			name,
			`its node on the host has ${hostClocks.length} cells of "clocks", and an amd-xgbe has ${CLOCKS} clocks`,
		);
	/** Both may be the same. */
	const known = new Map<number, { readonly node: DeviceTreeNode; readonly phandle: number }>();
	const clocks = hostClocks.map((hostPhandle) => {
		const seen = known.get(hostPhandle);
		if (seen) return seen.phandle;
		const phandle = phandles.take();
		known.set(hostPhandle, { node: clockNode(name, hostTree, hostPhandle, phandle), phandle });
		return phandle;
	});
	return {
		shared: [...known.values()].map(({ node }) => node),
		device: deviceTreeNode(placedName(device, placement), { ...properties, clocks, ...placed(device, placement) }),
	};
}

/** A copy of a fixed clock under a phandle that the guest has free. */
function clockNode(name: string, hostTree: DeviceTreeNode, hostPhandle: number, phandle: number): DeviceTreeNode {
	const host = findPhandle(hostTree, hostPhandle);
	if (!host)
		throw refused(name, `the host's device tree has no node with phandle 0x${hostPhandle.toString(16)}, its clock`);
	if (!stringsOf(host, "compatible")?.includes("fixed-clock"))
		throw refused(name, `its clock ${host.name} is no fixed clock, and a guest cannot have any other`);
	if (!cellsOf(host, "clock-frequency")?.length) throw refused(name, `its clock ${host.name} has no "clock-frequency"`);
	const properties = CLOCK_PROPERTIES.flatMap((key) => {
		const value = host.properties.get(key);
		return value ? [[key, value] as const] : [];
	});
	return deviceTreeNode(`${host.name.split("@")[0]}-${phandle.toString(16)}`, {
		...Object.fromEntries(properties),
		phandle,
	});
}
