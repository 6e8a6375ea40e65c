import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import type { Kernel, Memory } from "../../core/kernel.ts";
import type { GuestMemory, GuestMemoryListener, GuestMemoryRegion } from "../../core/machine/machine.ts";
import { PciTopology } from "../../core/machine/topology.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { Releases } from "../../core/release.ts";

/** A guest's RAM that never changes. */
export class FixedMemory implements GuestMemory {
	readonly #region: GuestMemoryRegion;

	constructor(memory: Memory, guestAddress = 0n) {
		this.#region = { guestAddress, length: memory.length, memory, offset: 0, readOnly: false, kind: "ram" };
	}

	subscribe(listener: GuestMemoryListener): Disposable {
		listener.added(this.#region);
		return { [Symbol.dispose]: () => {} };
	}
}

/** Everything up to a device in a guest's slot; disposing it gives everything back. */
export interface Attached extends Disposable {
	readonly device: VfioDevice;
	readonly fn: AssignedFunction;
	readonly pci: PciTopology;
	readonly messages: { address: bigint; data: number }[];
	readonly pins: boolean[];
	readonly memory: Memory;
}

/** Which of Linux's interfaces maps the memory. */
export type Backend = "type1" | "iommufd";
export const BACKENDS: readonly Backend[] = ["type1", "iommufd"];

/** How {@link attach} does it. */
export interface AttachOptions {
	/** Bytes. */
	readonly memorySize?: number;
	/** Type 1 when left out. */
	readonly backend?: Backend;
}

/** Binds, opens, maps and plugs a device, the way a VMM does. */
export function attach(kernel: Kernel, address: string, options: AttachOptions = {}): Attached {
	const releases = new Releases();
	try {
		releases.use(bindGroup(kernel, address));
		const iommufd = options.backend === "iommufd" ? releases.use(Iommufd.open(kernel)) : undefined;
		const attached = releases.use(
			attachOpened(kernel, options.memorySize ?? 1 << 20, (memory) => {
				const addressSpace = new IoAddressSpace(kernel, { memory, ...(iommufd ? { iommufd } : {}) });
				return VfioDevice.open(kernel, address, { addressSpace });
			}),
		);
		const held = releases.move();
		return { ...attached, [Symbol.dispose]: () => held[Symbol.dispose]() };
	} finally {
		releases[Symbol.dispose]();
	}
}

/** The same but for binding. @param open opens the device, whose DMA reaches that memory */
export function attachOpened(kernel: Kernel, memorySize: number, open: (memory: GuestMemory) => VfioDevice): Attached {
	const releases = new Releases();
	try {
		const memory = releases.use(kernel.allocate(memorySize));
		const device = releases.use(open(new FixedMemory(memory)));
		const fn = releases.use(AssignedFunction.attach(device));
		const messages: { address: bigint; data: number }[] = [];
		const pins: boolean[] = [];
		const pci = new PciTopology({
			pin: (_device, _pin, asserted) => pins.push(asserted),
			message: (messageAddress, data) => messages.push({ address: messageAddress, data }),
		});
		pci.addRootPort("rp1");
		pci.plug(fn, { bus: "rp1" });
		releases.defer(() => pci.unplug(fn));
		const held = releases.move();
		return { device, fn, pci, messages, pins, memory, [Symbol.dispose]: () => held[Symbol.dispose]() };
	} finally {
		releases[Symbol.dispose]();
	}
}

const MSIX = 0x11;
const MSI = 0x05;

/** What a guest's driver does first: sizes and places BAR 0, looks for capabilities, enables its interrupts. */
export function driverStarts(fn: AssignedFunction): void {
	for (let offset = 0; offset < 64; offset += 4) fn.configRead(offset, 4);
	fn.configWrite(0x10, 4, 0xffffffff);
	fn.configRead(0x10, 4);
	fn.configWrite(0x10, 4, 0xfd000000);
	fn.configWrite(0x14, 4, 0);
	fn.configWrite(4, 2, 0x6);
	fn.barRead(0, 0, 4);
	for (
		let at = fn.configRead(0x34, 1), steps = 0;
		at !== 0 && at !== 0xff && steps < 48;
		at = fn.configRead(at + 1, 1), steps++
	) {
		const id = fn.configRead(at, 1);
		if (id === MSI) {
			fn.configWrite(at + 4, 4, 0xfee00000);
			fn.configWrite(at + 12, 2, 0x40);
			fn.configWrite(at + 2, 2, fn.configRead(at + 2, 2) | 1);
		}
		if (id === MSIX) {
			const table = fn.configRead(at + 4, 4) & ~7;
			for (let vector = 0; vector < 3; vector++) {
				fn.barWrite(0, table + vector * 16, 4, 0xfee00000);
				fn.barWrite(0, table + vector * 16 + 8, 4, 0x40 + vector);
				fn.barWrite(0, table + vector * 16 + 12, 4, 0);
			}
			fn.configWrite(at + 2, 2, 0x8000);
			fn.barWrite(0, table + 12, 4, 1);
			fn.barWrite(0, table + 12, 4, 0);
		}
	}
}

/** And what it does last. */
export function driverStops(fn: AssignedFunction): void {
	fn.configWrite(4, 2, 0);
	fn.reset();
}
