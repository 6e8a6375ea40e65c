/**
 * A mediated PCI device made of a device model: registers, interrupts, and DMA through pinned pages.
 *
 * @module
 */
import { Releases } from "../../../../core/release.ts";
import { EINVAL, ENOTTY } from "../../../../core/uapi/errno.ts";
import { PCI_COMMAND_MEMORY } from "../../../../core/uapi/pci_regs.ts";
import {
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_DEVICE_RESET,
	VFIO_DEVICE_SET_IRQS,
	VFIO_PCI_BAR5_REGION_INDEX,
} from "../../../../core/uapi/vfio.ts";
import type { FunctionDescription } from "../../../hardware/description.ts";
import { PciFunction, type SystemBus } from "../../../hardware/function.ts";
import { InterruptController } from "../../../hardware/interrupts.ts";
import type { DeviceModel } from "../../../hardware/model.ts";
import { PAGE_SIZE } from "../../address-space.ts";
import type { EventFd } from "../../eventfd.ts";
import type { IoctlArgument, OpenFile } from "../../file.ts";
import type { SimProcess } from "../../process.ts";
import { RegionMapping } from "../../region-mapping.ts";
import type { EmulatedDma } from "../../vfio/emulated-dma.ts";
import { REGION_STRIDE } from "../../vfio/region-offset.ts";
import { BarMemory, type MemoryGate } from "../../vfio-pci/bar-memory.ts";
import { type ConfigHost, ConfigSpace } from "../../vfio-pci/config-space.ts";
import { getInfo, getIrqInfo } from "../../vfio-pci/device-info.ts";
import { Interrupts } from "../../vfio-pci/interrupts.ts";
import { type RegionHost, Regions } from "../../vfio-pci/regions.ts";
import { setPowerState } from "../../vfio-pci/reset.ts";
import { SavedState } from "../../vfio-pci/saved-state.ts";
import { type RequestHolder, setIrqs } from "../../vfio-pci/set-irqs.ts";
import type { MediatedContext, MediatedDevice } from "../mediated-device.ts";
import { PageCache } from "./page-cache.ts";
import { answerRegionInfo, type MappableArea } from "./region-info.ts";

/** What a mediated PCI device is made of. */
export interface MediatedPciOptions {
	readonly description: FunctionDescription;
	readonly model: DeviceModel;
	/**
	 * The areas of BARs that processes can map, by BAR, where that is not all of it; accesses to them go to the model as all
	 * others do. BARs whose backing is memory can be mapped as a whole, others not at all, when left out.
	 */
	readonly mappable?: Readonly<Record<number, readonly MappableArea[]>>;
}

/**
 * Makes a mediated device of a {@link DeviceModel}, as it stands: what it would be behind an IOMMU it is here by software.
 *
 * Its configuration space, interrupts and resets are those of vfio-pci. Its DMA goes to what the user has mapped, page by
 * page, and fails where nothing is.
 *
 * @example
 * ```ts
 * const driver: MediatedDriver = {
 *   name: "teaching",
 *   instances: 4,
 *   types: [
 *     { name: "edu", create: (context) => mediatedPciDevice(context, { description: Edu.description(), model: new Edu() }) },
 *   ],
 * };
 * const linux = new SimulatedLinux({ host: Host.reference(), mediated: [driver] });
 * linux.process().readDirectory("/sys/class/mdev_bus/teaching/mdev_supported_types"); // ["teaching-edu"]
 * ```
 */
export function mediatedPciDevice(context: MediatedContext, options: MediatedPciOptions): MediatedDevice {
	return new MediatedPci(context, options);
}

/** What the first open makes and the last close takes down. */
interface Opened extends RegionHost {
	readonly config: ConfigSpace;
	readonly interrupts: Interrupts;
	readonly regions: Regions;
	readonly pages: PageCache;
}

class MediatedPci implements MediatedDevice, SystemBus, ConfigHost, RequestHolder, MemoryGate {
	readonly fn: PciFunction;
	readonly #context: MediatedContext;
	readonly #mappable: NonNullable<MediatedPciOptions["mappable"]>;
	readonly #controller = new InterruptController();
	/** The eventfd that says the kernel wants the device back. */
	request: EventFd | undefined;
	#opened: Opened | undefined;

	constructor(context: MediatedContext, { description, model, mappable = {} }: MediatedPciOptions) {
		this.#context = context;
		this.#mappable = mappable;
		this.fn = new PciFunction(description, model);
		this.fn.onIntx = (asserted) => this.#controller.line(this.fn, asserted);
		this.fn.connect(this);
	}

	// ---- MediatedDevice ----

