/**
 * A PCI function: hardware as its bus sees it, and nothing of Linux in it.
 *
 * @module
 */
import { formatPciAddress, type PciAddress } from "../../core/host/address.ts";
import type { AccessWidth, Clock } from "../../core/kernel.ts";
import {
	PCI_BASE_ADDRESS_0,
	PCI_BRIDGE_CONTROL,
	PCI_BRIDGE_CTL_BUS_RESET,
	PCI_CAP_ID_AF,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PM,
	PCI_CAP_ID_VPD,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_IO,
	PCI_COMMAND_MASTER,
	PCI_COMMAND_MEMORY,
	PCI_EXT_CAP_ID_SRIOV,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_MASK,
	PCI_INTERRUPT_PIN,
	PCI_MSIX_FLAGS,
	PCI_PM_CTRL,
	PCI_ROM_ADDRESS,
	PCI_ROM_ADDRESS_ENABLE,
	PCI_ROM_ADDRESS1,
	PCI_SECONDARY_BUS,
	PCI_STATUS,
	PCI_STATUS_INTERRUPT,
} from "../../core/uapi/pci_regs.ts";
import { BarSpace } from "./bar-space.ts";
import { layOutConfig } from "./config-layout.ts";
import { findCapability, findExtendedCapability } from "./config-walk.ts";
import type { FunctionDescription } from "./description.ts";
import { ALL_ONES_64, allOnes, clearBits, load, setBits } from "./little-endian.ts";
import type { BarDescription, DeviceModel, DevicePort } from "./model.ts";
import { MsiUnit } from "./msi-unit.ts";
import { MsixUnit } from "./msix-unit.ts";
import { PmUnit, type PowerState } from "./pm-unit.ts";
import { ResetUnit } from "./reset-unit.ts";
import { SriovUnit, type VirtualFunctionChange } from "./sriov.ts";
import { VpdUnit } from "./vpd-unit.ts";

/** How a function can reset itself, under the names of Linux's `reset_method`. */
export type ResetMethod = "flr" | "af_flr" | "pm";

/** What a function reaches through its slot. The machine is one. */
export interface SystemBus {
	readonly clock: Clock;
	dmaRead(fn: PciFunction, address: bigint, into: Uint8Array): boolean;
	dmaWrite(fn: PciFunction, address: bigint, from: Uint8Array): boolean;
	/** A message signalled interrupt: a memory write of `data`, four bytes. */
	message(fn: PciFunction, address: bigint, data: number): void;
	/** Secondary Bus Reset was set in a bridge. */
	resetBus(bridge: PciFunction): void;
	/** The SR-IOV registers of a physical function say something else now. */
	virtualFunctions(physical: PciFunction, change: VirtualFunctionChange): void;
}

/** Which physical function a virtual one belongs to, and which one it is, from 0. */
export interface VirtualPlace {
	readonly physical: PciFunction;
	readonly index: number;
}

/**
 * A function's live registers: configuration space, BARs, interrupts, power and reset.
 *
 * The bus side is config and BAR accesses. The device side is {@link DevicePort}, which the model gets. Both sides go
 * silent when the function is not {@link PciFunction.present}.
 *
 * @example
 * ```ts
 * const edu = new PciFunction(Edu.description(), new Edu());
 * machine.plug("0000:01:00.0", edu);
 * edu.configWrite(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
 * edu.read(0, 0, 4); // 0x010000ed
 * ```
 */
export class PciFunction implements DevicePort {
	readonly description: FunctionDescription;
	readonly model: DeviceModel | undefined;
	/** The live registers, 256 or 4096 bytes. Writing them here has no effects: that is {@link configWrite}. */
	readonly config: Uint8Array;
	/** Which bits a config write changes. */
	readonly writable: Uint8Array;
	/** Which bits a config write clears by writing one. */
	readonly writeOneToClear: Uint8Array;
	/** Where it is plugged. */
	address: PciAddress = { domain: 0, bus: 0, device: 0, function: 0 };
	readonly msi: MsiUnit | undefined;
	readonly msix: MsixUnit | undefined;
	/** Of a physical function: what makes its virtual ones. */
	readonly sriov: SriovUnit | undefined;
	/** Of a virtual function: whose it is. */
	readonly virtual: VirtualPlace | undefined;
	/** What its expansion ROM holds. */
	readonly rom: Uint8Array | undefined;
	/** How often it was reset, by whatever means. */
	resetCount = 0;
	/** The level of the interrupt line changed. The machine sets this. */
	onIntx: (asserted: boolean) => void = () => {};

