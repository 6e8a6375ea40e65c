/** Bytes as a person writes them: `16 KiB`, `1 MiB`, `1464 bytes`. */
export function formatSize(bytes: number): string {
	for (const [unit, size] of [
		["GiB", 2 ** 30],
		["MiB", 2 ** 20],
		["KiB", 2 ** 10],
	] as const)
		if (bytes >= size && bytes % (size / 4) === 0) return `${bytes / size} ${unit}`;
	return `${bytes} byte${bytes === 1 ? "" : "s"}`;
}

/** A number in hexadecimal, as addresses and register offsets are written. */
export function hex(value: number | bigint, digits = 0): string {
	return `0x${value.toString(16).padStart(digits, "0")}`;
}

/** Rows as columns of equal width, the last one ragged. */
export function table(rows: readonly (readonly string[])[], indent = ""): string {
	const widths: number[] = [];
	for (const row of rows)
		for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
	return rows
		.map(
			(row) =>
				indent +
				row
					.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
					.join("  ")
					.trimEnd(),
		)
		.join("\n");
}

/** Text in lines of a width, broken between words; lines that it has already stay. */
export function wrap(text: string, width: number): string {
	return text
		.split("\n")
		.map((line) => {
			const lines = [""];
			for (const word of line.split(" ")) {
				const last = lines.at(-1) ?? "";
				if (last !== "" && last.length + 1 + word.length > width) lines.push(word);
				else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
			}
			return lines.join("\n");
		})
		.join("\n");
}

/** `1 interrupt`, `2 interrupts`. */
export function count(number: number, noun: string): string {
	return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** A register's value in hexadecimal, as lspci prints it: no prefix. */
export function hexDigits(value: number, digits: number): string {
	return value.toString(16).padStart(digits, "0");
}
