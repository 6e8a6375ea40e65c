import { describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import { parseLspci } from "../../../kernel-sim/hardware/lspci.ts";
import { bytesOnly, fixture, singleDevices } from "./fixtures.ts";

function failure(text: string): VfioError {
	try {
		parseLspci(text);
	} catch (error) {
		if (error instanceof VfioError) return error;
		throw error;
	}
	throw new Error("it was accepted");
}

const row = (offset: number, fill = "00") =>
	`${offset.toString(16).padStart(2, "0")}: ${new Array(16).fill(fill).join(" ")}`;
const rows = (bytes: number, fill?: string) =>
	Array.from({ length: bytes / 16 }, (_, i) => row(i * 16, fill)).join("\n");

describe("parseLspci()", () => {
	it("reads a whole host", () => {
		const functions = parseLspci(fixture("host.txt"));
		expect(functions).toHaveLength(40);
		expect(functions.map((fn) => fn.name).slice(0, 4)).toEqual([
			"0000:00:00.0",
			"0000:00:03.0",
			"0000:00:04.0",
			"0000:00:08.0",
		]);
		const nvme = functions.find((fn) => fn.name === "0000:05:00.0");
		expect(nvme).toMatchObject({
			ids: { vendor: 0x1b36, device: 0x0010 },
			iommuGroup: 25,
			driver: undefined,
			rom: undefined,
			regions: [
				{
					index: 0,
					space: "memory",
					address: 0xfde00000n,
					wide: true,
					prefetchable: false,
					size: 16384,
					virtual: false,
					disabled: false,
				},
			],
		});
		expect(nvme?.config).toHaveLength(4096);
		expect(nvme?.title).toContain("QEMU NVM Express Controller");
		expect(functions.find((fn) => fn.name === "0000:00:08.0")?.driver).toBe("pcieport");
		expect(functions.find((fn) => fn.name === "0000:08:00.0")).toMatchObject({
			driver: "virtio-pci",
			rom: { index: 6, address: 0xfd800000n, size: 256 * 1024, disabled: true },
		});
	});

	it.each(singleDevices)("reads %s", (name) => {
		const functions = parseLspci(fixture(name));
		expect(functions).toHaveLength(1);
		expect([256, 4096]).toContain(functions[0]?.config.length);
		expect(functions[0]?.iommuGroup).toBeGreaterThan(0);
	});

	it("takes the BARs, not the regions of the virtual functions", () => {
		const igb = parseLspci(fixture("82576.txt"))[0];
		expect(igb?.regions.map((region) => [region.index, region.space, region.size])).toEqual([
			[0, "memory", 131072],
			[1, "memory", 131072],
			[2, "io", 32],
			[3, "memory", 16384],
		]);
		// The same when a mail program has eaten the indentation.
		const flat = fixture("82576.txt").replace(/^\s+/gm, "");
		expect(parseLspci(flat)[0]?.regions).toHaveLength(4);
	});

	it.each([
		["carriage returns", (text: string) => text.replaceAll("\n", "\r\n")],
		["indentation", (text: string) => text.replace(/^/gm, "    ")],
		["tabs lost", (text: string) => text.replaceAll("\t", "")],
		["blank lines everywhere", (text: string) => text.replaceAll("\n", "\n\n")],
		["no blank lines", (text: string) => text.replaceAll("\n\n", "\n")],
		["a prompt in front and behind", (text: string) => `$ sudo lspci -D -vvvnnxxxx\n${text}\n$ \n`],
		[
			"upper case",
			(text: string) =>
				text.replace(/^([0-9a-f]+:)(.*)$/gm, (line) => (/: ..( ..){15}$/.test(line) ? line.toUpperCase() : line)),
		],
		[
			"double spaces between bytes",
			(text: string) => text.replace(/^([0-9a-f]{2,3}: .*)$/gm, (line) => line.replaceAll(" ", "  ")),
		],
		["no domains", (text: string) => text.replace(/^0000:/gm, "")],
	])("reads the same with %s", (_what, change) => {
		const whole = ["nvme.txt", "82574l.txt", "edu.txt"].map(fixture).join("");
		const facts = (text: string) =>
			parseLspci(text).map(({ name, config, regions, rom, iommuGroup, driver }) => ({
				name,
				config: config.join(),
				regions,
				rom,
				iommuGroup,
				driver,
			}));
		expect(facts(change(whole))).toEqual(facts(whole));
	});

	it("reads bytes alone", () => {
		const functions = parseLspci(bytesOnly(fixture("host.txt")));
		expect(functions).toHaveLength(40);
		expect(functions.every((fn) => fn.regions.length === 0 && fn.iommuGroup === undefined)).toBe(true);
	});

	it.each([64, 128, 256, 4096])("reads a dump of %i bytes", (bytes) => {
		expect(parseLspci(`05:00.0 Device\n${rows(bytes)}\n`)[0]?.config).toHaveLength(bytes);
	});

	it.each([
		["05:00.0 Non-Volatile memory controller [0108]: Samsung [144d:a808]", { vendor: 0x144d, device: 0xa808 }],
		["05:00.0 0108: 144d:a808 (rev 01)", { vendor: 0x144d, device: 0xa808 }],
		[
			"05:00.0 Name [beta] [0001:0002]: Strange [dead:beef] Name [144d:a808] (rev 01)",
			{ vendor: 0x144d, device: 0xa808 },
		],
		["05:00.0 Non-Volatile memory controller: Samsung", undefined],
		["05:00.0", undefined],
	])("finds the identifiers in %s", (title, ids) => {
		expect(parseLspci(`${title}\n${rows(64)}`)[0]?.ids).toEqual(ids);
	});

	it.each([
		[
			"Memory at f0000000 (64-bit, prefetchable) [size=256M]",
			{ address: 0xf0000000n, wide: true, prefetchable: true, size: 2 ** 28 },
		],
		[
			"Memory at 6000000000 (64-bit, prefetchable) [disabled] [size=16G]",
			{ address: 0x6000000000n, disabled: true, size: 2 ** 34 },
		],
		[
			"Memory at <unassigned> (32-bit, non-prefetchable) [disabled]",
			{ address: undefined, size: undefined, prefetchable: false },
		],
		["Memory at <ignored> (64-bit, non-prefetchable)", { address: undefined, wide: true }],
		["Memory at fe000000 (64-bit, non-prefetchable) [virtual] [size=16K]", { virtual: true, size: 16384 }],
		["[virtual] Memory at 000001f0 (32-bit, non-prefetchable) [size=8]", { virtual: true, address: 0x1f0n, size: 8 }],
		["I/O ports at e000 [size=32]", { space: "io", address: 0xe000n, size: 32 }],
		["I/O ports at <unassigned> [disabled]", { space: "io", address: undefined, disabled: true }],
		["I/O ports at 01f0 [virtual] [size=8]", { space: "io", virtual: true }],
		["Memory at d0000000 (low-1M, non-prefetchable) [size=4K]", { wide: false, size: 4096 }],
	])("reads region %s", (text, expected) => {
		const parsed = parseLspci(`05:00.0 X\n\tRegion 2: ${text}\n${rows(64)}`);
		expect(parsed[0]?.regions[0]).toMatchObject({ index: 2, ...expected });
	});

	it.each([
		["Expansion ROM at 000c0000 [virtual] [disabled] [size=128K]", { address: 0xc0000n, virtual: true, size: 131072 }],
		["[virtual] Expansion ROM at 000c0000 [disabled] [size=128K]", { address: 0xc0000n, virtual: true, size: 131072 }],
		["Expansion ROM at <ignored> [disabled]", { address: undefined, virtual: false, disabled: true }],
	])("reads %s", (text, expected) => {
		expect(parseLspci(`05:00.0 X\n\t${text}\n${rows(64)}`)[0]?.rom).toMatchObject({ index: 6, ...expected });
	});

	it("reads the NUMA node and a domain of a VMD controller", () => {
		const parsed = parseLspci(`10000:e1:00.0 X\n\tNUMA node: 1\n${rows(64)}`)[0];
		expect(parsed).toMatchObject({ name: "10000:e1:00.0", numaNode: 1 });
	});
});

describe("parseLspci() errors", () => {
	it.each([
		["nothing", "", "invalid-argument", 1, "there is no device"],
		["prose", "Hello,\nplease find attached\n", "invalid-argument", 1, "there is no device"],
		["a device without bytes", "05:00.0 X\n\tRegion 0: Memory\n", "malformed-config-space", 1, "has no bytes"],
		[
			"a device without bytes before another",
			`04:00.0 Y\n05:00.0 X\n${rows(64)}`,
			"malformed-config-space",
			1,
			"0000:04:00.0 has no bytes",
		],
		["bytes without a device", rows(64), "malformed-config-space", 1, "bytes without a device"],
		["a dump that stops at 0x20", `05:00.0 X\n${rows(32)}\n`, "malformed-config-space", 3, 'expected row "20"'],
		["a dump that stops before 4096", `05:00.0 X\n${rows(1024)}\n`, "malformed-config-space", 65, 'expected row "400"'],
		[
			"a row with 15 bytes",
			`05:00.0 X\n${rows(64).replace(" 00\n10:", "\n10:")}`,
			"malformed-config-space",
			2,
			"15 bytes; expected 16",
		],
		[
			"a row with 17 bytes",
			`05:00.0 X\n${rows(64).replace("\n10:", " 00\n10:")}`,
			"malformed-config-space",
			2,
			"17 bytes; expected 16",
		],
		["an empty row", `05:00.0 X\n00:\n`, "malformed-config-space", 2, "0 bytes; expected 16"],
		[
			"bad hexadecimal",
			`05:00.0 X\n${row(0).replace("00 00 00", "00 0g 00")}`,
			"malformed-config-space",
			2,
			'byte 2 of the row is "0g"',
		],
		["a byte of three digits", `05:00.0 X\n${row(0).replace(": 00", ": 000")}`, "malformed-config-space", 2, '"000"'],
		[
			"an offset that is not one",
			`05:00.0 X\n${row(0)}\n${row(16).replace("10:", "1O:")}`,
			"malformed-config-space",
			3,
			'starts at "1O"; expected "10"',
		],
		[
			"a row out of order",
			`05:00.0 X\n${row(0)}\n${row(32)}`,
			"malformed-config-space",
			3,
			'starts at "20"; expected "10"',
		],
		["a row twice", `05:00.0 X\n${row(0)}\n${row(0)}`, "malformed-config-space", 3, 'starts at "00"; expected "10"'],
		["too many rows", `05:00.0 X\n${rows(4112)}`, "malformed-config-space", 258, "the dump goes on after 4096 bytes"],
		[
			"the same device twice",
			`05:00.0 X\n${rows(64)}\n0000:05:00.0 Y\n${rows(64)}`,
			"invalid-argument",
			6,
			"described before, in line 1",
		],
		["a device number above 31", `05:20.0 X\n${rows(64)}`, "invalid-argument", 1, "above 1f"],
	])("names the line for %s", (_what, text, code, line, reason) => {
		const error = failure(text);
		expect(error.code).toBe(code);
		expect(error.message).toMatch(new RegExp(`^Cannot read the output of lspci: line ${line}: `));
		expect(error.message).toContain(reason);
		expect(error.remedy).not.toHaveLength(0);
	});

	it("names the device", () => {
		expect(failure(`05:00.0 X\n${rows(32)}\n`).device).toBe("0000:05:00.0");
	});

	it("does not take a truncated host", () => {
		const text = fixture("host.txt");
		for (const cut of [0.3, 0.5, 0.77, 0.9]) {
			const shorter = text.slice(0, Math.floor(text.length * cut));
			const rowsLeft = shorter.lastIndexOf("\n");
			expect(failure(shorter.slice(0, rowsLeft)).message).toMatch(/line \d+/);
		}
	});
});
