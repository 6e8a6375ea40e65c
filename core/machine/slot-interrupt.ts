/**
 * The interrupt of a root port about its slot (PCI Express Base, section 6.7.3.4).
 *
 * @module
 */
import {
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_EXP_SLTCTL,
	PCI_EXP_SLTCTL_ABPE,
	PCI_EXP_SLTCTL_CCIE,
	PCI_EXP_SLTCTL_DLLSCE,
	PCI_EXP_SLTCTL_HPIE,
	PCI_EXP_SLTCTL_PDCE,
	PCI_EXP_SLTSTA,
	PCI_EXP_SLTSTA_ABP,
	PCI_EXP_SLTSTA_CC,
	PCI_EXP_SLTSTA_DLLSC,
	PCI_EXP_SLTSTA_PDC,
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_ENABLE,
} from "../uapi/pci_regs.ts";
import { EXP_CAPABILITY, MSI_CAPABILITY } from "./root-port-registers.ts";

/** Each event, and the bit that lets it interrupt. */
const EVENTS = [
	[PCI_EXP_SLTSTA_ABP, PCI_EXP_SLTCTL_ABPE],
	[PCI_EXP_SLTSTA_PDC, PCI_EXP_SLTCTL_PDCE],
	[PCI_EXP_SLTSTA_CC, PCI_EXP_SLTCTL_CCIE],
	[PCI_EXP_SLTSTA_DLLSC, PCI_EXP_SLTCTL_DLLSCE],
] as const;

/** Where the port's own interrupt goes. */
export interface PortInterrupt {
	pin(asserted: boolean): void;
	message(address: bigint, data: number): void;
}

/** A pin that is asserted for as long as an enabled event is there, or a message for each time that begins. */
export class SlotInterrupt {
	readonly #registers: () => DataView;
	readonly #port: PortInterrupt;
	#pinAsserted = false;
	#wanted = false;

	constructor(registers: () => DataView, port: PortInterrupt) {
		this.#registers = registers;
		this.#port = port;
	}

	/** Brings the interrupt in line with the registers. */
	update(): void {
		const registers = this.#registers();
		const status = registers.getUint16(EXP_CAPABILITY + PCI_EXP_SLTSTA, true);
		const control = registers.getUint16(EXP_CAPABILITY + PCI_EXP_SLTCTL, true);
		const wanted =
			(control & PCI_EXP_SLTCTL_HPIE) !== 0 &&
			EVENTS.some(([event, enable]) => (status & event) !== 0 && (control & enable) !== 0);
		const began = wanted && !this.#wanted;
		this.#wanted = wanted;
		const msi = (registers.getUint16(MSI_CAPABILITY + PCI_MSI_FLAGS, true) & PCI_MSI_FLAGS_ENABLE) !== 0;
		const disabled = (registers.getUint16(PCI_COMMAND, true) & PCI_COMMAND_INTX_DISABLE) !== 0;
		const pin = wanted && !msi && !disabled;
		if (pin !== this.#pinAsserted) {
			this.#pinAsserted = pin;
			this.#port.pin(pin);
		}
		if (!msi || !began) return;
		const address =
			(BigInt(registers.getUint32(MSI_CAPABILITY + PCI_MSI_ADDRESS_HI, true)) << 32n) |
			BigInt(registers.getUint32(MSI_CAPABILITY + PCI_MSI_ADDRESS_LO, true));
		this.#port.message(address, registers.getUint16(MSI_CAPABILITY + PCI_MSI_DATA_64, true));
	}
}
