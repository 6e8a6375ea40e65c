import { dirname } from "node:path";
import { CACHE } from "./cache.ts";
import { strace } from "./judge/strace.ts";

/** A job of the lab: a shell script that runs in the guest, in the project's folder, as root. */
export interface LabJob {
	readonly summary: string;
	/** Seconds after which the run is ended. */
	readonly limit: number;
	/** Further arguments for the QEMU that is the host. */
	readonly qemu?: readonly string[];
	/** Further parameters on the kernel's command line. */
	readonly append?: string;
	/** @param words what followed the job's name on the command line */
	script(words: readonly string[]): string;
}

// vfio-pci for the devices, and the type 1 IOMMU that the container asks for by name.
const MODULES = "modprobe vfio-pci && modprobe vfio_iommu_type1 || exit 1";

// A driver that wants a device of a shared group, and one that lets it be.
const NATIVE_DRIVERS = "modprobe e1000; modprobe pci-stub";

// The emulated processor has AMD's virtualization.
const KVM = "modprobe kvm_amd";
// Linux's samples of mediated devices, which Debian's kernels do not have.
const SAMPLES = "for sample in mtty mdpy; do modprobe $sample 2>/dev/null; done";
const CONTRACT = "node_modules/.bin/tsx test/contract/main.ts --kernel linux";

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

const job = (name: string, words: readonly string[]) =>
	`node_modules/.bin/tsx test/lab/jobs/${name}.ts ${words.map(quoted).join(" ")}`;

/** The jobs, by name. */
export const JOBS: Readonly<Record<string, LabJob>> = {
	shell: {
		summary: "runs the words after it as a shell command: npm run lab -- shell 'ls /dev/vfio'",
		limit: 600,
		script: (words) => `${MODULES}\n${words.join(" ")}`,
	},
	contract: {
		summary: "the contract suite on a real kernel; --out FILE takes the result as JSON",
		limit: 600,
		script: (words) =>
			`${MODULES}\n${NATIVE_DRIVERS}\n${KVM}\n${SAMPLES}\n${CONTRACT} --out /job/output.json ${words.map(quoted).join(" ")}`,
	},
	record: {
		summary: "writes what a real kernel answers to every call of the contract suite to --out FILE",
		limit: 600,
		script: (words) =>
			`${MODULES}\n${NATIVE_DRIVERS}\n${KVM}\n${SAMPLES}\n${CONTRACT} --record /job/output.json ${words.map(quoted).join(" ")}`,
	},
	"no-iommu": {
		summary:
			"the contract's cases for a host without an IOMMU, with --kernel own; --out FILE takes every call and its answer",
		limit: 300,
		append: "intel_iommu=off",
		script: (words) =>
			`${MODULES}\n${CONTRACT} --case I.2/no-iommu --record /job/output.json ${words.map(quoted).join(" ")}`,
	},
	run: {
		summary: "the main job on real VFIO: the embedded guest drives QEMU's devices through /dev/vfio, and by iommufd",
		limit: 400,
		// The devices start with the driver that Linux has for them, which they must have again in the end.
		script: (words) => `${MODULES}\nmodprobe nvme\n${job("run", words)}`,
	},
	attach: {
		summary: "every device of the lab's host through the core, as a VMM would: memory, BARs, interrupts, DMA, reset",
		limit: 300,
		script: (words) => `${MODULES}\n${job("attach", words)}`,
	},
	systems: {
		summary:
			"mediated devices by sysfsdev, passed descriptors without privileges, iommufd; most of it needs --kernel own",
		limit: 300,
		script: (words) => `${MODULES}\n${SAMPLES}\nmodprobe iommufd 2>/dev/null\n${job("systems", words)}`,
	},
	kvm: {
		summary: "interrupts of real devices through VFIO and KVM into the controllers of a virtual machine",
		limit: 300,
		script: (words) => `${MODULES}\n${KVM}\n${job("kvm", words)}`,
	},
	bench: {
		summary: "how fast the library is on the real kernel, as ratios to a C program",
		limit: 300,
		// Two processors, since one program has to sleep while another signals it.
		qemu: ["-smp", "2"],
		script: (words) => `${MODULES}\n${job("bench", words)}`,
	},
	judge: {
		summary:
			"a real QEMU and our machine with the same devices: every answer to the same scripts compared, kernel calls counted",
		limit: 1200,
		script: (words) => {
			strace(); // fetched here: the guest has no network
			return `${MODULES}\nVFIO_TS_CACHE=${quoted(dirname(CACHE))} node_modules/.bin/tsx test/lab/judge/main.ts ${words.map(quoted).join(" ")}`;
		},
	},
};
