import { cells64, deviceTreeNode } from "../../../core/platform/mod.ts";

/** A tree with every kind of value. */
export const SAMPLE = deviceTreeNode("", { "#address-cells": 2, "#size-cells": 2, model: 'a "quoted" \\ name' }, [
	deviceTreeNode("soc", { compatible: "simple-bus", "#address-cells": 2, "#size-cells": 2, ranges: true }, [
		deviceTreeNode("serial@9000000", {
			compatible: ["arm,pl011", "arm,primecell"],
			reg: [...cells64(0x9000000n), ...cells64(0x1_0000_0000n)],
			"acme,odd": Uint8Array.of(1, 2, 3),
			"acme,nul": Uint8Array.of(0x61, 0, 0, 0),
			"acme,high": Uint8Array.of(0xe9, 0),
			phandle: 0x8001,
		}),
	]),
	// Its name is the end of another: one string serves both.
	deviceTreeNode("clock", { "clock-frequency": 250000000, frequency: 1, status: "okay" }),
]);
