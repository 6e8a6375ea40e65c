import { beforeEach, describe, expect, it } from "vitest";
import { GuestConsole } from "../../../runner/machine/console.ts";

describe("GuestConsole", () => {
	let heard: string[];
	let guestConsole: GuestConsole;

	beforeEach(() => {
		heard = [];
		guestConsole = new GuestConsole({
			line: (text) => heard.push(`line ${text}`),
			result: (name, value) => heard.push(`result ${name} ${value}`),
			slot: (slot, state) => heard.push(`slot ${slot} ${state}`),
			verdict: (passed, reason) => heard.push(`verdict ${passed} ${reason}`),
		});
	});

	const say = (text: string) => {
		for (const character of text) guestConsole.byte(character.charCodeAt(0));
	};

	it("byte() cuts lines and leaves out carriage returns and empty lines", () => {
		say("one\r\n\n two\nthree");
		expect(heard).toEqual(["line one", "line  two"]);
		guestConsole.flush();
		guestConsole.flush();
		expect(heard.at(-1)).toBe("line three");
	});

	it("byte() finds results, with whatever their value holds", () => {
		say("RESULT nvme0.model=a = b\nRESULT x=\nRESULT bad name=1\n RESULT y=1\n");
		expect(heard.filter((entry) => entry.startsWith("result"))).toEqual(["result nvme0.model a = b", "result x "]);
	});

	it("byte() finds what happens to slots", () => {
		say("SLOT 3 ready\nSLOT 3 readier\n SLOT 3 lost\nSLOT x empty\nSLOT 12 empty\n");
		expect(heard.filter((entry) => entry.startsWith("slot"))).toEqual(["slot 3 ready", "slot 12 empty"]);
	});

	it("byte() finds the verdict", () => {
		say("GUEST FAIL it broke\nGUEST PASS\nGUEST PASSED\n");
		expect(heard.filter((entry) => entry.startsWith("verdict"))).toEqual(["verdict false it broke", "verdict true "]);
	});

	it("byte() cuts a line that does not end", () => {
		say("x".repeat(10_000));
		expect(heard.length).toBe(2);
	});
});
