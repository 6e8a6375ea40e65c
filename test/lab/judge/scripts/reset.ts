import { type Guest, hex } from "../guest.ts";

const EXPRESS = 0x10;
const POWER_MANAGEMENT = 0x01;

/** Resets function, bus and machine, and reads registers before and after. */
export async function reset(guest: Guest): Promise<void> {
	const registers = async () => {
		const bars = await guest.sizeBars();
		await guest.placeBars(bars);
		await guest.say(
			...bars.flatMap((bar) => {
				const read = bar.kind === "io" ? "inl" : "readl";
				return [`${read} ${hex(bar.address)}`, `${read} ${hex(bar.address + Math.min(8, bar.size - 4))}`];
			}),
			...guest.read(4),
		);
	};
	await registers();
	const power = await guest.capability(POWER_MANAGEMENT);
	if (power !== 0) {
		// To D3hot and back: the function answers in configuration space only, and may have forgotten everything.
		await guest.say(...guest.write(power + 4, 2, 3), ...guest.read(power + 4), `readl 0xd0000000`, ...guest.read(4));
		await guest.say(...guest.write(power + 4, 2, 0), ...guest.read(power + 4), ...guest.read(4));
		await guest.dump(64);
		await registers();
	}
	const express = await guest.capability(EXPRESS);
	if (express !== 0) {
		const control = await guest.readRegister(express + 8, 2);
		await guest.say(...guest.write(express + 8, 2, control | 0x8000), ...guest.read(express + 8));
		await guest.dump();
		await registers();
	}
	if (guest.placement === "below a root port") {
		await guest.resetBus();
		await guest.dump();
		await registers();
	}
	// The machine: its configuration is gone, the device's registers are as after power-on.
	await guest.whisper("outb 0xcf9 0x06");
	await guest.whisper("endianness");
	await guest.prepare();
	await guest.dump();
	await registers();
	await guest.writeRegister(4, 2, 0);
}
