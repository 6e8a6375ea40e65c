import { describe, expect, it } from "vitest";
import { nearest } from "../../../runner/cli/nearest.ts";
import { choice, integer, type OptionSpec, parseArguments } from "../../../runner/cli/options.ts";
import { UsageError } from "../../../runner/cli/usage-error.ts";

const SPECS: readonly OptionSpec[] = [
	{ name: "device", value: "SPEC", repeatable: true, help: "" },
	{ name: "interrupt", value: "KIND", help: "" },
	{ name: "blocks", value: "N", help: "" },
	{ name: "json", help: "" },
];

describe("parseArguments()", () => {
	it("takes one dash or two, a value after a space or an equals sign", () => {
		const parsed = parseArguments(["-device", "a", "--device=b", "--json", "word"], SPECS);
		expect(parsed.values.get("device")).toEqual(["a", "b"]);
		expect(parsed.values.has("json")).toBe(true);
		expect(parsed.words).toEqual(["word"]);
	});

	it("takes everything after -- as words", () => {
		expect(parseArguments(["--", "--json"], SPECS).words).toEqual(["--json"]);
	});

	it("keeps an equals sign inside a value", () => {
		expect(parseArguments(["-device", "vfio-pci,host=05:00.0"], SPECS).values.get("device")).toEqual([
			"vfio-pci,host=05:00.0",
		]);
	});

	it.each([
		[["--interupt", "msi"], 'Unknown option "--interupt", did you mean "--interrupt"?'],
		[["-devise", "x"], 'Unknown option "-devise", did you mean "--device"?'],
		[["--zzzzzzzz"], 'Unknown option "--zzzzzzzz"'],
		[["--interrupt"], 'Option "--interrupt" needs a value: --interrupt KIND'],
		[["--json=1"], 'Option "--json" takes no value, but was given "1"'],
		[["--json", "--json"], 'Option "--json" is given twice'],
	])("refuses %j", (args, message) => {
		const parse = () => parseArguments(args, SPECS);
		expect(parse).toThrow(UsageError);
		expect(parse).toThrow(message);
	});
});

describe("choice() and integer()", () => {
	it("choice() names the choices and the nearest", () => {
		const parsed = parseArguments(["--interrupt", "msx"], SPECS);
		expect(() => choice(parsed, "interrupt", ["msix", "msi", "intx"], "msix")).toThrow(
			'Option "--interrupt" takes msix, msi, intx, not "msx"; did you mean "msix"?',
		);
	});

	it.each(["0", "-1", "1.5", "x", "1001", ""])("integer() refuses %j", (text) => {
		const parsed = parseArguments([`--blocks=${text}`], SPECS);
		expect(() => integer(parsed, "blocks", 1, 1000, 10)).toThrow(`takes a whole number from 1 to 1000, not "${text}"`);
	});

	it("both fall back when the option is not given", () => {
		const parsed = parseArguments([], SPECS);
		expect(choice(parsed, "interrupt", ["msix", "msi"], "msix")).toBe("msix");
		expect(integer(parsed, "blocks", 1, 1000, 10)).toBe(10);
	});
});

describe("nearest()", () => {
	it("answers nothing when nothing is near", () => {
		expect(nearest("xyzzy", ["interrupt", "json"])).toBeUndefined();
	});
});
