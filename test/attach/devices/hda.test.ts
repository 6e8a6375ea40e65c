import { describe, expect, it } from "vitest";
import { BasicCodec, Hda, type HdaOptions } from "../../../kernel-sim/mod.ts";
import { BACKENDS, type Backend } from "../scripted-guest.ts";
import { Guest, hostWith, pattern } from "./guest.ts";

const ADDRESS = "0000:00:1b.0";
const BAR = 0xfe400000;
const CORB = 0x10000;
const RIRB = 0x11000;
const BDL = 0x12000;
const POSITIONS = 0x13000;
const AUDIO = 0x20000;
const MILLISECOND = 1e6;
/** The first output stream. */
const STREAM = BAR + 0x80 + 4 * 0x20;

/** As much of a driver as it takes to talk to a codec and play. */
class HdaDriver {
	readonly guest: Guest;
	#write = 0;

	constructor(guest: Guest) {
		this.guest = guest;
		expect(guest.placeBar(0, BAR)).toBe(0x4000);
		guest.writeConfig(4, 2, 0x6);
		guest.write(BAR + 0x08, 1);
		expect(guest.read(BAR + 0x08) & 1).toBe(1);
		expect(guest.read(BAR + 0x0e, 2)).toBe(1);
		guest.write(BAR + 0x0e, 1, 2);
		guest.write(BAR + 0x40, CORB);
		guest.write(BAR + 0x44, 0);
		guest.write(BAR + 0x4a, 0x8000, 2);
		guest.write(BAR + 0x4a, 0, 2);
		guest.write(BAR + 0x50, RIRB);
		guest.write(BAR + 0x58, 0x8000, 2);
		guest.write(BAR + 0x5a, 1, 2);
		guest.write(BAR + 0x20, 0xc0000010);
		guest.write(BAR + 0x4c, 2, 1);
		guest.write(BAR + 0x5c, 3, 1);
	}

	/** Sends a verb and waits for the interrupt. */
	command(node: number, verb: number): number {
		const { guest } = this;
		this.#write = (this.#write + 1) & 0xff;
		guest.view.setUint32(CORB + 4 * this.#write, ((node << 20) | verb) >>> 0, true);
		guest.write(BAR + 0x48, this.#write, 2);
		guest.clock.settle();
		return guest.view.getUint32(RIRB + 8 * (guest.read(BAR + 0x58, 2) & 0xff), true);
	}

	/** The interrupt handler. @returns INTSTS as it was */
	acknowledge(): number {
		return this.guest.serve(() => {
			const status = this.guest.read(BAR + 0x24);
			this.guest.write(BAR + 0x5d, 5, 1);
			this.guest.write(STREAM + 3, 0x1c, 1);
			return status;
		});
	}

	/** 48 kHz, 16 bits, stereo, as stream 1, from pieces of memory. */
	play(pieces: readonly { at: number; length: number; interrupt: boolean }[]): void {
		const { guest } = this;
		pieces.forEach(({ at, length, interrupt }, index) => {
			guest.view.setBigUint64(BDL + 16 * index, BigInt(at), true);
			guest.view.setUint32(BDL + 16 * index + 8, length, true);
			guest.view.setUint32(BDL + 16 * index + 12, interrupt ? 1 : 0, true);
		});
		guest.write(STREAM + 0x18, BDL);
		guest.write(
			STREAM + 0x08,
			pieces.reduce((sum, piece) => sum + piece.length, 0),
		);
		guest.write(STREAM + 0x0c, pieces.length - 1, 2);
		guest.write(STREAM + 0x12, 0x0011, 2);
		guest.write(BAR + 0x70, POSITIONS | 1);
		guest.write(STREAM, 0x0010_0006);
	}

	stop(): void {
		this.guest.write(STREAM, 0);
		this.guest.write(BAR + 0x08, 0);
	}
}

function assigned(options: HdaOptions, backend: Backend) {
	const host = hostWith({ [ADDRESS]: [Hda.description(), new Hda(options)] });
	return new Guest(host, ADDRESS, undefined, backend);
}

describe.each(BACKENDS)("F-05 an assigned HD Audio controller with %s", (backend) => {
	it("F-05 HDA: a driver talks to the codec through rings in memory, by INTx with its end", () => {
		const codec = new BasicCodec();
		const guest = assigned({ codec }, backend);
		const driver = new HdaDriver(guest);
		expect(guest.fn.interruptMode).toBe("intx");
		expect(driver.command(0, 0xf0000)).toBe(0x10ec0888);
		expect(guest.line).toBe(true);
		expect(driver.acknowledge()).toBe(0xc0000000);
		// Each access ended it, and it came again until it was acknowledged.
		expect(guest.pins).toEqual(guest.pins.map((_, index) => index % 2 === 0));
		expect(guest.line).toBe(false);
		expect(driver.command(1, 0xf0004)).toBe(0x00020004);
		driver.acknowledge();
		driver.command(2, 0x3b012);
		driver.acknowledge();
		expect(codec.volume).toEqual([0x12, 0x12]);
		expect(driver.command(2, 0xba000)).toBe(0x12);
		driver.acknowledge();
		expect(guest.line).toBe(false);
		driver.stop();
		guest[Symbol.dispose]();
	});

	it("F-05 HDA: plays what is in memory to the byte, tells the position, interrupts by MSI", () => {
		const played: number[] = [];
		const guest = assigned(
			{
				sink: (stream, data) => played.push(stream === 1 ? (data[0] ?? 0) : -1, ...data.subarray(1)),
			},
			backend,
		);
		const driver = new HdaDriver(guest);
		guest.enableMsi(0xfee01000, 0x4051);
		expect(guest.fn.interruptMode).toBe("msi");
		driver.command(0, 0xf0000);
		expect(guest.taken()).toEqual([0x4051]);
		driver.acknowledge();
		// 192 bytes a millisecond: pieces of 10 ms and 5 ms, the second one not where the first one ends.
		const [first, second] = [pattern(1920, 1), pattern(960, 2)];
		guest.ram.set(first, AUDIO);
		guest.ram.set(second, AUDIO + 0x8000 + 128);
		driver.play([
			{ at: AUDIO, length: 1920, interrupt: false },
			{ at: AUDIO + 0x8000 + 128, length: 960, interrupt: true },
		]);
		guest.clock.advance(14 * MILLISECOND);
		expect([guest.taken(), guest.read(STREAM + 4)]).toEqual([[], 14 * 192]);
		expect(guest.view.getUint32(POSITIONS + 8 * 4, true)).toBe(14 * 192);
		guest.clock.advance(MILLISECOND);
		expect(guest.taken()).toEqual([0x4051]);
		expect(driver.acknowledge()).toBe(0x80000010);
		guest.clock.advance(15 * MILLISECOND);
		expect(guest.taken()).toEqual([0x4051]);
		expect(Uint8Array.from(played)).toEqual(Uint8Array.from([...first, ...second, ...first, ...second]));
		driver.stop();
		guest[Symbol.dispose]();
	});
});
