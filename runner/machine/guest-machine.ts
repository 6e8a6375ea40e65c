/**
 * The embedded guest: a PC that assigned functions can be plugged into.
 *
 * @module
 */
import type { AccessWidth, Kernel } from "../../core/kernel.ts";
import { type GuestMemory, PciTopology, type RootBusUpstream } from "../../core/machine/mod.ts";
import { Releases } from "../../core/release.ts";
import { GuestConsole, type SlotState } from "./console.ts";
import { GuestRam } from "./guest-ram.ts";
import { Piix3Router } from "./piix3.ts";
import { Processor, type ProcessorBus } from "./v86.ts";

/** Options of {@link GuestMachine.create}. */
export interface GuestMachineOptions {
	/** The kernel whose devices are assigned: it lets them reach the guest's RAM. */
	readonly kernel: Kernel;
	/** A 32-bit multiboot ELF; see {@link guestProgram} for ours. */
	readonly program: Uint8Array;
	/** The program's command line, such as `interrupt=msix blocks=256`; empty when left out. */
	readonly commandLine?: string;
	/** Bytes of RAM, a power of two from 1 MiB; 16 MiB when left out. */
	readonly memorySize?: number;
	/** Ends a guest that does not end by itself, in milliseconds of the host's clock; 60 000 when left out. Infinity: never. */
	readonly timeLimit?: number;
	/**
	 * Compiles guest code to WebAssembly. Off when left out: device DMA happens inside the kernel, where v86 does not see it,
	 * so that compiled code could outlive the bytes it was made from. On is sound for a program that never uses a page for
	 * DMA that has held code, as ours does not.
	 */
	readonly jit?: boolean;
}

/** How a guest's run ended. */
export interface GuestOutcome {
	/**
	 * `pass` and `fail`: the program said so. `halted`: it stopped for ever without a word. `timeout`: the limit was
	 * reached. `stopped`: by {@link GuestMachine.stop}. `error`: something of ours threw.
	 */
	readonly kind: "pass" | "fail" | "halted" | "timeout" | "stopped" | "error";
	/** The reason for anything but `pass`, a sentence's worth. */
	readonly reason: string;
	/** What was thrown, for `error`. */
	readonly error?: unknown;
	/** Milliseconds from the guest's first instruction to its last. */
	readonly duration: number;
}

/** Something that happens in a guest machine. */
export type GuestEvent =
	| { readonly type: "console"; readonly line: string }
	| { readonly type: "result"; readonly name: string; readonly value: string }
	/** The guest's hot-plug driver did something. `slot` is the physical slot number that the root port shows. */
	| { readonly type: "slot"; readonly slot: number; readonly state: SlotState }
	| { readonly type: "interrupt"; readonly kind: "intx"; readonly line: number | undefined; readonly asserted: boolean }
	| { readonly type: "interrupt"; readonly kind: "message"; readonly address: bigint; readonly data: number }
	| { readonly type: "finished"; readonly outcome: GuestOutcome };

/** How much happened, since the machine was made. */
export interface GuestStatistics {
	/** Accesses to configuration space of plugged functions. */
	readonly configAccesses: number;
	/** Accesses to I/O BARs. */
	readonly portAccesses: number;
	/** Accesses to memory BARs. */
	readonly memoryAccesses: number;
	/** Times an INTx line went up. */
	readonly intx: number;
	/** Messages, MSI and MSI-X. */
	readonly messages: number;
	/** Messages for nobody: to an address where there is neither RAM nor this processor, or of a kind other than fixed. */
	readonly droppedMessages: number;
	/** Interrupt changes that waited for a moment between two stretches of guest code. */
	readonly deferred: number;
}

const DEFAULT_MEMORY_SIZE = 16 << 20;
const DEFAULT_TIME_LIMIT = 60_000;

/** What v86 itself has on bus 0. */
const CHIPSET: readonly (readonly [device: number, name: string])[] = [
	[0x00, "the host bridge of the PC"],
	[0x01, "the PC's ISA bridge"],
	[0x07, "the PC's power management function"],
	[0x12, "the PC's graphics card"],
	[0x1e, "the PC's disk controller"],
];