	open(dma: EmulatedDma): number {
		this.fn.reset();
		const { fn } = this;
		const config = new ConfigSpace(this);
		const gate = this;
		const host: RegionHost = {
			fn,
			config,
			get memoryUsable() {
				return gate.mappable;
			},
			vgaEnabled: false,
			claim() {},
		};
		this.#opened = Object.assign(host, {
			config,
			interrupts: new Interrupts(config, this.#controller, true, () => []),
			regions: new Regions(host),
			pages: new PageCache(dma),
		});
		return 0;
	}

	close(): void {
		const opened = this.#opened;
		if (!opened) return;
		const releases = new Releases();
		releases.defer(() => {
			this.#opened = undefined;
		});
		releases.defer(() => {
			this.request?.unreference();
			this.request = undefined;
		});
		releases.use(opened.pages);
		releases.defer(() => opened.interrupts.close());
		releases.defer(() => this.fn.reset());
		releases[Symbol.dispose]();
	}

	remove(): void {
		this.fn.disconnect();
	}

	ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		const { regions, interrupts } = this.#use;
		switch (request) {
			case VFIO_DEVICE_GET_INFO:
				return getInfo({ resettable: true }, argument);
			case VFIO_DEVICE_GET_REGION_INFO:
				return answerRegionInfo(
					argument,
					(index) => regions.size(index),
					(index) => this.#areas(index),
				);
			case VFIO_DEVICE_GET_IRQ_INFO:
				return getIrqInfo({ interrupts }, argument);
			case VFIO_DEVICE_SET_IRQS:
				return setIrqs(this, process, argument);
			case VFIO_DEVICE_RESET:
				return this.#reset();
			default:
				return -ENOTTY;
		}
	}

	read(offset: number, into: Uint8Array): number {
		return this.#use.regions.read(offset, into);
	}

	write(offset: number, from: Uint8Array): number {
		return this.#use.regions.write(offset, from);
	}

	mmap(file: OpenFile, length: number, protection: number, offset: number): RegionMapping | number {
		const index = Math.floor(offset / REGION_STRIDE);
		const start = offset % REGION_STRIDE;
		const end = start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
		const areas = this.#areas(index);
		if (!areas) return -EINVAL;
		const whole = [{ offset: 0, size: this.fn.bar(index)?.size ?? 0 }];
		const inside = (areas.length > 0 ? areas : whole).some(
			(area) => start >= area.offset && end <= area.offset + area.size,
		);
		return inside ? new RegionMapping(file, new BarMemory(this, index, start), length, protection) : -EINVAL;
	}

	wanted(): void {
		this.request?.signal();
	}

	// ---- what the parts of vfio-pci need ----

	get interrupts(): Interrupts {
		return this.#use.interrupts;
	}

	get mappable(): boolean {
		const command = this.#opened?.config.command ?? 0;
		return (command & PCI_COMMAND_MEMORY) !== 0 && this.fn.powerState === 0;
	}

	get msiVectors(): number {
		return this.#opened?.interrupts.msi.vectors ?? 0;
	}

	maskIntx(masked: boolean): void {
		this.#opened?.interrupts.maskIntx(masked);
	}

	setPowerState(state: number): void {
		setPowerState(this.fn, state);
	}

	tryReset(): void {
		this.#reset();
	}

	// ---- SystemBus ----

	get clock() {
		return this.#context.clock;
	}

	dmaRead(_fn: PciFunction, address: bigint, into: Uint8Array): boolean {
		return this.#opened?.pages.read(address, into) ?? false;
	}

	dmaWrite(_fn: PciFunction, address: bigint, from: Uint8Array): boolean {
		return this.#opened?.pages.write(address, from) ?? false;
	}

	message(fn: PciFunction, address: bigint, data: number): void {
		this.#controller.deliver(fn, address, data);
	}

	/** There is nothing below it, and nothing beside it. */
	resetBus(): void {}
	virtualFunctions(): void {}

	get #use(): Opened {
		if (!this.#opened) throw new Error(`Cannot use ${this.#context.name}: it is not open`);
		return this.#opened;
	}

	/** Settings survive it, as those of hardware do. */
	#reset(): number {
		const saved = SavedState.of(this.fn);
		this.fn.reset();
		saved.restore();
		return 0;
	}

	#areas(index: number): readonly MappableArea[] | undefined {
		if (index > VFIO_PCI_BAR5_REGION_INDEX) return undefined;
		const areas = this.#mappable[index];
		if (areas) return areas;
		const bar = this.fn.bar(index);
		return bar?.backing === "memory" && bar.kind !== "io" && bar.size >= PAGE_SIZE ? [] : undefined;
	}
}
