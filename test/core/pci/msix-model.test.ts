// MSI-X against a model of what the specification says: no message is lost that was armed, and none is invented.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Assigned, assignDecoding, MSIX_MASKALL, MSIX_ON, msixControl, PBA, TABLE } from "../support/assigned.ts";

const VECTORS = 4;

type Step = readonly [kind: number, vector: number, value: number];
const step: fc.Arbitrary<Step> = fc.tuple(fc.nat(11), fc.nat(VECTORS - 1), fc.nat(0xff));

/** What every driver begins with: two vectors unmasked, and on. */
const STARTS: readonly Step[] = [
	[0, 0, 0],
	[0, 1, 0],
	[5, 0, 1],
];

class Model {
	enabled = false;
	functionMask = false;
	readonly masked = Array<boolean>(VECTORS).fill(true);
	readonly pending = Array<boolean>(VECTORS).fill(false);
	/** The kernel signals only a vector that was unmasked once. */
	readonly armed = Array<boolean>(VECTORS).fill(false);
	readonly data = Array<number>(VECTORS).fill(0);
	readonly address = Array<bigint>(VECTORS).fill(0n);
	readonly messages: string[] = [];

	do([kind, vector, value]: Step): void {
		if (kind < 3) this.masked[vector] = (value & 1) !== 0;
		else if (kind === 3) this.data[vector] = value;
		else if (kind === 4) this.address[vector] = BigInt(value & ~3) << 32n;
		else if (kind === 5) this.#control((value & 3) !== 0, (value & 4) !== 0);
		else if (kind < 10) this.#arrives(vector);
		this.#look();
	}

	#control(enabled: boolean, functionMask: boolean): void {
		this.enabled = enabled;
		this.functionMask = functionMask;
		if (enabled) return;
		this.armed.fill(false);
		this.pending.fill(false);
	}

	#arrives(vector: number): void {
		if (!this.armed[vector]) return;
		if (this.masked[vector] || this.functionMask) this.pending[vector] = true;
		else this.#send(vector);
	}

	#send(vector: number): void {
		this.messages.push(
			`${(this.address[vector] as bigint).toString(16)}=${(this.data[vector] as number).toString(16)}`,
		);
	}

	#look(): void {
		if (!this.enabled || this.functionMask) return;
		for (let vector = 0; vector < VECTORS; vector++) {
			if (this.masked[vector]) continue;
			this.armed[vector] = true;
			if (!this.pending[vector]) continue;
			this.pending[vector] = false;
			this.#send(vector);
		}
	}
}

function act({ device, fn }: Assigned, [kind, vector, value]: Step): void {
	const entry = TABLE + 16 * vector;
	if (kind < 2) fn.barWrite(0, entry + 12, 4, value);
	else if (kind === 2) fn.barWrite64(0, entry + 8, (BigInt(value) << 32n) | BigInt(fn.barRead(0, entry + 8, 4)));
	else if (kind === 3) fn.barWrite(0, entry + 8, 4, value);
	else if (kind === 4) fn.barWrite64(0, entry, BigInt(value & ~3) << 32n);
	else if (kind === 5) msixControl(fn, ((value & 3) !== 0 ? MSIX_ON : 0) | ((value & 4) !== 0 ? MSIX_MASKALL : 0));
	else if (kind < 10) device.message(2, vector);
	// What is no aligned access of 4 or 8 bytes is nothing to the table.
	else if (kind === 10) fn.barWrite(0, entry + 12, 1, value);
	else fn.barWrite(0, entry + 10 + (value & 1), 4, value << 8);
	device.fake.settle();
}

describe("MSI-X", () => {
	it.each([
		["can add vectors", true],
		["cannot", false],
	])("delivers what the model does on a host that %s, and shows its pending bits", (_what, dynamic) => {
		let delivered = 0;
		fc.assert(
			fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
				const assigned = assignDecoding({ vectors: VECTORS, dynamic });
				const model = new Model();
				for (const one of [...STARTS, ...steps]) {
					act(assigned, one);
					model.do(one);
					expect(assigned.slot.messages, JSON.stringify(one)).toEqual(model.messages);
					const bits = model.pending.reduce((sum, pending, vector) => sum + (pending ? 1 << vector : 0), 0);
					expect(assigned.fn.barRead(0, PBA, 4)).toBe(bits);
				}
				delivered += model.messages.length;
			}),
			{ numRuns: 60 },
		);
		expect(delivered).toBeGreaterThan(80);
	});
});