const CONFIG_PORTS = 0xcf8;
const CONFIG_DATA = 0xcfc;
/** PCI hot-plug registers that firmware tables name and v86 lacks: all ones there would mean "remove every slot". */
const HOT_PLUG_PORTS = 0xae00;
const HOT_PLUG_PORT_COUNT = 0x14;

/** Messages to these addresses are interrupts (Intel SDM volume 3, section 11.11). */
const MESSAGE_START = 0xfee0_0000n;
const MESSAGE_END = 0xfef0_0000n;
const MESSAGE_LOGICAL = 0x4n;
const EVERY_PROCESSOR = 0xff;
const LOWEST_LEGAL_VECTOR = 16;

/**
 * A 32-bit PC with one processor.
 *
 * Its PCI is {@link topology}: a root complex `pcie.0` (slots 0, 1, 7, 18 and 30 hold the PC's own chipset) to which root
 * ports can be added. Configuration space is reached through ports 0xcf8 and 0xcfc.
 *
 * @example
 * ```ts
 * const machine = await GuestMachine.create({ kernel, program: guestProgram(), commandLine: "interrupt=msi" });
 * const addressSpace = new IoAddressSpace(kernel, { memory: machine.memory });
 * const device = VfioDevice.open(kernel, "05:00.0", { addressSpace });
 * machine.topology.plug(AssignedFunction.attach(device), { address: parseSlotAddress("5") });
 * machine.onEvent((event) => event.type === "result" && console.log(event.name, event.value));
 * const { kind } = await machine.run(); // "pass"
 * await machine[Symbol.asyncDispose]();
 * device[Symbol.dispose]();
 * ```
 */
export class GuestMachine implements AsyncDisposable {
	/** Where functions are plugged. */
	readonly topology: PciTopology;
	readonly #timeLimit: number;
	readonly #router: Piix3Router;
	readonly #console: GuestConsole;
	readonly #listeners = new Set<(event: GuestEvent) => void>();
	#processor!: Processor;
	#ram!: GuestRam;
	#verdict: { passed: boolean; reason: string } | undefined;
	#started: number | undefined;
	#paused = false;
	#outcome: GuestOutcome | undefined;
	#finish: (outcome: GuestOutcome) => void = () => {};
	readonly #finished: Promise<GuestOutcome>;
	#limit: ReturnType<typeof setTimeout> | undefined;
	#configAccesses = 0;
	#portAccesses = 0;
	#memoryAccesses = 0;
	#intx = 0;
	#messages = 0;
	#droppedMessages = 0;

