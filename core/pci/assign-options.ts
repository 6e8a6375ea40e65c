/**
 * How a device is assigned.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { checkClique } from "./added-capability.ts";
import type { FunctionEvent } from "./events.ts";
import { checkIdentity, type IdentityOverrides } from "./identity.ts";
import { isMsixRelocation, type MsixRelocation, RELOCATION_CHOICES } from "./msix-relocation.ts";
import type { DeviceQuirk } from "./quirks/quirk.ts";
import { checkRequestPolicy, type RequestPolicy } from "./request-policy.ts";
import { ROM_LARGEST } from "./rom-image.ts";

/** Options of `AssignedFunction.attach`; behind each, the name that users of QEMU know it by. */
export interface AssignOptions {
	/** `off`: the guest has no INTx, and BARs stay mapped at all times. `auto` when left out. (`x-intx`) */
	readonly intx?: "auto" | "off";
	/**
	 * Milliseconds after the last INTx until BARs are mapped again: 1100 when left out. 0: never again after the first.
	 * (`x-intx-mmap-timeout-ms`)
	 */
	readonly intxMmapTimeout?: number;
	/**
	 * false: the guest sees no option ROM. true: it sees the device's, even where that is known to do harm; such a ROM is
	 * hidden when this is left out. (`rombar`)
	 */
	readonly rom?: boolean;
	/** The image of an option ROM to show instead of the device's, at most 16 MiB. (`romfile`) */
	readonly romFile?: Uint8Array;
	/** Bit 7 of the header type; what the slot says when left out. (`multifunction`) */
	readonly multifunction?: boolean;
	/** false: no BAR is mapped, so that every access can be traced. (`x-no-mmap`) */
	readonly mmap?: boolean;
	/**
	 * BARs, 0 to 5, that are mapped for write combining. Where that is refused it is reported, and the BAR is mapped as
	 * others are; `required` makes it an error. (`x-write-combining`)
	 */
	readonly writeCombining?: { readonly bars: readonly number[]; readonly required?: boolean };
	/**
	 * What the guest reads instead of the device's own identification. (`x-pci-vendor-id`, `x-pci-device-id`,
	 * `x-pci-sub-vendor-id`, `x-pci-sub-device-id`, `x-pci-class-code`)
	 */
	readonly ids?: IdentityOverrides;
	/**
	 * Moves the guest's MSI-X table out of the way of the device's registers: to a BAR, or to the one that costs the least.
	 * `off` when left out. (`x-msix-relocation`)
	 */
	readonly msixRelocation?: MsixRelocation;
	/**
	 * 0 to 15: tells NVIDIA's driver that devices with the same number can reach each other's memory.
	 * (`x-nv-gpudirect-clique`)
	 */
	readonly gpuDirectClique?: number;
	/**
	 * The guest has the legacy VGA of a display controller: its ports and memory, which `vgaRead` and `vgaWrite` reach,
	 * and the ways to configuration space that only such code takes. (`x-vga`)
	 */
	readonly vga?: boolean;
	/** Devices with back doors, in place of those that are known here; none when empty. */
	readonly quirks?: readonly DeviceQuirk[];
	/**
	 * Which interrupts, and which writes that a guest repeats, go past this process where the machine has KVM; all when left
	 * out. `deviceWrites` false: this process does those writes, without the guest waiting for it. (`x-no-kvm-intx`,
	 * `x-no-kvm-msi`, `x-no-kvm-msix`, `x-no-kvm-ioeventfd`, `x-no-vfio-ioeventfd`)
	 */
	readonly kvm?: {
		readonly intx?: boolean;
		readonly msi?: boolean;
		readonly msix?: boolean;
		readonly writes?: boolean;
		readonly deviceWrites?: boolean;
	};
	/** What to do when the host wants the device back; `ask` when left out. (`x-req`) */
	readonly request?: RequestPolicy;
	/** The host's page size in bytes, a power of two from 4096 up; 4096 when left out. */
	readonly pageSize?: number;
	/** Learns of what failed and could not be told to the guest; every message names the device. */
	readonly onReport?: (message: string) => void;
	/** Learns of everything; the same as `onEvent` of the function, from the beginning. */
	readonly onEvent?: (event: FunctionEvent) => void;
}

/** Milliseconds. */
export const DEFAULT_INTX_MMAP_TIMEOUT = 1100;
const DEFAULT_PAGE_SIZE = 4096;

/** Options with nothing left out that has a default. */
export interface CheckedOptions extends AssignOptions {
	readonly intx: "auto" | "off";
	readonly intxMmapTimeout: number;
	readonly pageSize: number;
	readonly request: RequestPolicy;
}

/** @throws VfioError `invalid-argument`, which names what is valid */
export function checkOptions(options: AssignOptions): CheckedOptions {
	const { intx = "auto", intxMmapTimeout = DEFAULT_INTX_MMAP_TIMEOUT, pageSize = DEFAULT_PAGE_SIZE } = options;
	const { msixRelocation = "off", romFile, request = "ask" } = options;
	if (intx !== "auto" && intx !== "off")
		throw new VfioError("invalid-argument", `Cannot use "${intx}" for intx: it is "auto" or "off"`);
	// 2^31 milliseconds are 24 days, and its nanoseconds are exact.
	if (!Number.isInteger(intxMmapTimeout) || intxMmapTimeout < 0 || intxMmapTimeout > 0x7fffffff)
		throw new VfioError(
			"invalid-argument",
			`Cannot use ${intxMmapTimeout} for intxMmapTimeout: it is a whole number of milliseconds, 0 to ${0x7fffffff}`,
		);
	if (!Number.isInteger(pageSize) || pageSize < 4096 || (pageSize & (pageSize - 1)) !== 0)
		throw new VfioError("invalid-argument", `Cannot use ${pageSize} for pageSize: it is a power of two, 4096 or more`);
	if (!isMsixRelocation(msixRelocation))
		throw new VfioError(
			"invalid-argument",
			`Cannot use "${msixRelocation}" for msixRelocation: it is one of ${RELOCATION_CHOICES}`,
		);
	if (romFile && (romFile.length === 0 || romFile.length > ROM_LARGEST))
		throw new VfioError(
			"invalid-argument",
			`Cannot use a romFile of ${romFile.length} bytes: it has 1 to ${ROM_LARGEST}`,
		);
	const wrong = options.writeCombining?.bars.find((bar) => !Number.isInteger(bar) || bar < 0 || bar > 5);
	if (wrong !== undefined)
		throw new VfioError("invalid-argument", `Cannot use BAR ${wrong} for writeCombining: BARs are 0 to 5`);
	checkRequestPolicy(request);
	checkClique(options.gpuDirectClique);
	checkIdentity(options.ids ?? {});
	return { ...options, intx, intxMmapTimeout, pageSize, request };
}
