import { describe, expect, it } from "vitest";
import { formatPciAddress } from "../../../core/host/address.ts";
import { PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET } from "../../../core/uapi/pci_regs.ts";
import { pciBridge, rootPort, switchDownstreamPort, switchUpstreamPort } from "../../../kernel-sim/hardware/bridges.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { Machine } from "../../../kernel-sim/hardware/topology.ts";
import { RecordingModel } from "./fixtures.ts";

const plain = (model?: RecordingModel) => new PciFunction({ vendor: 1, device: 1, classCode: 0 }, model);
const names = (functions: readonly PciFunction[]) => functions.map((fn) => formatPciAddress(fn.address));

/** Root port to bus 1, a switch below it with two ports to buses 3 and 4, a function on each. */
function switched() {
	const machine = new Machine();
	const models = [new RecordingModel(), new RecordingModel(), new RecordingModel()] as const;
	machine.plug("0000:00:01.0", new PciFunction(rootPort({ secondary: 1, subordinate: 4 })));
	machine.plug("0000:01:00.0", new PciFunction(switchUpstreamPort({ secondary: 2, subordinate: 4 })));
	machine.plug("0000:02:00.0", new PciFunction(switchDownstreamPort({ secondary: 3 })));
	machine.plug("0000:02:01.0", new PciFunction(switchDownstreamPort({ secondary: 4 })));
	machine.plug("0000:03:00.0", plain(models[0]));
	machine.plug("0000:04:00.0", plain(models[1]));
	machine.plug("0000:00:02.0", plain(models[2]));
	for (const model of models) model.log.length = 0;
	const at = (address: string) => machine.function(address) as PciFunction;
	return { machine, models, at };
}

