/**
 * Who on the host uses the memory of a PCI function's BAR (`/proc/iomem`).
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { PciSysfs, readText } from "./sysfs.ts";

/** Names of ranges that are the device's own, or VFIO's. */
const OWN = /^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|vfio-pci|PCI Bus.*)$/;

/**
 * The names of the ranges inside a BAR that belong to somebody else, such as a boot framebuffer. The file shows addresses to
 * root only: to anybody else, and where it cannot be read, there is nobody.
 *
 * @param device such as `0000:05:00.0`
 * @param bar 0 to 5
 */
export function holdersOfBar(kernel: Kernel, device: string, bar: number): string[] {
	try {
		const resource = new PciSysfs(kernel).resources(device)[bar];
		if (!resource || resource.end <= resource.start) return [];
		const names = readText(kernel, "/proc/iomem")
			.split("\n")
			.flatMap((line) => {
				const [, start, end, name] = /^\s*([0-9a-f]+)-([0-9a-f]+) : (.*)$/.exec(line) ?? [];
				if (start === undefined || end === undefined || name === undefined || OWN.test(name)) return [];
				const inside = BigInt(`0x${start}`) >= resource.start && BigInt(`0x${end}`) <= resource.end;
				return inside ? [name] : [];
			});
		return [...new Set(names)];
	} catch (error) {
		if (error instanceof VfioError) return [];
		throw error;
	}
}
