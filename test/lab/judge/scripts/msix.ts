import { type Guest, hex } from "../guest.ts";

const MSIX = 0x11;
/** Where vectors write. */
const MESSAGES = 0x30_0000;

/** Fills the table, enables, masks, moves and disables MSI-X, and reads table, pending bits and capability back. */
export async function msix(guest: Guest): Promise<void> {
	const at = await guest.capability(MSIX);
	if (at === 0) return;
	const bars = await guest.sizeBars();
	await guest.placeBars(bars);
	const control = await guest.readRegister(at + 2, 2);
	const place = async (register: number) => {
		const value = await guest.readRegister(register);
		return (bars.find(({ index }) => index === (value & 7))?.address ?? 0) + (value & ~7);
	};
	const table = await place(at + 4);
	const pending = await place(at + 8);
	const vectors = (control & 0x7ff) + 1;
	const few = Math.min(vectors, 4);
	const look = () =>
		guest.say(
			...guest.read(at),
			...guest.read(at + 4),
			...guest.read(at + 8),
			`read ${hex(table)} ${hex(vectors * 16)}`,
			...Array.from({ length: Math.ceil(vectors / 64) * 2 }, (_, n) => `readl ${hex(pending + 4 * n)}`),
		);
	const fill = (base: number) =>
		guest.say(
			...Array.from({ length: vectors }, (_, n) => [
				`writel ${hex(table + 16 * n)} ${hex(base + 4 * n)}`,
				`writel ${hex(table + 16 * n + 4)} 0`,
				`writel ${hex(table + 16 * n + 8)} ${hex(0x5a00 + n)}`,
			]).flat(),
		);
	const mask = (vector: number, on: boolean) => guest.say(`writel ${hex(table + 16 * vector + 12)} ${on ? 1 : 0}`);
	const set = (value: number) => guest.say(...guest.write(at + 2, 2, value), ...guest.read(at));

	await look();
	await fill(MESSAGES);
	await look();
	await guest.say(`writeq ${hex(table)} 0x0000000100301000`, `readq ${hex(table)}`, `readq ${hex(table + 8)}`);
	await guest.say(`writel ${hex(table + 12)} 0xffffffff`, `readl ${hex(table + 12)}`, `writel ${hex(table + 12)} 1`);
	await guest.say(`writel ${hex(table)} 0xffffffff`, `readl ${hex(table)}`);
	await guest.say(`readb ${hex(table)}`, `readw ${hex(table + 2)}`, `readl ${hex(table + 2)}`, `readb ${hex(pending)}`);
	await guest.say(`writeb ${hex(table)} 0x40`, `writew ${hex(table + 8)} 0x4040`, `read ${hex(table)} 0x10`);
	await fill(MESSAGES);
	await set(0xffff);
	await set(0);
	await set(0x8000);
	for (let vector = 0; vector < few; vector++) await mask(vector, false);
	await look();
	await mask(0, true);
	await fill(MESSAGES + 0x1000); // moved while on
	await mask(0, false);
	await set(0xc000); // all masked at once
	await look();
	await mask(few - 1, true);
	await set(0x8000);
	await look();
	await guest.say(`writel ${hex(pending)} 0xffffffff`, `readl ${hex(pending)}`);
	await set(0);
	await look();
	// Unmasked first, then on.
	for (let vector = 0; vector < vectors; vector++) await mask(vector, false);
	await set(0x8000);
	await look();
	await set(0x4000);
	await set(0);
	for (let vector = 0; vector < vectors; vector++) await mask(vector, true);
	await look();
	await guest.writeRegister(4, 2, 0);
}
