import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeInitramfs } from "./initramfs.ts";
import { labKernel } from "./kernels.ts";
import { writeLabDisk } from "./lab-disk.ts";
import { LabError } from "./packages.ts";
import { type LabSystem, labSystem } from "./system.ts";
import { deviceArguments } from "./topology.ts";

/** A run of the lab. */
export interface LabRun {
	/** A kernel's name, such as `6.12`. */
	readonly kernel: string;
	/** The shell script that runs in the guest, in the project's folder; `/job` is a folder that both sides see. */
	readonly script: string;
	/** Seconds until the run is ended. */
	readonly limit: number;
	/** Told of each line that the guest's console prints. */
	readonly onLine: (line: string) => void;
	/** Further arguments for QEMU. */
	readonly qemu?: readonly string[];
	/** Further parameters on the kernel's command line. */
	readonly append?: string;
	readonly interrupted?: AbortSignal;
}

/** What came of it. */
export interface LabResult {
	/** The script's exit code. */
	readonly code: number;
	/** Reads a file that the job left in `/job`, or undefined. */
	readonly file: (name: string) => string | undefined;
}

/** Boots a kernel under software emulation with this machine's file system as its root, runs the script, and powers off. */
export async function bootLab(run: LabRun): Promise<LabResult> {
	if (process.platform !== "linux" || process.arch !== "x64")
		throw new LabError(
			`The lab emulates x86-64 with this machine's own programs in it, and needs x86-64 Linux; this is ${process.arch} ${process.platform}`,
		);
	const system = labSystem();
	const kernel = labKernel(run.kernel, system);
	const job = mkdtempSync(join(tmpdir(), "vfio-lab-"));
	try {
		const initramfs = join(job, "initramfs");
		writeInitramfs(initramfs, kernel, join(system.folder, "bin/busybox"));
		writeFileSync(join(job, "job.sh"), jobScript(run.script, system));
		const disk = join(job, "disk.raw");
		writeLabDisk(disk);
		await emulate(run, system, [
			...[
				"-nodefaults",
				"-no-user-config",
				"-display",
				"none",
				"-no-reboot",
				"-machine",
				"q35",
				"-accel",
				"tcg,thread=multi",
			],
			// One processor: QEMU 10.0.2 loses accesses of a processor while another one changes what decodes where, as a reset or
			// a BAR that moves does; one that is meant for a local interrupt controller ends that processor's timer for good.
			...["-cpu", "max,+svm", "-smp", "1", "-m", "3G", "-device", "intel-iommu,intremap=on,caching-mode=on"],
			...["-kernel", kernel.image, "-initrd", initramfs, "-append", commandLine(kernel.modules, run.append)],
			...["-serial", "stdio", "-monitor", "none"],
			...["-fsdev", `local,id=job,path=${job},security_model=none,multidevs=remap`],
			...["-device", "virtio-9p-pci,fsdev=job,mount_tag=job,addr=0x3"],
			...["-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"],
			...["-device", "virtio-9p-pci,fsdev=root,mount_tag=root,addr=0x4"],
			...deviceArguments(disk),
			...(run.qemu ?? []),
		]);
		const code = read(join(job, "exit-code"));
		if (code === undefined) throw new LabError("The lab's guest ended before its job did");
		const files = new Map<string, string | undefined>();
		for (const name of ["output.json", "record.json"]) files.set(name, read(join(job, name)));
		return { code: Number(code), file: (name) => files.get(name) };
	} finally {
		rmSync(job, { recursive: true, force: true });
	}
}

function commandLine(modules: string, more = ""): string {
	// iommu=nopt keeps devices behind page tables; the rest saves time under emulation.
	return `console=ttyS0 quiet loglevel=4 panic=-1 intel_iommu=on iommu=nopt tsc=reliable no_timer_check mitigations=off lab.modules=${modules} ${more}`;
}

function jobScript(script: string, system: LabSystem): string {
	const node = join(process.execPath, "..");
	const [loader, args] = system.command("bin/kmod", []);
	const kmod = [loader, ...args].join(" ").replace("--argv0 bin/kmod", "--argv0 modprobe");
	return `export PATH=${node}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TERM=dumb
modprobe() { ${kmod} "$@"; }
cd '${process.cwd()}' || exit 1
${script}
`;
}

function emulate(run: LabRun, system: LabSystem, args: readonly string[]): Promise<void> {
	const data = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"].flatMap((path) => [
		"-L",
		join(system.folder, path),
	]);
	const [file, command] = system.command("usr/bin/qemu-system-x86_64", [...data, ...args]);
	const modules = join(system.folder, "usr/lib/x86_64-linux-gnu/qemu");
	const qemu = spawn(file, command, {
		stdio: ["ignore", "pipe", "pipe"],
		env: { ...process.env, QEMU_MODULE_DIR: modules },
	});
	const last: string[] = [];
	let rest = "";
	const receive = (chunk: Buffer) => {
		const lines = (rest + chunk.toString("utf8")).replaceAll("\r", "").split("\n");
		rest = lines.pop() ?? "";
		for (const line of lines) {
			last.push(line);
			if (last.length > 20) last.shift();
			run.onLine(line);
		}
	};
	qemu.stdout.on("data", receive);
	qemu.stderr.on("data", receive);
	return new Promise((resolve, reject) => {
		let failure: LabError | undefined;
		const end = (reason: string) => {
			failure = new LabError(`${reason}; its console ended with:\n${last.join("\n")}`);
			qemu.kill("SIGKILL");
		};
		const timer = setTimeout(() => end(`The lab's job did not end within ${run.limit} s`), run.limit * 1000);
		const abort = () => end("Interrupted");
		run.interrupted?.addEventListener("abort", abort);
		qemu.on("error", (error) => {
			failure = new LabError(`Cannot start QEMU: ${error.message}`);
		});
		qemu.on("close", (code) => {
			clearTimeout(timer);
			run.interrupted?.removeEventListener("abort", abort);
			if (failure) reject(failure);
			else if (code !== 0) reject(new LabError(`QEMU ended with ${code}:\n${last.join("\n")}`));
			else resolve();
		});
	});
}

function read(file: string): string | undefined {
	return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}
