/**
 * A device while somebody has it open: one instance, whatever the number of descriptors.
 *
 * @module
 */
import { EAGAIN, EINVAL, EIO } from "../../../core/uapi/errno.ts";
import { PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from "../../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { EventFd } from "../eventfd.ts";
import { decodingOf } from "../pci-resources.ts";
import type { DeviceFeatures, FeatureRequest } from "../vfio/device-feature.ts";
import type { MemoryGate } from "./bar-memory.ts";
import { allowIntx, canDisableIntx, changeCommand } from "./command.ts";
import { type ConfigHost, ConfigSpace } from "./config-space.ts";
import type { VfioPciDevice } from "./device.ts";
import type { Described } from "./device-info.ts";
import type { DmaBufFile } from "./dma-buf.ts";
import { pciFeature } from "./feature.ts";
import { Interrupts } from "./interrupts.ts";
import { type IoEventFdHost, IoEventFds } from "./ioeventfd.ts";
import { DevicePower } from "./power.ts";
import { type RegionHost, Regions } from "./regions.ts";
import { setPowerState, tryResetFunction } from "./reset.ts";
import { SavedState } from "./saved-state.ts";
import type { RequestHolder } from "./set-irqs.ts";

const PAGE_SIZE = 4096;
const D3HOT = 3;

/** Everything that the first open makes and the last close takes down (contract H). */
export class OpenDevice
	implements ConfigHost, RegionHost, Described, RequestHolder, IoEventFdHost, MemoryGate, DeviceFeatures
{
	readonly bound: VfioPciDevice;
	readonly fn: PciFunction;
	readonly resettable: boolean;
	readonly config: ConfigSpace;
	readonly regions: Regions;
	readonly interrupts: Interrupts;
	readonly power: DevicePower;
	readonly ioEventFds: IoEventFds;
	/** Parts of BARs that are files. */
	readonly exports = new Set<DmaBufFile>();
	/** The eventfd that says the kernel wants the device back. */
	request: EventFd | undefined;
	readonly #saved: SavedState;

	private constructor(bound: VfioPciDevice, resettable: boolean) {
		this.bound = bound;
		this.fn = bound.fn;
		this.resettable = resettable;
		this.#saved = SavedState.of(this.fn);
		const maskable = bound.masksIntx && canDisableIntx(this.fn);
		if (maskable) allowIntx(this.fn, true);
		this.config = new ConfigSpace(this);
		this.interrupts = new Interrupts(this.config, bound.machine.interrupts, maskable, () =>
			[...bound.siblings.values()].flatMap(({ opened }) => opened?.interrupts ?? []),
		);
		this.regions = new Regions(this);
		this.power = new DevicePower(this.fn, this.interrupts.intx);
		this.ioEventFds = new IoEventFds(this);
	}

	/** The first open. @returns -EIO when the device is gone, -EAGAIN when it could not be locked for its reset */
	static open(bound: VfioPciDevice): OpenDevice | number {
		const { fn } = bound;
		if (!fn.present) return -EIO;
		setPowerState(fn, 0);
		changeCommand(fn, decodingOf(fn), PCI_COMMAND_MASTER);
		const answer = tryResetFunction(bound.device, bound.machine);
		if (answer === -EAGAIN) return answer;
		bound.device.enableCount++;
		// Before 7, a BAR is claimed when it is used first.
		if (bound.options.version !== "6.12") bound.device.claims.claimAll();
		return new OpenDevice(bound, answer === 0);
	}

	/** The last close. @returns whether a function reset has left the device clean */
	close(): boolean {
		this.revokeExports();
		this.power.close();
		changeCommand(this.fn, 0, PCI_COMMAND_MASTER);
		this.interrupts.close();
		this.ioEventFds.close();
		this.request?.unreference();
		this.request = undefined;
		const clean = this.resettable && tryResetFunction(this.bound.device, this.bound.machine) === 0;
		this.#saved.restoreOwn();
		this.bound.device.enableCount--;
		this.bound.device.claims.release();
		return clean;
	}

	/** VFIO_DEVICE_RESET. @returns 0; -EINVAL when the reset at open did not work; or why this one did not */
	reset(): number {
		if (!this.resettable) return -EINVAL;
		this.revokeExports();
		this.power.setState(0);
		return tryResetFunction(this.bound.device, this.bound.machine);
	}

	feature(request: FeatureRequest): number {
		return pciFeature(this, request);
	}

	/** Whether a BAR may be mapped: memory, in pages that hold nothing else. */
	canMap(index: number): boolean {
		const bar = this.fn.bar(index);
		if (!bar || bar.kind === "io") return false;
		return bar.size >= PAGE_SIZE || this.bound.ownsPage(this.fn.barAddress(index));
	}

	claim(index: number): void {
		this.bound.device.claims.claim(index);
	}

	get memoryUsable(): boolean {
		const enabled = this.bound.isVirtual || (this.config.command & PCI_COMMAND_MEMORY) !== 0;
		return this.fn.powerState < D3HOT && enabled;
	}

	get virtualIds(): number | undefined {
		const { device, isVirtual } = this.bound;
		return isVirtual ? ((device.device << 16) | device.vendor) >>> 0 : undefined;
	}

	get mappable(): boolean {
		return this.fn.present && this.memoryUsable && !this.power.lowPower;
	}

	get vgaEnabled(): boolean {
		return !this.bound.options.parameters.flag("vfio_pci", "disable_vga");
	}

	get wideIoEventFd(): boolean {
		return this.bound.options.version === "6.12";
	}

	get msiVectors(): number {
		return this.interrupts.msi.vectors;
	}

	maskIntx(masked: boolean): void {
		this.interrupts.maskIntx(masked);
	}

	setPowerState(state: number): void {
		this.power.setState(state);
	}

	/** After every call on the device: it may sleep, and what importers have of its memory may be out of reach now. */
	idle(): void {
		this.power.idle();
		if (!this.mappable) this.revokeExports();
	}

	/** Importers lose its memory, before a reset or when it cannot be touched any more. */
	revokeExports(): void {
		for (const file of this.exports) file.revoke();
	}

	tryReset(): void {
		this.revokeExports();
		tryResetFunction(this.bound.device, this.bound.machine);
	}
}
