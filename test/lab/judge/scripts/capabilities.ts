import { type Guest, hex } from "../guest.ts";

/** Writing there resets the function, cuts its power or moves it: other scripts do that on purpose. */
const POWER_MANAGEMENT = 0x01;

/** Walks both lists; reads what each capability has, writes all of it, and reads again. */
export async function capabilities(guest: Guest): Promise<void> {
	let at = (await guest.readRegister(0x34, 1)) & 0xfc;
	for (let steps = 0; at !== 0 && steps < 48; steps++) {
		const header = await guest.readRegister(at, 2);
		const next = (header >> 8) & 0xfc;
		await guest.say(`read ${hex(guest.ecam(at))} 0x40`);
		if ((header & 0xff) !== POWER_MANAGEMENT)
			await guest.say(
				...guest.write(at, 2, 0xffff),
				...guest.read(at, 2),
				...guest.write(at, 2, 0),
				...guest.read(at, 2),
			);
		at = next;
	}
	let extended = 0x100;
	for (let steps = 0; extended >= 0x100 && steps < 96; steps++) {
		const [header = 0] = await guest.say(
			`readl ${hex(guest.ecam(extended))}`,
			`read ${hex(guest.ecam(extended))} 0x40`,
		);
		await guest.say(`writel ${hex(guest.ecam(extended))} 0xffffffff`, `readl ${hex(guest.ecam(extended))}`);
		await guest.say(`writel ${hex(guest.ecam(extended))} 0`, `readl ${hex(guest.ecam(extended))}`);
		if (header === 0 || header === 0xffff_ffff) break;
		extended = (header >>> 20) & 0xffc;
	}
	await guest.dump();
}
