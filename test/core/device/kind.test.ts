import { describe, expect, it } from "vitest";
import { irqName, regionName } from "../../../core/mod.ts";

describe("regionName() and irqName()", () => {
	it("number the parts of a platform device, where those of a PCI device have names", () => {
		expect([regionName(0), regionName(7), irqName(0)]).toEqual(["BAR 0", "config space", "INTx"]);
		expect([regionName(0, "platform"), irqName(0, "platform")]).toEqual(["region 0", "interrupt 0"]);
	});
});
