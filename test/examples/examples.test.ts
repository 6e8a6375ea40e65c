import { describe, expect, it } from "vitest";
import { KernelError } from "../../core/mod.ts";
import { KEYS, keyFor, placeOf } from "./environments.ts";
import { docExamples, type Example, sourceExamples } from "./extract.ts";
import { runExample, withChecks } from "./run.ts";

const EXAMPLES = sourceExamples();

describe("the examples in doc comments", () => {
	it.each(EXAMPLES.map((example) => [`${example.file}:${example.line}`, example.subject, example] as const))(
		"%s: %s",
		async (_at, _subject, example) => {
			const { environment, afterwards, unless } = placeOf(example);
			const run = runExample(example, environment, afterwards);
			if (!unless?.applies()) return void (await run);
			console.log(`${example.file}:${example.line} runs up to its KernelError: ${unless.reason}`);
			const error = await run.catch((thrown: unknown) => thrown);
			expect(error).toBeInstanceOf(KernelError);
			expect(error).toMatchObject({ errno: unless.errno });
		},
	);

	it("are found in each of the rooms", () => {
		const rooms = new Set(EXAMPLES.map(({ file }) => file.split("/")[0]));
		expect([...rooms]).toEqual(["core", "kernel-sim", "kernel-linux", "runner"]);
	});

	it("have no environment without an example", () => {
		const used = new Set<string | undefined>(["README.md", ...EXAMPLES.map(keyFor)]);
		expect(KEYS.filter((key) => !used.has(key))).toEqual([]);
	});
});

const example = (code: string): Example => ({ file: "core/release.ts", line: 12, subject: "Releases", code });
const failure = (code: string, environment = {}) =>
	runExample(example(code), environment).then(
		() => "it went through",
		(error: Error) => error.message,
	);

describe("runExample()", () => {
	it("says what to do when the example uses what nobody has", async () => {
		const message = await failure("frobnicate(kernel);", { kernel: 1 });
		expect(message).toContain('core/release.ts:12 (Releases): the example uses "frobnicate", which nobody exports');
		expect(message).toContain('"core/release.ts" in test/examples/environments.ts');
	});

	it("knows the package's exports, those of the file, the environment's names and imports", async () => {
		const code = `
			import { join } from "node:path";
			import { Host } from "vfio-ts/kernel-sim";
			const text: string = join("a", "b");
			const names = [text, typeof Host.reference, typeof parsePciAddress, typeof Releases, mine];
			console.log(...names);`.replaceAll("\t", "");
		const { printed } = await runExample(example(code), { mine: 5 });
		expect(printed).toEqual(["a/b function function function 5"]);
		expect(await failure('import { nothing } from "vfio-ts";')).toContain('"vfio-ts" exports no "nothing"');
	});

	it.each([
		["6 * 7; // 42", "6 * 7; // 41"],
		["const list = [1, 2]; // [1, 2]", "const list = [1, 2]; // [1]"],
		["const { size } = new Set([5]); // 1", "const { size } = new Set([5]); // 2"],
		["[0x10n].at(0);\n// 16n", "[0x10n].at(0);\n// 17n"],
		['console.log("one", { two: 2 }); // one { two: 2 }', 'console.log("one"); // two'],
	])("checks the result in %j", async (right, wrong) => {
		expect(await runExample(example(right))).toMatchObject({ checked: 1 });
		expect(await failure(wrong)).toContain("core/release.ts:12 (Releases): ");
		expect(await failure(wrong)).not.toContain("is not defined");
	});

	it("takes every other comment for prose", () => {
		for (const line of ["go(); // the same container", "go(); // 3 of them", "console.log(1); // such as 2", "// 5"])
			expect(withChecks(line)).toBe(line);
	});

	it("refuses a result that it cannot check", () => {
		expect(() => withChecks("}).size; // 5")).toThrow('put the expression whose value is "5" on one line');
	});

	it("runs what comes after an example that only declares", async () => {
		await runExample(example("class Five { value = 5; }"), {}, "expect(new Five().value).toBe(5);");
		expect(await failure("return 5;")).toBe("it went through");
	});
});

describe("docExamples()", () => {
	it("finds each block with its line and what it documents", () => {
		const text =
			"/**\n * Doubles.\n *\n * @example\n * ```ts\n * twice(2); // 4\n * ```\n */\nexport function twice() {}\n";
		expect(docExamples("a.ts", text)).toEqual([{ file: "a.ts", line: 6, subject: "twice", code: "twice(2); // 4" }]);
	});

	it("refuses an example that is not a code block", () => {
		expect(() => docExamples("a.ts", "/**\n * @example twice(2)\n */\n")).toThrow("a.ts:2: an @example is a block");
	});
});
