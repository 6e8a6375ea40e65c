/**
 * What a PCI function is made of, as data: identity, BARs, capabilities. {@link PciFunction} turns it into registers.
 *
 * @module
 */
import type { BarDescription } from "./model.ts";

/** A capability in the first 256 bytes. The builders of `capabilities.ts` make these. */
export interface Capability {
	readonly id: number;
	/** Where it goes; the first free place when left out. A multiple of 4, 0x40 to 0xfc. */
	readonly offset?: number;
	/** Its registers, id and next pointer included (both are filled in). */
	readonly bytes: Uint8Array;
	/** Bits that a config write changes, where the standard layout of this id does not say so. */
	readonly writable?: Uint8Array;
}

/** A capability of the extended space, 0x100 and up. The builders of `extended-capabilities.ts` make these. */
export interface ExtendedCapability {
	readonly id: number;
	readonly version: number;
	/** Where it goes; the first free place when left out. The first one is always at 0x100. */
	readonly offset?: number;
	/** Its registers, the header of four bytes included (it is filled in). */
	readonly bytes: Uint8Array;
	/** Bits that a config write changes, where the standard layout of this id does not say so. */
	readonly writable?: Uint8Array;
}

/** Header type 1: what is on the other side. */
export interface BridgeDescription {
	/** Number of the bus below. */
	readonly secondary: number;
	/** The highest bus number below; the secondary one when left out. */
	readonly subordinate?: number;
}

/** The expansion ROM. */
export interface RomDescription {
	/** Bytes that its BAR decodes, a power of two of at least 2048. */
	readonly size: number;
	/** What is in it, from its start; the rest reads as ones. */
	readonly image?: Uint8Array;
}

/**
 * A PCI function.
 *
 * @example
 * ```ts
 * const description: FunctionDescription = {
 *   vendor: 0x1234,
 *   device: 0x11e8,
 *   classCode: 0x00ff00,
 *   interruptPin: 1,
 *   bars: [{ index: 0, kind: "mem32", size: 0x100000, backing: "registers" }],
 *   capabilities: [msi({ vectors: 1 })],
 * };
 * ```
 */
export interface FunctionDescription {
	/** For people, such as `edu`. */
	readonly name?: string;
	readonly vendor: number;
	readonly device: number;
	/** 24 bits: base class, subclass, programming interface. */
	readonly classCode: number;
	readonly revision?: number;
	readonly subsystemVendor?: number;
	readonly subsystemDevice?: number;
	/** 0 (none, the default) or 1 to 4 for INTA# to INTD#. */
	readonly interruptPin?: number;
	/** Bit 7 of the header type: there are more functions in this slot. */
	readonly multifunction?: boolean;
	/**
	 * An SR-IOV virtual function: it has no slot of its own to share, its ids read as all ones, it has no pin, no BAR
	 * registers, and of COMMAND only Bus Master Enable (PCI Express Base 5.0, section 9.3.4).
	 */
	readonly virtualFunction?: boolean;
	/** COMMAND has a working Interrupt Disable bit (PCI 2.3 and later); true when left out. */
	readonly interruptDisable?: boolean;
	readonly bars?: readonly BarDescription[];
	readonly rom?: RomDescription;
	/** What the Vital Product Data capability reads; without it that capability never answers. */
	readonly vitalProductData?: Uint8Array;
	readonly capabilities?: readonly Capability[];
	readonly extendedCapabilities?: readonly ExtendedCapability[];
	/** Registers outside of header and capabilities, such as a USB controller's release number. */
	readonly registers?: readonly {
		/** 0x40 to 0xff. */
		readonly offset: number;
		readonly bytes: Uint8Array;
		/** Bits that a config write changes; none when left out. */
		readonly writable?: Uint8Array;
	}[];
	/** 256 or 4096; when left out, 4096 if there is a PCI Express or PCI-X capability with extended space. */
	readonly configSize?: 256 | 4096;
	/** Makes this a PCI-to-PCI bridge (header type 1). */
	readonly bridge?: BridgeDescription;
	/**
	 * The registers as they were read from a running machine, 256 or 4096 bytes. The capabilities are then the ones found
	 * in there, and the function starts with these values; identity and `capabilities` above are not looked at.
	 * `describeConfig` fills the rest in.
	 */
	readonly captured?: Uint8Array;
}
