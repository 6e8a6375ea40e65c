/**
 * Is an IOMMU on? Linux makes IOMMU groups when it is, so they are the proof; what the firmware offers says why not.
 *
 * @module
 */
import type { Kernel } from "../../kernel.ts";
import { type Check, count, evidence, type HostSubject, namesIn } from "./check.ts";

const GROUPS = "/sys/kernel/iommu_groups";
const UNITS = "/sys/class/iommu";
const TABLES = "/sys/firmware/acpi/tables";

/** An IOMMU of the host. */
export interface IommuUnit {
	/** As in /sys/class/iommu: `dmar0`. */
	readonly name: string;
	readonly kind: "Intel VT-d" | "AMD-Vi" | "Arm SMMU" | "other";
	/** How wide the addresses are that devices may use; undefined when sysfs does not say. */
	readonly addressBits: number | undefined;
	/** Whether the unit can remap interrupts; undefined when sysfs does not say. */
	readonly remapsInterrupts: boolean | undefined;
}

/** The IOMMUs that Linux uses. */
export function iommuUnits(kernel: Kernel): IommuUnit[] {
	return (namesIn(kernel, UNITS) ?? []).map((name) => {
		// Intel VT-d specification, 11.4.2 and 11.4.3: CAP.MGAW is bits 21:16, ECAP.IR is bit 3.
		const capabilities = register(kernel, `${UNITS}/${name}/intel-iommu/cap`);
		const extended = register(kernel, `${UNITS}/${name}/intel-iommu/ecap`);
		return {
			name,
			kind: kindOf(kernel, name),
			addressBits: capabilities === undefined ? undefined : Number((capabilities >> 16n) & 0x3fn) + 1,
			remapsInterrupts: extended === undefined ? undefined : ((extended >> 3n) & 1n) === 1n,
		};
	});
}

/** How many IOMMU groups there are. */
export function countGroups(kernel: Kernel): number {
	return namesIn(kernel, GROUPS)?.length ?? 0;
}

/** The words of the kernel's command line. */
export function commandLine(kernel: Kernel): readonly string[] {
	return (evidence(kernel, "/proc/cmdline") ?? "").split(/\s+/);
}

/** Is an IOMMU on? */
export const IOMMU: Check<HostSubject> = {
	item: "IOMMU",
	examine({ kernel }) {
		const groups = countGroups(kernel);
		if (groups > 0) {
			const units = iommuUnits(kernel).map(describe);
			const where = units.length === 0 ? "" : `: ${units.join(", ")}`;
			return { level: "ok", text: `On${where}; ${count(groups, "IOMMU group")}` };
		}
		const { text, remedy } = whyOff(kernel);
		return { level: "problem", text: `Off, since Linux made no IOMMU groups: ${text}`, remedy };
	},
};

function describe({ name, kind, addressBits }: IommuUnit): string {
	const facts = [kind === "other" ? "" : kind, addressBits === undefined ? "" : `${addressBits}-bit addresses`];
	const known = facts.filter((fact) => fact !== "").join(", ");
	return known === "" ? name : `${name} (${known})`;
}

function kindOf(kernel: Kernel, name: string): IommuUnit["kind"] {
	const files = namesIn(kernel, `${UNITS}/${name}`) ?? [];
	if (files.includes("intel-iommu")) return "Intel VT-d";
	if (files.includes("amd-iommu")) return "AMD-Vi";
	return name.startsWith("smmu") ? "Arm SMMU" : "other";
}

/** A register as the IOMMU drivers print it: hexadecimal, no prefix. */
function register(kernel: Kernel, path: string): bigint | undefined {
	const text = evidence(kernel, path)?.trim() ?? "";
	return /^[0-9a-f]+$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

const REBOOT = "Then reboot.";

function whyOff(kernel: Kernel): { text: string; remedy: readonly string[] } {
	const off = commandLine(kernel).find((word) => /^(iommu|intel_iommu|amd_iommu)=(.*,)?off\b/.test(word));
	if (off !== undefined)
		return {
			text: `the kernel's command line says "${off}"`,
			remedy: [
				`Take "${off}" from the kernel's command line, in /etc/default/grub or where your boot loader has it.`,
				REBOOT,
			],
		};
	const tables = namesIn(kernel, TABLES);
	if (tables?.includes("DMAR"))
		return {
			text: "the firmware describes an Intel VT-d (table DMAR), and Linux does not use it",
			remedy: ["Add intel_iommu=on to the kernel's command line.", REBOOT],
		};
	if (tables?.includes("IVRS"))
		return {
			text: "the firmware describes an AMD-Vi (table IVRS), and Linux does not use it",
			remedy: ["A kernel built without CONFIG_AMD_IOMMU cannot; dmesg | grep AMD-Vi shows what else went wrong."],
		};
	return {
		text: tables ? "the firmware describes none (no table DMAR or IVRS)" : "there is none, or it is switched off",
		remedy: [
			"Switch it on in the firmware setup: VT-d on Intel, AMD-Vi or IOMMU on AMD, SMMU on Arm.",
			"On Intel, add intel_iommu=on to the kernel's command line as well.",
			"A virtual machine needs one from its hypervisor: qemu -machine q35,kernel-irqchip=split -device intel-iommu,intremap=on",
			REBOOT,
		],
	};
}
