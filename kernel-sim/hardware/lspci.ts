/**
 * Reads what `lspci -vvvnnxxxx` prints, and every shorter form down to `lspci -x`: the bytes are the truth, the text adds
 * what they cannot tell, such as the size of a BAR.
 *
 * @module
 */

import { VfioError, type VfioErrorCode } from "../../core/errors.ts";
import { comparePciAddresses, formatPciAddress, type PciAddress, parsePciAddress } from "../../core/host/address.ts";

/** A `Region` or `Expansion ROM` line. */
export interface ParsedRegion {
	/** 0 to 5; 6 is the expansion ROM. */
	readonly index: number;
	readonly space: "memory" | "io";
	/** Where Linux has put it; undefined for `<unassigned>` and `<ignored>`. */
	readonly address: bigint | undefined;
	/** The register is 64 bits wide. */
	readonly wide: boolean;
	readonly prefetchable: boolean;
	/** Bytes; undefined when it was not printed. */
	readonly size: number | undefined;
	/** `[virtual]`: Linux knows it, the function's own registers do not. So are the BARs of SR-IOV virtual functions. */
	readonly virtual: boolean;
	readonly disabled: boolean;
}

/** One device of the text. */
export interface ParsedFunction {
	readonly address: PciAddress;
	/** The address as sysfs has it, such as `0000:05:00.0`. */
	readonly name: string;
	/** The line of the text that starts it, counted from 1. */
	readonly line: number;
	/** What follows the address there. */
	readonly title: string;
	/** Vendor and device as the title has them (`-nn` and `-n`). */
	readonly ids: { readonly vendor: number; readonly device: number } | undefined;
	/** Configuration space: 64, 128, 256 or 4096 bytes, as many as were printed. */
	readonly config: Uint8Array;
	/** BARs only: the `Region` lines inside an SR-IOV capability are not among them. */
	readonly regions: readonly ParsedRegion[];
	readonly rom: ParsedRegion | undefined;
	readonly iommuGroup: number | undefined;
	readonly numaNode: number | undefined;
	/** `Kernel driver in use`. */
	readonly driver: string | undefined;
}

const HEADER = /^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?:\s+(.*))?$/i;
/** An offset and bytes; or something of that shape where a character went wrong. */
const ROW = /^(?:([0-9a-f]{2,4}):(?:\s+(.*))?|(\S{2,4}):((?:\s+\S\S){4,}))$/i;
/** Newer versions of lspci have "[virtual]" behind the address, older ones in front. */
const REGION = /^(\[virtual\]\s+)?(?:Region ([0-5]):|(Expansion ROM) at)\s*(.*)$/;
const PLACE = /^(?:at\s+)?([0-9a-f]+|<[^>]*>)/i;
const SIZE = /\[size=(\d+)([KMGT]?)\]/;
const IDS = /(?:\[|\s)([0-9a-f]{4}):([0-9a-f]{4})(?:\]|\s|$)/gi;

const BYTES_IN_A_ROW = 16;
/** What -x, -x of a CardBus bridge, -xxx and -xxxx print. */
const DUMP_SIZES: readonly number[] = [64, 128, 256, 4096];
const UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

const REMEDY = ["Paste the output of: sudo lspci -D -vvvnnxxxx"];

function malformed(code: VfioErrorCode, line: number, reason: string, device?: string): VfioError {
	return new VfioError(code, `Cannot read the output of lspci: line ${line}: ${reason}`, {
		remedy: REMEDY,
		...(device === undefined ? {} : { device }),
	});
}

/**
 * Reads the output of lspci.
 *
 * @param text one or more devices, with or without domains, blank lines, indentation and carriage returns as they come;
 *   lines that say nothing to us are skipped
 * @returns the devices in address order
 * @throws VfioError `malformed-config-space` when bytes are missing or wrong, `invalid-argument` when there is no device
 *   or one comes twice; the message has the number of the line
 * @example
 * ```ts
 * const [nvme] = parseLspci(text);
 * console.log(nvme?.name, nvme?.regions[0]?.size); // 0000:05:00.0 16384
 * ```
 */
export function parseLspci(text: string): ParsedFunction[] {
	const found = new Map<string, FunctionText>();
	let current: FunctionText | undefined;
	const lines = text.split(/\r\n|\r|\n/);
	lines.forEach((raw, index) => {
		const line = index + 1;
		const content = raw.trim();
		const header = HEADER.exec(content);
		if (header) {
			current?.finish();
			const address = readAddress(header[1] as string, line);
			current = new FunctionText(address, line, header[2] ?? "");
			const earlier = found.get(current.name);
			if (earlier)
				throw malformed(
					"invalid-argument",
					line,
					`${current.name} was described before, in line ${earlier.line}; each device may come once`,
					current.name,
				);
			found.set(current.name, current);
			return;
		}
		const row = ROW.exec(content);
		if (row) {
			if (!current)
				throw malformed(
					"malformed-config-space",
					line,
					'bytes without a device; expected a line such as "05:00.0 Non-Volatile memory controller" before them',
				);
			current.row(line, row[1] ?? (row[3] as string), row[2] ?? row[4] ?? "");
		} else current?.text(content);
	});
	current?.finish();
	if (found.size === 0)
		throw malformed(
			"invalid-argument",
			1,
			'there is no device; expected a line such as "05:00.0 Non-Volatile memory controller [0108]: …"',
		);
	return [...found.values()].sort((a, b) => comparePciAddresses(a.address, b.address));
}

