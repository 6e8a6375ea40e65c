import { type Guest, hex } from "../guest.ts";

/** How many writes to one device in one place. */
const WRITES = { "on the root bus": 300, "below a root port": 150 } as const;
/** All of configuration space is read back after this many writes; the first 256 bytes after each. */
const WHOLE_EVERY = 16;
const SEED = 0x5eed;

/** Writes anything anywhere, and reads everything back after each write. */
export async function random(guest: Guest): Promise<void> {
	const [id = 0] = await guest.say(`readl ${hex(guest.ecam(0))}`);
	const next = generator(SEED ^ id);
	const below = (limit: number) => Math.floor(next() * limit);
	for (let n = 1; n <= WRITES[guest.placement]; n++) {
		const width = ([1, 2, 4] as const)[below(3)] ?? 4;
		const space = [0x40, 0x100, 0x100, 0x400][below(4)] ?? 0x100;
		const register = below(space / width) * width;
		const value = [0, 0xffff_ffff, 1 << below(32), below(2 ** 32), below(2 ** 32)][below(5)] ?? 0;
		const wide = (value >>> 0) % 2 ** (8 * width);
		const byPort = register < 0x100 && below(2) === 0;
		await guest.say(
			...(byPort
				? guest.write(register, width, wide)
				: [`write${{ 1: "b", 2: "w", 4: "l" }[width]} ${hex(guest.ecam(register))} ${hex(wide)}`]),
			`read ${hex(guest.ecam(0))} ${n % WHOLE_EVERY === 0 ? "0x1000" : "0x100"}`,
		);
	}
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
	let state = seed | 0;
	return () => {
		state = (state + 0x6d2b_79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
}
