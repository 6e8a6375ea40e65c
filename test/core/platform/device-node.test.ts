import { describe, expect, it } from "vitest";
import {
	cellsOf,
	type DeviceTreeValue,
	deviceTreeNode,
	type HostPlatformDevice,
	Phandles,
	platformBusNodes,
	platformNodes,
	printNode,
	stringsOf,
} from "../../../core/mod.ts";
import { vfioError } from "../support/error.ts";

const level = { trigger: "level" } as const;
const edge = { trigger: "edge" } as const;
const clock = (name: string, phandle: number, more: Record<string, DeviceTreeValue> = {}) =>
	deviceTreeNode(name, {
		compatible: "fixed-clock",
		"#clock-cells": 0,
		"clock-frequency": 250000000,
		phandle,
		...more,
	});
const HOST_TREE = deviceTreeNode("", {}, [
	deviceTreeNode("clocks", {}, [clock("clk250mhz_0", 7), clock("clk250mhz_1", 8)]),
	deviceTreeNode("pll", { compatible: "acme,pll", phandle: 9 }),
	clock("odd", 10, { "clock-frequency": true, "clock-output-names": "odd" }),
]);
const XGBE_PROPERTIES = {
	compatible: "amd,xgbe-seattle-v1a",
	"amd,per-channel-interrupt": true,
	"amd,speed-set": 0,
	"amd,serdes-blwc": [1, 1, 0],
	"mac-address": Uint8Array.of(2, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5),
	clocks: [7, 8],
	"clock-names": ["dma_clk", "ptp_clk"],
	"phy-mode": "xgmii",
	"dma-coherent": true,
	iommus: [3, 0, 23],
} satisfies Record<string, DeviceTreeValue>;

function device(
	properties: Record<string, DeviceTreeValue>,
	more: Partial<HostPlatformDevice> = {},
): HostPlatformDevice {
	return {
		name: "e0700000.xgmac",
		regions: [{ size: 0x80000 }, { size: 0x80000 }, { size: 0x400 }, { size: 0x60 }, { size: 4 }],
		interrupts: [level, edge, edge, edge, edge, level],
		hostNode: deviceTreeNode("xgmac@e0700000", properties),
		hostTree: HOST_TREE,
		...more,
	};
}

const PLACEMENT = {
	regions: [0xc000000n, 0xc080000n, 0xc100000n, 0xc101000n, 0xc102000n],
	interrupts: [112, 113, 114, 115, 116, 117],
};

function nodes(of: HostPlatformDevice, placement = PLACEMENT) {
	return platformNodes(of, placement, new Phandles(0x8001));
}

describe("platformNodes() of an amd-xgbe", () => {
	it("Y-08 copies what the driver needs, and the clocks under fresh phandles", () => {
		const { device: node, shared } = nodes(device(XGBE_PROPERTIES));
		expect(printNode(node)).toBe(`xgmac@c000000 {
	compatible = "amd,xgbe-seattle-v1a";
	dma-coherent;
	amd,per-channel-interrupt;
	phy-mode = "xgmii";
	mac-address = [02 a1 a2 a3 a4 a5];
	amd,speed-set = <0x0>;
	amd,serdes-blwc = <0x1 0x1 0x0>;
	clock-names = "dma_clk", "ptp_clk";
	clocks = <0x8001 0x8002>;
	reg = <0x0 0xc000000 0x0 0x80000 0x0 0xc080000 0x0 0x80000 0x0 0xc100000 0x0 0x400 0x0 0xc101000 0x0 0x60 0x0 0xc102000 0x0 0x4>;
	interrupts = <0x0 0x70 0x4 0x0 0x71 0x1 0x0 0x72 0x1 0x0 0x73 0x1 0x0 0x74 0x1 0x0 0x75 0x4>;
};
`);
		expect(shared.map((one) => [one.name, cellsOf(one, "phandle"), cellsOf(one, "clock-frequency")])).toEqual([
			["clk250mhz_0-8001", [0x8001], [250000000]],
			["clk250mhz_1-8002", [0x8002], [250000000]],
		]);
	});

	it("has one clock where the host has one for both", () => {
		const { device: node, shared } = nodes(device({ ...XGBE_PROPERTIES, clocks: [8, 8] }));
		expect(cellsOf(node, "clocks")).toEqual([0x8001, 0x8001]);
		expect(shared).toHaveLength(1);
	});

	it.each(["phy-mode", "amd,speed-set", "clock-names"])("refuses a host's node without %s, by name", (missing) => {
		const properties: Record<string, DeviceTreeValue> = { ...XGBE_PROPERTIES };
		delete properties[missing];
		const error = vfioError(() => nodes(device(properties)));
		expect(error.code).toBe("unassignable-device");
		expect(error.message).toBe(
			`Cannot make a device tree node for e0700000.xgmac: its node on the host has no property "${missing}"`,
		);
		expect(error.remedy[0]).toContain("/of_node");
	});

	it.each<[string, Record<string, DeviceTreeValue>, RegExp]>([
		["one clock", { clocks: [7] }, /1 cells of "clocks"/],
		["a clock that does not exist", { clocks: [7, 99] }, /no node with phandle 0x63/],
		["a clock that is not fixed", { clocks: [7, 9] }, /its clock pll is no fixed clock/],
		["a clock without frequency", { clocks: [7, 10] }, /odd has no "clock-frequency"/],
	])("refuses %s", (_what, properties, message) => {
		expect(vfioError(() => nodes(device({ ...XGBE_PROPERTIES, ...properties }))).message).toMatch(message);
	});

	it("refuses a device that has not its five regions", () => {
		const four = device(XGBE_PROPERTIES, { regions: [{ size: 4096 }] });
		expect(vfioError(() => nodes(four)).message).toMatch(/it has 1 regions, and an amd-xgbe has 5/);
	});
});

