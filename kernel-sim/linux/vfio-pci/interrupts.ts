/**
 * The interrupts of an open device: at most one of INTx, MSI and MSI-X is active; errors and requests go their own way.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import { PCI_COMMAND_INTX_DISABLE } from "../../../core/uapi/pci_regs.ts";
import {
	VFIO_IRQ_INFO_AUTOMASKED,
	VFIO_IRQ_INFO_EVENTFD,
	VFIO_IRQ_INFO_MASKABLE,
	VFIO_IRQ_INFO_NORESIZE,
	VFIO_PCI_ERR_IRQ_INDEX,
	VFIO_PCI_INTX_IRQ_INDEX,
	VFIO_PCI_MSI_IRQ_INDEX,
	VFIO_PCI_MSIX_IRQ_INDEX,
	VFIO_PCI_REQ_IRQ_INDEX,
} from "../../../core/uapi/vfio.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { InterruptController } from "../../hardware/interrupts.ts";
import type { EventFd } from "../eventfd.ts";
import { lineOf } from "../intx-line.ts";
import { allowIntx } from "./command.ts";
import type { ConfigSpace } from "./config-space.ts";
import { Intx } from "./intx.ts";
import type { Messages } from "./messages.ts";
import { MsiMessages } from "./msi-messages.ts";
import { MsixMessages } from "./msix-messages.ts";

/** The interrupts of an open device. */
export class Interrupts {
	readonly intx: Intx;
	readonly msi: MsiMessages;
	readonly msix: MsixMessages;
	/** The eventfd for errors of the device. */
	error: EventFd | undefined;
	readonly #fn: PciFunction;
	readonly #config: ConfigSpace;
	readonly #maskable: boolean;
	readonly #others: () => Iterable<Interrupts>;

	/**
	 * @param maskable COMMAND's Interrupt Disable works and may be used
	 * @param others those of the other open devices
	 */
	constructor(
		config: ConfigSpace,
		controller: InterruptController,
		maskable: boolean,
		others: () => Iterable<Interrupts>,
	) {
		this.#others = others;
		this.#config = config;
		this.#fn = config.fn;
		this.#maskable = maskable;
		this.intx = new Intx(this.#fn, controller, maskable);
		this.msi = new MsiMessages(this.#fn, controller);
		this.msix = new MsixMessages(this.#fn, controller);
	}

	/** MSI or MSI-X by its index. */
	messages(index: number): Messages {
		return index === VFIO_PCI_MSI_IRQ_INDEX ? this.msi : this.msix;
	}

	/** None of INTx, MSI and MSI-X is active. */
	get idle(): boolean {
		return !this.intx.enabled && !this.msi.enabled && !this.msix.enabled;
	}

	/** How many interrupts an index has. */
	count(index: number): number {
		switch (index) {
			case VFIO_PCI_INTX_IRQ_INDEX:
				return this.#config.interruptPin === 0 ? 0 : 1;
			case VFIO_PCI_MSI_IRQ_INDEX:
				return this.msi.count;
			case VFIO_PCI_MSIX_IRQ_INDEX:
				return this.msix.count;
			case VFIO_PCI_ERR_IRQ_INDEX:
				return this.#fn.expressType === undefined ? 0 : 1;
			case VFIO_PCI_REQ_IRQ_INDEX:
				return 1;
			default:
				return 0;
		}
	}

	/** `vfio_irq_info.flags` of an index. @returns -EINVAL for one that this device does not answer for */
	flags(index: number): number {
		switch (index) {
			case VFIO_PCI_INTX_IRQ_INDEX:
				return VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
			case VFIO_PCI_MSIX_IRQ_INDEX:
				return VFIO_IRQ_INFO_EVENTFD | (this.msix.dynamic ? 0 : VFIO_IRQ_INFO_NORESIZE);
			case VFIO_PCI_ERR_IRQ_INDEX:
				if (this.#fn.expressType === undefined) return -EINVAL;
				return VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
			case VFIO_PCI_MSI_IRQ_INDEX:
			case VFIO_PCI_REQ_IRQ_INDEX:
				return VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
			default:
				return -EINVAL;
		}
	}

	/**
	 * Linux shares a line among those only that can be silenced at the device: it has to mask the line for any other, and
	 * with it whoever else is on it.
	 */
	get lineTaken(): boolean {
		for (const other of this.#others()) {
			if (other === this || !other.intx.enabled || lineOf(other.#fn) !== lineOf(this.#fn)) continue;
			if (!other.#maskable || !this.#maskable) return true;
		}
		return false;
	}

	/** The user changed the virtual Interrupt Disable bit. */
	maskIntx(masked: boolean): void {
		if (this.intx.enabled) {
			if (masked) this.intx.mask();
			else this.intx.unmask();
		} else if (this.#maskable && this.idle) allowIntx(this.#fn, !masked);
	}

	/** The virtual Interrupt Disable bit. */
	get intxDisabled(): boolean {
		return (this.#config.command & PCI_COMMAND_INTX_DISABLE) !== 0;
	}

	/** The last user is gone: nothing signals any more. */
	close(): void {
		if (this.intx.enabled) this.intx.disable();
		this.msi.disable();
		this.msix.disable();
		this.error?.unreference();
		this.error = undefined;
	}
}
