/**
 * The npm package `v86`: everything this project knows about its inside is in this file. v86 is a PC emulator whose
 * processor is WebAssembly; its typed option `wasm_fn` hands us the imports of that module, and those are wrapped.
 *
 * A 16-bit read of memory arrives as two of 8 bits, a 64-bit one as two of 32: v86 has no other imports.
 *
 * What is relied on, all checked at start-up, for v86 0.5.462:
 * - the imports `io_port_*` and `mmap_*` are every port access, and every memory access above RAM, of the guest;
 * - `run_hardware_timers` is called between stretches of guest code, never inside one;
 * - `cpu_event_halt` is called when the guest halts with interrupts off;
 * - the export `allocate_memory` returns where guest RAM starts in the WebAssembly memory;
 * - EAX is the 32-bit word at 64, EFLAGS the one at 120, and the size of RAM the one at 812;
 * - a 32-bit read of port 0xf4 loads the multiboot program and sets the processor up for it, but for EAX, which it returns;
 * - the local APIC's registers are 32-bit words from `get_apic_addr()`: IRR from word 16, ISR from 24, TMR from word 32;
 * - an 8259 is bytes from `get_pic_addr_*()`: enabled lines, first vector, ISR, IRR, whether it is the first, and as the
 *   last but one the levels of its lines.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { V86 } from "v86";
import type { AccessWidth } from "../../core/kernel.ts";

/** What the guest's processor reaches besides its RAM and v86's own devices. */
export interface ProcessorBus {
	/** @returns undefined when the port is not ours: v86's own devices answer */
	portRead(port: number, width: AccessWidth): number | undefined;
	/** @returns false when the port is not ours */
	portWrite(port: number, width: AccessWidth, value: number): boolean;
	/** @param address guest-physical, unsigned @returns undefined when nothing of ours is there */
	memoryRead(address: number, width: AccessWidth): number | undefined;
	/** @param address guest-physical, unsigned @returns false when nothing of ours is there */
	memoryWrite(address: number, width: AccessWidth, value: number): boolean;
}

/** Options of {@link Processor.create}. */
export interface ProcessorOptions {
	/** A 32-bit multiboot ELF. */
	readonly program: Uint8Array;
	/** The multiboot command line. */
	readonly commandLine: string;
	/** Bytes of guest RAM. */
	readonly memorySize: number;
	/** Compiles guest code. Sound only when no DMA ever writes a page that has held code: nobody tells v86 about DMA. */
	readonly jit: boolean;
	readonly bus: ProcessorBus;
	/** A byte written to the first serial port. */
	onSerial(byte: number): void;
	/** The guest ends an interrupt of a line of the 8259s (the local APIC's end of interrupt cannot be seen). */
	onEndOfInterrupt(line: number): void;
	/** The guest halted with interrupts off: it will never run again. */
	onHalt(): void;
	/** Something of ours threw while the guest was accessing it. The guest reads all ones. */
	onError(error: unknown): void;
}

/** The part of the global `WebAssembly` used here; its full types belong to the browser's library, which Node's lack. */
declare const WebAssembly: {
	instantiate(code: Uint8Array, imports: object): Promise<{ instance: { exports: Record<string, unknown> } }>;
};

// biome-ignore lint/suspicious/noExplicitAny: WebAssembly imports differ only in how many numbers they take
type Import = (...values: any[]) => number;
type Imports = Record<string, Import>;
type Modules = Record<string, Imports>;

interface Exports {
	readonly memory: { readonly buffer: ArrayBuffer };
	allocate_memory(size: number): number;
	main_loop(): number;
	device_raise_irq(line: number): void;
	device_lower_irq(line: number): void;
	handle_irqs(): void;
	get_apic_addr(): number;
	get_pic_addr_master(): number;
	get_pic_addr_slave(): number;
}

const IMPORTS = [
	...["read8", "read16", "read32", "write8", "write16", "write32"].map((access) => `io_port_${access}`),
	...["read8", "read32", "write8", "write16", "write32", "write64", "write128"].map((access) => `mmap_${access}`),
	"run_hardware_timers",
	"cpu_event_halt",
	"stop_idling",
];
const EXPORTS = [
	"memory",
	"allocate_memory",
	"main_loop",
	"device_raise_irq",
	"device_lower_irq",
	"handle_irqs",
	"get_apic_addr",
	"get_pic_addr_master",
	"get_pic_addr_slave",
];
const EAX_WORD = 64 / 4;
const EFLAGS_WORD = 120 / 4;
const MEMORY_SIZE_WORD = 812 / 4;
const EFLAGS_RESERVED = 0x2;
const EFLAGS_INTERRUPT = 0x200;
const APIC_IRR_WORD = 16;
const APIC_TMR_WORD = 32;
const APIC_VECTOR_WORDS = 256 / 32;
const APIC_WORDS = 46;
const PIC_ENABLED = 0;
const PIC_ISR = 2;
const PIC_IRR = 3;
const PIC_FIRST = 4;
const PIC_LEVELS = 11;
const PIC1_COMMAND = 0x20;
const PIC2_COMMAND = 0xa0;
/** OCW2: bits 4 and 3 are zero; an end of interrupt of the line in bits 2 to 0, or of the highest in service. */
const OCW2_MASK = 0x18;
const OCW2_END = 0x20;
const OCW2_SPECIFIC = 0x40;
/** The second 8259 sits on line 2 of the first. */
const CASCADE = 1 << 2;
const IRQ_LINES = 16;
const MULTIBOOT_PORT = 0xf4;
const PAGE = 4096;

