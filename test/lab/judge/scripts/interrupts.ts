import { type Guest, hex, type SizedBar } from "../guest.ts";

const MESSAGE = 0x40_0000;
const EDU = 0x11e8_1234;
const E1000 = 0x100e_8086;
const E1000E = 0x10d3_8086;
const IGB = 0x10c9_8086;

/** Has devices that can be told to interrupt do so: by INTx, MSI and MSI-X, masked and unmasked. */
export async function interrupts(guest: Guest): Promise<void> {
	const id = await guest.readRegister(0);
	if (![EDU, E1000, E1000E, IGB].includes(id)) return;
	const bars = await guest.sizeBars();
	await guest.placeBars(bars);
	const base = bars[0]?.address ?? 0;
	await guest.say(`memset ${hex(MESSAGE)} 0x2000 0`, "irq_intercept_in ioapic");
	if (id === EDU) await edu(guest, base);
	if (id === E1000 || id === E1000E) await statusChange(guest, base);
	if (id === E1000E) await intel(guest, bars, e1000e(base));
	if (id === IGB) await intel(guest, bars, igb(base));
	await guest.writeRegister(4, 2, 0);
}

/** QEMU's docs/specs/edu.rst. */
async function edu(guest: Guest, base: number): Promise<void> {
	const raise = (value: number) => `writel ${hex(base + 0x60)} ${hex(value)}`;
	const acknowledge = (value: number) => `writel ${hex(base + 0x64)} ${hex(value)}`;
	const line = guest.interruptLine;
	for (let round = 0; round < 3; round++) {
		let from = guest.interrupts.length;
		await guest.say(raise(1));
		await guest.awaitInterrupt(from, `IRQ raise ${line}`);
		from = guest.interrupts.length;
		// Served with the first access: any other one would end the interrupt while the device still asserts it.
		await guest.say(acknowledge(1));
		await guest.awaitInterrupt(from, `IRQ lower ${line}`);
		await guest.say(`readl ${hex(base + 0x24)}`, ...guest.read(4));
	}
	// Switched off, it stays silent, and shows when it is switched on again.
	await guest.say(...guest.write(4, 2, 0x407), raise(2), ...guest.read(4), `readl ${hex(base + 0x24)}`);
	let from = guest.interrupts.length;
	await guest.say(...guest.write(4, 2, 7));
	await guest.awaitInterrupt(from, `IRQ raise ${line}`);
	from = guest.interrupts.length;
	await guest.say(acknowledge(2));
	await guest.awaitInterrupt(from, `IRQ lower ${line}`);

	await dma(guest, base);
	const at = await guest.capability(5);
	const aim = (address: number, data: number) =>
		guest.say(...guest.write(at + 4, 4, address), ...guest.write(at + 8, 4, 0), ...guest.write(at + 12, 2, data));
	await aim(MESSAGE, 0x4321);
	await guest.say(...guest.write(at + 2, 2, 0x81), ...guest.read(at), raise(1));
	await guest.await32(MESSAGE, 0x4321, "the MSI in RAM");
	await aim(MESSAGE + 0x100, 0x4322);
	await guest.say(acknowledge(1), raise(1));
	await guest.await32(MESSAGE + 0x100, 0x4322, "the MSI that was moved");
	await guest.say(acknowledge(1), ...guest.write(at + 2, 2, 0x80), ...guest.read(at), `readl ${hex(MESSAGE)}`);
	from = guest.interrupts.length;
	await guest.say(raise(1));
	await guest.awaitInterrupt(from, `IRQ raise ${line}`);
	await guest.say(acknowledge(1));
}

