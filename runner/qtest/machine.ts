/**
 * The machine behind the qtest protocol: RAM, PCI and ports, and no processor.
 *
 * @module
 */
import type { AccessWidth, Kernel } from "../../core/kernel.ts";
import { type GuestMemory, PciTopology } from "../../core/machine/mod.ts";
import { InterruptLines } from "./interrupt-lines.ts";
import { MemoryController } from "./memory-controller.ts";
import { Ram } from "./ram.ts";

/** Options of a {@link QtestMachine}. */
export interface QtestMachineOptions {
	/** The kernel whose devices are assigned: it lets them reach the machine's RAM. */
	readonly kernel: Kernel;
	/** Bytes of RAM from address 0 on; 128 MiB when left out. */
	readonly memorySize?: number;
}

const DEFAULT_MEMORY_SIZE = 128 << 20;
const CONFIG_PORTS = 0xcf8;
const CONFIG_PORTS_END = 0xd00;
/** Between the ports of configuration space, as on every PC (ICH9 datasheet, section 13.7.5). */
const RESET_CONTROL = 0xcf9;
const RESET_NOW = 4;
const RESET_KEPT = 0xa;

/**
 * A machine laid out as QEMU's q35: a root complex `pcie.0` with a memory controller at 00:00.0, configuration space at
 * ports 0xcf8 and 0xcfc and, once the controller's PCIEXBAR is written, in memory; RAM, which wins over BARs; pins wired
 * to lines 20 to 23; a reset port at 0xcf9. What nobody decodes reads zero in memory and all ones at ports.
 *
 * @example
 * ```ts
 * const machine = new QtestMachine({ kernel });
 * const addressSpace = new IoAddressSpace(kernel, { memory: machine.memory });
 * const device = VfioDevice.open(kernel, "01:00.0", { addressSpace });
 * machine.topology.plug(AssignedFunction.attach(device), { address: parseSlotAddress("5") });
 * machine.portWrite(0xcf8, 4, 0x80002800);
 * machine.portRead(0xcfc, 4); // 0x11e81234
 * ```
 */
export class QtestMachine implements Disposable {
	readonly topology: PciTopology;
	/** Learns of each change of an interrupt line. */
	onInterruptLine: (line: number, asserted: boolean) => void = () => {};
	readonly #ram: Ram;
	readonly #controller: MemoryController;
	readonly #byte = new Uint8Array(8);
	readonly #value = new DataView(this.#byte.buffer);
	#resetControl = 0;

