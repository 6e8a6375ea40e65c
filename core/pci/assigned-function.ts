/**
 * A device in a guest's hands: the PCI function that a machine plugs in, with an opened VFIO device behind it.
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import { ALL_ONES_64, allOnes } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import type { DirectArea, GuestBar, GuestMemoryRegion, GuestPciFunction, PciSlot } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import {
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_MASTER,
	PCI_COMMAND_MEMORY,
	PCI_DEVICE_ID,
	PCI_PM_CTRL_STATE_MASK,
	PCI_VENDOR_ID,
} from "../uapi/pci_regs.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from "../uapi/vfio.ts";
import { type AssignOptions, type CheckedOptions, checkOptions } from "./assign-options.ts";
import { BarPlacement, type BarPlacer } from "./bar-placement.ts";
import { ROM_BAR } from "./bar-registers.ts";
import { Bars } from "./bars.ts";
import { configHardware } from "./config-hardware.ts";
import { ConfigSpace } from "./config-space.ts";
import { EFFECT_BARS, EFFECT_FLR, EFFECT_INTX, EFFECT_MSI, EFFECT_MSIX, EFFECT_POWER, EffectMap } from "./effects.ts";
import type { FunctionEvent } from "./events.ts";
import { COMMAND_ALL, clearCommand, resetActions, resetMethods, resetTraits, sharedReset } from "./function-reset.ts";
import { GuestLink } from "./guest-link.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { InterruptHost } from "./interrupt-host.ts";
import { type InterruptMode, Interrupts } from "./interrupts.ts";
import { Intx } from "./intx.ts";
import { LegacyVga } from "./legacy-vga.ts";
import type { MachineResettable, SharedReset } from "./machine-reset.ts";
import { Msi } from "./msi.ts";
import { Msix } from "./msix.ts";
import { Notification } from "./notifications.ts";
import type { PeerFunction } from "./peer-memory.ts";
import type { FunctionLayout, FunctionPlan } from "./plan.ts";
import { powerState } from "./power.ts";
import { requestAction } from "./request-policy.ts";
import { performReset, type ResetReport, resetSteps } from "./reset.ts";
import { Rom } from "./rom.ts";
import { captureState, checkState, commandOf, type FunctionState, restoreState } from "./snapshot.ts";
import { layoutFor, type Survey, surveyDevice } from "./survey.ts";

const CONFIG = VFIO_PCI_CONFIG_REGION_INDEX;

/**
 * The function that a guest sees of an assigned device.
 *
 * Nothing that a guest or a device does makes it throw: accesses that cannot be answered read all ones or do nothing, and
 * what went wrong is reported. The device belongs to whoever opened it, and is disposed after the function.
 *
 * @example
 * ```ts
 * const device = VfioDevice.open(kernel, "0000:05:00.0");
 * const fn = AssignedFunction.attach(device, { onReport: console.log });
 * rootPort.secondary.plug(fn);
 * ```
 */
