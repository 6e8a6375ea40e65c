/**
 * The PCI function an NVMe controller lives in.
 *
 * @module
 */
import { express, msi, msix, pm } from "../../capabilities.ts";
import type { Capability, FunctionDescription } from "../../description.ts";
import { DOORBELLS } from "./registers.ts";

/** Options of `Nvme.description()`. */
export interface NvmeFunctionOptions {
	/** How it signals completions; `msix` when left out. INTx is there in any case. */
	readonly interrupts?: "msix" | "msi" | "intx";
	/** Messages: 1 to 2048 for MSI-X (65 when left out), a power of two up to 32 for MSI (1 when left out). */
	readonly vectors?: number;
}

/** Doorbells of 512 queue pairs take a page; the registers before them another. */
const TABLE = DOORBELLS + 0x1000;
const PAGE = 0x1000;

/** Describes the function. The layout is that of a controller with one BAR: registers, doorbells, MSI-X table, pending bits. */
export function nvmeDescription(options: NvmeFunctionOptions): FunctionDescription {
	const interrupts = options.interrupts ?? "msix";
	const vectors = options.vectors ?? (interrupts === "msix" ? 65 : 1);
	const pba = TABLE + Math.ceil((vectors * 16) / PAGE) * PAGE;
	const messages: Record<typeof interrupts, () => Capability[]> = {
		msix: () => [msix({ offset: 0x40, vectors, table: { bar: 0, offset: TABLE }, pba: { bar: 0, offset: pba } })],
		msi: () => [msi({ offset: 0x40, vectors })],
		intx: () => [],
	};
	return {
		name: "nvme",
		vendor: 0x1b36,
		device: 0x0010,
		revision: 0x02,
		classCode: 0x010802,
		subsystemVendor: 0x1af4,
		subsystemDevice: 0x1100,
		interruptPin: 1,
		bars: [
			{
				index: 0,
				kind: "mem64",
				size: interrupts === "msix" ? 2 ** Math.ceil(Math.log2(pba + PAGE)) : 2 * PAGE,
				backing: "registers",
			},
		],
		capabilities: [
			...messages[interrupts](),
			pm({ offset: 0x60, noSoftReset: true }),
			express({ offset: 0x80, flr: true }),
		],
	};
}