	readonly #powerOn: Uint8Array;
	readonly #space: BarSpace;
	readonly #express: number;
	readonly #pm: PmUnit | undefined;
	readonly #vpd: VpdUnit | undefined;
	readonly #reset: ResetUnit;
	readonly #romRegister: number;
	#bus: SystemBus | undefined;
	#present = true;
	#pin = false;
	#asserted = false;
	/** COMMAND, decoded once per write since every access asks for it. */
	#memoryEnabled = false;
	#ioEnabled = false;
	#busMaster = false;

	/** @throws VfioError `invalid-argument` when the description contradicts itself */
	constructor(description: FunctionDescription, model?: DeviceModel, virtual?: VirtualPlace) {
		const layout = layOutConfig(description);
		this.description = description;
		this.model = model;
		this.virtual = virtual;
		this.config = layout.initial;
		this.writable = layout.writable;
		this.writeOneToClear = layout.writeOneToClear;
		this.#powerOn = layout.powerOn;
		this.#express = findCapability(this.config, PCI_CAP_ID_EXP);
		this.#reset = new ResetUnit(this.config, this.#express, findCapability(this.config, PCI_CAP_ID_AF));
		this.#romRegister = this.isBridge ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS;
		const send = (address: bigint, data: number) => this.#send(address, data);
		const pm = findCapability(this.config, PCI_CAP_ID_PM);
		const vpd = description.vitalProductData ? findCapability(this.config, PCI_CAP_ID_VPD) : 0;
		const msi = findCapability(this.config, PCI_CAP_ID_MSI);
		const msix = findCapability(this.config, PCI_CAP_ID_MSIX);
		this.#pm = pm === 0 ? undefined : new PmUnit(this.config, pm);
		this.#vpd = vpd === 0 ? undefined : new VpdUnit(this.config, vpd, description.vitalProductData ?? new Uint8Array());
		this.msi = msi === 0 ? undefined : new MsiUnit(this.config, msi, send);
		this.msix = msix === 0 ? undefined : new MsixUnit(this.config, msix, send);
		const sriov = findExtendedCapability(this.config, PCI_EXT_CAP_ID_SRIOV);
		this.sriov = sriov === 0 ? undefined : new SriovUnit(this.config, this.writable, sriov);
		this.rom = description.rom?.image;
		this.#space = new BarSpace(description, model, this.msix);
		this.#decode();
	}

	/** Plugs it in: the model is told. The machine calls this. */
	connect(bus: SystemBus): void {
		this.#bus = bus;
		this.#present = true;
		this.model?.attach(this);
	}

	/** Takes it out. The machine calls this. */
	disconnect(): void {
		this.present = false;
		this.model?.detach?.();
		this.#bus = undefined;
	}

	/** False after it was pulled out: it reads as all ones and does nothing. */
	get present(): boolean {
		return this.#present;
	}

	set present(present: boolean) {
		this.#present = present;
		this.#updateLine();
		if (!present && this.sriov) this.#bus?.virtualFunctions(this, "hide");
	}