describe("Machine", () => {
	it("plug() puts functions into address order, domains included", () => {
		const machine = new Machine();
		for (const address of ["0001:00:00.0", "0000:80:00.0", "0000:00:1f.2", "0000:00:02.0"])
			machine.plug(address, plain());
		expect(names(machine.functions)).toEqual(["0000:00:02.0", "0000:00:1f.2", "0000:80:00.0", "0001:00:00.0"]);
	});

	it("plug() attaches the model, and returns the function with its address", () => {
		const machine = new Machine();
		const model = new RecordingModel();
		const fn = machine.plug("05:00.0", plain(model));
		expect(model.log).toEqual(["attach"]);
		expect(fn.address).toEqual({ domain: 0, bus: 5, device: 0, function: 0 });
		expect(model.port?.clock).toBe(machine.clock);
	});

	it("plug() throws invalid-argument when the place is taken, or the function is in already", () => {
		const machine = new Machine();
		const fn = machine.plug("0000:05:00.0", plain());
		expect(() => machine.plug("05:00.0", plain())).toThrow("Cannot plug a function in at 0000:05:00.0: there is one");
		expect(() => machine.plug("06:00.0", fn)).toThrow(/it is at 0000:05:00.0 already/);
	});

	it("bridgeOf() and childrenOf() follow the bus numbers of the same domain", () => {
		const { machine, at } = switched();
		expect(machine.bridgeOf(at("0000:03:00.0"))).toBe(at("0000:02:00.0"));
		expect(machine.bridgeOf(at("0000:02:01.0"))).toBe(at("0000:01:00.0"));
		expect(machine.bridgeOf(at("0000:00:02.0"))).toBeUndefined();
		expect(names(machine.childrenOf(at("0000:01:00.0")))).toEqual(["0000:02:00.0", "0000:02:01.0"]);
		const elsewhere = machine.plug("0001:03:00.0", plain());
		expect(machine.bridgeOf(elsewhere)).toBeUndefined();
	});

	it("bridgeOf() stays as it was when a reset clears the bus numbers", () => {
		const { machine, at } = switched();
		machine.resetBus(at("0000:00:01.0"));
		expect(at("0000:02:00.0").secondaryBus).toBe(0);
		expect(machine.bridgeOf(at("0000:03:00.0"))).toBe(at("0000:02:00.0"));
	});

	it("a bridge knows the bus it is on", () => {
		const { at } = switched();
		expect(at("0000:02:01.0").configRead(0x18, 4)).toBe(0x00040402);
	});

	it("resets everything below a bridge, and nothing beside it, when Secondary Bus Reset is set", () => {
		const { models, at } = switched();
		at("0000:02:00.0").configWrite(PCI_BRIDGE_CONTROL, 2, PCI_BRIDGE_CTL_BUS_RESET);
		at("0000:02:00.0").configWrite(PCI_BRIDGE_CONTROL, 2, PCI_BRIDGE_CTL_BUS_RESET);
		expect(models.map((model) => model.log)).toEqual([["reset"], [], []]);
		at("0000:02:00.0").configWrite(PCI_BRIDGE_CONTROL, 2, 0);
		at("0000:00:01.0").configWrite(PCI_BRIDGE_CONTROL, 1, PCI_BRIDGE_CTL_BUS_RESET);
		expect(models.map((model) => model.log)).toEqual([["reset", "reset"], ["reset"], []]);
	});

	it("unplug() takes what is below along, and tells", () => {
		const { machine, models, at } = switched();
		const gone = at("0000:03:00.0");
		const seen: string[] = [];
		using(machine.listen({ unplugged: (fn) => void seen.push(formatPciAddress(fn.address)) }), () =>
			machine.unplug("0000:01:00.0"),
		);
		expect(seen).toEqual(["0000:03:00.0", "0000:02:00.0", "0000:04:00.0", "0000:02:01.0", "0000:01:00.0"]);
		expect(names(machine.functions)).toEqual(["0000:00:01.0", "0000:00:02.0"]);
		expect(models[0].log).toEqual(["detach"]);
		expect([gone.present, machine.iommu.domainOf(gone)]).toEqual([false, undefined]);
	});

	it("unplug() throws no-such-device when there is nothing", () => {
		expect(() => new Machine().unplug("0000:05:00.0")).toThrow(/nothing/);
	});

	it("a function can be plugged in again", () => {
		const machine = new Machine();
		const model = new RecordingModel();
		const fn = machine.plug("0000:05:00.0", plain(model));
		machine.unplug("0000:05:00.0");
		machine.plug("0000:06:00.0", fn);
		expect([fn.present, fn.configRead(0, 2), model.log]).toEqual([true, 1, ["attach", "detach", "attach"]]);
	});

	it("listen() tells of what is plugged in, until it is disposed", () => {
		const machine = new Machine();
		const seen: PciFunction[] = [];
		const listening = machine.listen({ plugged: (fn) => void seen.push(fn) });
		const fn = machine.plug("0000:05:00.0", plain());
		listening[Symbol.dispose]();
		machine.plug("0000:06:00.0", plain());
		expect(seen).toEqual([fn]);
	});

	it("does not follow bus numbers that lead back up or to the same bus", () => {
		const machine = new Machine();
		machine.plug("0000:00:01.0", new PciFunction(rootPort({ secondary: 5 })));
		machine.plug("0000:05:00.0", new PciFunction(pciBridge({ secondary: 0 })));
		machine.plug("0000:05:01.0", new PciFunction(pciBridge({ secondary: 5 })));
		expect(machine.functions.map((fn) => machine.bridgeOf(fn)?.address.device)).toEqual([undefined, 1, 1]);
		expect(machine.groups.size).toBe(3);
		machine.resetBus(machine.functions[0] as PciFunction);
		machine.unplug("0000:00:01.0");
		expect(machine.functions).toEqual([]);
	});

	it("finds bridges of conventional PCI too", () => {
		const machine = new Machine();
		const bridge = machine.plug("0000:00:1e.0", new PciFunction(pciBridge({ secondary: 7 })));
		expect(machine.bridgeOf(machine.plug("0000:07:03.0", plain()))).toBe(bridge);
	});
});

/** `using` is not in every runtime yet. */
function using(resource: Disposable, action: () => void): void {
	try {
		action();
	} finally {
		resource[Symbol.dispose]();
	}
}
