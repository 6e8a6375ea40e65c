/**
 * `npm run lab -- JOB [--kernel NAME] [--limit SECONDS]`: runs a job on a real Linux with VFIO, an emulated IOMMU and
 * emulated devices, with no hardware, no KVM and no root.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { bootLab } from "./boot.ts";
import { JOBS } from "./jobs.ts";
import { KERNELS } from "./kernels.ts";
import { LabError } from "./packages.ts";

const HELP = `Usage: npm run lab -- JOB [--kernel ${KERNELS.join("|")}] [--limit SECONDS] [--out FILE]

Jobs:
${Object.entries(JOBS)
	.map(([name, job]) => `  ${name.padEnd(10)} ${job.summary}`)
	.join("\n")}

The first run fetches QEMU and a kernel from Debian's packages into a cache outside the tree.
The kernel "own" has what Debian's lack: iommufd, character devices, no-IOMMU mode and sample mediated devices. It is
built once from Debian's source, which takes about a quarter of an hour and needs a C compiler and make.
VFIO_LAB_MIRROR names a Debian mirror where this machine's apt configuration has none.`;

async function main(): Promise<number> {
	const { values, positionals } = parseArgs({
		allowPositionals: true,
		options: {
			kernel: { type: "string", default: "6.12" },
			limit: { type: "string" },
			out: { type: "string" },
			help: { type: "boolean" },
		},
	});
	const [name, ...words] = positionals;
	if (values.help || name === undefined) {
		console.log(HELP);
		return values.help ? 0 : 2;
	}
	const job = JOBS[name];
	if (!job) throw new LabError(`There is no job "${name}" in the lab\n${HELP}`);
	const limit = values.limit === undefined ? job.limit : Number(values.limit);
	if (!(limit > 0)) throw new LabError(`--limit takes seconds, not "${values.limit}"`);
	const interrupt = new AbortController();
	process.once("SIGINT", () => interrupt.abort());
	process.once("SIGTERM", () => interrupt.abort());
	const result = await bootLab({
		kernel: values.kernel,
		script: job.script(words),
		limit,
		onLine: (line) => console.log(line),
		...(job.qemu ? { qemu: job.qemu } : {}),
		...(job.append === undefined ? {} : { append: job.append }),
		interrupted: interrupt.signal,
	});
	const output = result.file("output.json");
	if (values.out && output !== undefined) writeFileSync(values.out, output);
	return result.code;
}

try {
	process.exitCode = await main();
} catch (error) {
	if (!(error instanceof LabError) && !(error instanceof TypeError)) throw error;
	console.error(`lab: ${error.message}`);
	process.exitCode = 1;
}
