import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import { PciTopology, parseSlotAddress, type RootPort } from "../../../core/machine/mod.ts";
import { FakeFunction } from "./fake-function.ts";
import { COMMAND, LINK_CONTROL, LINK_STATUS, MSI, PDS, SLOT_CONTROL, SLOT_STATUS } from "./slot-driver.ts";

const LINK_ACTIVE = 0x2000;
const LINK_DISABLED = 0x10;
const POWER_OFF = 0x400;
const OFF = 0x700;
/** Each event of slot status with the bit of slot control that lets it interrupt. */
const EVENTS = [
	[0x01, 0x01],
	[0x08, 0x08],
	[0x10, 0x10],
	[0x100, 0x1000],
] as const;
const INTERRUPT_ENABLE = 0x20;

type Step =
	| { readonly kind: "write"; readonly offset: number; readonly width: AccessWidth; readonly value: number }
	| { readonly kind: "plug" | "request" | "cancel" | "pull" | "reset" | "off" };

const step: fc.Arbitrary<Step> = fc.oneof(
	fc.record({
		kind: fc.constant("write" as const),
		offset: fc.oneof(fc.constant(SLOT_CONTROL), fc.constant(SLOT_STATUS), fc.integer({ min: 0x4e, max: 0x5f })),
		width: fc.constantFrom<AccessWidth>(1, 2, 4),
		value: fc.nat(0xffff_ffff),
	}),
	fc.record({
		kind: fc.constant("write" as const),
		offset: fc.constantFrom(COMMAND, MSI + 2, LINK_CONTROL, 0x3e),
		width: fc.constant<AccessWidth>(2),
		value: fc.nat(0xffff),
	}),
	fc.record({ kind: fc.constantFrom("plug", "request", "cancel", "pull", "reset", "off") }),
	fc.record({ kind: fc.constantFrom("plug", "request", "off") }),
);

/** A port, everything that was ever in its slot, and what came out of it. */
class World {
	readonly #levels = new Set<number>();
	readonly port: RootPort;
	readonly pci: PciTopology;
	readonly left = new Map<FakeFunction, number>();
	readonly pulled = new Set<FakeFunction>();
	readonly all: FakeFunction[] = [];
	messages = 0;

	constructor() {
		this.pci = new PciTopology({
			pin: (_device, pin, asserted) => void (asserted ? this.#levels.add(pin) : this.#levels.delete(pin)),
			message: () => void this.messages++,
		});
		this.port = this.pci.addRootPort("rp1", { address: parseSlotAddress("8") });
		this.pci.onHotPlug((event) => {
			if (event.type !== "unplugged") return;
			const fn = event.function as FakeFunction;
			this.left.set(fn, (this.left.get(fn) ?? 0) + 1);
		});
	}

	get pin(): boolean {
		return this.#levels.has(1);
	}

	get occupant(): FakeFunction | undefined {
		return this.port.secondary.functions[0] as FakeFunction | undefined;
	}

	do(action: Step): void {
		const { port, pci, occupant } = this;
		if (action.kind === "write") port.configWrite(action.offset, action.width, action.value);
		else if (action.kind === "off") port.configWrite(SLOT_CONTROL, 2, OFF);
		else if (action.kind === "reset") pci.reset();
		else if (action.kind === "plug") {
			const fn = new FakeFunction();
			this.#refusable(() => {
				pci.hotPlug(fn, { bus: "rp1" });
				this.all.push(fn);
			});
		} else if (occupant === undefined) return;
		else if (action.kind === "request") this.#refusable(() => pci.requestUnplug(occupant));
		else if (action.kind === "cancel") pci.cancelUnplug(occupant);
		else {
			pci.unplug(occupant);
			this.pulled.add(occupant);
		}
	}

	#refusable(action: () => void): void {
		try {
			action();
		} catch (error) {
			if (!(error instanceof VfioError)) throw error;
			expect(["not-hot-pluggable", "guest-busy"]).toContain(error.code);
		}
	}

	check(): void {
		const { port, occupant } = this;
		const control = port.configRead(SLOT_CONTROL, 2);
		const status = port.configRead(SLOT_STATUS, 2);
		const present = (status & PDS) !== 0;
		const disabled = (port.configRead(LINK_CONTROL, 2) & LINK_DISABLED) !== 0;
		const link = (port.configRead(LINK_STATUS, 2) & LINK_ACTIVE) !== 0;
		const msi = (port.configRead(MSI + 2, 2) & 1) !== 0;
		const silent = msi || (port.configRead(COMMAND, 2) & 0x400) !== 0;
		const due =
			(control & INTERRUPT_ENABLE) !== 0 &&
			EVENTS.some(([event, enable]) => (status & event) !== 0 && (control & enable) !== 0);
		expect({
			present,
			link,
			answers: port.secondary.functionAt(0),
			indicators: (control & 0x300) !== 0 && (control & 0xc0) !== 0,
			pin: this.pin,
			requested: port.hotPlug?.unplugRequested === true && !present,
			// Each is in the slot, or was pulled out, or was announced, exactly once.
			lost: this.all.filter(
				(fn) => (this.left.get(fn) ?? 0) + (this.pulled.has(fn) ? 1 : 0) + (fn === occupant ? 1 : 0) !== 1,
			),
			unplugs: this.all.filter(
				(fn) => fn.calls.filter((call) => call === "unplug").length !== (fn === occupant ? 0 : 1),
			),
		}).toEqual({
			present: occupant !== undefined,
			link: present && (control & POWER_OFF) === 0 && !disabled,
			answers: link ? occupant : undefined,
			indicators: true,
			pin: due && !silent,
			requested: false,
			lost: [],
			unplugs: [],
		});
	}
}

describe("a slot whose guest writes whatever it likes", () => {
	it("keeps its registers, its interrupt and its functions in order, and never throws", () => {
		fc.assert(
			fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
				const world = new World();
				for (const action of steps) {
					world.do(action);
					world.check();
				}
				const { occupant } = world;
				if (occupant) world.do({ kind: "pull" });
				world.check();
			}),
			{ numRuns: 80 },
		);
	});

	it("gives up what is asked for as soon as the guest switches off properly, whatever it did before", () => {
		fc.assert(
			fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
				const world = new World();
				for (const action of steps) world.do(action);
				if (!world.occupant) world.do({ kind: "plug" });
				const { occupant, port } = world;
				port.configWrite(SLOT_CONTROL, 2, 0x01c0);
				if (occupant) expect(world.pci.requestUnplug(occupant)).toBe("requested");
				port.configWrite(SLOT_CONTROL, 2, 0x07c0);
				expect(world.occupant).toBeUndefined();
				if (occupant) expect(world.left.get(occupant)).toBe(1);
			}),
			{ numRuns: 40 },
		);
	});
});
