// Devices that lie and guests that attack: whatever they do, nothing throws, and a guest reaches what it may.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KernelError, VfioError } from "../../../core/errors.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import type { AssignOptions } from "../../../core/pci/mod.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import { type Assigned, assign } from "../support/assigned.ts";
import { FakeKvm } from "../support/fake-kvm.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { store } from "../support/fake-vfio-device.ts";
import { type ConfigOptions, configSpace, expressBody, msiBody, msixBody } from "../support/pci-config.ts";

const PAGE = 4096;

/** Where a device really has its MSI-X table. */
interface Hardware {
	readonly bar: number;
	readonly offset: number;
	readonly vectors: number;
}

/** A device that is put together well enough to be assigned, mostly: MSI-X anywhere in two BARs, odd sizes, any pages. */
const bits = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 11, max: 17 }) }, fc.integer({ min: 0, max: 17 }));
const device = fc.record({
	sizes: fc.tuple(bits, bits),
	odd: fc.boolean(),
	table: fc.record({ bar: fc.nat(1), at: fc.nat(0x2000) }),
	pba: fc.record({ bar: fc.nat(2), at: fc.nat(0x2000) }),
	vectors: fc.oneof(
		{ weight: 8, arbitrary: fc.integer({ min: 1, max: 24 }) },
		fc.integer({ min: 25, max: 80 }),
		fc.constant(2048),
	),
	msixMappable: fc.boolean(),
	realtek: fc.boolean(),
	dynamic: fc.boolean(),
	kvm: fc.boolean(),
	relocation: fc.constantFrom("off" as const, "off" as const, "auto" as const, "bar0" as const, "bar4" as const),
});

function build(description: typeof device extends fc.Arbitrary<infer T> ? T : never): [Assigned, Hardware] | undefined {
	const { sizes, odd, table, pba, vectors, msixMappable, realtek, dynamic, kvm, relocation } = description;
	// Within the BAR, mostly; whether it ends there, too, is another matter.
	const place = ({ bar, at }: { bar: number; at: number }): [number, number] => [
		bar === 0 ? 0 : bar * 2,
		(at * 8) % Math.max(2 ** (sizes[bar] ?? 13), 16),
	];
	const config = configSpace({
		bars: [0xfe400000, 0, 0xfe500004, 0, 0, 0xe001],
		capabilities: [
			[0x40, 1, [3, 0, 0, 0]],
			[0x50, 5, msiBody({ vectors: 4, maskable: true })],
			[0x70, 0x11, msixBody(vectors, place(table), place(pba))],
		],
	});
	if (realtek) store(config, 0, 4, 0x816810ec);
	const size = (bits: number) => (bits < 4 ? 0 : 2 ** bits - (odd && bits > 5 ? 24 : 0));
	const regions = {
		0: { size: size(sizes[0]), mappable: true, msixMappable },
		2: { size: size(sizes[1]), mappable: true, msixMappable },
		5: { size: 0x100 },
	};
	const slot = new FakeSlot();
	if (kvm) slot.kvm = new FakeKvm();
	const options: AssignOptions = { msixRelocation: relocation };
	try {
		const made = assign({ config, regions, dynamic, irqs: [1, 4, vectors, 1, 1] }, options, slot);
		for (const at of [4, 0x44]) made.device.writable.add(at);
		const [bar, offset] = place(table);
		return [made, { bar, offset, vectors }];
	} catch (error) {
		if (error instanceof VfioError) return undefined;
		throw error;
	}
}

type Step = readonly [kind: number, bar: number, offset: number, width: number, value: number];
const step: fc.Arbitrary<Step> = fc.tuple(
	fc.nat(15),
	fc.integer({ min: -1, max: 7 }),
	fc.oneof(fc.nat(0x90), fc.nat(0x20000), fc.integer({ min: -8, max: 8 }), fc.constantFrom(0x70, 0x74, 0x76)),
	fc.constantFrom(1, 2, 4, 8),
	fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 1, 2, 6, 0x8000, 0xc000, 0x80010000, 0x10000, 0xffffffff)),
);

