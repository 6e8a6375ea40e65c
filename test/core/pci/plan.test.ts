import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layoutFunction, type PlanInput, planFunction } from "../../../core/pci/plan.ts";
import { load, store } from "../support/fake-vfio-device.ts";
import { type ConfigOptions, configSpace, expressBody, msiBody, msixBody } from "../support/pci-config.ts";

const region = (size: number) => ({ size, mappable: size > 0, msixMappable: false, sparseAreas: undefined });

function input(config: ConfigOptions | Uint8Array, more: Partial<PlanInput> = {}): PlanInput {
	return {
		config: config instanceof Uint8Array ? config : configSpace(config),
		regions: [region(0x10000), region(0), region(0x4000)],
		irqs: [{ count: 1 }, { count: 32 }, { count: 2048 }],
		pageSize: 4096,
		bus: "downstream-port",
		multifunction: false,
		...more,
	};
}

/** Reads of the copy, where the guest reads from it. */
function guest(layout: ReturnType<typeof layoutFunction>, offset: number, width: number): number {
	return load(layout.registers.cfg, offset, width);
}

describe("planFunction()", () => {
	it("K-01 keeps order and offsets of the hardware's list, and emulates every pointer", () => {
		const config = {
			capabilities: [
				[0x50, 0x05, msiBody()],
				[0xa0, 0x10, expressBody(0)],
				[0x40, 0x01],
				[0x70, 0x11, msixBody(8, [2, 0], [2, 0x2000])],
			],
		} as const;
		const layout = layoutFunction(input(config));
		const { plan } = layout;
		expect(plan.problems).toEqual([]);
		expect(plan.guest).toEqual(plan.host);
		expect(plan.guest.capabilities.map(({ offset }) => offset)).toEqual([0x50, 0xa0, 0x40, 0x70]);
		for (const at of [0x34, 0x51, 0xa1, 0x41, 0x71]) expect(layout.registers.emu[at]).toBe(0xff);
		expect(plan.interrupts).toEqual({ intx: 1, msi: 1, msix: 8 });
	});

	it("K-04 shows a device without a list as it is", () => {
		const plan = planFunction(input({}));
		expect(plan.guest.capabilities).toEqual([]);
		expect(plan.refusal).toBeUndefined();
	});

	it.each([
		[{}, 10],
		[{ address64: false }, 10],
		[{ address64: true }, 14],
		[{ address64: false, maskable: true }, 20],
		[{ address64: true, maskable: true }, 24],
	] as const)("M-10 emulates all bytes of the MSI capability: %j has %i", (options, size) => {
		const body = msiBody({ address64: false, ...options });
		const layout = layoutFunction(input({ capabilities: [[0x50, 5, body]] }));
		const { emu } = layout.registers;
		expect(emu.subarray(0x50, 0x50 + size).every((byte) => byte === 0xff)).toBe(true);
		expect(emu[0x50 + size]).toBe(0);
		expect(layout.capabilities.msi?.size).toBe(size);
	});

	it("M-10 gives MSI the vectors that its control word says", () => {
		for (const vectors of [1, 2, 4, 8, 16, 32])
			expect(planFunction(input({ capabilities: [[0x50, 5, msiBody({ vectors })]] })).interrupts.msi).toBe(vectors);
	});

	it("emulates the 12 bytes of MSI-X, of which a guest can write enable and function mask only", () => {
		const layout = layoutFunction(input({ capabilities: [[0x70, 0x11, msixBody(129, [2, 0x1000], [2, 0x3000])]] }));
		const { emu, wmask } = layout.registers;
		expect(emu.subarray(0x70, 0x7c).every((byte) => byte === 0xff)).toBe(true);
		expect(emu[0x7c]).toBe(0);
		expect(load(wmask, 0x70, 4)).toBe(0xc0000000);
		expect(load(wmask, 0x74, 4)).toBe(0);
		expect(guest(layout, 0x72, 2)).toBe(128);
	});

	it("C-02 shows the virtual machine's multifunction bit, not the host's", () => {
		const config = { headerType: 0x80 };
		expect(guest(layoutFunction(input(config)), 0x0e, 1)).toBe(0);
		expect(guest(layoutFunction(input(config, { multifunction: true })), 0x0e, 1)).toBe(0x80);
		expect(guest(layoutFunction(input({}, { multifunction: true })), 0x0e, 1)).toBe(0x80);
		expect(layoutFunction(input({})).registers.emu[0x0e]).toBe(0x80);
	});

	it("O-02 shows nothing of the host's BAR and ROM addresses", () => {
		const config = configSpace({ bars: [0xfe40000c, 0x1, 0xe001, 0xfe600000] });
		store(config, 0x30, 4, 0xfe700001);
		const regions = [region(0x10000), region(0), region(0x20), region(0)];
		const layout = layoutFunction(input(config, { regions, romSize: 0x8000 }));
		expect(guest(layout, 0x10, 4)).toBe(0xc);
		expect(guest(layout, 0x14, 4)).toBe(0);
		expect(guest(layout, 0x18, 4)).toBe(1);
		expect(guest(layout, 0x1c, 4)).toBe(0);
		expect(guest(layout, 0x30, 4)).toBe(0);
		for (let at = 0x10; at < 0x28; at++) expect(layout.registers.emu[at]).toBe(0xff);
		for (let at = 0x30; at < 0x34; at++) expect(layout.registers.emu[at]).toBe(0xff);
		expect(layout.plan.bars.map(({ index, kind, size, prefetchable }) => [index, kind, size, prefetchable])).toEqual([
			[0, "mem64", 0x10000, true],
			[2, "io", 0x20, false],
			[6, "mem32", 0x8000, false],
		]);
	});

	it("does not use the power state, COMMAND or messages that the host left behind", () => {
		const config = configSpace({ capabilities: [[0x40, 1, [0x03, 0x00, 0x03, 0x00]]] });
		store(config, 4, 2, 0x0407);
		const layout = layoutFunction(input(config));
		expect(guest(layout, 4, 2)).toBe(0);
		expect(guest(layout, 0x44, 2) & 3).toBe(0);
	});

	it("overrides the identification", () => {
		const ids = { vendor: 0x1af4, device: 0x1000, subsystemVendor: 1, subsystem: 2, classCode: 0x010802 };
		const layout = layoutFunction(input({}, { ids }));
		expect(guest(layout, 0, 4)).toBe(0x10001af4);
		expect(guest(layout, 8, 4)).toBe(0x01080201);
		expect(guest(layout, 0x2c, 4)).toBe(0x00020001);
		expect(layout.registers.emu[8]).toBe(0);
	});
});