	constructor(options: QtestMachineOptions) {
		const lines = new InterruptLines((line, asserted) => this.onInterruptLine(line, asserted));
		this.topology = new PciTopology({
			pin: (device, pin, asserted) => lines.pin(device, pin, asserted),
			message: (address, data) => this.#message(address, data),
		});
		this.topology.root.reserve({ device: 31, function: 0 }, "the chipset's south bridge");
		this.#controller = new MemoryController((window) => {
			this.topology.hostBridge.ecam = window;
		});
		this.topology.plug(this.#controller, { address: { device: 0, function: 0 } });
		this.#ram = new Ram(options.kernel, options.memorySize ?? DEFAULT_MEMORY_SIZE);
	}

	/** The RAM, for the IOMMU. */
	get memory(): GuestMemory {
		return this.#ram;
	}

	/** Adds RAM. @param start guest-physical, page aligned @param size bytes @returns dispose it to remove the RAM again */
	addMemory(start: number, size: number): Disposable {
		return this.#ram.add(start, size);
	}

	/** A read of ports, in as many accesses as their alignment asks for. */
	portRead(port: number, width: AccessWidth): number {
		if (port % width !== 0) return gather(width, (i) => this.portRead((port + i) & 0xffff, 1));
		if (port === RESET_CONTROL && width === 1) return this.#resetControl;
		if (port >= CONFIG_PORTS && port < CONFIG_PORTS_END) return this.topology.hostBridge.portRead(port, width);
		return this.topology.decoder.io.read(port, width);
	}

	/** A write to ports. */
	portWrite(port: number, width: AccessWidth, value: number): void {
		if (port % width !== 0) {
			for (let i = 0; i < width; i++) this.portWrite((port + i) & 0xffff, 1, (value >>> (8 * i)) & 0xff);
		} else if (port === RESET_CONTROL && width === 1) {
			this.#resetControl = value & RESET_KEPT;
			if (value & RESET_NOW) this.reset();
		} else if (port >= CONFIG_PORTS && port < CONFIG_PORTS_END) {
			this.topology.hostBridge.portWrite(port, width, value);
		} else {
			this.topology.decoder.io.write(port, width, value);
		}
	}

	/** Reads memory, devices in naturally aligned accesses. @param address guest-physical */
	read(address: bigint, into: Uint8Array): void {
		this.#each(address, into.length, (at, offset, length) => {
			const ram = this.#ram.at(at);
			if (ram) {
				const count = Math.min(length, ram.length);
				into.set(ram.subarray(0, count), offset);
				return count;
			}
			const { hostBridge, decoder } = this.topology;
			const ecam = hostBridge.ecamContains(at);
			const width = accessWidth(at, length, ecam ? 4 : 8);
			if (ecam) this.#value.setUint32(0, hostBridge.ecamRead(at, width as AccessWidth), true);
			else if (decoder.memory.find(at) === undefined) this.#byte.fill(0);
			else if (width === 8) this.#value.setBigUint64(0, decoder.memory.read64(at), true);
			else this.#value.setUint32(0, decoder.memory.read(at, width), true);
			into.set(this.#byte.subarray(0, width), offset);
			return width;
		});
	}

	/** Writes memory. @param address guest-physical */
	write(address: bigint, from: Uint8Array): void {
		this.#each(address, from.length, (at, offset, length) => {
			const ram = this.#ram.at(at);
			if (ram) {
				const count = Math.min(length, ram.length);
				ram.set(from.subarray(offset, offset + count));
				return count;
			}
			const { hostBridge, decoder } = this.topology;
			const ecam = hostBridge.ecamContains(at);
			const width = accessWidth(at, length, ecam ? 4 : 8);
			this.#byte.fill(0);
			this.#byte.set(from.subarray(offset, offset + width));
			if (ecam) hostBridge.ecamWrite(at, width as AccessWidth, this.#value.getUint32(0, true));
			else if (width === 8) decoder.memory.write64(at, this.#value.getBigUint64(0, true));
			else decoder.memory.write(at, width, this.#value.getUint32(0, true));
			return width;
		});
	}

	/** Resets the machine: every function, and what configures them. RAM keeps its content. */
	reset(): void {
		this.topology.reset();
		this.#resetControl = 0;
	}

	/** Unplugs every function and takes the RAM away. The functions stay their owners'. */
	[Symbol.dispose](): void {
		this.topology[Symbol.dispose]();
		this.#ram[Symbol.dispose]();
	}

	/** A message is a write. To anything but RAM it would be a processor's interrupt, and there is no processor. */
	#message(address: bigint, data: number): void {
		const ram = address <= Number.MAX_SAFE_INTEGER ? this.#ram.at(Number(address)) : undefined;
		if (ram && ram.length >= 4) new DataView(ram.buffer, ram.byteOffset).setUint32(0, data, true);
	}

	#each(address: bigint, total: number, access: (at: number, offset: number, length: number) => number): void {
		for (let offset = 0; offset < total; ) {
			const at = BigInt.asUintN(64, address + BigInt(offset));
			// Nothing decodes above the bits that a processor has; there is nothing to be exact about.
			offset += access(at < 2n ** 52n ? Number(at) : 2 ** 52, offset, total - offset);
		}
	}
}

function gather(width: number, byte: (index: number) => number): number {
	let value = 0;
	for (let i = width - 1; i >= 0; i--) value = value * 256 + byte(i);
	return value;
}

/** The widest access that is aligned and no longer than what is left. */
function accessWidth(address: number, length: number, limit: 4 | 8): 1 | 2 | 4 | 8 {
	for (const width of [8, 4, 2] as const) if (width <= limit && width <= length && address % width === 0) return width;
	return 1;
}