function play({ device, fn, slot }: Assigned, [kind, bar, offset, width, value]: Step): void {
	if (kind < 3) fn.configWrite(offset, width as AccessWidth, value);
	else if (kind < 5) expect(fn.configRead(offset, width as AccessWidth)).toBeGreaterThanOrEqual(0);
	else if (kind < 8 && width === 8) fn.barWrite64(bar, offset, BigInt(value));
	else if (kind < 8) fn.barWrite(bar, offset, width as AccessWidth, value);
	else if (kind < 10 && width === 8) fn.barRead64(bar, offset);
	else if (kind < 10) expect(fn.barRead(bar, offset, width as AccessWidth)).toBeGreaterThanOrEqual(0);
	else if (kind === 10) device.message(1 + (offset & 1), value % 80);
	else if (kind === 11) device.setLine(!device.line);
	else if (kind === 12) device.fake.clock.advance(600);
	else if (kind === 13 && value < 3) fn.reset();
	else if (kind === 13) fn.endOfInterrupt(1);
	else if (kind === 14 && slot.kvm) fn.interruptRouteChanged();
	else if (kind === 15 && offset === 1) fn.restore(fn.save());
	device.fake.settle();
}

function expectTableOutOfReach({ fn }: Assigned, { bar, offset, vectors }: Hardware): void {
	const start = Math.floor(offset / PAGE) * PAGE;
	const end = Math.ceil((offset + 16 * vectors) / PAGE) * PAGE;
	for (const area of fn.directAreas(bar)) expect(area.end <= start || area.start >= end).toBe(true);
}

describe("hostile guests", () => {
	it("reach neither the device's MSI-X table nor anything past its regions, and find nothing that throws", () => {
		let operations = 0;
		let built = 0;
		fc.assert(
			fc.property(device, fc.array(step, { minLength: 40, maxLength: 80 }), (description, steps) => {
				const made = build(description);
				if (!made) return;
				built++;
				const [assigned, hardware] = made;
				const memory = assigned.device.memory[hardware.bar] as Uint8Array;
				const table = memory.subarray(hardware.offset, hardware.offset + 16 * hardware.vectors);
				table.fill(0x5a);
				assigned.device.take();
				for (const one of steps) {
					play(assigned, one);
					operations++;
				}
				expectTableOutOfReach(assigned, hardware);
				// Neither by mapped memory nor by the kernel has anybody written the host's messages.
				expect(table.every((byte) => byte === 0x5a)).toBe(true);
				for (const call of assigned.device.take()) {
					const [, index, offset] = /^(?:read|write)(?:64)? (\d) ([0-9a-f]+)/.exec(call) ?? [];
					if (index === undefined || offset === undefined) continue;
					const { size } = assigned.device.region(Number(index));
					expect(Number.parseInt(offset, 16), call).toBeLessThan(size);
				}
				const active = assigned.device.irqState.slice(0, 3).filter((irq) => irq.active).length;
				expect(active).toBeLessThanOrEqual(1);
				assigned.fn[Symbol.dispose]();
				expect(assigned.device.held).toBe(0);
				const kvm = assigned.slot.kvm as FakeKvm | undefined;
				expect([kvm?.routes.size ?? 0, kvm?.intx]).toEqual([0, undefined]);
			}),
			{ numRuns: 800 },
		);
		// Fewer would mean that the devices are refused, and nothing is tried.
		expect(built).toBeGreaterThan(200);
		expect(operations).toBeGreaterThan(10_000);
	});
});

