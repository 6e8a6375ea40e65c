import type { Guest } from "../guest.ts";

/** Writes every register of the header that is not a BAR: all ones, all zeroes, patterns, and each width. */
export async function header(guest: Guest): Promise<void> {
	const at = async (register: number, width: 1 | 2 | 4, ...values: number[]) => {
		for (const value of values)
			await guest.say(...guest.write(register, width, value), ...guest.read(register & 0xfc), ...guest.read(4));
	};
	await at(0x00, 4, 0xffff_ffff, 0); // vendor, device
	await at(0x04, 2, 0xffff, 0, 0x0400, 0x0001, 0x0002, 0x0004, 0x0007, 0x0407, 0x0140, 0);
	await at(0x04, 1, 7, 0);
	await at(0x05, 1, 4, 0xff, 0);
	await at(0x06, 2, 0xffff, 0);
	await at(0x04, 4, 0xffff_0007, 0);
	await at(0x08, 4, 0xffff_ffff, 0); // revision, class
	await at(0x0c, 1, 0x10, 0xff, 0); // cache line size
	await at(0x0d, 1, 0x40, 0xff, 0); // latency timer
	await at(0x0e, 1, 0xff, 0x80, 0); // header type
	await at(0x0f, 1, 0xff, 0x40, 0); // self test
	await at(0x28, 4, 0xffff_ffff, 0); // CardBus
	await at(0x2c, 4, 0xffff_ffff, 0); // subsystem
	await at(0x34, 4, 0xffff_ffff, 0); // capability pointer
	await at(0x38, 4, 0xffff_ffff, 0);
	await at(0x3c, 1, 0x0b, 0xff, 0); // interrupt line
	await at(0x3d, 1, 0xff, 0); // interrupt pin
	await at(0x3e, 2, 0xffff, 0);
	await guest.dump();
}
