import { describe, expect, it } from "vitest";
import { askWithRoom } from "../../../core/uapi/info-chain.ts";

const SIZE = 32;

/** A kernel whose answer takes so many bytes, chain included; it remembers the room it was given. */
function kernel(needed: number): { rooms: number[]; ask: (bytes: Uint8Array) => void } {
	const rooms: number[] = [];
	return {
		rooms,
		ask: (bytes) => {
			rooms.push(bytes.length);
			if (bytes.length < needed) new DataView(bytes.buffer).setUint32(0, needed, true);
		},
	};
}

describe("askWithRoom()", () => {
	it("asks once when the chain is of an ordinary size", () => {
		const { rooms, ask } = kernel(SIZE + 300);
		askWithRoom(SIZE, () => {}, ask);
		expect(rooms.length).toBe(1);
	});

	it("asks again with the room that the kernel wants", () => {
		const { rooms, ask } = kernel(10_000);
		expect(askWithRoom(SIZE, () => {}, ask).length).toBe(10_000);
		expect(rooms.slice(1)).toEqual([10_000]);
	});

	it("takes an answer that grows with each question as it is", () => {
		let asked = 0;
		askWithRoom(
			SIZE,
			() => {},
			(bytes) => {
				asked++;
				new DataView(bytes.buffer).setUint32(0, bytes.length + 8, true);
			},
		);
		expect(asked).toBe(4);
	});
});