export class AssignedFunction implements GuestPciFunction, MachineResettable, PeerFunction {
	readonly name: string;
	readonly #device: AssignableDevice;
	readonly #options: CheckedOptions;
	readonly #survey: Survey;
	#layout: FunctionLayout;
	readonly #config: ConfigSpace;
	#effects: EffectMap;
	readonly #interrupts: Interrupts;
	readonly #bars: Bars;
	readonly #vga: LegacyVga | undefined;
	readonly #rom: Rom;
	readonly #placement: BarPlacement;
	readonly #link: GuestLink;
	/** Ends what may call back or be called: the first phase of taking the function away. */
	readonly #activity: Releases;
	/** Gives back what others may still hold a reference to: the second phase. */
	readonly #holdings: Releases;
	/** What can be mapped of a BAR may depend on where it is, so BARs hear of it before the machine does. */
	readonly #placer: BarPlacer = {
		placeBar: (bar, address) => {
			const changed = this.#bars.placedAt(bar, address);
			const placed = this.#link.placeBar(bar, address);
			if (changed) this.#link.directAreasChanged(bar);
			return placed;
		},
	};
	#attached = true;
	#requests = 0;
	#lastReset: ResetReport | undefined;

	private constructor(device: AssignableDevice, options: CheckedOptions, activity: Releases, holdings: Releases) {
		this.name = device.name;
		this.#device = device;
		this.#options = options;
		const link = new GuestLink(device.name, device.kernel.clock, options.onReport);
		this.#link = link;
		if (options.onEvent) link.subscribe(options.onEvent);
		const formerListener = device.onReport;
		device.onReport = link.report;
		holdings.defer(() => {
			device.onReport = formerListener;
		});
		this.#survey = surveyDevice(device, options);
		// Most devices are plugged below a port; plugging into another bus plans anew.
		this.#layout = layoutFor(device, this.#survey, options, { bus: "downstream-port", multifunction: false });
		const { capabilities, plan, registers, pin } = this.#layout;
		for (const problem of plan.problems) link.report(problem);
		this.#config = new ConfigSpace(registers.clone(), configHardware(device));
		this.#effects = new EffectMap(this.#config.size, capabilities);
		const host = this.#interruptHost();
		const { msi, msix } = capabilities;
		this.#interrupts = new Interrupts(
			{
				intx: pin > 0 && options.intx === "auto" ? new Intx(device, host, options.intxMmapTimeout) : undefined,
				msi: msi && new Msi(device, msi, this.#config, host),
				msix: msix && new Msix(device, msix, this.#config, host),
			},
			host,
			(mode) => link.tell({ type: "interrupt-mode", mode }),
		);
		this.#vga = options.vga ? LegacyVga.of(device, () => this.#interrupts.intx?.endOfInterrupt()) : undefined;
		this.#bars = holdings.use(
			new Bars(
				device,
				{
					bars: plan.bars,
					deviceMsix: capabilities.deviceMsix,
					quirks: this.#layout.quirks,
					writeCombining: options.writeCombining,
					vga: this.#vga,
					writesInKernel: options.kvm?.deviceWrites !== false,
					pageSize: options.pageSize,
				},
				this.#interrupts.msix,
				{
					endOfInterrupt: () => this.#interrupts.intx?.endOfInterrupt(),
					directAreasChanged: (bar) => link.directAreasChanged(bar),
					kvm: () => (options.kvm?.writes === false ? undefined : link.slot?.kvm),
					report: link.report,
					configRead: (offset, width) => this.configRead(offset, width),
					configWrite: (offset, width, value) => this.configWrite(offset, width, value),
				},
			),
		);
		this.#bars.map();
		const ids = () => ({ vendor: this.#config.read(PCI_VENDOR_ID, 2), device: this.#config.read(PCI_DEVICE_ID, 2) });
		const romSize = plan.bars.find((bar) => bar.index === ROM_BAR)?.size ?? 0;
		this.#rom = new Rom(device, romSize, options.romFile, ids, link.report);
		this.#placement = new BarPlacement(plan.bars, this.#config);
		activity.defer(() => this.#interrupts.close());
		this.#interrupts.enableIntx();
		const failed = () => link.tell({ type: "device-error" });
		activity.use(new Notification(device, VFIO_PCI_ERR_IRQ_INDEX, failed, link.report));
		const requested = (count: number) => this.#requested(count);
		activity.use(new Notification(device, VFIO_PCI_REQ_IRQ_INDEX, requested, link.report));
		this.#activity = activity.move();
		this.#holdings = holdings.move();
	}

	/**
	 * Takes a device for a guest: reads and checks its configuration space, maps its BARs, arms INTx and listens to the
	 * kernel's requests. When a step fails, what the earlier ones took is given back; the device stays open.
	 *
	 * @throws VfioError `invalid-argument`, `unassignable-device`, `malformed-config-space`, `malformed-msix`,
	 *   `interrupt-failed`, `write-combining-refused`, `kernel`
	 */
	static attach(device: AssignableDevice, options: AssignOptions = {}): AssignedFunction {
		const checked = checkOptions(options);
		const activity = new Releases();
		const holdings = new Releases();
		try {
			return new AssignedFunction(device, checked, activity, holdings);
		} finally {
			try {
				activity[Symbol.dispose]();
			} finally {
				holdings[Symbol.dispose]();
			}
		}
	}

	/** What the guest sees and why; for a bus below a port until the function is plugged in. */
	get plan(): FunctionPlan {
		return this.#layout.plan;
	}

	/** How the function interrupts at present. */
	get interruptMode(): InterruptMode {
		return this.#interrupts.mode;
	}

	/** What the last reset did; undefined before the first. */
	get lastReset(): ResetReport | undefined {
		return this.#lastReset;
	}

	/** @returns dispose it to stop listening */
	onEvent(listener: (event: FunctionEvent) => void): Disposable {
		return this.#link.subscribe(listener);
	}

	/** @param index 0 to 5, or 6 for the ROM */
	bar(index: number): GuestBar | undefined {
		return this.#layout.plan.bars.find((bar) => bar.index === index);
	}

	/** Puts the function into a slot, in power-on state. @throws VfioError `invalid-argument` when it has one already */
	plug(slot: PciSlot): void {
		if (this.#link.slot || !this.#attached)
			throw new VfioError(
				"invalid-argument",
				`Cannot plug ${this.name} in: it ${this.#link.slot ? "is" : "was"} plugged in already`,
				{
					device: this.name,
				},
			);
		this.#layout = layoutFor(this.#device, this.#survey, this.#options, slot);
		this.#restart();
		clearCommand(this.#device, COMMAND_ALL);
		this.#link.slot = slot;
		if (this.#interrupts.intx?.asserted) this.#link.setPin(this.#layout.pin, true);
		this.#interrupts.intx?.startBypass();
	}

	/**
	 * First phase of taking it away: interrupts, the kernel's requests and the device's DMA end; from now on accesses read
	 * all ones. Mappings that a VMM may still use stay until the function is disposed.
	 */
	unplug(): void {
		if (!this.#attached) return;
		attempt(this.#link, () => this.#activity[Symbol.dispose]());
		this.#placement.clear(this.#placer);
		clearCommand(this.#device, PCI_COMMAND_MASTER);
		this.#attached = false;
		this.#link.slot = undefined;
	}

	/** Second phase: unmaps the BARs. @throws what unmapping throws */
	[Symbol.dispose](): void {
		this.unplug();
		this.#holdings[Symbol.dispose]();
	}

	configRead(offset: number, width: AccessWidth): number {
		return this.#attached ? this.#config.read(offset, width) : allOnes(width);
	}

	configWrite(offset: number, width: AccessWidth, value: number): void {
		if (!this.#attached || !this.#config.write(offset, width, value)) return;
		const effects = this.#effects.of(offset, width);
		if (effects === 0) return;
		if (effects & EFFECT_MSI) this.#interrupts.msiWritten();
		if (effects & EFFECT_MSIX) this.#interrupts.msixWritten();
		if (effects & EFFECT_POWER) this.#followPower();
		if (effects & EFFECT_INTX) this.#followIntxDisable();
		if (effects & EFFECT_BARS) this.#placeBars();
		if (effects & EFFECT_FLR && this.#startsFlr(offset, width, value)) this.#link.tell({ type: "exports-revoked" });
	}

	barRead(bar: number, offset: number, width: AccessWidth): number {
		if (!this.#attached) return allOnes(width);
		return bar === ROM_BAR ? this.#rom.read(offset, width) : this.#bars.read(bar, offset, width);
	}

	barRead64(bar: number, offset: number): bigint {
		if (!this.#attached) return ALL_ONES_64;
		if (bar !== ROM_BAR) return this.#bars.read64(bar, offset);
		return (BigInt(this.#rom.read(offset + 4, 4)) << 32n) | BigInt(this.#rom.read(offset, 4));
	}

	barWrite(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (this.#attached) this.#bars.write(bar, offset, width, value);
	}

	barWrite64(bar: number, offset: number, value: bigint): void {
		if (this.#attached) this.#bars.write64(bar, offset, value);
	}

	/**
	 * The guest reads legacy VGA, which it has with the option `vga`.
	 *
	 * @param address of memory (0xa0000 to 0xbffff) or of a port (0x3b0 to 0x3bb, 0x3c0 to 0x3df)
	 * @returns all ones where there is nothing
	 */
	vgaRead(address: number, width: AccessWidth): number {
		return this.#attached ? (this.#vga?.read(address, width) ?? allOnes(width)) : allOnes(width);
	}

	/** The guest writes legacy VGA. @param address as of {@link vgaRead} */
	vgaWrite(address: number, width: AccessWidth, value: number): void {
		if (this.#attached) this.#vga?.write(address, width, value);
	}

	/** The guest has ended the interrupt, as a machine with an interrupt controller sees it. */
	endOfInterrupt(pin: number): void {
		if (this.#attached && pin === this.#layout.pin) this.#interrupts.intx?.endOfInterrupt();
	}

	/** The machine's KVM serves this function's pin otherwise than before. */
	interruptRouteChanged(): void {
		if (!this.#attached) return;
		this.#interrupts.intx?.startBypass();
		// One that was missed in between would never end.
		this.#interrupts.intx?.endOfInterrupt();
	}

	directAreas(bar: number): readonly DirectArea[] {
		return this.#attached ? this.#bars.directAreas(bar) : [];
	}

	/** What other devices may reach of a BAR, where it decodes: see {@link PeerMemory}. */
	peerRegions(bar: number): readonly GuestMemoryRegion[] {
		return this.#attached ? this.#bars.peerRegions(bar) : [];
	}

	/** Resets device and guest-visible state. @returns how; every step runs even when the device cannot be reset */
	reset(): ResetReport {
		if (!this.#attached) return { method: undefined, tried: [], methods: [] };
		const { capabilities } = this.#layout;
		// Interrupts go by the modes of the guest's old registers, so they are left before those are forgotten.
		this.#interrupts.leave();
		this.#restart();
		this.#placement.clear(this.#placer);
		const plan = resetSteps(resetTraits(this.#device, capabilities));
		const actions = resetActions(this.#device, capabilities, this.#interrupts, this.#link.report);
		const methods = resetMethods(this.#device, capabilities);
		const report: ResetReport = { ...performReset(plan, actions), methods };
		if (report.method === undefined) {
			const reasons = report.tried.map(({ error }) => error).join("; ");
			this.#link.report(`Cannot reset ${this.name}: ${reasons}`);
		}
		this.#lastReset = report;
		this.#link.tell({ type: "reset", report });
		return report;
	}

	/** Its part in a reset of the whole machine: see `resetMachine`. */
	get sharedReset(): SharedReset {
		const { capabilities } = this.#layout;
		return sharedReset(this.#device, capabilities, this.#interrupts, this.#attached, this.#link.report);
	}

	/** What is emulated of the function, for {@link restore}. The device should be stopped: it may interrupt meanwhile. */
	save(): FunctionState {
		const command = this.configRead(PCI_COMMAND, 2);
		return captureState(this.#config.registers, this.#layout.plan.bars, this.#interrupts, command);
	}

	/**
	 * Puts a function that is plugged in into a saved state: registers, BARs where they were, the MSI-X table; COMMAND is
	 * written to the device again, and MSI or MSI-X enabled.
	 *
	 * @throws VfioError `invalid-argument` when the state is of another kind of function, or this one is not plugged in;
	 *   nothing has changed then
	 */
	restore(state: FunctionState): void {
		if (!this.#link.slot)
			throw new VfioError("invalid-argument", `Cannot restore ${this.name}: it is not plugged in`, {
				device: this.name,
			});
		checkState(this.name, state, this.#layout);
		this.#interrupts.leave();
		this.#restart();
		const { registers } = this.#config;
		restoreState(registers, this.#interrupts, state);
		this.#bars.setPendingBits(this.#interrupts.msix?.table.anyPending ?? false);
		this.#device.writeRegion(CONFIG, PCI_COMMAND, 2, commandOf(state));
		const { power } = this.#layout.capabilities;
		if (power && powerState(registers, power) !== 0) {
			this.#device.writeRegion(CONFIG, power.control, 1, registers.get(power.control, 1));
			this.#followPower();
		}
		this.#followIntxDisable();
		this.#placeBars();
		attempt(this.#link, () => this.#interrupts.enableIntx());
		this.#interrupts.msiWritten();
		this.#interrupts.msixWritten();
	}

	/** Everything a guest can have changed goes back to power-on state. */
	#restart(): void {
		const { registers, capabilities } = this.#layout;
		this.#config.restart(registers.clone());
		this.#bars.setDecoding(false);
		this.#bars.setPowered(true);
		this.#effects = new EffectMap(this.#config.size, capabilities);
		this.#interrupts.forget();
		this.#interrupts.msix?.table.reset();
		this.#interrupts.intx?.setBlocked(false);
		this.#rom.forget();
		this.#bars.reset();
	}

	/** The device decides whether it goes to the state that the guest asked for. */
	#followPower(): void {
		const { power } = this.#layout.capabilities;
		if (!power) return;
		const state = this.#device.readRegion(CONFIG, power.control, 1) & PCI_PM_CTRL_STATE_MASK;
		const copy = this.#config.registers.get(power.control, 1);
		this.#config.registers.set(power.control, 1, (copy & ~PCI_PM_CTRL_STATE_MASK) | state);
	}

	#startsFlr(at: number, width: AccessWidth, value: number): boolean {
		return this.#layout.capabilities.flrControls.some(
			({ offset, mask }) => offset >= at && offset < at + width && ((value >>> (8 * (offset - at))) & mask) !== 0,
		);
	}

	#followIntxDisable(): void {
		const command = this.#config.registers.get(PCI_COMMAND, 2);
		this.#interrupts.intx?.setBlocked((command & PCI_COMMAND_INTX_DISABLE) !== 0);
	}

	#placeBars(): void {
		const powered = () => powerState(this.#config.registers, this.#layout.capabilities.power) === 0;
		this.#bars.setDecoding(powered() && (this.#config.registers.get(PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) !== 0);
		// From here on the machine is called, which may write to configuration space in turn.
		this.#bars.setPowered(powered());
		this.#placement.update(this.#placer, powered);
	}

	#requested(count: number): void {
		this.#requests += count;
		const action = requestAction(this.#options.request, this.#requests);
		this.#link.tell({ type: "device-requested", count: this.#requests, action });
		// The application that hears of it may have unplugged it by now.
		if (action === "force") this.unplug();
	}

	#interruptHost(): InterruptHost {
		const link = this.#link;
		const { kvm = {} } = this.#options;
		const pin = () => this.#layout.pin;
		return {
			get pin() {
				return pin();
			},
			kvm: (kind) => (kvm[kind] === false ? undefined : link.slot?.kvm),
			message: (kind, vector, address, data) => link.message(kind, vector, address, data),
			setPin: (asserted) => link.setPin(this.#layout.pin, asserted),
			setMapped: (on) => {
				if (on === this.#bars.mapped) return;
				this.#bars.setMapped(on);
				link.tell({ type: "mapped", on });
			},
			pendingChanged: (any) => this.#bars.setPendingBits(any),
			report: link.report,
		};
	}
}
