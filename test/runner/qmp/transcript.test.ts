import { describe, expect, it } from "vitest";
import type { QmpDialect } from "../../../core/qmp/mod.ts";
import { INDICATOR_BLINKING, POWER_ON } from "../../core/machine/slot-driver.ts";
import { play, transcript } from "../../core/qmp/transcript.ts";
import { Controlled } from "./controlled.ts";

/** What the guest does, and time. */
function act(controlled: Controlled, text: string): void {
	const [, what, port = ""] = /^(.*?)(?: (pcie\.\d))?$/.exec(text) ?? [];
	if (what === "five seconds") {
		controlled.linux.clock.advance(5e9);
		return;
	}
	const guest = controlled.guest(port);
	if (what === "power on") guest.powerOn();
	else if (what === "power off") guest.powerOff();
	else if (what === "blink") guest.command(POWER_ON | INDICATOR_BLINKING);
	else if (what === "keep") guest.powerOn();
	else throw new Error(`Nobody knows how to "${text}"`);
}

describe("a transcript of QMP", () => {
	it.each<QmpDialect>(["wire", "doc"])("V-05 is answered byte by byte in the dialect %s", async (dialect) => {
		const controlled = new Controlled({ dialect });
		await controlled.received(); // the greeting
		const { was, expected } = await play(transcript(`${dialect}.txt`), {
			send: (text) => void controlled.session.receive(text),
			act: (text) => act(controlled, text),
			received: () => controlled.received(),
		});
		// What to do about it, other rooms say; the transcripts have that it is said.
		expect(was.map((line) => line.replace(/To mend it: [^"]*/, "To mend it: …"))).toEqual(expected);
		expect(controlled.reports).toEqual([]);
		controlled[Symbol.dispose]();
		expect(Object.values(controlled.linux.leaks()).filter((count) => count !== 0)).toEqual([]);
	});
});