/** The emulated processor with its RAM, its interrupt controllers and v86's chipset. */
export class Processor {
	readonly #options: ProcessorOptions;
	#emulator!: V86;
	#exports!: Exports;
	#stopIdling: Import = () => 0;
	#v86PortRead: Import = () => 0;
	#ramBase = 0;
	#ram = new Uint8Array(0);
	#words = new Int32Array(0);
	#apic = new Int32Array(0);
	#picViews = { first: new Uint8Array(0), second: new Uint8Array(0) };
	#inGuest = false;
	#stopped: Promise<void> | undefined;
	/** What each interrupt line should be, and what v86 was last told. */
	readonly #wanted = new Uint8Array(IRQ_LINES);
	readonly #told = new Uint8Array(IRQ_LINES);
	#unsettled = false;
	/** How many interrupt changes had to wait for a moment between two stretches of guest code. */
	deferred = 0;

	private constructor(options: ProcessorOptions) {
		this.#options = options;
	}

	/** Loads v86 and the program; the guest does not run yet. @throws Error when v86 is not what this file knows */
	static async create(options: ProcessorOptions): Promise<Processor> {
		const processor = new Processor(options);
		await processor.#load();
		return processor;
	}

	/** Guest RAM. The view is made anew when the WebAssembly memory has grown; do not keep it. */
	get ram(): Uint8Array {
		const { buffer } = this.#exports.memory;
		if (this.#ram.buffer !== buffer) this.#ram = new Uint8Array(buffer, this.#ramBase, this.#options.memorySize);
		return this.#ram;
	}

	/** Lets the guest run. */
	start(): void {
		void this.#emulator.run();
	}

	/** Has the guest stand still between two instructions; {@link start} lets it go on. */
	async pause(): Promise<void> {
		if (this.#stopped !== undefined) return;
		const paused = this.#emulator.stop();
		this.#stopIdling();
		await paused;
	}

	/** As after {@link create}: zeroed RAM, the program loaded, the processor at its first instruction. The guest must be paused. */
	reset(): void {
		if (this.#stopped !== undefined) return;
		this.#emulator.restart();
		this.ram.fill(0);
		// An interrupt that the guest was in the middle of would hold back others for ever.
		this.#apicRegisters().fill(0, APIC_IRR_WORD, APIC_TMR_WORD + APIC_VECTOR_WORDS);
		// v86 loads a multiboot program when this port is read, which its own option ROM would do.
		const magic = this.#v86PortRead(MULTIBOOT_PORT);
		this.#cpuWords()[EAX_WORD] = magic;
	}

	/** Stops the guest for good and releases v86's timers. */
	stop(): Promise<void> {
		if (this.#stopped === undefined) {
			this.#stopped = this.#emulator.destroy();
			this.#stopIdling();
		}
		return this.#stopped;
	}

	/** The level of one of the 16 lines of the 8259s and the I/O APIC. */
	setIrq(line: number, asserted: boolean): void {
		const wanted = asserted ? 1 : 0;
		if (this.#wanted[line] === wanted) return;
		this.#wanted[line] = wanted;
		this.#settle();
	}

	/** An edge-triggered interrupt for the local APIC: what a message-signalled interrupt becomes. */
	interrupt(vector: number): void {
		const apic = this.#apicRegisters();
		const bit = 1 << (vector & 31);
		const word = vector >> 5;
		apic[APIC_IRR_WORD + word] = (apic[APIC_IRR_WORD + word] ?? 0) | bit;
		apic[APIC_TMR_WORD + word] = (apic[APIC_TMR_WORD + word] ?? 0) & ~bit;
		this.#settle();
	}

	/**
	 * Tells v86, unless guest code with interrupts on is in the middle of an access: v86 would deliver at once, and compiled
	 * code keeps registers in locals which the delivery would not see. Then it waits for `run_hardware_timers`.
	 */
	#settle(): void {
		if (this.#inGuest && (this.#cpuWords()[EFLAGS_WORD] ?? 0) & EFLAGS_INTERRUPT) {
			if (!this.#unsettled) this.deferred++;
			this.#unsettled = true;
			return;
		}
		this.#tell();
		if (!this.#inGuest) this.#stopIdling();
	}

	#tell(): void {
		this.#unsettled = false;
		for (let line = 0; line < IRQ_LINES; line++) {
			const wanted = this.#wanted[line] ?? 0;
			if (wanted === this.#told[line]) continue;
			this.#told[line] = wanted;
			if (wanted) this.#exports.device_raise_irq(line);
			else this.#lower(line);
		}
		this.#exports.handle_irqs();
	}

	/**
	 * When the second 8259 withdraws its request before the processor has taken it, v86 forgets to withdraw it from the first
	 * one: that would then be in service for ever, and no line above 7 would interrupt again.
	 */
	#lower(line: number): void {
		const exports = this.#exports;
		exports.device_lower_irq(line);
		if (line < 8) return;
		const { first, second } = this.#pics();
		if (((second[PIC_IRR] ?? 0) & (second[PIC_ENABLED] ?? 0)) !== 0) return;
		first[PIC_IRR] = (first[PIC_IRR] ?? 0) & ~CASCADE;
		first[PIC_LEVELS] = (first[PIC_LEVELS] ?? 0) & ~CASCADE;
	}

	#endOfInterrupt(port: number, command: number): void {
		if ((command & (OCW2_MASK | OCW2_END)) !== OCW2_END) return;
		const { first, second } = this.#pics();
		const inService = (port === PIC1_COMMAND ? first : second)[PIC_ISR] ?? 0;
		if (inService === 0) return;
		const line = command & OCW2_SPECIFIC ? command & 7 : 31 - Math.clz32(inService & -inService);
		this.#options.onEndOfInterrupt(port === PIC1_COMMAND ? line : line + 8);
	}

	/** The 8259s. Like every view of the WebAssembly memory, made anew only when that has grown. */
	#pics(): { first: Uint8Array; second: Uint8Array } {
		const { buffer } = this.#exports.memory;
		if (this.#picViews.first.buffer !== buffer) {
			this.#picViews = {
				first: new Uint8Array(buffer, this.#exports.get_pic_addr_master(), PIC_LEVELS + 1),
				second: new Uint8Array(buffer, this.#exports.get_pic_addr_slave(), PIC_LEVELS + 1),
			};
		}
		return this.#picViews;
	}

	#cpuWords(): Int32Array {
		const { buffer } = this.#exports.memory;
		if (this.#words.buffer !== buffer) this.#words = new Int32Array(buffer, 0, MEMORY_SIZE_WORD + 1);
		return this.#words;
	}

	#apicRegisters(): Int32Array {
		const { buffer } = this.#exports.memory;
		if (this.#apic.buffer !== buffer) this.#apic = new Int32Array(buffer, this.#exports.get_apic_addr(), APIC_WORDS);
		return this.#apic;
	}

	async #load(): Promise<void> {
		const { program, commandLine, memorySize, jit, onSerial } = this.#options;
		await new Promise<void>((resolve, reject) => {
			const instantiate = async (imports: Modules): Promise<object> => {
				try {
					return await this.#instantiate(imports);
				} catch (error) {
					reject(error);
					// v86 would leave a rejection unhandled; without an answer it merely never starts.
					return await new Promise<never>(() => {});
				}
			};
			this.#emulator = new V86({
				wasm_fn: instantiate,
				multiboot: { buffer: program.slice().buffer },
				cmdline: commandLine,
				memory_size: memorySize,
				vga_memory_size: 1 << 20,
				acpi: true,
				disable_jit: !jit,
				disable_keyboard: true,
				disable_mouse: true,
				disable_speaker: true,
				net_device: { type: "none" as never },
				autostart: false,
			});
			this.#emulator.add_listener("serial0-output-byte", onSerial);
			this.#emulator.add_listener("emulator-loaded", () => resolve());
		});
		this.#checkLayout();
	}