describe("planFunction() of PCI Express capabilities", () => {
	it.each([
		["conventional", 0, "keep"],
		["conventional", 1, "keep"],
		["conventional", 9, "keep"],
		["root-complex", 0, 9],
		["root-complex", 1, "hide"],
		["root-complex", 9, "keep"],
		["downstream-port", 0, "keep"],
		["downstream-port", 1, "keep"],
		["downstream-port", 9, 0],
	] as const)("on a %s bus type %i becomes %s", (bus, type, expected) => {
		const config = { size: 4096, capabilities: [[0x40, 0x10, expressBody(type)]] } as const;
		const layout = layoutFunction(input(config, { bus }));
		expect(layout.plan.guest.capabilities.length).toBe(expected === "hide" ? 0 : 1);
		const shown = (guest(layout, 0x42, 2) >> 4) & 0xf;
		expect(shown).toBe(typeof expected === "number" ? expected : type);
		if (expected === 9) for (const at of [0x4c, 0x50, 0x6c, 0x70]) expect(guest(layout, at, 4)).toBe(0);
		if (expected === 0) {
			expect(guest(layout, 0x4c, 4)).toBe(0x11);
			expect(guest(layout, 0x50, 2)).toBe(0);
			expect(guest(layout, 0x52, 2)).toBe(0x1042);
		}
		if (expected === "keep") expect(layout.registers.emu[0x42]).toBe(0);
	});

	it("leaves registers alone that the capability is too short for", () => {
		const config = configSpace({
			capabilities: [
				[0x40, 0x10, expressBody(0).slice(0, 0x12)],
				[0x54, 0x09, [4, 0xaa]],
			],
		});
		const layout = layoutFunction(input(config, { bus: "root-complex" }));
		expect(guest(layout, 0x54, 4)).toBe(0xaa040009);
		expect(layout.registers.emu.subarray(0x56, 0x80).every((byte) => byte === 0)).toBe(true);
	});

	it("makes version 0 version 1", () => {
		const layout = layoutFunction(input({ capabilities: [[0x40, 0x10, expressBody(0, 0)]] }));
		expect(guest(layout, 0x42, 2)).toBe(1);
		expect(layout.registers.emu[0x42]).toBe(0x0f);
	});

	it.each([
		[4, "root port"],
		[5, "upstream switch port"],
		[7, "PCI Express to PCI bridge"],
		[10, "event collector"],
		[15, "unknown type 0xf"],
	])("refuses type %i: %s", (type, text) => {
		const { refusal, problems } = planFunction(input({ capabilities: [[0x40, 0x10, expressBody(type)]] }));
		expect(refusal?.code).toBe("unassignable-device");
		expect(refusal?.reason).toContain(text);
		expect(refusal?.reason).toContain("0x40");
		expect(problems.length).toBe(1);
	});
});

