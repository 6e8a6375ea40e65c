/**
 * The hot-plug controller of a root port's slot (PCI Express Base, section 6.7).
 *
 * @module
 */
import {
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_EXP_SLTCTL,
	PCI_EXP_SLTSTA,
	PCI_EXP_SLTSTA_PDS,
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_ENABLE,
} from "../uapi/pci_regs.ts";
import {
	EXP_CAPABILITY,
	MSI_CAPABILITY,
	PCI_EXP_SLTCTL_ABPE,
	PCI_EXP_SLTCTL_CCIE,
	PCI_EXP_SLTCTL_DLLSCE,
	PCI_EXP_SLTCTL_HPIE,
	PCI_EXP_SLTCTL_PCC,
	PCI_EXP_SLTCTL_PDCE,
	PCI_EXP_SLTCTL_PIC,
	PCI_EXP_SLTCTL_PWR_IND_BLINK,
	PCI_EXP_SLTCTL_PWR_IND_OFF,
	PCI_EXP_SLTSTA_ABP,
	PCI_EXP_SLTSTA_CC,
	PCI_EXP_SLTSTA_DLLSC,
	PCI_EXP_SLTSTA_PDC,
} from "./root-port-registers.ts";

const CONTROL = EXP_CAPABILITY + PCI_EXP_SLTCTL;
const STATUS = EXP_CAPABILITY + PCI_EXP_SLTSTA;

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

/** The controller: it tells the guest what was plugged, asks it to let go, and hears when it has. */
export class HotPlug {
	/** The guest has switched the slot off after {@link requestUnplug}, or by itself: the function may be taken out. */
	onPoweredOff: () => void = () => {};
	readonly #registers: () => DataView;
	readonly #interrupt: PortInterrupt;
	#pinAsserted = false;
	#pending = false;

	constructor(registers: () => DataView, interrupt: PortInterrupt) {
		this.#registers = registers;
		this.#interrupt = interrupt;
	}

	/** The slot control register. */
	get control(): number {
		return this.#registers().getUint16(CONTROL, true);
	}

	/** The guest is in the middle of plugging or unplugging: its power indicator blinks. */
	get busy(): boolean {
		return (this.control & PCI_EXP_SLTCTL_PIC) === PCI_EXP_SLTCTL_PWR_IND_BLINK;
	}

	/** Asks the guest to release the device, as if somebody pressed the attention button beside the slot. */
	requestUnplug(): void {
		this.#raise(PCI_EXP_SLTSTA_ABP);
	}

	/** @internal The slot was filled or emptied. */
	presenceChanged(occupied: boolean): void {
		// The attention button starts the guest's plug sequence where it ignores mere presence.
		this.#raise(PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC | (occupied ? PCI_EXP_SLTSTA_ABP : 0));
	}

	/**
	 * @internal The guest wrote slot control or slot status.
	 *
	 * @param control whether control was part of the write
	 * @param before what control held
	 */
	written(control: boolean, before: number): void {
		if (control) {
			this.#raise(PCI_EXP_SLTSTA_CC);
			const off = PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF;
			const present = (this.#registers().getUint16(STATUS, true) & PCI_EXP_SLTSTA_PDS) !== 0;
			if (present && (this.control & off) === off && (before & off) !== off) this.onPoweredOff();
		} else {
			this.update();
		}
	}

	/** @internal Brings the interrupt in line with the registers. */
	update(): void {
		const registers = this.#registers();
		const status = registers.getUint16(STATUS, true);
		const control = this.control;
		const wanted =
			(control & PCI_EXP_SLTCTL_HPIE) !== 0 &&
			EVENTS.some(([event, enable]) => (status & event) !== 0 && (control & enable) !== 0);
		const msi = (registers.getUint16(MSI_CAPABILITY + PCI_MSI_FLAGS, true) & PCI_MSI_FLAGS_ENABLE) !== 0;
		if (msi && wanted && !this.#pending) {
			const address =
				(BigInt(registers.getUint32(MSI_CAPABILITY + PCI_MSI_ADDRESS_HI, true)) << 32n) |
				BigInt(registers.getUint32(MSI_CAPABILITY + PCI_MSI_ADDRESS_LO, true));
			this.#interrupt.message(address, registers.getUint16(MSI_CAPABILITY + PCI_MSI_DATA_64, true));
		}
		this.#pending = wanted;
		const disabled = (registers.getUint16(PCI_COMMAND, true) & PCI_COMMAND_INTX_DISABLE) !== 0;
		const pin = wanted && !msi && !disabled;
		if (pin !== this.#pinAsserted) {
			this.#pinAsserted = pin;
			this.#interrupt.pin(pin);
		}
	}

	#raise(events: number): void {
		const registers = this.#registers();
		registers.setUint16(STATUS, registers.getUint16(STATUS, true) | events, true);
		this.update();
	}
}
