import { describe, expect, it } from "vitest";
import {
	bindPlatformDevice,
	describePlatformDevice,
	deviceTreeNode,
	PlatformBus,
	type PlatformBusWindow,
	PlatformDevice,
	platformBusNodes,
	Releases,
	toDtb,
	toDts,
	VfioDevice,
} from "../../../core/mod.ts";
import { vfioError } from "../../core/support/error.ts";
import { compileWithDtc, dtcMissing, readWithDtc } from "../../support/dtc.ts";
import { board, SRAM, XGBE, XGMAC } from "./guest.ts";

const WINDOW: PlatformBusWindow = { base: 0xc000000n, size: 0x2000000n, interruptParent: 0x8001 };

/** The guest's tree with all devices of the board, made from what the host's sysfs says. */
function guestTree() {
	const { linux } = board({ reset_required: false });
	const kernel = linux.process();
	const releases = new Releases();
	try {
		const interrupts = { first: 112, count: 64 };
		const bus = new PlatformBus({ base: WINDOW.base, size: WINDOW.size, interrupts, setLine: () => {} });
		const devices = [XGMAC, XGBE, SRAM].map((name) => {
			releases.use(bindPlatformDevice(kernel, name));
			const device = releases.use(VfioDevice.open(kernel, { platform: name }, { kind: "platform" }));
			const assigned = releases.use(PlatformDevice.attach(device));
			const placement = bus.plug(assigned);
			return { device: describePlatformDevice(kernel, { platform: name }, assigned), placement };
		});
		const gic = deviceTreeNode("interrupt-controller@8000000", {
			compatible: "arm,cortex-a15-gic",
			reg: [0, 0x8000000, 0, 0x10000, 0, 0x8010000, 0, 0x10000],
			"interrupt-controller": true,
			"#address-cells": 0,
			"#interrupt-cells": 3,
			phandle: 0x8001,
		});
		const cells = { "#address-cells": 2, "#size-cells": 2 };
		return deviceTreeNode("", { compatible: "linux,dummy-virt", ...cells }, [
			gic,
			...platformBusNodes(WINDOW, devices),
		]);
	} finally {
		releases[Symbol.dispose]();
		expect(Object.values(linux.leaks()).every((count) => count === 0)).toBe(true);
	}
}

describe("the device tree of a guest with the board's devices", () => {
	it("has a node for each, from what the host's sysfs says of it", () => {
		const source = toDts(guestTree());
		expect(source).toContain("ethernet@c000000 {");
		expect(source).toContain("xgmac@c001000 {");
		expect(source).toContain('compatible = "acme,sram", "mmio-sram";');
		expect(source).toContain("mac-address = [02 a1 a2 a3 a4 a5];");
		expect(source).toContain("dma-clock-8002 {");
		expect(source).toContain("clocks = <0x8002 0x8003>;");
	});

	it.skipIf(dtcMissing)("Y-08 is accepted by Debian's dtc without a warning, as source and as a blob", () => {
		const tree = guestTree();
		expect(compileWithDtc(toDts(tree))).toEqual(toDtb(tree));
		expect(readWithDtc(toDtb(tree))).toEqual(toDtb(tree));
	});

	it("leaves out what the process may not read of the host's", () => {
		const { linux } = board();
		const path = `/sys/firmware/devicetree/base/ethernet@fff51000/interrupts`;
		expect(linux.files.chmod(path, 0o400)).toBe(0);
		const node = (uid: number) =>
			describePlatformDevice(linux.process({ uid }), { platform: XGMAC }, { regions: [], interrupts: [] }).hostNode;
		expect([...node(0).properties.keys()]).toEqual(["compatible", "dma-coherent", "interrupts", "reg"]);
		expect([...node(1000).properties.keys()]).toEqual(["compatible", "dma-coherent", "reg"]);
	});

	it("has none for a device that the host's tree does not have", () => {
		const kernel = board().linux.process();
		const error = vfioError(() =>
			describePlatformDevice(kernel, { platform: "nothing" }, { regions: [], interrupts: [] }),
		);
		expect(error.code).toBe("unassignable-device");
		expect(error.message).toBe("Cannot describe nothing: the host's device tree has no node for it");
	});
});
