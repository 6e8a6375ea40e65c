import { type Guest, hex, type SizedBar } from "../guest.ts";

/** Above 4 GiB, and inside what the root port forwards. */
const HIGH = 0x10_0000_0000;

/** The ends of a BAR, without a register that changes by itself. */
function ends(bar: SizedBar, address = bar.address): string[] {
	const read = bar.kind === "io" ? "inl" : "readl";
	return [`${read} ${hex(address)}`, `${read} ${hex(address + bar.size - 4)}`];
}

/** Sizes and places the BARs in many orders, and looks where they decode. */
export async function bars(guest: Guest): Promise<void> {
	const found = await guest.sizeBars();
	await guest.dump(64);
	const everywhere = () => guest.say(...found.flatMap((bar) => ends(bar)));

	await guest.placeBars(found);
	await everywhere();
	await guest.placeBars([...found].reverse());
	await everywhere();
	// Moved while they decode, and switched off and on.
	for (const command of [0, 1, 2, 3, 6, 7]) {
		await guest.writeRegister(4, 2, command);
		await everywhere();
	}
	for (const bar of found) {
		const before = bar.address;
		const distance = bar.kind === "io" ? 0x800 : Math.max(bar.size, 0x400_0000);
		await guest.moveBar(bar, before + distance);
		await guest.say(...ends(bar), ...ends(bar, before));
		await guest.moveBar(bar, before);
		await guest.say(...ends(bar));
	}
	// Sized while it decodes.
	for (const bar of found) {
		const at = 0x10 + 4 * bar.index;
		await guest.say(...guest.write(at, 4, 0xffff_ffff), ...guest.read(at), ...ends(bar));
		await guest.moveBar(bar, bar.address);
		await guest.say(...ends(bar));
	}
	await highBars(guest, found);
	await bytes(guest, found);
	await corners(guest, found);
	await overlap(guest, found);
	await guest.writeRegister(4, 2, 0);
	for (const bar of found) await guest.moveBar(bar, 0);
	await rom(guest);
	await guest.dump(64);
}

/** 64-bit BARs above 4 GiB, their halves written in both orders. */
async function highBars(guest: Guest, found: readonly SizedBar[]): Promise<void> {
	for (const bar of found.filter(({ kind }) => kind === "mem64")) {
		const at = 0x10 + 4 * bar.index;
		const low = bar.address;
		await guest.moveBar(bar, HIGH + bar.size);
		await guest.say(...ends(bar), ...ends(bar, low), ...guest.read(at), ...guest.read(at + 4));
		await guest.say(...guest.write(at + 4, 4, 0), ...guest.write(at, 4, low), ...ends(bar, low));
		await guest.say(...guest.write(at, 4, 0), ...guest.write(at + 4, 4, HIGH / 2 ** 32), ...ends(bar, HIGH));
		await guest.say(...guest.write(at + 4, 4, 0xffff_ffff), ...guest.read(at + 4), ...ends(bar, HIGH));
		await guest.moveBar(bar, low);
		await guest.say(...ends(bar));
	}
}

/** A register written byte by byte, and word by word. */
async function bytes(guest: Guest, found: readonly SizedBar[]): Promise<void> {
	for (const bar of found) {
		const at = 0x10 + 4 * bar.index;
		const { address } = bar;
		for (let lane = 3; lane >= 0; lane--) {
			await guest.say(...guest.write(at + lane, 1, 0xff), ...guest.read(at));
		}
		for (let lane = 0; lane < 4; lane++) {
			await guest.say(...guest.write(at + lane, 1, (address >>> (8 * lane)) & 0xff), ...guest.read(at));
		}
		await guest.say(...ends(bar));
		await guest.say(
			...guest.write(at + 2, 2, address >>> 16),
			...guest.write(at, 2, address & 0xffff),
			...guest.read(at),
		);
		await guest.say(...ends(bar));
	}
}

/** Places where a BAR cannot be, or where something else is. */
async function corners(guest: Guest, found: readonly SizedBar[]): Promise<void> {
	for (const bar of found) {
		const { address, size } = bar;
		if (bar.kind === "io") {
			for (const place of [0, 0x1_0000 - size, 0xffff_0000 + size]) {
				await guest.moveBar(bar, place);
				await guest.say(...guest.read(0x10 + 4 * bar.index), `inl ${hex((address + 4) & 0xffff)}`);
			}
		} else {
			// At 0, over RAM, at the end of 32 bits.
			for (const place of [0, Math.max(size, 0x100_0000), 2 ** 32 - size]) {
				await guest.moveBar(bar, place);
				await guest.say(...guest.read(0x10 + 4 * bar.index), ...ends(bar, address));
				if (place === 0x100_0000) await guest.say(`readl ${hex(place)}`);
			}
		}
		await guest.moveBar(bar, address);
		await guest.say(...ends(bar));
	}
}

/** One BAR over another: the last one placed decodes, and the other one shows again when it goes. */
async function overlap(guest: Guest, found: readonly SizedBar[]): Promise<void> {
	const [first, second] = found.filter(({ kind }) => kind !== "io").sort((a, b) => b.size - a.size);
	if (!first || !second) return;
	const before = second.address;
	await guest.moveBar(second, first.address);
	await guest.say(...ends(first), ...ends(second), ...ends(second, before));
	await guest.moveBar(second, before);
	await guest.say(...ends(first), ...ends(second));
}

/** The expansion ROM. */
async function rom(guest: Guest): Promise<void> {
	const place = 0xd800_0000;
	const [, , , size = 0] = await guest.say(...guest.write(0x30, 4, 0xffff_fffe), ...guest.read(0x30));
	await guest.say(...guest.write(0x30, 4, place), ...guest.write(4, 2, 2), ...guest.read(0x30), `readl ${hex(place)}`);
	await guest.say(...guest.write(0x30, 4, place + 1), ...guest.read(0x30));
	if (size !== 0)
		await guest.say(
			`read ${hex(place)} 0x800`,
			`readw ${hex(place)}`,
			`readb ${hex(place + 2)}`,
			`readq ${hex(place + 8)}`,
		);
	await guest.say(...guest.write(4, 2, 0), `readl ${hex(place)}`, ...guest.write(0x30, 4, 0xffff_ffff));
	await guest.say(...guest.read(0x30), ...guest.write(0x30, 4, 0), ...guest.read(0x30));
}