describe("hostile devices", () => {
	const anything: fc.Arbitrary<Uint8Array> = fc
		.tuple(
			fc.constantFrom<256 | 4096>(256, 4096),
			fc.array(fc.tuple(fc.nat(0xff), fc.nat(0xff)), { maxLength: 60 }),
			fc.array(fc.tuple(fc.integer({ min: 0x40, max: 63 * 4 }), fc.constantFrom(1, 5, 9, 0x10, 0x11, 0x13)), {
				maxLength: 8,
			}),
			fc.array(fc.tuple(fc.nat(0x3ff), fc.nat(0xffffffff)), { maxLength: 10 }),
		)
		.map(([size, bytes, capabilities, extended]) => {
			const options: ConfigOptions = { size, bars: [0xfe400000, 0xe001, 0xfe50000c] };
			const config = configSpace(options);
			config[6] = 0x10;
			let pointer = 0x34;
			for (const [at, id] of capabilities) {
				const offset = at & 0xfc;
				config[pointer] = offset;
				config[offset] = id;
				if (id === 0x10) config.set(expressBody(0).slice(0, Math.max(0, 254 - offset)), offset + 2);
				pointer = offset + 1;
			}
			for (const [at, value] of bytes) config[at] = value;
			if (size === 4096) for (const [at, value] of extended) store(config, 0x100 + (at & ~3), 4, value);
			// Header type 0: anything else is refused at once.
			config[0x0e] = (config[0x0e] ?? 0) & 0x80;
			return config;
		});

	it("of any configuration space and any BAR sizes are assigned or refused with a reason, and then behave", () => {
		let assigned = 0;
		const sizes = fc.array(fc.constantFrom(0, 1, 16, 100, 0x1000, 0x1800, 0x10000), { minLength: 7, maxLength: 7 });
		fc.assert(
			fc.property(anything, sizes, fc.array(step, { maxLength: 30 }), (config, lengths, steps) => {
				const regions = Object.fromEntries(lengths.map((size, index) => [index, { size, mappable: size > 0 }]));
				let made: Assigned;
				try {
					made = assign({ config, regions, irqs: [1, 32, 2048, 1, 1] });
				} catch (error) {
					expect(error).toBeInstanceOf(VfioError);
					expect((error as VfioError).message).toMatch(/^Cannot assign 0000:05:00.0: /);
					return;
				}
				assigned++;
				for (const one of steps) play(made, one);
				// A driver's own walk, with no guard but a count, comes to an end.
				let at = made.fn.configRead(0x34, 1);
				for (let n = 0; n < 48 && at !== 0; n++) at = made.fn.configRead((at & 0xfc) + 1, 1);
				expect(at).toBe(0);
				made.fn[Symbol.dispose]();
				expect(made.device.held).toBe(0);
			}),
			{ numRuns: 400 },
		);
		expect(assigned).toBeGreaterThan(50);
	});

	it("that vanish in the middle read all ones, and everything is given back", () => {
		fc.assert(
			fc.property(
				fc.array(step, { maxLength: 40 }),
				fc.array(step, { maxLength: 40 }),
				fc.boolean(),
				(before, after, throws) => {
					const made = assign();
					for (const one of before) play(made, one);
					const gone = () => {
						throw new KernelError(EIO, "read", "gone");
					};
					const { device, fn } = made;
					for (const mapping of device.mappings)
						Object.assign(mapping, { read: gone, read64: gone, write: gone, write64: gone });
					device.config.fill(0xff);
					for (const bytes of device.memory) bytes.fill(0xff);
					Object.assign(device, { writeRegion: () => {}, writeRegion64: () => {} });
					if (throws) device.failing = ["read", "set", "reset", "hot", "mask", "unmask", "bytes"];
					for (const one of after) play(made, one);
					expect(fn.configRead(0x0c, 4)).toBe(0xffffffff);
					expect(fn.barRead(0, 0, 4)).toBe(0xffffffff);
					expect(fn.barRead(2, 0, 1)).toBe(0xff);
					fn[Symbol.dispose]();
					const { fake } = device;
					expect([fake.eventfds.size, fake.watches.size, fake.clock.timers.length]).toEqual([0, 0, 0]);
				},
			),
			{ numRuns: 200 },
		);
	});
});
