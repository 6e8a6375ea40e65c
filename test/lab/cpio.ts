/** A file of an initramfs. */
export interface CpioEntry {
	/** Without a leading slash. */
	readonly path: string;
	/** File type and permissions, as stat(2) has them. */
	readonly mode: number;
	/** The file's bytes, or a symbolic link's target. */
	readonly data: Buffer;
}

/** An archive in the format the kernel unpacks ("newc": Documentation/driver-api/early-userspace/buffer-format.rst). */
export function cpio(entries: readonly CpioEntry[]): Buffer {
	const parts: Buffer[] = [];
	const trailer = { path: "TRAILER!!!", mode: 0, data: Buffer.alloc(0) };
	for (const [index, { path, mode, data }] of [...entries, trailer].entries()) {
		const name = Buffer.from(`${path}\0`);
		const fields = [index + 1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
		const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
		parts.push(Buffer.from(header), name, padding(header.length + name.length), data, padding(data.length));
	}
	return Buffer.concat(parts);
}

function padding(length: number): Buffer {
	return Buffer.alloc(-length & 3);
}
