import { PCI_CAP_ID_MSIX, PCI_EXT_CAP_ID_ARI, PCI_EXT_CAP_ID_SRIOV } from "../../../core/uapi/pci_regs.ts";
import type { Difference } from "./compare.ts";
import type { Placement } from "./guest.ts";

/** What is known of the device that a difference was seen on. */
export interface Circumstances {
	/** On the host. */
	readonly address: string;
	readonly placement: Placement;
	/** Its configuration space on the host. */
	readonly config: Uint8Array;
}

/** A difference that is meant: differences.md says why ours is better. */
export interface Intended {
	/** The heading in differences.md. */
	readonly name: string;
	readonly applies: (difference: Difference, circumstances: Circumstances) => boolean;
}

/** Bytes of what is hidden: the capability, with its header. */
const HIDDEN: ReadonlyMap<number, number> = new Map([
	[PCI_EXT_CAP_ID_SRIOV, 0x40],
	[PCI_EXT_CAP_ID_ARI, 0x08],
]);

/** What may differ. */
export const INTENDED: readonly Intended[] = [
	{
		name: "Hidden capabilities have no content",
		applies: ({ register, ours }, { config }) => {
			if (register === undefined) return false;
			const hidden = extendedCapabilities(config).some(({ id, offset }) => {
				const size = HIDDEN.get(id);
				return size !== undefined && register >= offset && register < offset + size;
			});
			return hidden && /^(?:OK )?0x0+$/.test(ours);
		},
	},
	{
		name: "The configuration address register",
		applies: ({ line, qemu, ours }) => {
			if (line === "inl 0xcf8") return (Number(qemu.slice(3)) & 0x80ff_fffc) >>> 0 === Number(ours.slice(3));
			return /^in[bw] 0xcf[89a]$/.test(line) && /^OK 0x0*f+$/.test(ours);
		},
	},
	{
		name: "Narrow accesses to the MSI-X table",
		applies: ({ script, line, qemu, ours }, { config }) =>
			script === "msix" &&
			capability(config, PCI_CAP_ID_MSIX) &&
			narrow(line) &&
			/^OK 0x0+$/.test(qemu) &&
			/^OK 0x0*f+$/.test(ours),
	},
];

/** The entry that allows a difference, if one does. */
export function intended(difference: Difference, circumstances: Circumstances): Intended | undefined {
	return INTENDED.find(({ applies }) => applies(difference, circumstances));
}

/** Whether the line reads anything but an aligned dword or qword. */
function narrow(line: string): boolean {
	const [, width, address] = /^read([bwl]) (0x[0-9a-f]+)$/.exec(line) ?? [];
	return width !== undefined && (width !== "l" || Number(address) % 4 !== 0);
}

function capability(config: Uint8Array, id: number): boolean {
	let at = config[0x34] ?? 0;
	for (let steps = 0; at >= 0x40 && steps < 48; steps++) {
		if (config[at] === id) return true;
		at = (config[at + 1] ?? 0) & 0xfc;
	}
	return false;
}

function extendedCapabilities(config: Uint8Array): { id: number; offset: number }[] {
	const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
	const found: { id: number; offset: number }[] = [];
	let offset = config.length > 0x100 ? 0x100 : 0;
	for (let steps = 0; offset >= 0x100 && steps < 96; steps++) {
		const header = view.getUint32(offset, true);
		found.push({ id: header & 0xffff, offset });
		offset = (header >>> 20) & 0xffc;
	}
	return found;
}
