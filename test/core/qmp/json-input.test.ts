import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JsonInput, type JsonItem } from "../../../core/qmp/json-input.ts";
import { jsonText, memberText, respaced } from "../../../core/qmp/json-text.ts";

const brief = (items: readonly JsonItem[]) =>
	items.map((item) => (item.type === "object" ? item.text : item.fault.type));

describe("JsonInput", () => {
	it("cuts values apart, with space between or without, over several lines", () => {
		const input = new JsonInput();
		expect(brief(input.push('{"a":1}{"b":"}"} \r\n\t{"c":\n[{"d":"\\"{"}]}'))).toEqual([
			'{"a":1}',
			'{"b":"}"}',
			'{"c":\n[{"d":"\\"{"}]}',
		]);
	});

	it("waits for the rest of a value that comes in pieces", () => {
		const text = '{"execute":"query-status","id":"\\\\\\"}"}';
		const input = new JsonInput();
		const items = [...text].flatMap((character) => input.push(character));
		expect(brief(items)).toEqual([text]);
	});

	it.each([
		["foo\n", ["syntax"]],
		["{bad}", ["syntax"]],
		['{"a":1,}', ["syntax"]],
		["} {}", ["syntax", "{}"]],
		["] , : {}", ["syntax", "syntax", "syntax", "{}"]],
		["12 true [1] \"x\" 'y' {}", ["not-an-object", "not-an-object", "not-an-object", "not-an-object", "syntax", "{}"]],
		['{"a":"b\n{}', ["syntax", "{}"]],
		["null{}", ["not-an-object", "{}"]],
	])("goes on after %j", (text, expected) => {
		expect(brief(new JsonInput().push(text))).toEqual(expected);
	});

	it("drops what is too long, however it comes, and goes on at the next line", () => {
		for (const size of [1, 7, 1000]) {
			const input = new JsonInput({ length: 40 });
			const text = `{"a":"${"x".repeat(100)}"} {"lost":1}\n{"b":2}\n`;
			const items = [];
			for (let at = 0; at < text.length; at += size) items.push(...input.push(text.slice(at, at + size)));
			expect(brief(items)).toEqual(["oversize", '{"b":2}']);
		}
		expect(brief(new JsonInput({ length: 7 }).push('{"a":1}'))).toEqual(['{"a":1}']);
	});

	it("drops what is nested too deep", () => {
		const input = new JsonInput({ depth: 3 });
		expect(brief(input.push('{"a":[[[[1]]]]}\n{"a":[[1]]}'))).toEqual(["too-deep", '{"a":[[1]]}']);
		const nested = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
		const byDefault = new JsonInput();
		expect(brief(byDefault.push(`${nested(1024)}\n${nested(1025)}\n`))).toEqual([nested(1024), "too-deep"]);
	});

	it("keeps nothing of what is whole, and never more than the limit", () => {
		const input = new JsonInput({ length: 1000 });
		fc.assert(
			fc.property(fc.string({ unit: fc.constantFrom(...'{}[]":,\\ \nab1'), maxLength: 60 }), (text) => {
				for (const item of input.push(text))
					if (item.type === "object") expect(JSON.parse(item.text)).toEqual(item.value);
			}),
			{ numRuns: 500 },
		);
		input.push("\n\n");
		expect(brief(input.push(`${"\n".repeat(3)}"\n}\n`)).length).toBeGreaterThan(0);
	});

	it("takes any object in any pieces as JSON.parse does", () => {
		fc.assert(
			fc.property(
				fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 4 }),
				fc.integer({ min: 1, max: 9 }),
				(values, size) => {
					const text = values.map((value) => JSON.stringify(value)).join("\n");
					const input = new JsonInput();
					const items = [];
					for (let at = 0; at < text.length; at += size) items.push(...input.push(text.slice(at, at + size)));
					expect(brief(items)).toEqual(values.map((value) => JSON.stringify(value)));
				},
			),
			{ numRuns: 200 },
		);
	});
});

describe("memberText()", () => {
	it.each([
		['{"id":12345678901234567890,"x":{"id":1}}', "12345678901234567890"],
		['{"x":["id",{"id":2}],"id" : [ 1 , "a b" ]}', '[1,"a b"]'],
		['{"i\\u0064":1.0}', "1.0"],
		['{"id":1,"id":2}', "2"],
		['{"x":"id"}', undefined],
		["{}", undefined],
	])("of %s is %s", (json, expected) => {
		expect(memberText(json, "id")).toBe(expected);
	});
});

describe("respaced()", () => {
	it("changes spaces between values and nowhere else", () => {
		const value = { a: [1, "x, y: {z}", null], b: { c: 'q"' } };
		expect(jsonText(value, true)).toBe('{"a": [1, "x, y: {z}", null], "b": {"c": "q\\""}}');
		expect(respaced(jsonText(value, true), false)).toBe(JSON.stringify(value));
	});
});