describe("planFunction() of extended capabilities", () => {
	const extended = (list: NonNullable<ConfigOptions["extended"]>, more: Partial<PlanInput> = {}) =>
		layoutFunction(input({ size: 4096, extended: list }, more));

	it("keeps the list as it is where nothing is hidden, every pointer emulated", () => {
		const layout = extended([
			[0x100, 1],
			[0x140, 3],
			[0x200, 0x18],
		]);
		expect(layout.plan.guest.extended).toEqual(layout.plan.host.extended);
		expect(load(layout.registers.emu, 0x100, 4)).toBe(0xffffffff);
		expect(load(layout.registers.emu, 0x140, 4)).toBe(0xffc00000);
	});

	it("SRV-01 leaves SR-IOV and ARI out, and nothing of their content reads other than zero", () => {
		const layout = extended([
			[0x100, 1],
			[0x140, 0x10, Array(0x3c).fill(0xee)],
			[0x180, 0x0e, [1, 2, 3, 4]],
			[0x1a0, 3],
		]);
		expect(layout.plan.guest.extended.map(({ offset }) => offset)).toEqual([0x100, 0x1a0]);
		expect(layout.registers.emu.subarray(0x140, 0x180).every((byte) => byte === 0xff)).toBe(true);
		expect(layout.registers.cfg.subarray(0x140, 0x188).every((byte) => byte === 0)).toBe(true);
	});

	it("makes a hidden first capability a stub with id 0 that leads on", () => {
		const layout = extended([
			[0x100, 0x10],
			[0x160, 3],
		]);
		expect(guest(layout, 0x100, 4)).toBe(0x16000000);
		expect(layout.plan.guest.extended.map(({ id, offset }) => [id, offset])).toEqual([
			[0, 0x100],
			[3, 0x160],
		]);
	});

	it("has no list when nothing is left of it", () => {
		expect(guest(extended([[0x100, 0x0e]]), 0x100, 4)).toBe(0);
	});

	it("shows no extended space on a conventional bus", () => {
		const layout = extended([[0x100, 1]], { bus: "conventional" });
		expect(layout.registers.cfg.length).toBe(256);
		expect(layout.plan.guest.extended).toEqual([]);
	});

	it("fixes a resizable BAR at its present size, read-only", () => {
		const body = new Uint8Array(8);
		store(body, 0, 4, 0x00fffff0);
		store(body, 4, 4, 0x00000820 | 2);
		const layout = extended([[0x100, 0x15, [...body]]]);
		expect(guest(layout, 0x104, 4)).toBe(1 << 12);
		expect(guest(layout, 0x108, 4)).toBe(0x822);
		expect(load(layout.registers.emu, 0x104, 4)).toBe(0xffffffff);
		expect(load(layout.registers.wmask, 0x108, 4)).toBe(0);
	});

	it("leaves a resizable BAR above 512 GiB out", () => {
		const body = new Uint8Array(8);
		store(body, 4, 4, 0x1420);
		const layout = extended([[0x100, 0x15, [...body]]]);
		expect(guest(layout, 0x100, 4)).toBe(0);
		expect(layout.plan.problems[0]).toContain("Resizable BAR");
	});

	it("ends a loop and reports it", () => {
		const config = configSpace({
			size: 4096,
			extended: [
				[0x100, 1],
				[0x140, 3],
			],
		});
		store(config, 0x140, 4, 0x10010003);
		const plan = planFunction(input(config));
		expect(plan.guest.extended.map(({ offset }) => offset)).toEqual([0x100, 0x140]);
		expect(plan.problems[0]).toContain("loops");
		expect(plan.refusal).toBeUndefined();
	});
});