/** RAM to the device's own memory, and from there to other RAM. */
async function dma(guest: Guest, base: number): Promise<void> {
	const buffer = 0x40000;
	const move = async (source: number, destination: number, command: number) => {
		await guest.say(
			`writeq ${hex(base + 0x80)} ${hex(source)}`,
			`writeq ${hex(base + 0x88)} ${hex(destination)}`,
			`writeq ${hex(base + 0x90)} 0x100`,
			`writeq ${hex(base + 0x98)} ${hex(command)}`,
		);
		await guest.await32(base + 0x98, command & ~1, "the transfer's end");
	};
	const from = MESSAGE + 0x10_0000;
	const pattern = Array.from({ length: 256 }, (_, n) => ((n * 7 + 1) & 0xff).toString(16).padStart(2, "0")).join("");
	await guest.say(`write ${hex(from)} 0x100 0x${pattern}`, `memset ${hex(from + 0x1000)} 0x100 0`);
	await move(from, buffer, 1);
	await move(buffer, from + 0x1000, 3);
	await guest.say(`read ${hex(from + 0x1000)} 0x100`);
}

/** INTx of Intel's older controllers (82540 manual, section 13.4.17: ICR, ICS, IMS, IMC): the link's state has changed. */
async function statusChange(guest: Guest, base: number): Promise<void> {
	const line = guest.interruptLine;
	for (let round = 0; round < 2; round++) {
		let from = guest.interrupts.length;
		await guest.say(`writel ${hex(base + 0xd0)} 4`, `writel ${hex(base + 0xc8)} 4`);
		await guest.awaitInterrupt(from, `IRQ raise ${line}`);
		from = guest.interrupts.length;
		await guest.say(`readl ${hex(base + 0xc0)}`);
		await guest.awaitInterrupt(from, `IRQ lower ${line}`);
	}
	await guest.say(`writel ${hex(base + 0xd8)} 0xffffffff`, ...guest.read(4));
}

/** The registers of Intel's controllers that interrupt by software. */
interface Intel {
	/** Routes cause 0 to vector 0. */
	readonly setup: readonly string[];
	readonly fire: readonly string[];
	readonly acknowledge: readonly string[];
}

/** 82574 datasheet, section 10.2.4: IVAR, IMS, ICS. */
function e1000e(base: number): Intel {
	return {
		setup: [`writel ${hex(base + 0xe4)} 0x80008`, `writel ${hex(base + 0xd0)} 0x1f00004`],
		fire: [`writel ${hex(base + 0xc8)} 0x1f00004`],
		acknowledge: [`writel ${hex(base + 0xc0)} 0xffffffff`],
	};
}

/** 82576 datasheet, section 8.8: GPIE, IVAR, EIAC, EIMS, EICS. */
function igb(base: number): Intel {
	return {
		setup: [
			`writel ${hex(base + 0x1514)} 0x10`,
			`writel ${hex(base + 0x1700)} 0x80`,
			`writel ${hex(base + 0x1524)} 0x1`,
		],
		fire: [`writel ${hex(base + 0x1520)} 0x1`],
		acknowledge: [`writel ${hex(base + 0x1580)} 0xffffffff`],
	};
}

async function intel(guest: Guest, bars: readonly SizedBar[], registers: Intel): Promise<void> {
	const at = await guest.capability(0x11);
	const where = await guest.readRegister(at + 4);
	const table = (bars.find(({ index }) => index === (where & 7))?.address ?? 0) + (where & ~7);
	const aim = (address: number, data: number, masked: boolean) =>
		guest.say(
			`writel ${hex(table)} ${hex(address)}`,
			`writel ${hex(table + 4)} 0`,
			`writel ${hex(table + 8)} ${hex(data)}`,
			`writel ${hex(table + 12)} ${masked ? 1 : 0}`,
		);
	await aim(MESSAGE, 0x5a5a_1234, false);
	await guest.say(...guest.write(at + 2, 2, 0x8000), ...guest.read(at), ...registers.setup, ...registers.fire);
	await guest.await32(MESSAGE, 0x5a5a_1234, "the message of vector 0");
	await aim(MESSAGE + 0x100, 0x5a5a_1235, false);
	await guest.say(...registers.acknowledge, ...registers.fire);
	await guest.await32(MESSAGE + 0x100, 0x5a5a_1235, "the message that was moved");
	await guest.say(...guest.write(at + 2, 2, 0), ...guest.read(at), ...registers.acknowledge);
}
