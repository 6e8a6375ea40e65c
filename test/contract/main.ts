/**
 * `npm run contract`: tries a kernel by the contract of VFIO; the simulated one unless told otherwise.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { title } from "./case.ts";
import { CASES, SURVEY } from "./cases/mod.ts";
import { compressed } from "./recording.ts";
import { type Report, runCases } from "./run.ts";
import type { Target } from "./target.ts";

const HELP = `Usage: npm run contract -- [--kernel simulation|linux] [--version 6.12|7.2|own|no-iommu|all] [--case PATTERN] [--json] [--verbose] [--record FILE]

  --kernel    the simulated kernel (default), or the Linux this machine runs, as root
  --version   the Linux the simulation answers as (6.12): one of Debian's kernels, the lab's own with iommufd, or that on a host without an IOMMU
  --case      a regular expression for ids and names
  --json      prints the result as JSON
  --record    writes every call and its answer to a file
  --verbose   prints each case, and the time it took`;

async function main(): Promise<number> {
	const { values } = parseArgs({
		options: {
			kernel: { type: "string", default: "simulation" },
			version: { type: "string", default: "6.12" },
			case: { type: "string" },
			json: { type: "boolean" },
			record: { type: "string" },
			verbose: { type: "boolean" },
			out: { type: "string" },
			help: { type: "boolean" },
		},
	});
	if (values.help) {
		console.log(HELP);
		return 0;
	}
	const pattern = values.case === undefined ? undefined : new RegExp(values.case);
	const known = values.record === undefined ? CASES : [...CASES, ...SURVEY];
	const cases = known.filter((one) => pattern?.test(title(one)) ?? true);
	const reports: Report[] = [];
	for (const target of await targets(values.kernel, values.version)) {
		const report = await runCases(target, cases, {
			...(values.verbose ? { onCase: (name) => process.stdout.write(`${name} ... `) } : {}),
			onResult(name, failures, milliseconds) {
				if (values.verbose) console.log(`${failures?.length ? "FAILED" : "ok"} (${Math.round(milliseconds)} ms)`);
				if (!values.json && failures?.length) console.log(`FAILED ${name}\n    ${failures.join("\n    ")}`);
			},
		});
		reports.push(report);
		if (!values.json) {
			for (const { case: name, why } of report.skipped) console.log(`skipped ${name}: ${why}`);
			const { passed, failed, skipped } = report;
			console.log(`${report.kernel}: ${passed} of ${passed + failed.length + skipped.length} cases passed`);
		}
		if (values.record) writeFileSync(values.record, compressed(report));
	}
	const results = reports.map(({ observations: _, failed, ...rest }) => ({
		...rest,
		failed: failed.length,
		failures: failed,
	}));
	const json = JSON.stringify(results.length === 1 ? results[0] : results);
	if (values.json) console.log(json);
	else
		console.log(
			`${sum(reports, "passed")} passed, ${sum(reports, "failed")} failed, ${sum(reports, "skipped")} skipped`,
		);
	if (values.out) writeFileSync(values.out, json);
	return reports.some((report) => report.failed.length > 0) ? 1 : 0;
}

function sum(reports: readonly Report[], what: "passed" | "failed" | "skipped"): number {
	return reports.reduce((total, report) => total + (what === "passed" ? report.passed : report[what].length), 0);
}

async function targets(kernel: string, version: string): Promise<Target[]> {
	if (kernel === "linux") {
		const { LinuxTarget } = await import("./linux.ts");
		return [new LinuxTarget()];
	}
	if (kernel !== "simulation") throw new TypeError(`--kernel is simulation or linux, not "${kernel}"`);
	const known = ["6.12", "7.2", "own", "no-iommu"] as const;
	// What does not need an IOMMU has cases of its own: --case no-iommu.
	const builds = known.filter((each) => (version === "all" ? each !== "no-iommu" : version === each));
	if (builds.length === 0) throw new TypeError(`--version is 6.12, 7.2, own, no-iommu or all, not "${version}"`);
	const { SimulatedTarget } = await import("./simulation.ts");
	return builds.map((each) => new SimulatedTarget(each));
}

try {
	process.exitCode = await main();
} catch (error) {
	if (!(error instanceof TypeError) && !(error instanceof SyntaxError)) throw error;
	console.error(`contract: ${error.message}`);
	process.exitCode = 2;
}
