import { describe, expect, it } from "vitest";
import { PciTopology, type RootPort } from "../../../core/machine/mod.ts";
import { vfioError } from "../support/error.ts";
import { FakeFunction } from "./fake-function.ts";
import { DLLSC, SLOT_CAPABILITIES, SLOT_CONTROL, SLOT_STATUS } from "./slot-driver.ts";

type Step = readonly [what: string, control: number, status: number, answers: boolean];

/**
 * What slot control and slot status of QEMU 10.0.2's pcie-root-port were after each step, and whether the device below
 * answered, read through qtest (machine q35, ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off). What differs on purpose:
 * QEMU's link is active as soon as something is plugged in and it does not report changes of the link, while here there is
 * a link when there is power; QEMU's electromechanical interlock (slot capabilities, bit 17) is not here; and at a reset
 * QEMU forgets that it asked for the device and leaves the power indicator off, while here the device leaves, as it does by
 * QEMU's ACPI hot plug, and a slot that has power shows it.
 */
const RECORDED: readonly Step[] = [
	["control 07c0", 0x07c0, 0x0010, false],
	["plug", 0x07c0, 0x0059, false],
	["status 0059", 0x07c0, 0x0040, false],
	["status 011f", 0x07c0, 0x0040, false],
	["control 02c0", 0x02c0, 0x0050, true],
	["unplug refused", 0x02c0, 0x0050, true],
	["control 01c0", 0x01c0, 0x0050, true],
	["status 0010", 0x01c0, 0x0040, true],
	["unplug", 0x01c0, 0x0041, true],
	["status 011f", 0x01c0, 0x0041, true],
	["status 0001", 0x01c0, 0x0040, true],
	["control 06c0", 0x06c0, 0x0050, false],
	["control 07c0", 0x07c0, 0x0018, false],
	["plug", 0x07c0, 0x0059, false],
	["control 01c0", 0x01c0, 0x0059, true],
	["unplug", 0x01c0, 0x0059, true],
];

function apply(pci: PciTopology, port: RootPort, what: string): void {
	const [verb = "", argument = ""] = what.split(" ");
	const occupant = port.secondary.functions[0];
	if (verb === "control") port.configWrite(SLOT_CONTROL, 2, Number.parseInt(argument, 16));
	else if (verb === "status") port.configWrite(SLOT_STATUS, 2, Number.parseInt(argument, 16));
	else if (verb === "plug") pci.hotPlug(new FakeFunction(), { bus: "rp1" });
	else if (occupant && argument === "refused")
		expect(vfioError(() => pci.requestUnplug(occupant)).code).toBe("guest-busy");
	else if (occupant) pci.requestUnplug(occupant);
}

describe("a root port's slot", () => {
	it("answers as QEMU's does, step by step", () => {
		const pci = new PciTopology({ pin() {}, message() {} });
		const port = pci.addRootPort("rp1", { slot: 1 });
		expect(port.configRead(SLOT_CAPABILITIES, 4)).toBe(0x000a_007b & ~0x2_0000);
		expect([port.configRead(SLOT_CONTROL, 2), port.configRead(SLOT_STATUS, 2)]).toEqual([0x07c0, 0]);
		let unplugged = 0;
		pci.onHotPlug(({ type }) => {
			if (type === "unplugged") unplugged++;
		});
		const answers = RECORDED.map(([what]): Step => {
			apply(pci, port, what);
			const status = port.configRead(SLOT_STATUS, 2) & ~DLLSC;
			return [what, port.configRead(SLOT_CONTROL, 2), status, port.secondary.functionAt(0) !== undefined];
		});
		expect(answers).toEqual(RECORDED);
		expect(unplugged).toBe(1);
		port.configWrite(SLOT_CONTROL, 2, 0xf7ff);
		// Changes of the link can be reported here, by bit 12.
		expect(port.configRead(SLOT_CONTROL, 2)).toBe(0x07f9 | 0x1000);
	});
});
