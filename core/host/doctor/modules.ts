/**
 * Is VFIO in the kernel? A module shows in /sys/module, built in or loaded.
 *
 * @module
 */
import type { Kernel } from "../../kernel.ts";
import { PciSysfs } from "../sysfs.ts";
import { type Check, type HostSubject, namesIn, type Outcome } from "./check.ts";

const BUILT = 'Where that fails, the kernel is built without: grep VFIO "/boot/config-$(uname -r)" shows it.';

/** VFIO, its IOMMU driver, and its PCI driver. */
export const MODULES: readonly Check<HostSubject>[] = [
	{
		item: "module vfio",
		examine: ({ kernel }) => loaded(hasModule(kernel, "vfio") || has(kernel, "/sys/class/vfio"), "vfio-pci", BUILT),
	},
	{
		item: "module vfio_iommu_type1",
		examine({ kernel }) {
			const present = hasModule(kernel, "vfio_iommu_type1");
			if (!present && hasModule(kernel, "iommufd") && has(kernel, "/sys/class/misc/vfio"))
				return { level: "unknown", text: "Not loaded; where iommufd stands in for the container, it is not needed" };
			return loaded(present, "vfio_iommu_type1");
		},
	},
	{
		item: "driver vfio-pci",
		examine: ({ kernel }) =>
			namesIn(kernel, "/sys/bus/pci") === undefined
				? { level: "problem", text: "This host has no PCI bus: /sys/bus/pci does not exist" }
				: loaded(new PciSysfs(kernel).driverExists("vfio-pci"), "vfio-pci"),
	},
];

function has(kernel: Kernel, path: string): boolean {
	return namesIn(kernel, path) !== undefined;
}

function hasModule(kernel: Kernel, name: string): boolean {
	return has(kernel, `/sys/module/${name}`);
}

function loaded(present: boolean, module: string, ...more: string[]): Outcome {
	if (present) return { level: "ok", text: "Loaded" };
	return { level: "problem", text: "Not loaded", remedy: [`sudo modprobe ${module}`, ...more] };
}
