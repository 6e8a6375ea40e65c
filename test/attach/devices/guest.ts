/** A guest for the live device models: everything it does goes through its ports, its memory accesses and its RAM. */
import { expect } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import { Iommufd } from "../../../core/iommu/iommufd.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import { PciTopology } from "../../../core/machine/topology.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { Releases } from "../../../core/release.ts";
import {
	type DeviceModel,
	type FunctionDescription,
	Host,
	Machine,
	PciFunction,
	programMachine,
	rootPort,
	SimulatedLinux,
	VirtualClock,
} from "../../../kernel-sim/mod.ts";
import { type Backend, FixedMemory } from "../scripted-guest.ts";

export const MSI = 0x05;
export const MSIX = 0x11;
const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
/** Where the guest finds the device on its root bus. */
const SLOT = 5;
const RAM = 1 << 20;

/** A host with one function below a root port (bus 4) and the others on bus 0. */
export function hostWith(functions: Readonly<Record<string, readonly [FunctionDescription, DeviceModel]>>) {
	const machine = new Machine();
	machine.plug("0000:00:08.0", new PciFunction(rootPort({ secondary: 4, slot: 4 })));
	for (const [address, [description, model]] of Object.entries(functions))
		machine.plug(address, new PciFunction(description, model));
	programMachine(machine);
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({
		host: new Host(machine),
		clock,
		parameters: { vfio_pci: { enable_sriov: true } },
	});
	return { machine, clock, linux };
}

/** A virtual machine with one assigned device; disposing it gives everything back. */
export class Guest implements Disposable {
	readonly fn: AssignedFunction;
	readonly pci: PciTopology;
	readonly clock: VirtualClock;
	/** Interrupt messages since {@link taken}. */
	messages: { address: bigint; data: number }[] = [];
	/** The level of the interrupt line, and every change of it. */
	pins: boolean[] = [];
	readonly ram: Uint8Array;
	readonly view: DataView;
	readonly #held: Disposable;
	readonly #linux: SimulatedLinux;