	#checkLayout(): void {
		const words = this.#cpuWords();
		const pics = this.#pics();
		const known =
			words[MEMORY_SIZE_WORD] === this.#options.memorySize &&
			((words[EFLAGS_WORD] ?? 0) & EFLAGS_RESERVED) !== 0 &&
			this.#exports.get_apic_addr() % 4 === 0 &&
			pics.first[PIC_FIRST] === 1 &&
			pics.second[PIC_FIRST] === 0 &&
			this.#ramBase > 0 &&
			this.#ramBase % PAGE === 0;
		if (!known) throw unknownVersion("its memory is not laid out as expected");
	}

	async #instantiate(imports: Modules): Promise<object> {
		const given = imports["env"] as Imports;
		const missing = IMPORTS.filter((name) => typeof given[name] !== "function");
		if (missing.length > 0) throw unknownVersion(`its processor does not import ${missing.join(", ")}`);
		const path = createRequire(import.meta.url).resolve("v86");
		const code = readFileSync(join(dirname(path), "v86.wasm"));
		const { instance } = await WebAssembly.instantiate(code, { env: { ...given, ...this.#wrap(given) } });
		const absent = EXPORTS.filter((name) => instance.exports[name] === undefined);
		if (absent.length > 0) throw unknownVersion(`its processor does not export ${absent.join(", ")}`);
		this.#stopIdling = given["stop_idling"] as Import;
		this.#v86PortRead = given["io_port_read32"] as Import;
		this.#exports = instance.exports as unknown as Exports;
		return {
			...instance.exports,
			allocate_memory: (size: number): number => {
				this.#ramBase = this.#exports.allocate_memory(size);
				return this.#ramBase;
			},
			main_loop: (): number => {
				this.#inGuest = true;
				try {
					return this.#exports.main_loop();
				} finally {
					this.#inGuest = false;
				}
			},
		};
	}

	/** The imports that the guest's accesses pass through. v86 passes addresses and values as signed 32-bit numbers. */
	#wrap(v86: Imports): Imports {
		const timers = v86["run_hardware_timers"] as Import;
		return {
			io_port_read8: this.#portRead(1, v86["io_port_read8"] as Import),
			io_port_read16: this.#portRead(2, v86["io_port_read16"] as Import),
			io_port_read32: this.#portRead(4, v86["io_port_read32"] as Import),
			io_port_write8: this.#portWrite(1, v86["io_port_write8"] as Import),
			io_port_write16: this.#portWrite(2, v86["io_port_write16"] as Import),
			io_port_write32: this.#portWrite(4, v86["io_port_write32"] as Import),
			mmap_read8: this.#memoryRead(1, v86["mmap_read8"] as Import),
			mmap_read32: this.#memoryRead(4, v86["mmap_read32"] as Import),
			mmap_write8: this.#memoryWrite(1, v86["mmap_write8"] as Import),
			mmap_write16: this.#memoryWrite(2, v86["mmap_write16"] as Import),
			mmap_write32: this.#memoryWrite(4, v86["mmap_write32"] as Import),
			mmap_write64: this.#wideWrite(v86["mmap_write64"] as Import),
			mmap_write128: this.#wideWrite(v86["mmap_write128"] as Import),
			run_hardware_timers: (...values) => {
				if (this.#unsettled) this.#tell();
				const delay = timers(...values);
				// A long sleep would keep the process alive after stop().
				return this.#stopped === undefined ? delay : 0;
			},
			cpu_event_halt: () => {
				this.#options.onHalt();
				return 0;
			},
		};
	}

	#portRead(width: AccessWidth, original: Import): Import {
		return (port) => {
			try {
				const value = this.#options.bus.portRead(port, width);
				return value === undefined ? original(port) : value | 0;
			} catch (error) {
				this.#options.onError(error);
				return -1;
			}
		};
	}

	#portWrite(width: AccessWidth, original: Import): Import {
		return (port, value) => {
			try {
				// Before v86 hears of it, or a pin that goes down now would first be asked for again.
				if (port === PIC1_COMMAND || port === PIC2_COMMAND) this.#endOfInterrupt(port, value);
				if (!this.#options.bus.portWrite(port, width, unsigned(value, width))) original(port, value);
			} catch (error) {
				this.#options.onError(error);
			}
			return 0;
		};
	}

	#memoryRead(width: AccessWidth, original: Import): Import {
		return (address) => {
			try {
				const value = this.#options.bus.memoryRead(address >>> 0, width);
				return value === undefined ? original(address) : value | 0;
			} catch (error) {
				this.#options.onError(error);
				return -1;
			}
		};
	}

	#memoryWrite(width: AccessWidth, original: Import): Import {
		return (address, value) => {
			try {
				if (!this.#options.bus.memoryWrite(address >>> 0, width, unsigned(value, width))) original(address, value);
			} catch (error) {
				this.#options.onError(error);
			}
			return 0;
		};
	}

	/** 64- and 128-bit writes: 32-bit parts, lowest first. */
	#wideWrite(original: Import): Import {
		return (address, ...parts) => {
			try {
				const { bus } = this.#options;
				const ours = parts.every((part, i) => bus.memoryWrite((address >>> 0) + 4 * i, 4, part >>> 0));
				if (!ours) original(address, ...parts);
			} catch (error) {
				this.#options.onError(error);
			}
			return 0;
		};
	}
}

function unsigned(value: number, width: AccessWidth): number {
	return width === 4 ? value >>> 0 : width === 2 ? value & 0xffff : value & 0xff;
}

function unknownVersion(what: string): Error {
	return new Error(`Cannot use the installed package "v86": ${what}; install version 0.5.462`);
}
