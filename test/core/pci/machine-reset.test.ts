import { describe, expect, it } from "vitest";
import { planMachineReset, resetMachine, type SharedReset } from "../../../core/pci/machine-reset.ts";
import { assign } from "../support/assigned.ts";

const GPU = "0000:01:00.0";
const AUDIO = "0000:01:00.1";
const NIC = "0000:01:00.2";
const member = (name: string, group = 12, owned = true) => ({ name, group, owned });

describe("planMachineReset()", () => {
	const bus = [member(GPU), member(AUDIO)];

	it("resets a bus once, however many functions on it need it", () => {
		const plan = planMachineReset([
			{ name: GPU, needed: true, members: bus },
			{ name: AUDIO, needed: true, members: bus },
		]);
		expect(plan).toEqual({ shared: [{ leader: GPU, others: [AUDIO] }], left: [] });
	});

	it("covers functions that do not need it but are on the bus", () => {
		const plan = planMachineReset([
			{ name: AUDIO, needed: false, members: [] },
			{ name: GPU, needed: true, members: bus },
		]);
		expect(plan.shared).toEqual([{ leader: GPU, others: [AUDIO] }]);
	});

	it("resets nothing where nobody needs it", () => {
		expect(planMachineReset([{ name: GPU, needed: false, members: bus }])).toEqual({ shared: [], left: [] });
	});

	it.each([
		["alone", [member(GPU)], "no other function of this machine is on its bus"],
		["with one that is owned and not assigned", bus, "no other function of this machine is on its bus"],
		["whose bus cannot be reset", "neither its slot nor its bus can be reset", "neither its slot"],
		[
			"with one that is not owned",
			[...bus, member(NIC, 13, false)],
			"a reset of its bus would also reset 0000:01:00.2 (group 13), not owned here",
		],
	])("leaves a function %s as its own reset left it", (_, members, reason) => {
		const plan = planMachineReset([{ name: GPU, needed: true, members }]);
		expect(plan.shared).toEqual([]);
		expect(plan.left[0]?.reason).toContain(reason);
	});
});

describe("resetMachine()", () => {
	function fake(name: string, log: string[], options: { needed?: boolean; fails?: boolean; members?: string[] } = {}) {
		const { needed = true, fails = false, members = [GPU, AUDIO] } = options;
		const sharedReset: SharedReset = {
			name,
			needed,
			members: () => members.map((one) => ({ ...member(one), inUse: true })),
			before: () => void log.push(`before ${name}`),
			perform: () => {
				log.push(`perform ${name}`);
				if (fails) throw new Error("EBUSY");
			},
			after: () => void log.push(`after ${name}`),
		};
		return {
			sharedReset,
			reset: () => {
				log.push(`reset ${name}`);
				return { method: undefined, tried: [], methods: [] };
			},
		};
	}

	it("resets each by itself, then quiets all on the bus, resets it once, and brings all back", () => {
		const log: string[] = [];
		const report = resetMachine([fake(GPU, log), fake(AUDIO, log)]);
		expect(log).toEqual([
			`reset ${GPU}`,
			`reset ${AUDIO}`,
			`before ${GPU}`,
			`before ${AUDIO}`,
			`perform ${GPU}`,
			`after ${GPU}`,
			`after ${AUDIO}`,
		]);
		expect(report.shared).toEqual([{ leader: GPU, others: [AUDIO], error: undefined }]);
		expect(report.functions.map(({ name }) => name)).toEqual([GPU, AUDIO]);
	});

	it("brings all back and says why when the bus was not reset", () => {
		const log: string[] = [];
		const report = resetMachine([fake(GPU, log, { fails: true }), fake(AUDIO, log)]);
		expect(report.shared[0]?.error).toBe("EBUSY");
		expect(log.slice(-2)).toEqual([`after ${GPU}`, `after ${AUDIO}`]);
	});

	it("takes assigned functions", () => {
		const { device, fn } = assign({ resettable: false });
		device.members = [{ ...member(device.name, 25), inUse: true }];
		const report = resetMachine([fn]);
		expect(report.functions[0]?.report.method).toBe("hot-reset");
		expect(report.left[0]?.reason).toContain("no other function");
		const { sharedReset } = fn;
		device.take();
		sharedReset.before();
		sharedReset.perform();
		sharedReset.after();
		expect(device.take().filter((call) => !/^(read|write 7 [12]|set)/.test(call))).toEqual([
			"disable 0",
			"write 7 4 0",
			"hot-reset",
		]);
		expect(fn.interruptMode).toBe("intx");
	});
});

describe("the report of a reset", () => {
	it("says which methods exist, which was used, and what failed and why", () => {
		const { device, fn } = assign();
		device.members = [
			{ ...member(device.name, 25), inUse: true },
			{ ...member(NIC, 13, false), inUse: false },
		];
		device.failing = ["reset"];
		const report = fn.reset();
		expect(report).toMatchObject({
			method: "hot-reset",
			tried: [{ method: "device-reset" }],
			methods: [
				{ method: "device-reset", exists: true, detail: "what Linux has" },
				{
					method: "hot-reset",
					exists: true,
					detail: "a reset of the bus, together with 0000:01:00.2 (group 13, not owned here)",
				},
			],
		});
		expect(report.tried[0]?.error).toContain("reset");
	});

	it("RST-01 says that there is none, without asking the kernel for one", () => {
		const { device, fn } = assign({ resettable: false });
		device.failing = ["hot-reset"];
		device.take();
		const report = fn.reset();
		expect(report.method).toBeUndefined();
		expect(report.methods.map(({ exists }) => exists)).toEqual([false, false]);
		expect(device.take().filter((call) => call === "reset")).toEqual([]);
	});
});
