import { describe, expect, it } from "vitest";
import {
	cellsOf,
	type DeviceTreeNode,
	deviceTreeNode,
	findPhandle,
	printNode,
	readDeviceTree,
	stringsOf,
	toDtb,
	toDts,
} from "../../../core/platform/mod.ts";
import { EISDIR } from "../../../core/uapi/errno.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { withCalls } from "../support/with-calls.ts";
import { SAMPLE } from "./sample-tree.ts";

describe("deviceTreeNode()", () => {
	it("encodes text, lists, cells, bytes and properties that are only there", () => {
		const soc = SAMPLE.children[0] as DeviceTreeNode;
		const uart = soc.children[0] as DeviceTreeNode;
		expect(stringsOf(uart, "compatible")).toEqual(["arm,pl011", "arm,primecell"]);
		expect(cellsOf(uart, "reg")).toEqual([0, 0x9000000, 1, 0]);
		expect(soc.properties.get("ranges")).toHaveLength(0);
		expect(cellsOf(uart, "acme,odd")).toBeUndefined();
		expect(stringsOf(uart, "acme,odd")).toBeUndefined();
		expect(cellsOf(uart, "nothing")).toBeUndefined();
		expect(findPhandle(SAMPLE, 0x8001)?.name).toBe("serial@9000000");
		expect(findPhandle(SAMPLE, 0x8002)).toBeUndefined();
	});
});

describe("toDts()", () => {
	it("shows values as text where they can be read so, else as cells, else as bytes", () => {
		expect(toDts(SAMPLE)).toBe(`/dts-v1/;

/ {
	#address-cells = <0x2>;
	#size-cells = <0x2>;
	model = "a \\"quoted\\" \\\\ name";

	soc {
		compatible = "simple-bus";
		#address-cells = <0x2>;
		#size-cells = <0x2>;
		ranges;

		serial@9000000 {
			compatible = "arm,pl011", "arm,primecell";
			reg = <0x0 0x9000000 0x1 0x0>;
			acme,odd = [01 02 03];
			acme,nul = <0x61000000>;
			acme,high = [e9 00];
			phandle = <0x8001>;
		};
	};

	clock {
		clock-frequency = <0xee6b280>;
		frequency = <0x1>;
		status = "okay";
	};
};
`);
		expect(printNode(deviceTreeNode("empty", {}), 1)).toBe("\tempty {\n\t};\n");
	});

	it.each([
		["a node that is no root", deviceTreeNode("soc", {}), /begins at "soc"/],
		["a property with a blank", deviceTreeNode("", { "a b": true }), /node \/: "a b" is no name of a property/],
		["a node with a slash", deviceTreeNode("", {}, [deviceTreeNode("a/b", {})]), /"a\/b" is no name of a node/],
		[
			"two nodes of one name",
			deviceTreeNode("", {}, [deviceTreeNode("a", {}, [deviceTreeNode("b", {}), deviceTreeNode("b", {})])]),
			/node \/a: it has two nodes of the name "b"/,
		],
	])("refuses %s, as toDtb() does", (_what, root, message) => {
		for (const write of [toDts, toDtb])
			expect(vfioError(() => write(root))).toMatchObject({
				code: "invalid-argument",
				message: expect.stringMatching(message),
			});
	});
});

describe("toDtb()", () => {
	it("writes the header of version 17, the reservations and the boot CPU", () => {
		const blob = toDtb(deviceTreeNode("", {}), {
			reservations: [{ address: 0x8000_0000n, size: 0x10_0000n }],
			bootCpu: 3,
		});
		const view = new DataView(blob.buffer);
		const words = Array.from({ length: 10 }, (_, index) => view.getUint32(4 * index));
		expect(words).toEqual([0xd00dfeed, blob.length, 72, 88, 40, 17, 16, 3, 0, 16]);
		expect([view.getBigUint64(40), view.getBigUint64(48), view.getBigUint64(56)]).toEqual([
			0x8000_0000n,
			0x10_0000n,
			0n,
		]);
	});

	it("writes a name once that several nodes have", () => {
		const text = String.fromCharCode(...toDtb(SAMPLE));
		expect(text.match(/compatible\0/g)).toHaveLength(1);
		expect(text.match(/frequency\0/g)).toHaveLength(1);
	});
});

describe("readDeviceTree()", () => {
	it("ends where a host's tree does not", () => {
		const { kernel } = new FakeVfio();
		const circles = withCalls(kernel, {
			readDirectory: () => ["left", "right"],
			readFile: (path) => kernel.fail(EISDIR, "read", path),
		});
		expect(vfioError(() => readDeviceTree(circles, "/sys/firmware/devicetree/base")).message).toContain(
			"it has more than 65536 nodes",
		);
	});
});
