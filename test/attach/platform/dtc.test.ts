import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { toDtb, toDts } from "../../../core/mod.ts";
import { SAMPLE } from "../../core/platform/sample-tree.ts";
import { compileWithDtc, dtcMissing } from "../../support/dtc.ts";

describe.skipIf(dtcMissing)("Debian's dtc", () => {
	it("compiles what toDts() writes to what toDtb() writes, byte for byte", () => {
		expect(compileWithDtc(toDts(SAMPLE))).toEqual(toDtb(SAMPLE));
	});

	it("reads what toDtb() writes", () => {
		const read = spawnSync("dtc", ["-q", "-I", "dtb", "-O", "dtb", "-"], { input: toDtb(SAMPLE) });
		expect(read.status).toBe(0);
		expect(new Uint8Array(read.stdout)).toEqual(toDtb(SAMPLE));
	});
});