	private constructor(options: GuestMachineOptions) {
		this.#timeLimit = options.timeLimit ?? DEFAULT_TIME_LIMIT;
		this.#router = new Piix3Router((line, asserted) => this.#processor.setIrq(line, asserted));
		this.topology = new PciTopology(this.#upstream());
		for (const [device, name] of CHIPSET) this.topology.root.reserve({ device, function: 0 }, name);
		this.#console = new GuestConsole({
			line: (line) => this.#emit({ type: "console", line }),
			result: (name, value) => this.#emit({ type: "result", name, value }),
			slot: (slot, state) => this.#emit({ type: "slot", slot, state }),
			verdict: (passed, reason) => {
				this.#verdict ??= { passed, reason };
			},
		});
		this.#finished = new Promise((resolve) => {
			this.#finish = resolve;
		});
	}

	/**
	 * Makes a machine with the program in its RAM; it does not run yet.
	 *
	 * @throws Error when the program or the installed v86 cannot be used
	 */
	static async create(options: GuestMachineOptions): Promise<GuestMachine> {
		const memorySize = options.memorySize ?? DEFAULT_MEMORY_SIZE;
		checkMemorySize(memorySize);
		checkProgram(options.program);
		const machine = new GuestMachine(options);
		const processor = await Processor.create({
			program: options.program,
			commandLine: options.commandLine ?? "",
			memorySize,
			jit: options.jit ?? false,
			bus: machine.#bus(),
			onSerial: (byte) => machine.#console.byte(byte),
			onEndOfInterrupt: (line) => machine.#endOfInterrupt(line),
			onHalt: () => machine.#halted(),
			onError: (error) => machine.#failed(error),
		});
		machine.#processor = processor;
		machine.#ram = new GuestRam(options.kernel.adopt(() => processor.ram));
		return machine;
	}

	/** The guest's RAM, for the IOMMU. */
	get memory(): GuestMemory {
		return this.#ram;
	}

	get statistics(): GuestStatistics {
		return {
			configAccesses: this.#configAccesses,
			portAccesses: this.#portAccesses,
			memoryAccesses: this.#memoryAccesses,
			intx: this.#intx,
			messages: this.#messages,
			droppedMessages: this.#droppedMessages,
			deferred: this.#processor.deferred,
		};
	}

	/** Learns of everything that happens. @returns dispose it to stop listening */
	onEvent(listener: (event: GuestEvent) => void): Disposable {
		this.#listeners.add(listener);
		return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
	}

	/** Runs the guest to its end. May be called again for the same outcome. */
	run(): Promise<GuestOutcome> {
		if (this.#started === undefined && this.#outcome === undefined) {
			this.#started = performance.now();
			if (Number.isFinite(this.#timeLimit))
				this.#limit = setTimeout(
					() => this.#end("timeout", `it was still running after ${this.#timeLimit} ms`),
					this.#timeLimit,
				);
			if (!this.#paused) this.#processor.start();
		}
		return this.#finished;
	}

	/** Has the guest stand still between two instructions, or not start with {@link run}. Its devices go on. */
	async pause(): Promise<void> {
		this.#paused = true;
		await this.#processor.pause();
	}

	/** Lets a paused guest go on. */
	resume(): void {
		if (!this.#paused) return;
		this.#paused = false;
		if (this.#started !== undefined && this.#outcome === undefined) this.#processor.start();
	}

	/**
	 * Resets every function and the processor, whose program starts anew; what the guest was asked to let go of leaves. A
	 * paused guest stays paused.
	 */
	async reset(): Promise<void> {
		await this.#processor.pause();
		if (this.#outcome !== undefined) return;
		this.topology.reset();
		this.#router.reset();
		this.#console.flush();
		this.#verdict = undefined;
		this.#processor.reset();
		if (this.#started !== undefined && !this.#paused) this.#processor.start();
	}

	/** Ends the run, if there is one, and releases every timer. The machine cannot run again. */
	async stop(): Promise<void> {
		this.#end("stopped", "it was stopped");
		await this.#processor.stop();
	}

	/** After {@link stop}: takes every function out of its slot, and the RAM away from its listeners. The functions live on. */
	close(): void {
		const releases = new Releases();
		releases.use(this.#ram);
		releases.use(this.topology);
		releases[Symbol.dispose]();
	}

	/** Stops and closes. */
	async [Symbol.asyncDispose](): Promise<void> {
		await this.stop();
		this.close();
	}

	#endOfInterrupt(line: number): void {
		this.#router.eachAsserted(line, (device, pin) => this.topology.root.endOfInterrupt(device, pin));
	}

	#halted(): void {
		this.#console.flush();
		if (this.#verdict === undefined) this.#end("halted", "it halted without a verdict");
		else if (this.#verdict.passed) this.#end("pass", "");
		else this.#end("fail", this.#verdict.reason);
	}

	#failed(error: unknown): void {
		this.#end("error", error instanceof Error ? error.message : String(error), error);
	}

	#end(kind: GuestOutcome["kind"], reason: string, error?: unknown): void {
		if (this.#outcome !== undefined) return;
		clearTimeout(this.#limit);
		const duration = this.#started === undefined ? 0 : performance.now() - this.#started;
		this.#outcome = { kind, reason, duration, ...(error === undefined ? {} : { error }) };
		this.#console.flush();
		this.#emit({ type: "finished", outcome: this.#outcome });
		void this.#processor.stop();
		this.#finish(this.#outcome);
	}

	#emit(event: GuestEvent): void {
		for (const listener of this.#listeners) listener(event);
	}

	/** Where the guest's accesses go. */
	#bus(): ProcessorBus {
		const { hostBridge, decoder } = this.topology;
		return {
			portRead: (port: number, width: AccessWidth): number | undefined => {
				if (port >= CONFIG_DATA && port < CONFIG_DATA + 4) {
					if (!hostBridge.selected) return undefined;
					this.#configAccesses++;
					return hostBridge.portRead(port, width);
				}
				if (port >= HOT_PLUG_PORTS && port < HOT_PLUG_PORTS + HOT_PLUG_PORT_COUNT) return 0;
				if (decoder.io.find(port) === undefined) return undefined;
				this.#portAccesses++;
				return decoder.io.read(port, width);
			},
			portWrite: (port: number, width: AccessWidth, value: number): boolean => {
				if (port >= CONFIG_PORTS && port < CONFIG_DATA) {
					// v86's own host bridge keeps its copy of the address for its own functions.
					hostBridge.portWrite(port, width, value);
					return false;
				}
				if (port >= CONFIG_DATA && port < CONFIG_DATA + 4) {
					if (!hostBridge.selected) {
						const register = (hostBridge.configAddress & 0xfc) + port - CONFIG_DATA;
						this.#router.configWrite(hostBridge.configAddress, register, width, value);
						return false;
					}
					this.#configAccesses++;
					hostBridge.portWrite(port, width, value);
					return true;
				}
				if (decoder.io.find(port) === undefined) return false;
				this.#portAccesses++;
				decoder.io.write(port, width, value);
				return true;
			},
			memoryRead: (address: number, width: AccessWidth): number | undefined => {
				if (decoder.memory.find(address) === undefined) return undefined;
				this.#memoryAccesses++;
				return decoder.memory.read(address, width);
			},
			memoryWrite: (address: number, width: AccessWidth, value: number): boolean => {
				if (decoder.memory.find(address) === undefined) return false;
				this.#memoryAccesses++;
				decoder.memory.write(address, width, value);
				return true;
			},
		};
	}

	/** Where interrupts go. */
	#upstream(): RootBusUpstream {
		return {
			pin: (device, pin, asserted) => {
				if (asserted) this.#intx++;
				this.#router.pin(device, pin, asserted);
				if (this.#listeners.size > 0) {
					this.#emit({ type: "interrupt", kind: "intx", line: this.#router.lineOf(device, pin), asserted });
				}
			},
			message: (address, data) => {
				this.#messages++;
				if (address >= MESSAGE_START && address < MESSAGE_END) this.#deliver(address, data);
				else this.#store(address, data);
				if (this.#listeners.size > 0) this.#emit({ type: "interrupt", kind: "message", address, data });
			},
		};
	}

	#deliver(address: bigint, data: number): void {
		const vector = data & 0xff;
		const deliveryMode = (data >>> 8) & 7;
		const destination = Number((address >> 12n) & 0xffn);
		const forUs =
			(address & MESSAGE_LOGICAL) !== 0n ? destination !== 0 : destination === 0 || destination === EVERY_PROCESSOR;
		// Fixed, or lowest priority, which one processor always has.
		if (!forUs || deliveryMode > 1 || vector < LOWEST_LEGAL_VECTOR) this.#droppedMessages++;
		else this.#processor.interrupt(vector);
	}

	/** A message elsewhere is what it is on the bus: a 32-bit write, to RAM if there is some. */
	#store(address: bigint, data: number): void {
		const { ram } = this.#processor;
		if (address > BigInt(ram.length - 4)) {
			this.#droppedMessages++;
			return;
		}
		new DataView(ram.buffer, ram.byteOffset).setUint32(Number(address), data, true);
	}
}

function checkMemorySize(size: number): void {
	if (Number.isInteger(Math.log2(size)) && size >= 1 << 20 && size <= 2 ** 30) return;
	throw new Error(`Cannot make a guest with ${size} bytes of RAM: it must be a power of two from 1 MiB to 1 GiB`);
}

/** v86 fails in an unhandled way on what is not a multiboot ELF, so it never gets one. */
function checkProgram(program: Uint8Array): void {
	const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
	const elf = program.length >= 52 && view.getUint32(0) === 0x7f45_4c46 && view.getUint8(4) === 1;
	if (!elf) throw new Error("Cannot run the guest program: it is not a 32-bit ELF file");
	for (let offset = 0; offset + 12 <= Math.min(program.length, 8192); offset += 4) {
		if (view.getUint32(offset, true) !== 0x1bad_b002) continue;
		const sum = 0x1bad_b002 + view.getUint32(offset + 4, true) + view.getUint32(offset + 8, true);
		if (sum % 2 ** 32 === 0) return;
	}
	throw new Error("Cannot run the guest program: it has no multiboot header in its first 8 KiB");
}