describe("platformNodes() of a calxeda-xgmac", () => {
	const properties = { compatible: "calxeda,hb-xgmac" };
	const xgmac = (more: Partial<HostPlatformDevice> = {}) =>
		device(properties, {
			name: "fff51000.ethernet",
			regions: [{ size: 4096 }],
			interrupts: [level, level, level],
			hostNode: deviceTreeNode("ethernet@fff51000", properties),
			...more,
		});

	it("Y-08 has its compatible, coherent DMA, its register block and three levels", () => {
		const { device: node, shared } = nodes(xgmac());
		expect(shared).toEqual([]);
		expect(printNode(node)).toBe(`ethernet@c000000 {
	compatible = "calxeda,hb-xgmac";
	dma-coherent;
	reg = <0x0 0xc000000 0x0 0x1000>;
	interrupts = <0x0 0x70 0x4 0x0 0x71 0x4 0x0 0x72 0x4>;
};
`);
	});

	it("refuses other numbers of regions and interrupts", () => {
		expect(vfioError(() => nodes(xgmac({ regions: [] }))).message).toMatch(/0 regions, and a calxeda-xgmac has one/);
		expect(vfioError(() => nodes(xgmac({ interrupts: [level] }))).message).toMatch(/1 interrupts/);
	});
});

describe("platformNodes() of any other device", () => {
	it("says what the host says it is compatible with, and where it is", () => {
		const { device: node } = nodes(
			device({ compatible: ["acme,widget-2", "acme,widget"], secret: 1 }, { interrupts: [edge] }),
		);
		expect(stringsOf(node, "compatible")).toEqual(["acme,widget-2", "acme,widget"]);
		expect([...node.properties.keys()]).toEqual(["compatible", "reg", "interrupts"]);
		expect(cellsOf(node, "interrupts")).toEqual([0, 112, 1]);
		const bare = device({ compatible: "acme,nothing" }, { regions: [], interrupts: [] });
		const nowhere = nodes(bare, { regions: [], interrupts: [] });
		expect(printNode(nowhere.device)).toBe('xgmac {\n\tcompatible = "acme,nothing";\n};\n');
	});

	it("refuses one that says nothing", () => {
		expect(vfioError(() => nodes(device({}))).message).toMatch(/no property "compatible"/);
	});
});

describe("platformBusNodes()", () => {
	it("puts the devices below a bus, and what they refer to beside it, with phandles of their own", () => {
		const placed = { device: device(XGBE_PROPERTIES), placement: PLACEMENT };
		const other = { ...placed, placement: { ...PLACEMENT, regions: PLACEMENT.regions.map((at) => at + 0x1000000n) } };
		const made = platformBusNodes({ base: 0xc000000n, size: 0x2000000n, interruptParent: 1 }, [placed, other]);
		expect(made.map(({ name }) => name)).toEqual([
			...["clk250mhz_0-2", "clk250mhz_1-3", "clk250mhz_0-4", "clk250mhz_1-5"],
			"platform-bus@c000000",
		]);
		expect(made[4]?.children.map((node) => cellsOf(node, "clocks"))).toEqual([
			[2, 3],
			[4, 5],
		]);
	});
});
