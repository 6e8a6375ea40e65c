import { describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import { type BridgeWindows, type GuestBar, missingRoom, PciTopology } from "../../../core/machine/mod.ts";
import { FakeFunction } from "./fake-function.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const bar = (index: number, size: number, kind: GuestBar["kind"] = "mem32", prefetchable = false): GuestBar => ({
	index,
	kind,
	size,
	prefetchable,
});
const closed = { start: 0xfff0_0000, end: 0x10_0000 };
const windows = (memory: number, prefetchable = 0, at = 64 * GIB): BridgeWindows => ({
	memory: memory === 0 ? closed : { start: 0x8000_0000, end: 0x8000_0000 + memory },
	prefetchable: prefetchable === 0 ? closed : { start: at, end: at + prefetchable },
});

describe("missingRoom()", () => {
	it.each<[string, GuestBar[], BridgeWindows]>([
		["nothing", [], windows(MIB)],
		["what fills its window", [bar(0, MIB)], windows(MIB)],
		["BARs in any order, the largest first", [bar(0, 4096), bar(1, MIB), bar(2, 4096)], windows(2 * MIB)],
		["a prefetchable 64-bit BAR above 4 GiB", [bar(0, GIB, "mem64", true)], windows(MIB, GIB)],
		["one in the other window, when there is more room", [bar(0, MIB, "mem64", true)], windows(MIB)],
		["an I/O BAR, whatever the windows", [bar(0, 256, "io")], windows(MIB)],
		["anything while no window is open: the guest will make them", [bar(0, 16 * GIB)], windows(0)],
	])("has room for %s", (_what, bars, given) => {
		expect(missingRoom(bars, given)).toBeUndefined();
	});

	it.each<[string, GuestBar[], BridgeWindows, string]>([
		["a BAR larger than the window", [bar(1, 2 * MIB)], windows(MIB), "BAR 1 needs 2 MiB"],
		["two that fit one by one", [bar(0, MIB), bar(2, MIB)], windows(MIB), "the largest free window has 0 bytes"],
		["a BAR that cannot be aligned", [bar(0, GIB)], windows(0, GIB, 0xa000_0000), "BAR 0 needs 1 GiB"],
		["a 32-bit BAR above 4 GiB", [bar(0, MIB, "mem32", true)], windows(0, GIB), "BAR 0 needs 1 MiB"],
		["what is not prefetchable in a prefetchable window", [bar(0, MIB, "mem64")], windows(0, GIB), "has 0 bytes"],
	])("has none for %s", (_what, bars, given, reason) => {
		expect(missingRoom(bars, given)).toContain(reason);
	});
});

describe("PciTopology.hotPlug() with requireRoom", () => {
	const gpu = () =>
		new FakeFunction("gpu", [
			{ index: 0, size: 16 * MIB },
			{ index: 1, size: 16 * GIB, kind: "mem64", prefetchable: true },
			{ index: 3, size: 32 * MIB },
		]);
	const port = () => {
		const pci = new PciTopology({ pin() {}, message() {} });
		const rp1 = pci.addRootPort("rp1");
		rp1.configWrite(0x04, 2, 2);
		rp1.configWrite(0x20, 4, 0xbff0_8000); // 1 GiB at 2 GiB
		rp1.configWrite(0x24, 4, 0x0000_fff0);
		return { pci, rp1 };
	};

	it("LIM-10 refuses a BAR of 16 GiB below a window of 1 GiB, and leaves nothing half assigned", () => {
		const { pci, rp1 } = port();
		const fn = gpu();
		let refused: unknown;
		try {
			pci.hotPlug(fn, { bus: "rp1", requireRoom: true });
		} catch (error) {
			refused = error;
		}
		expect(refused).toBeInstanceOf(VfioError);
		expect(refused).toMatchObject({
			code: "not-hot-pluggable",
			message:
				"Cannot hot plug gpu into rp1: its BAR 1 needs 16 GiB at a multiple of that, and the largest free window has 1 GiB",
			remedy: [expect.stringContaining("reserve larger windows")],
		});
		expect([rp1.secondary.functions, rp1.configRead(0x5a, 2), fn.slot]).toEqual([[], 0, undefined]);
	});

	it("takes it where there is a 64-bit window, and anywhere without the option", () => {
		const { pci, rp1 } = port();
		rp1.configWrite(0x24, 4, 0xfff0_0000);
		rp1.configWrite(0x28, 4, 0x10);
		rp1.configWrite(0x2c, 4, 0x13); // 16 GiB at 64 GiB
		pci.hotPlug(gpu(), { bus: "rp1", requireRoom: true });
		expect(rp1.secondary.functions.length).toBe(1);
		const without = port();
		without.pci.hotPlug(gpu(), { bus: "rp1" });
		expect(without.rp1.secondary.functions.length).toBe(1);
	});
});