function readAddress(text: string, line: number): PciAddress {
	try {
		return parsePciAddress(text);
	} catch (cause) {
		const reason = cause instanceof VfioError ? cause.message : String(cause);
		throw malformed("invalid-argument", line, reason);
	}
}

/** A device while its lines are read. */
class FunctionText implements ParsedFunction {
	readonly address: PciAddress;
	readonly name: string;
	readonly line: number;
	readonly title: string;
	readonly ids: { readonly vendor: number; readonly device: number } | undefined;
	config = new Uint8Array(0);
	readonly regions: ParsedRegion[] = [];
	rom: ParsedRegion | undefined;
	iommuGroup: number | undefined;
	numaNode: number | undefined;
	driver: string | undefined;
	readonly #bytes: number[] = [];
	/** Behind the first capability a `Region` is one of the virtual functions' (its indentation may be lost). */
	#inCapabilities = false;
	#lastRow: number;

	constructor(address: PciAddress, line: number, title: string) {
		this.address = address;
		this.name = formatPciAddress(address);
		this.line = line;
		this.title = title;
		this.#lastRow = line;
		// Names may contain brackets too: the identifiers are what comes last.
		const ids = [...title.matchAll(IDS)].at(-1);
		this.ids = ids && { vendor: Number.parseInt(ids[1] ?? "", 16), device: Number.parseInt(ids[2] ?? "", 16) };
	}

	text(content: string): void {
		if (content.startsWith("Capabilities:")) this.#inCapabilities = true;
		const region = this.#inCapabilities ? null : REGION.exec(content);
		if (region) {
			const parsed = readRegion(region[3] ? 6 : Number(region[2]), `${region[1] ?? ""}${region[4] ?? ""}`);
			if (parsed.index === 6) this.rom = parsed;
			else this.regions.push(parsed);
			return;
		}
		this.iommuGroup ??= number(/^IOMMU group:\s*(\d+)/.exec(content));
		this.numaNode ??= number(/^NUMA node:\s*(\d+)/.exec(content));
		this.driver ??= /^Kernel driver in use:\s*(\S+)/.exec(content)?.[1];
	}

	row(line: number, offset: string, text: string): void {
		const expected = this.#bytes.length;
		const at = /^[0-9a-f]+$/i.test(offset) ? Number.parseInt(offset, 16) : Number.NaN;
		if (at !== expected) throw this.#malformed(line, `the row starts at "${offset}"; expected "${hex(expected)}"`);
		const bytes = text.trim().split(/\s+/);
		for (let i = 0; i < BYTES_IN_A_ROW; i++) {
			const byte = bytes[i];
			if (byte === undefined || byte === "")
				throw this.#malformed(line, `the row has ${i} bytes; expected ${BYTES_IN_A_ROW}`);
			if (!/^[0-9a-f]{2}$/i.test(byte))
				throw this.#malformed(line, `byte ${i + 1} of the row is "${byte}"; expected two hexadecimal digits`);
			this.#bytes.push(Number.parseInt(byte, 16));
		}
		if (bytes.length > BYTES_IN_A_ROW)
			throw this.#malformed(line, `the row has ${bytes.length} bytes; expected ${BYTES_IN_A_ROW}`);
		if (this.#bytes.length > 4096) throw this.#malformed(line, "the dump goes on after 4096 bytes; expected its end");
		this.#lastRow = line;
	}

	/** The next device starts, or the text ends. */
	finish(): void {
		const length = this.#bytes.length;
		if (length === 0)
			throw this.#malformed(this.line, `${this.name} has no bytes; expected rows such as "00: 86 80 …" below it`);
		if (!DUMP_SIZES.includes(length)) {
			const reason = `the dump of ${this.name} ends after ${length} bytes; expected row "${hex(length)}" next`;
			throw this.#malformed(this.#lastRow, `${reason}, as a dump has 64, 128, 256 or 4096 bytes`);
		}
		this.config = Uint8Array.from(this.#bytes);
		this.#bytes.length = 0;
	}

	#malformed(line: number, reason: string): VfioError {
		return malformed("malformed-config-space", line, reason, this.name);
	}
}

function readRegion(index: number, text: string): ParsedRegion {
	// "Memory at fe00 (64-bit, prefetchable) [virtual] [size=16K]"; older lspci has "[virtual]" first.
	const virtual = text.includes("[virtual]");
	const place = text.replace(/^\[[a-z]+\]\s*/, "").replace(/^(?:Memory|I\/O ports)\s+/, "");
	const address = PLACE.exec(place)?.[1] ?? "<unassigned>";
	const size = SIZE.exec(text);
	return {
		index,
		space: text.includes("I/O ports") ? "io" : "memory",
		address: address.startsWith("<") ? undefined : BigInt(`0x${address}`),
		wide: text.includes("64-bit"),
		prefetchable: /[( ]prefetchable/.test(text),
		size: size ? Number(size[1]) * (UNITS[size[2] ?? ""] ?? 1) : undefined,
		virtual,
		disabled: text.includes("[disabled]"),
	};
}

function number(match: RegExpExecArray | null): number | undefined {
	return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** An offset as lspci prints it: two digits, three from 0x100 on. */
function hex(offset: number): string {
	return offset.toString(16).padStart(2, "0");
}