describe("planFunction() of hostile devices", () => {
	it("ends a looping list, reports it, and assigns the device all the same", () => {
		const config = configSpace({
			capabilities: [
				[0x40, 1],
				[0x50, 5, msiBody()],
			],
		});
		config[0x51] = 0x40;
		const plan = planFunction(input(config));
		expect(plan.refusal).toBeUndefined();
		expect(plan.problems[0]).toContain("loops");
		expect(plan.guest.capabilities.map(({ offset }) => offset)).toEqual([0x40, 0x50]);
	});

	it("leaves an MSI capability out that reaches into its neighbour or past the end", () => {
		const overlapping = planFunction(
			input({
				capabilities: [
					[0x50, 5, msiBody({ maskable: true })],
					[0x60, 1],
				],
			}),
		);
		expect(overlapping.guest.capabilities).toEqual([{ id: 1, offset: 0x60 }]);
		expect(overlapping.problems).toEqual([
			"The capability 0x05 at 0x50 needs 24 bytes and overlaps the one at 0x60: it is left out",
		]);
		const past = planFunction(input({ capabilities: [[0xf4, 5, msiBody()]] }));
		expect(past.problems[0]).toContain("end past 0xff");
		expect(past.interrupts.msi).toBe(0);
	});

	it("uses the first of two MSI capabilities", () => {
		const plan = planFunction(
			input({
				capabilities: [
					[0x50, 5, msiBody({ vectors: 2 })],
					[0x70, 5, msiBody({ vectors: 8 })],
				],
			}),
		);
		expect(plan.interrupts.msi).toBe(2);
		expect(plan.problems[0]).toContain("0x70");
	});

	it.each([
		["table past the BAR", msixBody(2048, [0, 0x9000], [0, 0]), "table of the MSI-X capability at 0x70"],
		["pending bits past the BAR", msixBody(8, [0, 0], [2, 0x4000]), "pending-bit array"],
		["a BAR that does not exist", msixBody(8, [1, 0], [0, 0]), "does not exist"],
		["an indicator of no BAR", msixBody(8, [7, 0], [0, 0x1000]), "does not exist"],
		["table and pending bits overlap", msixBody(64, [0, 0x1000], [0, 0x13f8]), "overlap"],
	])("M-12 refuses bad MSI-X, with device and offset: %s", (_, body, text) => {
		const { refusal } = planFunction(input({ capabilities: [[0x70, 0x11, body]] }));
		expect(refusal?.code).toBe("malformed-msix");
		expect(refusal?.reason).toContain(text);
		expect(refusal?.reason).toContain("0x70");
	});

	it("M-12 refuses MSI-X in an I/O BAR, and a capability that does not fit into the space", () => {
		const io = configSpace({ bars: [1], capabilities: [[0x70, 0x11, msixBody(1, [0, 0], [0, 0x800])]] });
		expect(planFunction(input(io)).refusal?.reason).toContain("I/O BAR");
		const short = planFunction(input({ capabilities: [[0xf8, 0x11, [0, 0, 0, 0, 0, 0]]] }));
		expect(short.refusal).toEqual({
			code: "malformed-msix",
			reason: "its MSI-X capability at 0xf8 needs 12 bytes and would end past 0xff",
		});
	});

	it("allows table and pending bits in different BARs, and side by side in one", () => {
		for (const pba of [
			[2, 0],
			[0, 0x400],
		] as const)
			expect(planFunction(input({ capabilities: [[0x70, 0x11, msixBody(64, [0, 0], pba)]] })).refusal).toBeUndefined();
	});

	it("knows devices that misreport where their pending bits are", () => {
		const config = configSpace({ capabilities: [[0x70, 0x11, msixBody(64, [0, 0], [0, 0x20000])]] });
		store(config, 0, 4, 0x58041425);
		const layout = layoutFunction(input(config));
		expect(layout.plan.refusal).toBeUndefined();
		expect(guest(layout, 0x78, 4)).toBe(0x1000);
	});

	it("keeps the table trapped when the kernel gives the device no MSI-X", () => {
		const config = { capabilities: [[0x70, 0x11, msixBody(64, [0, 0x2000], [0, 0x3000])]] } as const;
		const plan = planFunction(
			input(config, {
				irqs: [{ count: 1 }, { count: 0 }, { count: 0 }],
				regions: [{ ...region(0x10000), msixMappable: true }],
			}),
		);
		expect(plan.guest.capabilities).toEqual([]);
		expect(plan.problems[0]).toContain("no MSI-X");
		expect(plan.bars[0]?.mapped).toEqual([
			{ start: 0, end: 0x2000 },
			{ start: 0x3000, end: 0x10000 },
		]);
	});

	it("refuses what reads all ones, has too little space, or is a bridge", () => {
		const refusal = (config: Uint8Array) => planFunction(input(config)).refusal;
		expect(refusal(new Uint8Array(256).fill(0xff))?.reason).toContain("reads all ones");
		expect(refusal(new Uint8Array(63))?.code).toBe("malformed-config-space");
		expect(refusal(configSpace({ headerType: 0x81 }))?.reason).toContain("PCI bridge");
		expect(refusal(configSpace({ headerType: 2 }))?.reason).toContain("type 0x2");
	});

	it("leaves out BARs that cannot be, and says so", () => {
		const config = configSpace({ bars: [4, 0, 0, 0, 0, 4] });
		const regions = [region(0x1000), region(0x1000), region(2 ** 40), region(0), region(0), region(0x1000)];
		const plan = planFunction(input(config, { regions, romSize: 2 ** 25 }));
		expect(plan.bars.map(({ index }) => index)).toEqual([0]);
		expect(plan.problems.length).toBe(4);
	});

	it("has no INTx on a pin that does not exist", () => {
		const plan = planFunction(input({ pin: 9 }));
		expect(plan.interrupts.intx).toBe(0);
		expect(plan.problems[0]).toContain("reads 9");
	});

	it("plans any device without throwing, and the guest's lists always end", () => {
		const interesting = fc.constantFrom(0, 1, 5, 9, 0x10, 0x11, 0x40, 0x44, 0x50, 0x70, 0xf8, 0xfc, 0xff);
		const device = fc.record({
			config: fc.oneof(
				fc.array(fc.oneof(fc.nat(255), interesting), { minLength: 256, maxLength: 256 }),
				fc.array(fc.nat(255), { minLength: 4096, maxLength: 4096 }),
			),
			sizes: fc.array(fc.constantFrom(0, 4, 0x20, 0x800, 0x1000, 0x10000, 0x1800, 2 ** 36), {
				minLength: 7,
				maxLength: 7,
			}),
			bus: fc.constantFrom("conventional", "root-complex", "downstream-port") as fc.Arbitrary<PlanInput["bus"]>,
		});
		fc.assert(
			fc.property(device, ({ config, sizes, bus }) => {
				// Most of the time a device that is worth planning.
				config[0x0e] = 0;
				const plan = planFunction(input(Uint8Array.from(config), { bus, regions: sizes.map(region) }));
				const offsets = plan.guest.capabilities.map(({ offset }) => offset);
				expect(new Set(offsets).size).toBe(offsets.length);
				const host = plan.host.capabilities.map(({ offset }) => offset);
				expect(host.filter((offset) => offsets.includes(offset))).toEqual(offsets);
				for (const bar of plan.bars) {
					let at = 0;
					for (const area of bar.areas) {
						expect(area.start).toBe(at);
						at = area.end;
					}
					expect(at).toBe(bar.size);
				}
			}),
			{ numRuns: 300 },
		);
	});
});
