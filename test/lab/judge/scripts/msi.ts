import type { Guest } from "../guest.ts";

const MSI = 0x05;

/** Enables, masks, moves and disables MSI, and reads the capability back after each step. */
export async function msi(guest: Guest): Promise<void> {
	const at = await guest.capability(MSI);
	if (at === 0) return;
	const flags = await guest.readRegister(at + 2, 2);
	const data = at + ((flags & 0x80) !== 0 ? 12 : 8);
	const masks = (flags & 0x100) !== 0 ? data + 4 : undefined;
	const write = async (register: number, width: 1 | 2 | 4, value: number) => {
		const lines = guest.write(register, width, value);
		for (let offset = 0; offset < 0x18; offset += 4) lines.push(...guest.read(at + offset));
		await guest.say(...lines);
	};
	await write(4, 2, 7);
	await write(at + 4, 4, 0xffff_ffff);
	await write(at + 4, 4, 0x0020_0000);
	if (data === at + 12) await write(at + 8, 4, 0xffff_ffff);
	if (data === at + 12) await write(at + 8, 4, 0);
	await write(data, 2, 0xffff);
	await write(data, 2, 0x4300);
	await write(data, 4, 0xffff_4300);
	if (masks !== undefined) for (const value of [0xffff_ffff, 0]) await write(masks, 4, value);
	if (masks !== undefined) for (const value of [0xffff_ffff, 0]) await write(masks + 4, 4, value);
	await write(at + 2, 2, 0x0001); // on
	await write(at + 4, 4, 0x0020_1000); // moved while on
	if (masks !== undefined) for (const value of [1, 0]) await write(masks, 4, value);
	await write(at + 2, 2, 0x0071); // more vectors, while on
	await write(at + 2, 2, 0x0000);
	await write(at + 2, 2, 0x0011);
	await write(at + 2, 1, 0x00);
	await write(at + 2, 2, 0xffff); // everything
	await write(at + 2, 2, 0);
	await write(4, 2, 0);
}
