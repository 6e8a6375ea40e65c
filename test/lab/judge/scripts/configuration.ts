import { type Guest, hex } from "../guest.ts";

/** Reads all of configuration space, by both mechanisms and with every width and alignment. */
export async function configuration(guest: Guest): Promise<void> {
	await guest.dump();
	const ports: string[] = [];
	for (let register = 0; register < 256; register += 4) {
		ports.push(guest.select(register), "inl 0xcfc");
		for (const lane of [0, 1, 2, 3]) ports.push(`inb ${hex(0xcfc + lane)}`);
		for (const lane of [0, 1, 2]) ports.push(`inw ${hex(0xcfc + lane)}`);
	}
	await guest.say(...ports);
	const memory: string[] = [];
	for (let register = 0; register < 256; register++) memory.push(`readb ${hex(guest.ecam(register))}`);
	for (let register = 0; register < 256; register++) memory.push(`readw ${hex(guest.ecam(register))}`);
	for (let register = 0; register < 64; register++) memory.push(`readl ${hex(guest.ecam(register))}`);
	for (let register = 0; register < 64; register += 4) memory.push(`readq ${hex(guest.ecam(register))}`);
	for (let register = 256; register < 4096; register += 252) memory.push(`readb ${hex(guest.ecam(register))}`);
	await guest.say(...memory);
	// The address register itself, and an address that is switched off.
	await guest.say(
		"outl 0xcf8 0xffffffff",
		"inl 0xcf8",
		"inl 0xcfc",
		guest.select(4),
		"inl 0xcf8",
		"inb 0xcf8",
		"inw 0xcfa",
	);
	await guest.say("outb 0xcf8 0x10", "inl 0xcf8", "outl 0xcf8 0x2800", "inl 0xcfc", guest.select(0));
	// Its other functions, and its neighbour: nobody is there.
	await guest.say(`readl ${hex(guest.ecam(0x1000))}`, `readl ${hex(guest.ecam(0x8000))}`);
}
