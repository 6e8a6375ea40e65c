/**
 * What /proc and /sys/module say about the system as a whole.
 *
 * @module
 */
import type { FileSystem } from "../filesystem.ts";
import type { ModuleParameters } from "../parameters.ts";

/** Makes the files of /proc that are not about a process. */
export function addSystemFiles(
	files: FileSystem,
	options: { release: string; iommu: boolean; interrupts: () => string },
): void {
	const { release, iommu, interrupts } = options;
	files.text("/proc/version", `Linux version ${release} (simulated) #1 SMP PREEMPT_DYNAMIC`);
	files.text("/proc/sys/kernel/osrelease", release);
	files.attribute("/proc/interrupts", { show: interrupts });
	files.text("/proc/cmdline", `BOOT_IMAGE=/boot/vmlinuz-${release} ro quiet${iommu ? " intel_iommu=on" : ""}`);
}

/** Makes the directories of loaded modules, with their parameters. */
export function addModuleFiles(files: FileSystem, parameters: ModuleParameters): void {
	files.attribute("/proc/modules", {
		show: () => parameters.modules.map((module) => `${module} 65536 0 - Live 0x0000000000000000\n`).join(""),
	});
	for (const module of parameters.modules) {
		files.directory(`/sys/module/${module}`);
		for (const [name, mode] of parameters.visible(module))
			files.attribute(
				`/sys/module/${module}/parameters/${name}`,
				{
					show: () => `${parameters.text(module, name)}\n`,
					store: (text) => parameters.store(module, name, text),
				},
				mode,
			);
	}
}
