/**
 * Addresses that an IOMMU group keeps for itself (`reserved_regions` in sysfs).
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { readText } from "./sysfs.ts";

/** A stretch of addresses where no guest memory can be mapped. */
export interface ReservedRegion {
	/** The first address. */
	readonly start: bigint;
	/** The last address, not the one after it. */
	readonly end: bigint;
	/** As a person writes it: `0xfee00000-0xfeefffff`. */
	readonly range: string;
	/** `msi`; `direct` for what the firmware itself reaches; `direct-relaxable` for what is given up; `reserved`. */
	readonly kind: string;
}

const LINE = /^0x0*([0-9a-f]+) 0x0*([0-9a-f]+) (\S+)$/i;

/** @param group its number @returns undefined when the kernel does not say */
export function reservedRegions(kernel: Kernel, group: number): ReservedRegion[] | undefined {
	let text: string;
	try {
		text = readText(kernel, `/sys/kernel/iommu_groups/${group}/reserved_regions`);
	} catch (error) {
		if (error instanceof VfioError) return undefined;
		throw error;
	}
	return text.split("\n").flatMap((line) => {
		const [, start, end, kind] = LINE.exec(line) ?? [];
		if (!start || !end || !kind) return [];
		return [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`), range: `0x${start}-0x${end}`, kind }];
	});
}

/**
 * Where the firmware wants a device of the group to reach memory whatever happens (RMRR, unity mapping): Linux assigns no
 * such device.
 *
 * @returns undefined when it wants nothing, as is usual
 */
export function firmwareRegions(kernel: Kernel, group: number): string | undefined {
	const direct = (reservedRegions(kernel, group) ?? []).filter(({ kind }) => kind === "direct");
	return direct.length === 0 ? undefined : direct.map(({ range }) => range).join(", ");
}

/** What can be done about {@link firmwareRegions}. */
export const FIRMWARE_REMEDY: readonly string[] = [
	"Look in the firmware setup for what uses it: remote management, legacy USB, shared memory features.",
	"A firmware update may drop the RMRR (Intel) or the unity mapping (AMD) of this device.",
];