	/**
	 * @param vfToken what users of a physical function and of its virtual ones share
	 * @param backend what maps its memory
	 */
	constructor(
		{ linux, clock }: { linux: SimulatedLinux; clock: VirtualClock },
		address: string,
		vfToken?: string,
		backend: Backend = "type1",
	) {
		const kernel = linux.process();
		const releases = new Releases();
		try {
			releases.use(bindGroup(kernel, address));
			const memory = releases.use(kernel.allocate(RAM));
			const iommufd = backend === "iommufd" ? releases.use(Iommufd.open(kernel)) : undefined;
			const addressSpace = new IoAddressSpace(kernel, {
				memory: new FixedMemory(memory),
				...(iommufd ? { iommufd } : {}),
			});
			const device = releases.use(VfioDevice.open(kernel, address, { addressSpace, ...(vfToken ? { vfToken } : {}) }));
			this.fn = releases.use(AssignedFunction.attach(device));
			this.pci = new PciTopology({
				pin: (_device, _pin, asserted) => this.pins.push(asserted),
				message: (messageAddress, data) => this.messages.push({ address: messageAddress, data }),
			});
			this.pci.plug(this.fn, { address: { device: SLOT, function: 0 } });
			releases.defer(() => this.pci.unplug(this.fn));
			this.ram = memory.bytes;
			this.view = new DataView(this.ram.buffer, this.ram.byteOffset, this.ram.length);
			this.#held = releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
		this.clock = clock;
		this.#linux = linux;
	}

	/** Gives everything back, and looks whether it was everything. */
	[Symbol.dispose](): void {
		this.#held[Symbol.dispose]();
		this.clock.settle();
		// Another guest may still be there.
		if (this.#linux.processes.every((process) => process.openFiles.size === 0))
			expect(Object.entries(this.#linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	}

	readConfig(offset: number, width: AccessWidth): number {
		this.pci.hostBridge.portWrite(CONFIG_ADDRESS, 4, (0x80000000 | (SLOT << 11) | (offset & 0xfc)) >>> 0);
		return this.pci.hostBridge.portRead(CONFIG_DATA + (offset & 3), width);
	}

	writeConfig(offset: number, width: AccessWidth, value: number): void {
		this.pci.hostBridge.portWrite(CONFIG_ADDRESS, 4, (0x80000000 | (SLOT << 11) | (offset & 0xfc)) >>> 0);
		this.pci.hostBridge.portWrite(CONFIG_DATA + (offset & 3), width, value >>> 0);
	}

	/** Sizes a BAR and places it. @returns its size in bytes */
	placeBar(index: number, address: number): number {
		const register = 0x10 + 4 * index;
		this.writeConfig(register, 4, 0xffffffff);
		const answer = this.readConfig(register, 4);
		const io = (answer & 1) !== 0;
		this.writeConfig(register, 4, address);
		if (!io && (answer & 6) === 4) this.writeConfig(register + 4, 4, 0);
		return io ? (~(answer & ~3) & 0xffff) + 1 : (~(answer & ~0xf) >>> 0) + 1;
	}

	/** Where a capability is. */
	capability(id: number): number {
		for (let at = this.readConfig(0x34, 1), steps = 0; at !== 0 && steps < 48; at = this.readConfig(at + 1, 1), steps++)
			if (this.readConfig(at, 1) === id) return at;
		throw new Error(`There is no capability ${id}`);
	}

	/** A 64-bit MSI, one vector. */
	enableMsi(address: number, data: number): void {
		const at = this.capability(MSI);
		this.writeConfig(at + 4, 4, address);
		this.writeConfig(at + 8, 4, 0);
		this.writeConfig(at + 12, 2, data);
		this.writeConfig(at + 2, 2, this.readConfig(at + 2, 2) | 1);
	}

	/** The first vectors of MSI-X, with consecutive data. @param table guest-physical address of the table */
	enableMsix(table: number, vectors: number, address: number, data: number): void {
		for (let vector = 0; vector < vectors; vector++) {
			this.write(table + 16 * vector, address);
			this.write(table + 16 * vector + 4, 0);
			this.write(table + 16 * vector + 8, data + vector);
			this.write(table + 16 * vector + 12, 0);
		}
		this.writeConfig(this.capability(MSIX) + 2, 2, 0x8000);
	}

	read(address: number, width: AccessWidth = 4): number {
		return this.pci.decoder.memory.read(address, width) >>> 0;
	}

	write(address: number, value: number, width: AccessWidth = 4): void {
		this.pci.decoder.memory.write(address, width, value >>> 0);
	}

	readPort(port: number, width: AccessWidth): number {
		return this.pci.decoder.io.read(port, width);
	}

	writePort(port: number, width: AccessWidth, value: number): void {
		this.pci.decoder.io.write(port, width, value >>> 0);
	}

	/** Data of the messages since the last call. */
	taken(): number[] {
		this.clock.settle();
		const data = this.messages.map((message) => message.data);
		this.messages = [];
		return data;
	}

	/**
	 * Calls an interrupt handler, and again as long as the line is up: with VFIO the first access ends the interrupt, so that
	 * a cause which is still there then is told once more.
	 *
	 * @param handler acknowledges, and returns what there was
	 * @returns everything there was
	 */
	serve(handler: () => number): number {
		let seen = handler();
		for (let left = 5; this.line && left > 0; left--) seen |= handler();
		expect(this.line).toBe(false);
		return seen >>> 0;
	}

	/** The level of the line now. */
	get line(): boolean {
		this.clock.settle();
		return this.pins.at(-1) ?? false;
	}
}

/** Bytes that repeat nowhere near. */
export function pattern(length: number, seed: number): Uint8Array {
	return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >>> 8) * 17 + seed * 101) & 0xff);
}
