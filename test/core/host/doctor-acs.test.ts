import { describe, expect, it } from "vitest";
import { ACS, isolationOf } from "../../../core/host/doctor/acs.ts";
import { groupMembers } from "../../../core/host/groups.ts";
import { PciSysfs } from "../../../core/host/sysfs.ts";
import {
	PCI_EXP_TYPE_DOWNSTREAM,
	PCI_EXP_TYPE_ENDPOINT,
	PCI_EXP_TYPE_PCI_BRIDGE,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXT_CAP_ID_ACS,
} from "../../../core/uapi/pci_regs.ts";
import { FakeHost } from "../support/fake-host.ts";
import { configSpace, expressBody } from "../support/pci-config.ts";

/** What ACS can and what of it is on; undefined: no ACS. */
type Acs = readonly [can: number, on: number] | undefined;

const ALL = 0x1d;

function express(type: number, acs?: Acs, headerType = 0): Uint8Array {
	return configSpace({
		size: 4096,
		headerType,
		capabilities: [[0x40, 0x10, expressBody(type)]],
		extended: acs ? [[0x100, PCI_EXT_CAP_ID_ACS, [acs[0], 0, acs[1], 0]]] : [],
	});
}

describe("isolationOf()", () => {
	it.each([
		["a root port with ACS", express(PCI_EXP_TYPE_ROOT_PORT, [ALL, ALL]), false, "isolated"],
		["a root port without", express(PCI_EXP_TYPE_ROOT_PORT), false, "no ACS"],
		["a port whose ACS is off", express(PCI_EXP_TYPE_DOWNSTREAM, [ALL, 0]), false, "ACS off"],
		["a port with half of it on", express(PCI_EXP_TYPE_DOWNSTREAM, [ALL, 0x05]), false, "ACS off"],
		["a port that needs no more than it has", express(PCI_EXP_TYPE_DOWNSTREAM, [0x01, 0x01]), false, "isolated"],
		["a single function", express(PCI_EXP_TYPE_ENDPOINT), false, "isolated"],
		["one of several functions", express(PCI_EXP_TYPE_ENDPOINT), true, "no ACS"],
		["one of several functions with ACS", express(PCI_EXP_TYPE_ENDPOINT, [0, 0]), true, "isolated"],
		["a bridge to PCI", express(PCI_EXP_TYPE_PCI_BRIDGE, [ALL, ALL]), false, "conventional"],
		["a function of conventional PCI", configSpace(), false, "conventional"],
		["a header that is all one may read", configSpace().subarray(0, 64), false, "unreadable"],
	] as const)("judges %s", (_what, config, multifunction, isolation) => {
		expect(isolationOf(config, multifunction)).toBe(isolation);
	});
});

describe("ACS check", () => {
	const PORT = "0000:00:1c.0";
	const CARD = "0000:02:00.0";

	/** A card of one or two functions behind a port, in groups as given. */
	function host(configs: Readonly<Record<string, Uint8Array>>, groups: Readonly<Record<string, number>>) {
		const { kernel } = new FakeHost(
			Object.entries(groups).map(([name, group]) => ({ name, group, bridge: name === PORT })),
		);
		for (const [name, config] of Object.entries(configs))
			kernel.files.set(`/sys/bus/pci/devices/${name}/config`, config);
		for (const name of Object.keys(groups))
			kernel.links.set(
				`/sys/bus/pci/devices/${name}`,
				`../../../devices/pci0000:00/${name === PORT ? "" : `${PORT}/`}${name}`,
			);
		const group = groups[CARD] as number;
		const members = groupMembers(kernel, group);
		return { kernel, subject: { kernel, pci: new PciSysfs(kernel), name: CARD, asked: true, group, members } };
	}

	it("is content with a device that is apart", () => {
		const { subject } = host(
			{ [PORT]: express(PCI_EXP_TYPE_ROOT_PORT, [ALL, ALL], 1), [CARD]: express(PCI_EXP_TYPE_ENDPOINT) },
			{ [PORT]: 1, [CARD]: 2 },
		);
		expect(ACS.examine(subject)).toEqual({ level: "ok", text: "Linux keeps it apart from all other devices" });
	});

	it("trusts Linux, which knows ports that isolate without saying so", () => {
		const { subject } = host(
			{ [PORT]: express(PCI_EXP_TYPE_ROOT_PORT, undefined, 1), [CARD]: express(PCI_EXP_TYPE_ENDPOINT) },
			{ [PORT]: 1, [CARD]: 2 },
		);
		expect(ACS.examine(subject)).toMatchObject({
			level: "ok",
			text: expect.stringMatching(/though 0000:00:1c\.0 shows no ACS/),
		});
	});

	it.each([
		["has no ACS", express(PCI_EXP_TYPE_ROOT_PORT, undefined, 1), /: port 0000:00:1c\.0 has no ACS$/],
		[
			"has it switched off",
			express(PCI_EXP_TYPE_ROOT_PORT, [ALL, 0], 1),
			/: port 0000:00:1c\.0 has its ACS switched off$/,
		],
		[
			"leads to PCI",
			express(PCI_EXP_TYPE_PCI_BRIDGE, undefined, 1),
			/: bridge 0000:00:1c\.0 leads to conventional PCI/,
		],
	])("blames the port above when it %s", (_what, port, text) => {
		const { subject } = host(
			{ [PORT]: port, [CARD]: express(PCI_EXP_TYPE_ENDPOINT) },
			{ [PORT]: 1, [CARD]: 1, "0000:03:00.0": 1 },
		);
		expect(ACS.examine(subject)).toMatchObject({ level: "warning", text: expect.stringMatching(text) });
	});

	it("blames the functions of a card, and not the port with ACS above", () => {
		const fn = express(PCI_EXP_TYPE_ENDPOINT, undefined, 0x80);
		const { subject } = host(
			{ [PORT]: express(PCI_EXP_TYPE_ROOT_PORT, [ALL, ALL], 1), [CARD]: fn, "0000:02:00.1": fn },
			{ [PORT]: 1, [CARD]: 2, "0000:02:00.1": 2 },
		);
		expect(ACS.examine(subject)).toMatchObject({
			level: "warning",
			text: "It shares its group: no ACS between the functions of its slot (0000:02:00.0, 0000:02:00.1)",
		});
	});

	it("does not take a virtual function for one of several", () => {
		const { kernel, subject } = host(
			{
				[PORT]: express(PCI_EXP_TYPE_ROOT_PORT, [ALL, ALL], 1),
				[CARD]: express(PCI_EXP_TYPE_ENDPOINT, undefined, 0x80),
			},
			{ [PORT]: 1, [CARD]: 2, "0000:02:00.1": 2 },
		);
		for (const name of [CARD, "0000:02:00.1"])
			kernel.links.set(`/sys/bus/pci/devices/${name}/physfn`, "../0000:01:00.0");
		kernel.files.set("/sys/bus/pci/devices/0000:02:00.1/config", express(PCI_EXP_TYPE_ENDPOINT));
		expect(ACS.examine(subject)).toMatchObject({ level: "warning", text: expect.stringMatching(/shows why$/) });
	});

	it("cannot tell when the registers are for root alone", () => {
		const { subject } = host({}, { [PORT]: 1, [CARD]: 1, "0000:02:00.1": 1 });
		expect(ACS.examine(subject)).toMatchObject({ level: "unknown", text: expect.stringMatching(/only root/) });
	});
});