	/** It has a bus below it (header type 1). */
	get isBridge(): boolean {
		return ((this.config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK) === PCI_HEADER_TYPE_BRIDGE;
	}

	/** The number of the bus below a bridge, as its register says. */
	get secondaryBus(): number {
		return this.config[PCI_SECONDARY_BUS] ?? 0;
	}

	/** PCI Express device/port type (`PCI_EXP_TYPE_*`); undefined for conventional PCI. */
	get expressType(): number | undefined {
		return this.#express === 0 ? undefined : (this.config[this.#express + 2] ?? 0) >>> 4;
	}

	// ---- configuration space ----

	/** A config read. Beyond the configuration space, and when absent, all ones. */
	configRead(offset: number, width: AccessWidth): number {
		if (!this.#present || offset < 0 || offset + width > this.config.length) return allOnes(width);
		return load(this.config, offset, width);
	}

	/** A config write, with all that it sets off. */
	configWrite(offset: number, width: AccessWidth, value: number): void {
		if (!this.#present || offset < 0 || offset + width > this.config.length) return;
		const bridgeControl = this.config[PCI_BRIDGE_CONTROL] ?? 0;
		for (let index = 0; index < width; index++) {
			const at = offset + index;
			const written = (value >>> (8 * index)) & 0xff;
			const mask = this.writable[at] ?? 0;
			const kept = (this.config[at] ?? 0) & ~mask & ~(written & (this.writeOneToClear[at] ?? 0));
			this.config[at] = kept | (written & mask);
		}
		this.#written(offset, offset + width, bridgeControl);
		if (this.#reset.startedBy(offset, width, value)) this.reset();
	}

	// ---- BARs ----

	/** @param index 0 to 5 */
	bar(index: number): BarDescription | undefined {
		return this.#space.bars[index];
	}

	/** Where the BAR decodes: what is programmed. 0 for one that does not exist. */
	barAddress(index: number): bigint {
		const bar = this.#space.bars[index];
		if (!bar) return 0n;
		if (this.virtual) return this.virtual.physical.sriov?.barAddress(bar, this.virtual.index) ?? 0n;
		const register = PCI_BASE_ADDRESS_0 + 4 * index;
		const low = BigInt(load(this.config, register, 4) & (bar.kind === "io" ? ~0x3 : ~0xf));
		const high = bar.kind === "mem64" ? BigInt(load(this.config, register + 4, 4)) : 0n;
		return (high << 32n) | BigInt.asUintN(32, low);
	}

	/** Bytes that the expansion ROM decodes; 0 when there is none. */
	get romSize(): number {
		return this.description.rom?.size ?? 0;
	}

	/** A read of the expansion ROM. All ones past its content, and while it is disabled. */
	readRom(offset: number, width: AccessWidth): number {
		const enabled = (load(this.config, this.#romRegister, 4) & PCI_ROM_ADDRESS_ENABLE) !== 0;
		if (!enabled || !this.#decodesMemory || offset < 0) return allOnes(width);
		let value = 0;
		for (let index = width - 1; index >= 0; index--) value = value * 256 + (this.rom?.[offset + index] ?? 0xff);
		return value;
	}

	/** A read of a BAR. All ones when nothing decodes it. */
	read(bar: number, offset: number, width: AccessWidth): number {
		return this.#decodes(bar) ? this.#space.read(bar, offset, width) : allOnes(width);
	}

	/** A write to a BAR. Nothing happens when nothing decodes it. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (this.#decodes(bar)) this.#space.write(bar, offset, width, value);
	}

	/** A read of 64 bits. */
	read64(bar: number, offset: number): bigint {
		return this.#decodes(bar) ? this.#space.read64(bar, offset) : ALL_ONES_64;
	}

	/** A write of 64 bits. */
	write64(bar: number, offset: number, value: bigint): void {
		if (this.#decodes(bar)) this.#space.write64(bar, offset, value);
	}

	/** The bytes of a BAR whose backing is `memory`, whether it decodes or not; undefined for any other. */
	memory(bar: number): Uint8Array | undefined {
		return this.#space.memory(bar);
	}

	/** COMMAND lets it decode memory; for a virtual function, VF Memory Space Enable of its physical one does. */
	get memoryEnabled(): boolean {
		if (!this.virtual) return this.#memoryEnabled;
		const { physical } = this.virtual;
		return physical.present && (physical.sriov?.memoryEnabled ?? false);
	}

	/** COMMAND lets it decode I/O ports. */
	get ioEnabled(): boolean {
		return this.#ioEnabled;
	}

	/** COMMAND lets it do DMA and send messages. */
	get busMasterEnabled(): boolean {
		return this.#busMaster;
	}

	get powerState(): PowerState {
		return this.#pm?.state ?? 0;
	}

	// ---- interrupts ----

	/** The level of its interrupt line: what the device says, unless COMMAND disables it or messages are in use. */
	get intxAsserted(): boolean {
		return this.#asserted;
	}

	get interruptMode(): "intx" | "msi" | "msix" {
		return this.msix?.enabled ? "msix" : this.msi?.enabled ? "msi" : "intx";
	}

	// ---- reset ----

	/** Which resets the function itself has; a bus reset needs the bridge above. */
	get resetMethods(): readonly ResetMethod[] {
		const methods: ResetMethod[] = [];
		if (this.#reset.flr) methods.push("flr");
		if (this.#reset.afFlr) methods.push("af_flr");
		if (this.#pm?.resetsOnWake) methods.push("pm");
		return methods;
	}

	/** Conventional reset: registers back to power-on (COMMAND and BARs 0, messages off, D0), and the model too. */
	reset(): void {
		if (!this.#present) return;
		this.resetCount++;
		this.config.set(this.#powerOn);
		this.sriov?.reset();
		this.#pin = false;
		this.#decode();
		this.#pm?.changed();
		this.msix?.reset();
		this.msix?.changed();
		this.msi?.changed();
		this.#updateLine();
		if (this.sriov) this.#bus?.virtualFunctions(this, "hide");
		this.model?.reset();
	}

	// ---- DevicePort: what the model calls ----

	get clock(): Clock {
		if (!this.#bus) throw new Error("Cannot tell the time: the function is not plugged in");
		return this.#bus.clock;
	}

	/** Such as `0000:05:00.0`. */
	get name(): string {
		return formatPciAddress(this.address);
	}

	dmaRead(address: bigint, into: Uint8Array): boolean {
		return this.#mayMaster && (this.#bus?.dmaRead(this, address, into) ?? false);
	}

	dmaWrite(address: bigint, from: Uint8Array): boolean {
		return this.#mayMaster && (this.#bus?.dmaWrite(this, address, from) ?? false);
	}

	setIntx(asserted: boolean): void {
		if (!this.#present || this.config[PCI_INTERRUPT_PIN] === 0) return;
		this.#pin = asserted;
		// The status bit shows what the device wants, whether or not COMMAND lets it through (PCI 3.0, section 6.2.3).
		if (asserted) setBits(this.config, PCI_STATUS, 2, PCI_STATUS_INTERRUPT);
		else clearBits(this.config, PCI_STATUS, 2, PCI_STATUS_INTERRUPT);
		this.#updateLine();
	}

	signal(vector: number): boolean {
		if (this.msix?.enabled) this.msix.signal(vector);
		else if (this.msi?.enabled) this.msi.signal(vector);
		else return false;
		return true;
	}

	// ---- effects ----

	get #decodesMemory(): boolean {
		return this.#present && this.memoryEnabled && this.powerState === 0;
	}

	#decodes(bar: number): boolean {
		const io = this.#space.bars[bar]?.kind === "io";
		return io ? this.#present && this.#ioEnabled && this.powerState === 0 : this.#decodesMemory;
	}

	get #mayMaster(): boolean {
		return this.#present && this.#busMaster && this.powerState === 0;
	}

	#send(address: bigint, data: number): void {
		if (this.#mayMaster) this.#bus?.message(this, address, data);
	}

	#decode(): void {
		const command = load(this.config, PCI_COMMAND, 2);
		this.#memoryEnabled = (command & PCI_COMMAND_MEMORY) !== 0;
		this.#ioEnabled = (command & PCI_COMMAND_IO) !== 0;
		this.#busMaster = (command & PCI_COMMAND_MASTER) !== 0;
	}

	/** What the registers from `start` to `end` set off, now that they are written. */
	#written(start: number, end: number, bridgeControl: number): void {
		if (touches(start, end, PCI_COMMAND, 2)) {
			this.#decode();
			this.#updateLine();
		}
		if (this.#pm && touches(start, end, this.#pm.offset + PCI_PM_CTRL, 1)) {
			if (this.#pm.written()) this.reset();
			this.#updateLine();
		}
		if (this.msi && touches(start, end, this.msi.offset, this.msi.length)) {
			this.msi.changed();
			this.#updateLine();
		}
		if (this.msix && touches(start, end, this.msix.offset + PCI_MSIX_FLAGS + 1, 1)) {
			this.msix.changed();
			this.#updateLine();
		}
		const change = this.sriov?.written(start, end);
		if (change) this.#bus?.virtualFunctions(this, change);
		if (this.#vpd && touches(start, end, this.#vpd.offset + 3, 1)) this.#vpd.written();
		if (this.isBridge && touches(start, end, PCI_BRIDGE_CONTROL, 1)) {
			const raised = (this.config[PCI_BRIDGE_CONTROL] ?? 0) & ~bridgeControl;
			if ((raised & PCI_BRIDGE_CTL_BUS_RESET) !== 0) this.#bus?.resetBus(this);
		}
	}

	#updateLine(): void {
		const disabled = (load(this.config, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE) !== 0;
		const asserted = this.#pin && this.#present && !disabled && this.powerState === 0 && this.interruptMode === "intx";
		if (asserted === this.#asserted) return;
		this.#asserted = asserted;
		this.onIntx(asserted);
	}
}

function touches(start: number, end: number, at: number, length: number): boolean {
	return start < at + length && end > at;
}
