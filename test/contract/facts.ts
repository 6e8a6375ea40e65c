import { readFileSync } from "node:fs";
import type { Version } from "./target.ts";

/** One recorded answer of `linux-facts.json`. */
export interface Fact {
	readonly cat: string;
	readonly name: string;
	readonly call: string;
	readonly args: string | number;
	readonly "6.12": Expected;
	/** Where it differs. */
	readonly "7.2"?: Expected;
}

/** What was answered: `ret`, `errno`, and fields of its own for each kind of call. */
export type Expected = Readonly<Record<string, unknown>>;

const FILE = new URL("../fixtures/linux-facts.json", import.meta.url);

/** All of them, in the order in which they were recorded: within a category each stands on those before it. */
export const FACTS: readonly Fact[] = (JSON.parse(readFileSync(FILE, "utf8")) as { facts: Fact[] }).facts;

/**
 * What a version answered.
 *
 * Where a category has two facts of one name, the sample gives 7.2's answer to the first with the second too: asked again,
 * 7.2 answers the second as 6.12 does.
 */
export function expected(fact: Fact, version: Version): Expected {
	const first = FACTS.find((one) => one.cat === fact.cat && one.name === fact.name);
	return (fact === first ? fact[version] : undefined) ?? fact["6.12"];
}
