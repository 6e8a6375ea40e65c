import { describe, expect, it } from "vitest";
import { formatPciAddress } from "../../../core/host/address.ts";
import {
	pciBridge,
	pcieToPciBridge,
	rootPort,
	switchDownstreamPort,
	switchUpstreamPort,
} from "../../../kernel-sim/hardware/bridges.ts";
import { express } from "../../../kernel-sim/hardware/capabilities.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import { acs } from "../../../kernel-sim/hardware/extended-capabilities.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { Machine, type MachineOptions } from "../../../kernel-sim/hardware/topology.ts";

const plain = { vendor: 1, device: 1, classCode: 0 };
const conventional = (multifunction = false): FunctionDescription => ({ ...plain, multifunction });
const endpoint = (rest: Partial<FunctionDescription> = {}): FunctionDescription => ({
	...plain,
	capabilities: [express()],
	...rest,
});

function machineOf(functions: Record<string, FunctionDescription>, options?: MachineOptions): Machine {
	const machine = new Machine(options);
	for (const [address, description] of Object.entries(functions)) machine.plug(address, new PciFunction(description));
	return machine;
}

/** Groups as text: members without the domain, groups in order of their ids. */
const grouped = (machine: Machine) =>
	[...machine.groups].map(
		([id, members]) => `${id}: ${members.map((fn) => formatPciAddress(fn.address).slice(5)).join(" ")}`,
	);

