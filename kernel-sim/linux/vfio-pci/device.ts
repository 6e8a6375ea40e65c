/**
 * A device bound to vfio-pci, as VFIO's group offers it.
 *
 * @module
 */
import type { PciFunction } from "../../hardware/function.ts";
import type { Machine } from "../../hardware/topology.ts";
import type { PciDevice } from "../driver.ts";
import type { VfioDeviceOps } from "../vfio/device.ts";
import { matchDeviceName } from "../vfio/device-name.ts";
import type { RegisteredDevice } from "../vfio/registered-device.ts";
import type { MemoryGate } from "./bar-memory.ts";
import { DeviceFile } from "./device-file.ts";
import { resetBusIfIdle } from "./hot-reset.ts";
import { OpenDevice } from "./open-device.ts";
import type { VfioPciOptions } from "./options.ts";
import { checkToken, VfToken, type VfTokenHolder } from "./vf-token.ts";

const PAGE_MASK = 0xfffn;
/** A device bound to vfio-pci. */
export class VfioPciDevice implements VfioDeviceOps, MemoryGate, VfTokenHolder {
	readonly device: PciDevice;
	readonly options: VfioPciOptions;
	/** Devices that VFIO has, for resets that hit several of them. */
	readonly siblings: ReadonlyMap<PciFunction, VfioPciDevice>;
	/** `nointxmask` was off when the device was bound. */
	readonly masksIntx: boolean;
	/** VFIO's record of it, while it is registered. */
	record: RegisteredDevice | undefined;
	/** It was used and has not been reset since. */
	needsReset = false;
	readonly vfToken: VfToken | undefined;
	readonly physicalToken: VfToken | undefined;
	#opened: OpenDevice | undefined;

	constructor(device: PciDevice, options: VfioPciOptions, siblings: ReadonlyMap<PciFunction, VfioPciDevice>) {
		this.device = device;
		this.options = options;
		this.siblings = siblings;
		this.masksIntx = !options.parameters.flag("vfio_pci", "nointxmask");
		this.vfToken = device.virtualFunctions && new VfToken();
		this.physicalToken = device.physical && siblings.get(device.physical.fn)?.vfToken;
	}

	get name(): string {
		return this.device.name;
	}

	get fn(): PciFunction {
		return this.device.fn;
	}

	get machine(): Machine {
		return this.options.machine;
	}

	/** The open instance, while there is one. */
	get opened(): OpenDevice | undefined {
		return this.#opened;
	}

	open(): number {
		const opened = OpenDevice.open(this);
		if (typeof opened === "number") return opened;
		this.#opened = opened;
		if (this.physicalToken) this.physicalToken.users++;
		return 0;
	}

	close(): void {
		const opened = this.#opened;
		if (!opened) return;
		this.#opened = undefined;
		if (this.physicalToken) this.physicalToken.users--;
		this.needsReset = !opened.close();
		if (this.needsReset) resetBusIfIdle(this);
	}

	file(record: RegisteredDevice): DeviceFile {
		if (!this.#opened) throw new Error(`Cannot make a file of ${this.name}: it is not open`);
		return new DeviceFile(record, this.#opened);
	}

	/** Peer-to-peer DMA may outlive the close: then only the hardware decides. */
	get mappable(): boolean {
		const { fn } = this;
		return this.#opened ? this.#opened.mappable : fn.present && fn.memoryEnabled && fn.powerState === 0;
	}

	match(name: string): "yes" | "no" | number {
		const match = matchDeviceName(this.name, name);
		if (typeof match !== "object") return match;
		const allowed = checkToken(this, match.token);
		return allowed < 0 ? allowed : "yes";
	}

	checkToken(token: string | undefined): number {
		return checkToken(this, token);
	}

	get isVirtual(): boolean {
		return this.device.physical !== undefined;
	}

	request(_count: number): void {
		this.#opened?.request?.signal();
	}

	/** Advanced Error Reporting has told of an error of this device. */
	errorDetected(): void {
		this.#opened?.interrupts.error?.signal();
	}

	/** Whether a BAR at this address has its page for itself. */
	ownsPage(address: bigint): boolean {
		if (address === 0n || (address & PAGE_MASK) !== 0n) return false;
		for (const fn of this.machine.functions)
			for (let index = 0; index < 6; index++) {
				if (!fn.bar(index) || fn.bar(index)?.kind === "io") continue;
				const other = fn.barAddress(index);
				if (other !== address && (other & ~PAGE_MASK) === address) return false;
			}
		return true;
	}
}
