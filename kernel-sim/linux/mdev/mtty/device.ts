/**
 * An mtty device: a PCI serial controller that consists of software.
 *
 * @module
 */
import { EFAULT, EINVAL, ENOTTY } from "../../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FLAGS_PCI,
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_DEVICE_RESET,
	VFIO_DEVICE_SET_IRQS,
	VFIO_IRQ_INFO_AUTOMASKED,
	VFIO_IRQ_INFO_EVENTFD,
	VFIO_IRQ_INFO_MASKABLE,
	VFIO_IRQ_INFO_NORESIZE,
	VFIO_PCI_BAR5_REGION_INDEX,
	VFIO_PCI_CONFIG_REGION_INDEX,
	VFIO_PCI_INTX_IRQ_INDEX,
	VFIO_PCI_MSI_IRQ_INDEX,
	VFIO_PCI_NUM_IRQS,
	VFIO_PCI_NUM_REGIONS,
	VFIO_REGION_INFO_FLAG_READ,
	VFIO_REGION_INFO_FLAG_WRITE,
	vfio_device_info,
	vfio_irq_info,
	vfio_region_info,
} from "../../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../../file.ts";
import type { SimProcess } from "../../process.ts";
import { accessWidth } from "../../region-mapping.ts";
import type { DmaLoggingOps } from "../../vfio/dma-logging.ts";
import { readIrqRequest } from "../../vfio/irq-request.ts";
import { REGION_STRIDE } from "../../vfio/region-offset.ts";
import type { MediatedDevice } from "../mediated-device.ts";
import { CONFIG_SIZE, MttyConfig } from "./config-space.ts";
import { MttyInterrupts } from "./interrupts.ts";
import { MttyMigration } from "./migration.ts";
import { PORT_SIZE, SerialPort } from "./serial-port.ts";

/** Bytes of `vfio_device_info` that the driver knows. */
const DEVICE_INFO_SIZE = 16;

/** One device, with one or two ports. */
export class MttyDevice implements MediatedDevice {
	readonly #config: MttyConfig;
	readonly #ports: readonly SerialPort[];
	readonly #interrupts = new MttyInterrupts();
	readonly #given: () => void;
	readonly migration: MttyMigration;
	/** It does no DMA, so that there is nothing to tell. */
	readonly logging: DmaLoggingOps = { start: (_ranges, pageSize) => pageSize, stop: () => 0, report: () => 0 };
	/** GET_INFO was called: the driver keeps its answer, and knows of no interrupts before. */
	#asked = false;

	/** @param given takes its ports back */
	constructor(ports: number, given: () => void) {
		this.#config = new MttyConfig(ports);
		// The second port is there even where no BAR leads to it.
		this.#ports = Array.from({ length: 2 }, () => new SerialPort(() => this.#interrupts.trigger()));
		this.migration = new MttyMigration(this.#ports.slice(0, ports));
		this.#given = given;
	}

	close(): void {
		this.#interrupts.close();
		this.migration.reset();
	}

	remove(): void {
		this.#given();
	}

	ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		switch (request) {
			case VFIO_DEVICE_GET_INFO:
				return this.#getInfo(argument);
			case VFIO_DEVICE_GET_REGION_INFO:
				return this.#getRegionInfo(argument);
			case VFIO_DEVICE_GET_IRQ_INFO:
				return this.#getIrqInfo(argument);
			case VFIO_DEVICE_SET_IRQS: {
				const set = readIrqRequest(process, argument, VFIO_PCI_NUM_IRQS, () => this.#irqIndexes);
				return typeof set === "number" ? set : this.#interrupts.set(set);
			}
			case VFIO_DEVICE_RESET:
				this.migration.reset();
				return 0;
			default:
				return -ENOTTY;
		}
	}

	read(offset: number, into: Uint8Array): number {
		return this.#access(offset, into, (index, at, part) => {
			if (index === VFIO_PCI_CONFIG_REGION_INDEX) return this.#config.read(at, part);
			part.fill(0);
			part[0] = this.#ports[index]?.read(at) ?? 0;
			return part.length;
		});
	}

	write(offset: number, from: Uint8Array): number {
		return this.#access(offset, from, (index, at, part) => {
			if (index === VFIO_PCI_CONFIG_REGION_INDEX) return this.#config.write(at, part);
			// A register takes the first byte, whatever the width.
			this.#ports[index]?.write(at, part[0] ?? 0);
			return part.length;
		});
	}

	/** What every interrupt index is said to have, until somebody has asked about the device: a quirk of the driver. */
	get #irqIndexes(): number {
		return this.#asked ? VFIO_PCI_NUM_IRQS : 0;
	}

	#getInfo(argument: IoctlArgument): number {
		const bytes = argument.read(DEVICE_INFO_SIZE);
		if (!bytes) return -EFAULT;
		const info = vfio_device_info.create();
		info.bytes.set(bytes);
		if (info.argsz < DEVICE_INFO_SIZE) return -EINVAL;
		info.flags = VFIO_DEVICE_FLAGS_PCI;
		info.num_regions = VFIO_PCI_NUM_REGIONS;
		info.num_irqs = VFIO_PCI_NUM_IRQS;
		this.#asked = true;
		return argument.write(info.bytes.subarray(0, DEVICE_INFO_SIZE)) ? 0 : -EFAULT;
	}

	#getRegionInfo(argument: IoctlArgument): number {
		const bytes = argument.read(vfio_region_info.size);
		if (!bytes) return -EFAULT;
		const info = vfio_region_info.view(bytes.slice());
		if (info.argsz < vfio_region_info.size || info.index >= VFIO_PCI_NUM_REGIONS) return -EINVAL;
		info.size = BigInt(this.#sizeOf(info.index));
		info.offset = BigInt(info.index) * BigInt(REGION_STRIDE);
		info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
		return argument.write(info.bytes) ? 0 : -EFAULT;
	}

	#sizeOf(region: number): number {
		if (region === VFIO_PCI_CONFIG_REGION_INDEX) return CONFIG_SIZE;
		return region < this.migration.ports ? PORT_SIZE : 0;
	}

	#getIrqInfo(argument: IoctlArgument): number {
		const bytes = argument.read(vfio_irq_info.size);
		if (!bytes) return -EFAULT;
		const info = vfio_irq_info.view(bytes.slice());
		if (info.argsz < vfio_irq_info.size || info.index >= this.#irqIndexes) return -EINVAL;
		if (info.index !== VFIO_PCI_INTX_IRQ_INDEX && info.index !== VFIO_PCI_MSI_IRQ_INDEX) return -EINVAL;
		info.flags =
			VFIO_IRQ_INFO_EVENTFD |
			(info.index === VFIO_PCI_INTX_IRQ_INDEX
				? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
				: VFIO_IRQ_INFO_NORESIZE);
		info.count = 1;
		return argument.write(info.bytes) ? 0 : -EFAULT;
	}

	/** Does an access piece by piece, each as wide as alignment and length allow. */
	#access(offset: number, buffer: Uint8Array, one: (index: number, at: number, part: Uint8Array) => number): number {
		for (let done = 0; done < buffer.length; ) {
			const position = offset + done;
			const index = Math.floor(position / REGION_STRIDE);
			if (index > VFIO_PCI_BAR5_REGION_INDEX && index !== VFIO_PCI_CONFIG_REGION_INDEX) return -EFAULT;
			const width = accessWidth(position, buffer.length - done);
			one(index, position % REGION_STRIDE, buffer.subarray(done, done + width));
			done += width;
		}
		return buffer.length;
	}
}