describe("IOMMU groups", () => {
	it("are those that Linux printed for the lab's machine", () => {
		// test/fixtures/lspci/host-tree.txt, with the groups of host.txt.
		const functions: Record<string, FunctionDescription> = { "00:00.0": conventional() };
		for (const slot of ["00:03.0", "00:04.0", "00:10.0", "00:11.0"]) functions[slot] = conventional();
		for (let port = 0; port < 14; port++) {
			const description = rootPort({
				secondary: port + 1,
				subordinate: port === 13 ? 15 : port + 1,
				multifunction: true,
			});
			functions[`00:${(8 + (port >> 3)).toString(16).padStart(2, "0")}.${port & 7}`] = description;
		}
		functions["00:12.0"] = conventional(true);
		functions["00:12.1"] = conventional();
		functions["00:1f.0"] = conventional(true);
		functions["00:1f.2"] = conventional();
		functions["00:1f.3"] = conventional();
		const express = new Set([3, 4, 5, 6, 8, 9, 11, 12]);
		for (let bus = 1; bus <= 13; bus++)
			functions[`${bus.toString(16).padStart(2, "0")}:00.0`] = express.has(bus) ? endpoint() : conventional();
		functions["0e:00.0"] = pcieToPciBridge({ secondary: 15 });
		functions["0f:01.0"] = conventional();
		functions["0f:02.0"] = conventional();
		expect(grouped(machineOf(functions))).toEqual([
			"0: 00:00.0",
			"1: 00:03.0",
			"2: 00:04.0",
			"3: 00:08.0",
			"4: 00:08.1",
			"5: 00:08.2",
			"6: 00:08.3",
			"7: 00:08.4",
			"8: 00:08.5",
			"9: 00:08.6",
			"10: 00:08.7",
			"11: 00:09.0",
			"12: 00:09.1",
			"13: 00:09.2",
			"14: 00:09.3",
			"15: 00:09.4",
			"16: 00:09.5",
			"17: 00:10.0",
			"18: 00:11.0",
			"19: 00:12.0 00:12.1",
			"20: 00:1f.0 00:1f.2 00:1f.3",
			"21: 01:00.0",
			"22: 02:00.0",
			"23: 03:00.0",
			"24: 04:00.0",
			"25: 05:00.0",
			"26: 06:00.0",
			"27: 07:00.0",
			"28: 08:00.0",
			"29: 09:00.0",
			"30: 0a:00.0",
			"31: 0b:00.0",
			"32: 0c:00.0",
			"33: 0d:00.0",
			"34: 0e:00.0 0f:01.0 0f:02.0",
		]);
	});

	it("join a port without ACS with what is below it", () => {
		const machine = machineOf({
			"00:01.0": rootPort({ secondary: 1, acs: false }),
			"00:02.0": rootPort({ secondary: 2 }),
			"01:00.0": endpoint(),
			"02:00.0": endpoint(),
		});
		expect(grouped(machine)).toEqual(["0: 00:01.0 01:00.0", "1: 00:02.0", "2: 02:00.0"]);
	});

	it("take ACS that exists but is switched off for none, and what a port lacks for not needed", () => {
		const port = (secondary: number, capability: ReturnType<typeof acs>) => ({
			...rootPort({ secondary, acs: false }),
			extendedCapabilities: [capability],
		});
		const machine = machineOf({
			"00:01.0": port(1, acs({ enabled: 0 })),
			"00:02.0": port(2, acs({ capable: 0x01 })),
			"00:03.0": port(3, acs({ enabled: 0x01 })),
			"01:00.0": endpoint(),
			"02:00.0": endpoint(),
			"03:00.0": endpoint(),
		});
		expect(grouped(machine)).toEqual(["0: 00:01.0 01:00.0", "1: 00:02.0", "2: 00:03.0 03:00.0", "3: 02:00.0"]);
	});

	it("join the root ports of one slot when they have no ACS, and everything below them", () => {
		const machine = machineOf({
			"00:01.0": rootPort({ secondary: 1, acs: false, multifunction: true }),
			"00:01.1": rootPort({ secondary: 2, acs: false }),
			"01:00.0": endpoint(),
			"02:00.0": endpoint(),
		});
		expect(grouped(machine)).toEqual(["0: 00:01.0 00:01.1 01:00.0 02:00.0"]);
	});

	const switched = (isolated: boolean) => ({
		"00:01.0": rootPort({ secondary: 1, subordinate: 4 }),
		"01:00.0": switchUpstreamPort({ secondary: 2, subordinate: 4 }),
		"02:00.0": switchDownstreamPort({ secondary: 3, acs: isolated }),
		"02:01.0": switchDownstreamPort({ secondary: 4, acs: isolated }),
		"03:00.0": endpoint(),
		"04:00.0": endpoint(),
	});

	it("keep the ports of a switch with ACS apart", () => {
		expect(grouped(machineOf(switched(true)))).toEqual([
			"0: 00:01.0",
			"1: 01:00.0",
			"2: 02:00.0",
			"3: 02:01.0",
			"4: 03:00.0",
			"5: 04:00.0",
		]);
	});

	it("join each port of a switch without ACS with what is below it", () => {
		// Two single-function ports in different slots: Linux finds no link between them.
		expect(grouped(machineOf(switched(false)))).toEqual([
			"0: 00:01.0",
			"1: 01:00.0",
			"2: 02:00.0 03:00.0",
			"3: 02:01.0 04:00.0",
		]);
	});

	it("join everything below a switch when the root port has no ACS", () => {
		const functions = { ...switched(true), "00:01.0": rootPort({ secondary: 1, subordinate: 4, acs: false }) };
		expect(grouped(machineOf(functions))).toEqual(["0: 00:01.0 01:00.0 02:00.0 02:01.0 03:00.0 04:00.0"]);
	});

	it("join the functions of an endpoint without ACS, and keep those with it apart", () => {
		const isolated = endpoint({ multifunction: true, extendedCapabilities: [acs()] });
		const machine = machineOf({
			"00:01.0": rootPort({ secondary: 1 }),
			"00:02.0": rootPort({ secondary: 2 }),
			"01:00.0": endpoint({ multifunction: true }),
			"01:00.1": endpoint(),
			"02:00.0": isolated,
			"02:00.1": isolated,
		});
		expect(grouped(machine)).toEqual(["0: 00:01.0", "1: 00:02.0", "2: 01:00.0 01:00.1", "3: 02:00.0", "4: 02:00.1"]);
	});

	it("keep virtual functions apart", () => {
		const machine = machineOf({
			"00:01.0": rootPort({ secondary: 1 }),
			"01:00.0": endpoint(),
			"01:00.1": endpoint({ virtualFunction: true }),
			"01:00.2": endpoint({ virtualFunction: true }),
		});
		expect(grouped(machine)).toEqual(["0: 00:01.0", "1: 01:00.0", "2: 01:00.1", "3: 01:00.2"]);
	});

	it("join everything behind bridges of conventional PCI, however deep", () => {
		const machine = machineOf({
			"00:1e.0": pciBridge({ secondary: 1, subordinate: 2 }),
			"01:01.0": conventional(),
			"01:02.0": pciBridge({ secondary: 2 }),
			"02:01.0": conventional(),
		});
		expect(grouped(machine)).toEqual(["0: 00:1e.0 01:01.0 01:02.0 02:01.0"]);
	});

	it("are the ones given, where they are given", () => {
		const machine = new Machine();
		const plug = (address: string, group?: number) =>
			machine.plug(address, new PciFunction(conventional()), group === undefined ? {} : { group });
		plug("00:01.0", 7);
		plug("00:02.0");
		plug("00:03.0", 0);
		plug("00:04.0", 7);
		expect(grouped(machine)).toEqual(["0: 00:03.0", "1: 00:02.0", "7: 00:01.0 00:04.0"]);
	});

	it("stay as they are when something is plugged in, which gets the lowest free id", () => {
		const machine = machineOf({ "00:05.0": conventional(), "00:06.0": conventional(), "00:07.0": conventional() });
		expect(machine.groups.size).toBe(3);
		machine.unplug("00:06.0");
		expect(grouped(machine)).toEqual(["0: 00:05.0", "2: 00:07.0"]);
		machine.plug("00:01.0", new PciFunction(conventional()));
		machine.plug("00:08.0", new PciFunction(conventional()));
		expect(grouped(machine)).toEqual(["0: 00:05.0", "1: 00:01.0", "2: 00:07.0", "3: 00:08.0"]);
	});

	it("do not exist without an IOMMU", () => {
		const machine = machineOf({ "00:01.0": conventional() }, { iommu: false });
		expect(machine.groups.size).toBe(0);
		expect(machine.groupOf(machine.functions[0] as PciFunction)).toBeUndefined();
	});
});
