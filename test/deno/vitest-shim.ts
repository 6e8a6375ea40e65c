// What the core's tests use of vitest, over Deno's own test runner: `deno test` then loads the core with no Node loader
// and no bundler between, which is the proof that the core is pure.
import * as matchers from "npm:@vitest/expect@4.1.12";

// biome-ignore lint/suspicious/noExplicitAny: the package types these for use inside vitest only
type Any = any;

const { chai, JestChaiExpect, JestExtend, JestAsymmetricMatchers, setState, GLOBAL_EXPECT } = matchers as Any;
chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

export const expect: Any = (value: unknown, message?: string) => chai.expect(value, message);
Object.assign(expect, chai.expect);
(globalThis as Any)[GLOBAL_EXPECT] = expect;
setState(
	{ assertionCalls: 0, isExpectingAssertions: false, expectedAssertionsNumber: null, environment: "deno" },
	expect,
);
chai.util.addMethod(chai.expect, "extend", () => {});

type Hook = () => unknown;
const names: string[] = [];
const before: Hook[][] = [[]];
const after: Hook[][] = [[]];

export function describe(name: string, body: () => void): void {
	names.push(name);
	before.push([]);
	after.push([]);
	body();
	before.pop();
	after.pop();
	names.pop();
}

export function it(name: string, body: () => unknown): void {
	const setUp = before.flat();
	const tearDown = after.flat().reverse();
	Deno.test([...names, name].join(" > "), async () => {
		for (const hook of setUp) await hook();
		try {
			await body();
		} finally {
			for (const hook of tearDown) await hook();
		}
	});
}

/** `%s`, `%i`, `%d`, `%j`, `%o` in order, and `$name` for rows that are objects, as vitest titles its tables. */
function title(text: string, row: readonly unknown[]): string {
	let next = 0;
	const first = row[0];
	return text
		.replace(/%[sidjof]/g, () => {
			const value = row[next++];
			return typeof value === "object" ? JSON.stringify(value) : String(value);
		})
		.replace(/\$(\w+)/g, (all, key) =>
			typeof first === "object" && first !== null && key in first
				? String((first as Record<string, unknown>)[key])
				: all,
		);
}

function each(define: (name: string, body: () => unknown) => void) {
	return (rows: readonly unknown[]) => (name: string, body: (...row: Any[]) => unknown) => {
		for (const [index, row] of rows.entries()) {
			const values = Array.isArray(row) ? row : [row];
			define(`${title(name, values)} #${index}`, () => body(...values));
		}
	};
}
it.each = each(it);
describe.each = each(describe as (name: string, body: () => unknown) => void);
export const test = it;

export function beforeEach(hook: Hook): void {
	before.at(-1)?.push(hook);
}
export function afterEach(hook: Hook): void {
	after.at(-1)?.push(hook);
}
