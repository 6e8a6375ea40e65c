import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { looked } from "./cases/facts.ts";
import { CASES, SURVEY } from "./cases/mod.ts";
import { FACTS } from "./facts.ts";
import { differences, type Recording } from "./recording.ts";
import { type Report, runCases } from "./run.ts";
import { SimulatedTarget } from "./simulation.ts";
import type { Version } from "./target.ts";

/** Why a case is for the lab's own kernel alone. */
const UNBUILT = ["the host has no iommufd", "the host has no deviceWithoutIommu"];
const NOTHING = {
	openFiles: 0,
	mappings: 0,
	dmaMappings: 0,
	iommufdObjects: 0,
	pinnedPages: 0,
	eventfds: 0,
	watches: 0,
	timers: 0,
	memory: 0,
	virtualMachines: 0,
};

describe.each<Version>(["6.12", "7.2"])("the simulated Linux %s, on the lab's devices", (version) => {
	const target = new SimulatedTarget(version);
	let report: Report;

	beforeAll(async () => {
		report = await runCases(target, [...CASES, ...SURVEY]);
	}, 60_000);

	it("keeps every promise of the contract", () => {
		expect(report.failed).toEqual([]);
	});

	it("leaves out no case that a real kernel was tried with", () => {
		const skipped = report.skipped
			.filter(({ case: name }) => !name.startsWith("survey/"))
			// Debian's kernels are built without it.
			.filter(({ why }) => !UNBUILT.includes(why))
			.map(({ case: name }) => name.split(" ")[0]);
		expect(skipped).toEqual(version === "6.12" ? ["I.1/11", "I.4/118", "I.9/221"] : ["I.1/11"]);
	});

	it("answers every call as the recorded kernel did", () => {
		expect(differences(report, recording(version))).toEqual([]);
	});

	it("says every recorded fact", () => {
		expect(looked.get(report.kernel)?.size).toBe(FACTS.length);
	});

	it("has nothing left over", () => {
		expect(target.linux.leaks()).toEqual(NOTHING);
	});
});

function recording(name: string): Recording {
	return JSON.parse(readFileSync(new URL(`./recorded/${name}.json`, import.meta.url), "utf8")) as Recording;
}

/** What only the lab's own kernel runs; all else is as in Debian's 6.12. */
const OWN = { own: /^I\.8\/|^I\.7\/180|^I\.10\/234|^I\.13\//, "no-iommu": /^I\.2\/no-iommu/ } as const;

describe.each(["own", "no-iommu"] as const)("the simulated Linux %s, built as the lab's own kernel", (build) => {
	const target = new SimulatedTarget(build);
	let report: Report;

	beforeAll(async () => {
		report = await runCases(
			target,
			CASES.filter(({ id }) => OWN[build].test(id)),
		);
	});

	it("keeps every promise of the contract, and leaves out no case", () => {
		expect(report).toMatchObject({ failed: [], skipped: [] });
	});

	it("answers every call as the recorded kernel did", () => {
		expect(differences(report, recording("own"))).toEqual([]);
	});

	it("has nothing left over", () => {
		expect(target.linux.leaks()).toEqual(NOTHING);
	});
});
