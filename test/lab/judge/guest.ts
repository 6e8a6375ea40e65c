import { setTimeout as delay } from "node:timers/promises";
import type { QtestClient } from "./client.ts";

/** Where the device is in the guest. */
export type Placement = "on the root bus" | "below a root port";

/** RAM of both machines, in bytes: what every start of a machine has to pin and map. */
export const MEMORY_SIZE = 64 << 20;
/** The device's slot on the root bus, or of its port. */
export const ROOT_SLOT = 5;
export const PORT_SLOT = 4;

/** Where PCIEXBAR is told to open the window to configuration space. */
const ECAM = 0xb000_0000;
/** What the root port forwards. */
const WINDOW = { memory: 0xd000_0000, memoryEnd: 0xe000_0000, io: 0x4000, high: 0x10_0000_0000 };

/** A line and its answer. */
export interface Exchange {
	readonly script: string;
	readonly line: string;
	readonly answer: string;
	/** The register that 0xcfc led to, or undefined when the line is about something else. */
	readonly register: number | undefined;
}

/** A BAR as the guest sized it. */
export interface SizedBar {
	readonly index: number;
	readonly kind: "io" | "mem32" | "mem64";
	readonly size: number;
	/** Where {@link Guest.placeBars} put it. */
	address: number;
}

/** A guest's operating system, as far as it looks at one device. Everything it says and hears is recorded. */
export class Guest {
	readonly exchanges: Exchange[] = [];
	/** What was waited for and did not come: agreement on that would prove nothing. */
	readonly missed: string[] = [];
	readonly placement: Placement;
	/** The name of the script that runs. */
	script = "";
	readonly #client: QtestClient;
	#selected = 0;

	constructor(client: QtestClient, placement: Placement) {
		this.#client = client;
		this.placement = placement;
	}

	get bus(): number {
		return this.placement === "on the root bus" ? 0 : 1;
	}

	get device(): number {
		return this.bus === 0 ? ROOT_SLOT : 0;
	}

	/** The line its INTA is. */
	get interruptLine(): number {
		return 20 + ((this.bus === 0 ? ROOT_SLOT : PORT_SLOT) & 3);
	}

	/** `IRQ` lines since the machine started. */
	get interrupts(): readonly string[] {
		return this.#client.interrupts;
	}

	/** Says lines that are compared. @returns the answers' values */
	async say(...lines: string[]): Promise<number[]> {
		const answers = await this.#client.say(lines);
		lines.forEach((line, n) => {
			const answer = answers[n] ?? "";
			const address = /^outl 0xcf8 (0x[0-9a-f]+)$/.exec(line);
			if (address) this.#selected = Number(address[1]) & 0xfc;
			const data = /^(?:in|out)[bwl] (0xcf[c-f])/.exec(line);
			const register = data ? this.#selected + Number(data[1]) - 0xcfc : undefined;
			this.exchanges.push({ script: this.script, line, answer, register });
		});
		return answers.map(numberIn);
	}

