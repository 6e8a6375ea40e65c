import { describe, expect, it } from "vitest";
import { toDtb, toDts } from "../../../core/mod.ts";
import { SAMPLE } from "../../core/platform/sample-tree.ts";
import { compileWithDtc, dtcMissing, readWithDtc } from "../../support/dtc.ts";

describe.skipIf(dtcMissing)("Debian's dtc", () => {
	it("compiles what toDts() writes to what toDtb() writes, byte for byte", () => {
		expect(compileWithDtc(toDts(SAMPLE))).toEqual(toDtb(SAMPLE));
	});

	it("reads what toDtb() writes", () => {
		expect(readWithDtc(toDtb(SAMPLE))).toEqual(toDtb(SAMPLE));
	});
});
