import { truncateSync, writeFileSync } from "node:fs";
import { patternContent } from "../../kernel-sim/hardware/models/nvme/namespace.ts";

/** What the drive's controller says it has, in bytes: as much as the drive without content. */
const SIZE = 64 * 1024 * 1024;
/** More than the main job's guest reads. The rest is a hole, which costs nothing. */
const CONTENT = 4 * 1024 * 1024;

/** The first bytes of the lab's NVMe drive: each 8 of them hold their own offset, as on the simulated disk. */
export function labDiskContent(length: number): Uint8Array {
	const bytes = new Uint8Array(length);
	patternContent(0, bytes);
	return bytes;
}

/** Writes the file behind the lab's second NVMe drive. */
export function writeLabDisk(file: string): void {
	writeFileSync(file, labDiskContent(CONTENT));
	truncateSync(file, SIZE);
}