	/** Says lines that are not. */
	async whisper(...lines: string[]): Promise<number[]> {
		return (await this.#client.say(lines)).map(numberIn);
	}

	/** What does not come by itself: something that was waited for, and whether it came. */
	note(line: string, answer: string): void {
		this.exchanges.push({ script: this.script, line, answer, register: undefined });
	}

	/** Lines that read a register through 0xcfc. */
	read(register: number, width: 1 | 2 | 4 = 4): string[] {
		return [this.select(register), `in${LETTER[width]} ${port(register)}`];
	}

	/** Lines that write one. */
	write(register: number, width: 1 | 2 | 4, value: number): string[] {
		return [this.select(register), `out${LETTER[width]} ${port(register)} ${hex(value >>> 0)}`];
	}

	select(register: number): string {
		return `outl 0xcf8 ${hex(0x8000_0000 + this.bus * 0x1_0000 + this.device * 0x800 + (register & 0xfc))}`;
	}

	/** The address of a register in memory. */
	ecam(register: number): number {
		return ECAM + this.bus * 2 ** 20 + this.device * 2 ** 15 + register;
	}

	async readRegister(register: number, width: 1 | 2 | 4 = 4): Promise<number> {
		return (await this.say(...this.read(register, width)))[1] ?? 0;
	}

	async writeRegister(register: number, width: 1 | 2 | 4, value: number): Promise<void> {
		await this.say(...this.write(register, width, value));
	}

	/** All of configuration space, or its first bytes. */
	async dump(length = 4096): Promise<void> {
		await this.say(`read ${hex(this.ecam(0))} ${hex(length)}`);
	}

	/** Makes configuration space and the bus below the port reachable, as firmware does. */
	async prepare(): Promise<void> {
		const root = (device: number, register: number, value: number) => [
			`outl 0xcf8 ${hex(0x8000_0000 + device * 0x800 + register)}`,
			`outl 0xcfc ${hex(value)}`,
		];
		await this.whisper(...root(0, 0x60, ECAM + 1));
		if (this.bus === 0) return;
		const megabytes = (start: number, end: number) =>
			(((end - 1) >>> 16) & 0xfff0) * 0x1_0000 + ((start >>> 16) & 0xfff0);
		await this.whisper(
			...root(PORT_SLOT, 0x18, 0x0001_0100),
			...root(PORT_SLOT, 0x1c, (((WINDOW.io + 0xfff) >> 8) << 8) + (WINDOW.io >> 8)),
			...root(PORT_SLOT, 0x20, megabytes(WINDOW.memory, WINDOW.memoryEnd)),
			...root(PORT_SLOT, 0x24, 0xfff1_0001),
			...root(PORT_SLOT, 0x28, WINDOW.high / 2 ** 32),
			...root(PORT_SLOT, 0x2c, WINDOW.high / 2 ** 32),
			...root(PORT_SLOT, 0x04, 0x0000_0007),
		);
	}

	/** Has the port reset the bus below it: bit 6 of its bridge control register, set and cleared. */
	async resetBus(): Promise<void> {
		const select = `outl 0xcf8 ${hex(0x8000_003c + PORT_SLOT * 0x800)}`;
		await this.whisper(select, "outw 0xcfe 0x40", "endianness", select, "outw 0xcfe 0");
	}

	/** Sizes all BARs, as firmware does. Nothing decodes afterwards. */
	async sizeBars(): Promise<SizedBar[]> {
		await this.writeRegister(4, 2, 0);
		const bars: SizedBar[] = [];
		for (let index = 0; index < 6; index++) {
			const at = 0x10 + 4 * index;
			const [, , , low = 0] = await this.say(...this.write(at, 4, 0xffff_ffff), ...this.read(at));
			await this.writeRegister(at, 4, 0);
			if (low === 0) continue;
			if (low & 1) bars.push({ index, kind: "io", size: (~(low & ~3) + 1) & 0xffff, address: 0 });
			else {
				const wide = (low & 6) === 4;
				bars.push({ index, kind: wide ? "mem64" : "mem32", size: (~(low & ~0xf) + 1) >>> 0, address: 0 });
				if (!wide) continue;
				await this.say(...this.write(at + 4, 4, 0xffff_ffff), ...this.read(at + 4));
				await this.writeRegister(at + 4, 4, 0);
				index++;
			}
		}
		return bars;
	}

	/** Places BARs one behind another, in the order given, below 4 GiB, and switches everything on. */
	async placeBars(bars: readonly SizedBar[]): Promise<void> {
		let memory = WINDOW.memory;
		let io = WINDOW.io;
		for (const bar of bars) {
			const start = bar.kind === "io" ? io : memory;
			bar.address = Math.ceil(start / bar.size) * bar.size;
			if (bar.kind === "io") io = bar.address + bar.size;
			else memory = bar.address + bar.size;
			await this.moveBar(bar, bar.address);
		}
		await this.writeRegister(4, 2, 7);
	}

	/** Writes a BAR's register or registers. */
	async moveBar(bar: SizedBar, address: number): Promise<void> {
		const at = 0x10 + 4 * bar.index;
		bar.address = address;
		const lines = this.write(at, 4, address % 2 ** 32);
		if (bar.kind === "mem64") lines.push(...this.write(at + 4, 4, Math.floor(address / 2 ** 32)));
		await this.say(...lines);
	}

	/** The offset of a standard capability, or 0. */
	async capability(id: number): Promise<number> {
		let at = (await this.readRegister(0x34, 1)) & 0xfc;
		for (let steps = 0; at !== 0 && steps < 48; steps++) {
			const header = await this.readRegister(at, 2);
			if ((header & 0xff) === id) return at;
			at = (header >> 8) & 0xfc;
		}
		return 0;
	}

	/** Waits until memory holds a value, and records whether it came to that. */
	async await32(address: number, value: number, what: string): Promise<void> {
		const end = Date.now() + 3000;
		let found: number;
		do {
			[found = 0] = await this.whisper(`readl ${hex(address)}`);
			if (found === value) break;
			await delay(2);
		} while (Date.now() < end);
		if (found !== value) this.missed.push(what);
		this.note(what, hex(found));
	}

	/** Waits for an interrupt line to change, from a count on. */
	async awaitInterrupt(from: number, wanted: string): Promise<void> {
		const end = Date.now() + 3000;
		while (Date.now() < end && !this.interrupts.slice(from).includes(wanted)) {
			await delay(2);
			await this.whisper("endianness");
		}
		if (!this.interrupts.slice(from).includes(wanted)) this.missed.push(wanted);
		this.note(`waits for ${wanted}`, this.interrupts.slice(from).join(", "));
	}
}

const LETTER = { 1: "b", 2: "w", 4: "l" } as const;

function port(register: number): string {
	return hex(0xcfc + (register & 3));
}

export function hex(value: number): string {
	return `0x${value.toString(16)}`;
}

/** A number that the answer holds, if it is one that fits. */
function numberIn(answer: string): number {
	const digits = /^OK (0x[0-9a-f]{1,16})$/.exec(answer)?.[1];
	return digits === undefined ? 0 : Number(digits);
}
