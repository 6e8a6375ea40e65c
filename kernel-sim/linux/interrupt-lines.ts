/**
 * Which interrupts there are and who handles them: /proc/interrupts, and the numbers that sysfs shows as `irq`.
 *
 * @module
 */
import {
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXT_CAP_ID_ERR,
} from "../../core/uapi/pci_regs.ts";
import { findCapability, findExtendedCapability } from "../hardware/config-walk.ts";
import type { PciFunction } from "../hardware/function.ts";
import type { Machine } from "../hardware/topology.ts";
import type { PciDevice } from "./driver.ts";
import { lineOf } from "./intx-line.ts";
import { VfioPciDevice } from "./vfio-pci/device.ts";

/** Messages come after the I/O APIC's inputs. */
const FIRST_MESSAGE = 24;

/** One line of /proc/interrupts. */
interface InterruptLine {
	readonly number: number;
	/** Without the prefix for interrupt remapping. */
	readonly chip: string;
	/** Its number at the chip. */
	readonly input: number;
	readonly flow: "edge" | "fasteoi";
	readonly count: number;
	/** Who handles it. */
	readonly name: string;
}

/** What every PC has. */
const SYSTEM: readonly InterruptLine[] = [
	{ number: 0, chip: "IO-APIC", input: 2, flow: "edge", count: 100, name: "timer" },
	{ number: 8, chip: "IO-APIC", input: 8, flow: "edge", count: 0, name: "rtc0" },
	{ number: 9, chip: "IO-APIC", input: 9, flow: "fasteoi", count: 0, name: "acpi" },
];

/** The interrupts of a machine under Linux. */
export class InterruptLines {
	readonly #machine: Machine;
	readonly #devices: () => Iterable<PciDevice>;
	/** Root ports take a message each when Linux boots, after the IOMMU's own. */
	readonly #ports: readonly PciFunction[];
	readonly #firstPort: number;

	/** @param devices those that Linux knows now, in address order */
	constructor(machine: Machine, devices: () => Iterable<PciDevice>) {
		this.#machine = machine;
		this.#devices = devices;
		this.#ports = machine.functions.filter((fn) => fn.expressType === PCI_EXP_TYPE_ROOT_PORT && chipOf(fn));
		this.#firstPort = FIRST_MESSAGE + (machine.hasIommu ? 1 : 0);
	}

	/** sysfs `irq` of a device: its line, or its first message while it uses MSI (but not MSI-X). */
	numberOf(device: PciDevice): number {
		const { fn } = device;
		const message = opened(device)?.interrupts.msi.handler(0)?.message;
		if (message !== undefined) return this.#messageNumber(message);
		return lineOf(fn);
	}

	/** The text of /proc/interrupts. */
	format(): string {
		const { remapping } = this.#machine.interrupts;
		const lines = this.#lines().sort((a, b) => a.number - b.number);
		return [
			"           CPU0       ",
			...lines.map((line) => formatLine(line, remapping)),
			"NMI:          0   Non-maskable interrupts",
			"LOC:          0   Local timer interrupts",
			"ERR:          0",
			"MIS:          0",
			"",
		].join("\n");
	}

	#lines(): InterruptLine[] {
		const lines = [...SYSTEM];
		const message = { input: 0, flow: "edge", count: 0 } as const;
		if (this.#machine.hasIommu) lines.push({ ...message, number: FIRST_MESSAGE, chip: "DMAR-MSI", name: "dmar0" });
		for (const device of this.#devices()) {
			const port = this.#ports.indexOf(device.fn);
			const chip = chipOf(device.fn);
			if (port >= 0 && chip && device.driver?.name === "pcieport") {
				const name =
					findExtendedCapability(device.fn.config, PCI_EXT_CAP_ID_ERR) === 0 ? "PCIe PME" : "PCIe PME, aerdrv";
				lines.push({ ...message, number: this.#firstPort + port, chip: `${chip}-${device.name}`, name });
			}
			lines.push(...this.#vfioLines(device));
		}
		return lines;
	}

	/** The handlers of vfio-pci. */
	#vfioLines(device: PciDevice): InterruptLine[] {
		const { name } = device;
		const interrupts = opened(device)?.interrupts;
		if (!interrupts) return [];
		const lines: InterruptLine[] = [];
		const { intx, msi, msix } = interrupts;
		if (intx.enabled) {
			const number = this.numberOf(device);
			const at = { number, chip: "IO-APIC", input: number, flow: "fasteoi" } as const;
			lines.push({ ...at, count: intx.count, name: `vfio-intx(${name})` });
		}
		for (const [messages, kind] of [
			[msi, "msi"],
			[msix, "msix"],
		] as const)
			for (let vector = 0; vector < messages.count; vector++) {
				const handler = messages.handler(vector);
				if (!handler) continue;
				lines.push({
					number: this.#messageNumber(handler.message),
					chip: `PCI-${kind.toUpperCase()}-${name}`,
					input: vector,
					flow: "edge",
					count: handler.count,
					name: `vfio-${kind}[${vector}](${name})`,
				});
			}
		return lines;
	}

	#messageNumber(index: number): number {
		return this.#firstPort + this.#ports.length + index;
	}
}

function opened(device: PciDevice) {
	return device.driverData instanceof VfioPciDevice ? device.driverData.opened : undefined;
}

/** What carries the messages of a port; undefined for one that has none. */
function chipOf(fn: PciFunction): "PCI-MSIX" | "PCI-MSI" | undefined {
	if (findCapability(fn.config, PCI_CAP_ID_MSIX) !== 0) return "PCI-MSIX";
	return findCapability(fn.config, PCI_CAP_ID_MSI) === 0 ? undefined : "PCI-MSI";
}

function formatLine({ number, chip, input, flow, count, name }: InterruptLine, remapping: boolean): string {
	// The IOMMU's own messages do not go through its table.
	const full = remapping && !chip.startsWith("DMAR") ? `IR-${chip}` : chip;
	const [index, counts, source, at] = [String(number), String(count), full.padStart(8), String(input)];
	return `${index.padStart(3)}: ${counts.padStart(10)}  ${source} ${at.padStart(3)}-${flow.padEnd(8)}  ${name}`;
}
