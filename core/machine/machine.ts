/**
 * The machine seam: what a VMM gives to an assigned device (guest memory, interrupts, a place on a PCI bus) and what it
 * gets (a PCI function). Everything above a VMM's own code talks to these interfaces and to nothing else of it.
 *
 * @module
 */
import type { AccessWidth, Mapping, Memory } from "../kernel.ts";
import type { KvmBypass } from "./kvm-bypass.ts";

/**
 * Memory of a device as a file that an address space of iommufd can map. Disposing it closes the file; what was mapped of
 * it stays mapped.
 */
export interface DmaBuf extends Disposable {
	/** Its file descriptor. */
	readonly fd: number;
	/** Bytes. */
	readonly length: number;
}

/** A stretch of guest-physical address space that memory of this process stands behind. */
export interface GuestMemoryRegion {
	/** Guest-physical address of the first byte; the device's DMA uses the same number as IOVA. */
	readonly guestAddress: bigint;
	/** Bytes. */
	readonly length: number;
	/** The memory behind it; of a BAR, where it is mapped. */
	readonly memory: Memory | Mapping;
	/** Where the region starts in `memory`, in bytes. */
	readonly offset: number;
	/** The guest, and so the device, may not write it. */
	readonly readOnly: boolean;
	/**
	 * `ram`: DMA must reach it, failing to map it fails the attach. `device`: a BAR of an assigned device, for
	 * peer-to-peer DMA only; failing to map it is a warning.
	 */
	readonly kind: "ram" | "device";
	/**
	 * Exports the whole of a `device` region, which must be whole pages: iommufd maps BARs in no other way. Whatever revokes
	 * an export (the device stops decoding memory, leaves D0, is reset) ends the mapping too, so that the region must be
	 * removed then, and added again when the device is back.
	 *
	 * @throws VfioError as `VfioDevice.exportDmaBuf`
	 */
	readonly exportDmaBuf?: () => DmaBuf;
	/**
	 * Regions with the same object here are only ever removed together, so that neighbours among them may share one DMA
	 * mapping. Left out: the region is mapped by itself, since a mapping cannot be cut.
	 */
	readonly lifetime?: object;
}

/** Learns of guest memory. */
export interface GuestMemoryListener {
	/** The region can be accessed by the guest from now on. */
	added(region: GuestMemoryRegion): void;
	/** The region, the same object that was added, is about to disappear; its memory is still there during the call. */
	removed(region: GuestMemoryRegion): void;
}

/** The guest-physical memory map of a VMM. */
export interface GuestMemory {
	/**
	 * Tells the listener of every region there is, in address order and before it returns, and of each change from then on.
	 *
	 * @returns dispose it to stop listening; no region is reported as removed by that
	 */
	subscribe(listener: GuestMemoryListener): Disposable;
}

/** Where a function's interrupts go. */
export interface InterruptSink {
	/** INTx: the level of this slot's pin. @param pin 1 (INTA) to 4 (INTD) */
	setPin(pin: number, asserted: boolean): void;
	/** MSI and MSI-X: a memory write of the 32-bit `data` to the guest-physical `address`. */
	message(address: bigint, data: number): void;
}

/** Where a function sits. A machine makes one for each function it takes. */
export interface PciSlot extends InterruptSink {
	/** What the function is below. It decides the type its PCI Express capability shows. */
	readonly bus: "conventional" | "root-complex" | "downstream-port";
	/** The slot holds several functions: bit 7 of the header type is set. */
	readonly multifunction: boolean;
	/** KVM, where the machine runs on it: interrupts may then go past this interface. */
	readonly kvm?: KvmBypass | undefined;
	/**
	 * A BAR decodes at `address` from now on, or nowhere any more (undefined). The machine hands accesses there to the
	 * function's `barRead` and `barWrite`.
	 *
	 * @param bar 0 to 5, or 6 for the ROM
	 * @throws when the machine cannot have it there; the BAR and its register then go back to where they were last
	 */
	placeBar(bar: number, address: bigint | undefined): void;
	/** What {@link GuestPciFunction.directAreas} answers for this BAR has changed: read it again. */
	directAreasChanged?(bar: number): void;
}

/** A base address register as the guest sees it. */
export interface GuestBar {
	/** 0 to 5; 6 is the expansion ROM. A 64-bit BAR has the lower of its two indices. */
	readonly index: number;
	readonly kind: "mem32" | "mem64" | "io";
	/** Bytes, a power of two. */
	readonly size: number;
	readonly prefetchable: boolean;
}

/** A part of a BAR that a guest may reach without an exit, because a device's memory is mapped there. */
export interface DirectArea {
	/** First byte in the BAR. */
	readonly start: number;
	/**
	 * One past the last byte in the BAR. It is past the end of a BAR that is smaller than a page, while that lies on a page
	 * of its own of which the rest may be mapped as well; whatever else decodes in that page has precedence.
	 */
	readonly end: number;
	readonly mapping: Mapping;
	/** Where `start` lies in `mapping`, in bytes. */
	readonly mappingOffset: number;
}

/** A function that can be plugged into a slot. Nothing it does on a guest's behalf throws. */
export interface GuestPciFunction extends Disposable {
	/** How reports and traces call it, such as `0000:05:00.0`. */
	readonly name: string;
	/** @param index 0 to 5, or 6 for the ROM @returns undefined where there is no BAR */
	bar(index: number): GuestBar | undefined;
	/** The bus calls it once, before any access. */
	plug(slot: PciSlot): void;
	/** The bus calls it when the function is taken out; the slot is not used afterwards. */
	unplug(): void;
	/** @param offset bytes in config space; past its end, or across a register, reads all ones @returns unsigned */
	configRead(offset: number, width: AccessWidth): number;
	/** @param offset bytes in config space; past its end it does nothing */
	configWrite(offset: number, width: AccessWidth, value: number): void;
	/** @param offset bytes in the BAR @returns unsigned; all ones when the device does not answer */
	barRead(bar: number, offset: number, width: AccessWidth): number;
	/** A 64-bit access. @param offset bytes in the BAR */
	barRead64(bar: number, offset: number): bigint;
	/** @param offset bytes in the BAR */
	barWrite(bar: number, offset: number, width: AccessWidth, value: number): void;
	/** A 64-bit access. @param offset bytes in the BAR */
	barWrite64(bar: number, offset: number, value: bigint): void;
	/**
	 * The guest has ended an interrupt on a pin that the function asserts. A machine that cannot see that never calls it, and
	 * a function that must know takes an access to a BAR for it.
	 */
	endOfInterrupt?(pin: number): void;
	/** What {@link KvmBypass.connectIntx} makes of this function's pin has changed, as when the guest moved its IRQ. */
	interruptRouteChanged?(): void;
	/** What may be mapped into a guest at this moment, in order of `start`. */
	directAreas(bar: number): readonly DirectArea[];
	/** The guest's bus was reset: back to power-on state. */
	reset(): void;
}
