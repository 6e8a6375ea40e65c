import { UsageError } from "./usage-error.ts";

const UNITS = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 } as const;

/**
 * A size as QEMU takes it: bytes, or with a suffix K, M, G or T.
 *
 * @param name the option that it is the value of
 * @returns bytes
 * @throws UsageError
 * @example
 * ```ts
 * parseSize("memory", "4G"); // 4294967296
 * ```
 */
export function parseSize(name: string, text: string): number {
	const parts = /^(\d+)([KMGT]?)(?:i?B)?$/i.exec(text);
	const unit = parts?.[2]?.toUpperCase() as keyof typeof UNITS | "" | undefined;
	const bytes = Number(parts?.[1] ?? "0") * (unit ? UNITS[unit] : 1);
	if (!(bytes > 0 && bytes <= Number.MAX_SAFE_INTEGER))
		throw new UsageError(`Option "--${name}" takes a size such as 16M or 4G, not "${text}"`);
	return bytes;
}
