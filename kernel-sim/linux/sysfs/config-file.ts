/**
 * The `config` file of a PCI device: its registers, past every driver.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { PCI_HEADER_TYPE_CARDBUS, PCI_STD_HEADER_SIZEOF } from "../../../core/uapi/pci_regs.ts";
import type { PciDevice } from "../driver.ts";
import type { FileContent } from "../file-content.ts";
import type { SimProcess } from "../process.ts";

const CARDBUS_HEADER_SIZE = 128;

/** Reads and writes are register accesses, as wide as alignment allows. */
export class ConfigFile implements FileContent {
	readonly #device: PciDevice;

	constructor(device: PciDevice) {
		this.#device = device;
	}

	/** Who has opened it without CAP_SYS_ADMIN sees the standard header. */
	read(opener: SimProcess): Uint8Array {
		const { fn } = this.#device;
		const header = this.#device.headerType === PCI_HEADER_TYPE_CARDBUS ? CARDBUS_HEADER_SIZE : PCI_STD_HEADER_SIZEOF;
		const bytes = new Uint8Array(opener.capable("CAP_SYS_ADMIN") ? fn.config.length : header);
		const view = new DataView(bytes.buffer);
		for (let at = 0; at < bytes.length; at += 4) view.setUint32(at, fn.configRead(at, 4), true);
		return bytes;
	}

	/** What reaches beyond the end is cut off. */
	write(_opener: SimProcess, bytes: Uint8Array, offset: number): number {
		const { fn } = this.#device;
		const count = Math.max(0, Math.min(bytes.length, fn.config.length - offset));
		for (let done = 0; done < count; ) {
			const width = accessWidth(offset + done, count - done);
			let value = 0;
			for (let byte = 0; byte < width; byte++) value += (bytes[done + byte] ?? 0) * 2 ** (8 * byte);
			fn.configWrite(offset + done, width, value);
			done += width;
		}
		return count;
	}
}

function accessWidth(offset: number, left: number): AccessWidth {
	if (offset % 4 === 0 && left >= 4) return 4;
	return offset % 2 === 0 && left >= 2 ? 2 : 1;
}
