/**
 * A platform device in a guest's hands, with an opened VFIO device behind it.
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import { ALL_ONES_64, allOnes } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import type { DirectArea } from "../machine/machine.ts";
import type {
	GuestPlatformDevice,
	GuestPlatformInterrupt,
	GuestPlatformRegion,
	PlatformLine,
	PlatformSlot,
} from "../machine/platform.ts";
import type { MachineResettable, SharedReset } from "../pci/machine-reset.ts";
import type { ResetReport } from "../pci/reset.ts";
import { Releases } from "../release.ts";
import { Reports } from "../reports.ts";
import type { AssignablePlatformDevice } from "./hardware.ts";
import { IrqQueue } from "./irq-queue.ts";
import { checkPlatformOptions, type PlatformOptions } from "./options.ts";
import { PlatformIrq, type PlatformIrqHost } from "./platform-irq.ts";
import { PlatformRegions } from "./platform-regions.ts";

const NANOSECONDS = 1_000_000;
const NONE = -1;

/**
 * The device that a guest sees of an assigned platform device.
 *
 * The guest's end of an interrupt is not visible, so the next access to any region is taken for it; to see that access,
 * regions are not mapped while an interrupt is before the guest, and for a while after.
 *
 * @example
 * ```ts
 * const device = VfioDevice.open(kernel, { platform: "fff51000.ethernet" }, { kind: "platform" });
 * const nic = PlatformDevice.attach(device, { onReport: console.log });
 * bus.plug(nic);
 * ```
 */
export class PlatformDevice implements GuestPlatformDevice, MachineResettable {
	readonly name: string;
	readonly interrupts: readonly GuestPlatformInterrupt[];
	readonly #device: AssignablePlatformDevice;
	readonly #regions: PlatformRegions;
	readonly #irqs: (PlatformIrq | undefined)[] = [];
	readonly #queue = new IrqQueue();
	/** Nanoseconds; 0: regions stay trapped after the first interrupt. */
	readonly #timeout: number;
	readonly #reports: Reports;
	readonly #irqHost: PlatformIrqHost;
	readonly #holdings: Releases;
	#slot: PlatformSlot | undefined;
	#timer: Disposable | undefined;
	/** When regions may be mapped again, by the clock of the kernel. */
	#deadline = 0;
	#attached = true;
	#lastReset: ResetReport | undefined;

	private constructor(device: AssignablePlatformDevice, options: PlatformOptions, holdings: Releases) {
		const { mmapTimeout, mmap = true, irqfd = true, onReport } = checkPlatformOptions(options);
		this.name = device.name;
		this.#device = device;
		this.#timeout = mmapTimeout * NANOSECONDS;
		this.#reports = new Reports(device.name, device.kernel.clock, (message) => onReport?.(message));
		const formerListener = device.onReport;
		device.onReport = this.#report;
		holdings.defer(() => {
			device.onReport = formerListener;
		});
		this.interrupts = Array.from({ length: device.irqCount }, (_, index) => ({
			index,
			trigger: device.irq(index).automasked ? "level" : "edge",
		}));
		this.#irqHost = { arrived: (index) => this.#arrived(index), report: this.#report, irqfd };
		this.#regions = holdings.use(
			new PlatformRegions(device, {
				accessed: () => this.#endOfInterrupt(),
				directAreasChanged: (region) => attempt(this.#irqHost, () => this.#slot?.directAreasChanged?.(region)),
				report: this.#report,
			}),
		);
		if (mmap) this.#regions.map();
		this.#holdings = holdings.move();
	}

	/**
	 * Takes a device for a guest: asks for its regions and interrupts, and maps what can be mapped. When a step fails, what
	 * the earlier ones took is given back; the device stays open. Interrupts begin when the machine connects them.
	 *
	 * @param device opened with `kind: "platform"`
	 * @throws VfioError `invalid-argument`, `kernel`
	 */
	static attach(device: AssignablePlatformDevice, options: PlatformOptions = {}): PlatformDevice {
		const holdings = new Releases();
		try {
			return new PlatformDevice(device, options, holdings);
		} finally {
			holdings[Symbol.dispose]();
		}
	}

	get regions(): readonly GuestPlatformRegion[] {
		return this.#regions.regions;
	}

	/** Whether regions that can be mapped are in use so: not while an interrupt is being served. */
	get mapped(): boolean {
		return this.#regions.mapped;
	}

	/** The interrupt that is before the guest; undefined when none is. */
	get activeInterrupt(): number | undefined {
		return this.#queue.active === NONE ? undefined : this.#queue.active;
	}

	/** What the last reset did; undefined before the first. */
	get lastReset(): ResetReport | undefined {
		return this.#lastReset;
	}

	/** Somebody else drives the line of this interrupt, such as KVM. */
	isBypassed(index: number): boolean {
		return this.#irqs[index]?.bypassed ?? false;
	}

	/** @throws VfioError `invalid-argument` when it is or was plugged in */
	plug(slot: PlatformSlot): void {
		if (this.#slot || !this.#attached)
			throw new VfioError(
				"invalid-argument",
				`Cannot plug ${this.name} in: it ${this.#slot ? "is" : "was"} plugged in already`,
				{ device: this.name },
			);
		this.#slot = slot;
	}

	/** @throws VfioError `invalid-argument` when there is no such interrupt, or it is connected; `interrupt-failed` */
	connectLine(index: number, line: PlatformLine): void {
		if (!this.interrupts[index] || this.#irqs[index] || !this.#attached)
			throw new VfioError(
				"invalid-argument",
				`Cannot connect interrupt ${index} of ${this.name}: it ${this.#irqs[index] ? "is connected" : "does not exist"}`,
				{ device: this.name },
			);
		this.#irqs[index] = PlatformIrq.start(this.#device, index, line, this.#irqHost);
	}

	disconnectLine(index: number): void {
		const irq = this.#irqs[index];
		if (!irq) return;
		const active = this.#queue.active === index;
		if (active) attempt(this.#irqHost, () => irq.set(false));
		this.#queue.remove(index);
		this.#irqs[index] = undefined;
		attempt(this.#irqHost, () => irq[Symbol.dispose]());
		// The kernel may have it masked, and would keep that for whoever connects it next.
		attempt(this.#irqHost, () => irq.unmask());
		if (active) this.#showNext();
	}

	/** First phase of taking it away: interrupts end, accesses read all ones. Mappings stay until it is disposed. */
	unplug(): void {
		if (!this.#attached) return;
		// None of those that wait is shown any more.
		for (const { index } of this.interrupts) if (index !== this.#queue.active) this.#queue.remove(index);
		for (const { index } of this.interrupts) this.disconnectLine(index);
		this.#stopTimer();
		this.#attached = false;
		this.#slot = undefined;
	}

	/** Second phase: unmaps the regions. @throws what unmapping throws */
	[Symbol.dispose](): void {
		this.unplug();
		this.#holdings[Symbol.dispose]();
	}

	read(region: number, offset: number, width: AccessWidth): number {
		return this.#attached ? this.#regions.read(region, offset, width) : allOnes(width);
	}

	read64(region: number, offset: number): bigint {
		return this.#attached ? this.#regions.read64(region, offset) : ALL_ONES_64;
	}

	write(region: number, offset: number, width: AccessWidth, value: number): void {
		if (this.#attached) this.#regions.write(region, offset, width, value);
	}

	write64(region: number, offset: number, value: bigint): void {
		if (this.#attached) this.#regions.write64(region, offset, value);
	}

	directAreas(region: number): readonly DirectArea[] {
		return this.#attached ? this.#regions.directAreas(region) : [];
	}

	/** The guest has ended this interrupt, as a machine with an interrupt controller sees it. */
	endOfInterrupt(index: number): void {
		if (this.#queue.active === index) this.#endOfInterrupt();
	}

	/**
	 * Resets the device, as far as the kernel can, and forgets the interrupts that were before the guest.
	 *
	 * @returns how; when the kernel has no reset for it, that is reported, and its registers stay as the guest left them
	 */
	reset(): ResetReport {
		const { resettable } = this.#device;
		const waiting = this.#irqs.flatMap((irq) => (irq && this.#queue.state(irq.index) !== "inactive" ? [irq] : []));
		for (const irq of waiting) {
			if (this.#queue.active === irq.index) attempt(this.#irqHost, () => irq.set(false));
			this.#queue.remove(irq.index);
		}
		const tried: { method: "device-reset"; error: string }[] = [];
		if (resettable && this.#attached) {
			try {
				this.#device.reset();
			} catch (error) {
				tried.push({ method: "device-reset", error: (error as Error).message });
			}
		}
		// What the kernel has masked for them would never be unmasked.
		for (const irq of waiting) attempt(this.#irqHost, () => irq.unmask());
		this.#stopTimer();
		this.#regions.setMapped(true);
		const works = resettable && this.#attached && tried.length === 0;
		const detail = resettable
			? "by the kernel's module for it"
			: "vfio-platform has no module that resets what it is compatible with";
		const report: ResetReport = {
			method: works ? "device-reset" : undefined,
			tried,
			methods: [{ method: "device-reset", exists: resettable, detail }],
		};
		if (!works && this.#attached)
			this.#report(`Cannot reset ${this.name}: ${tried[0]?.error ?? detail}; its registers stay as they are`);
		this.#lastReset = report;
		return report;
	}

	/** It shares a reset with nobody: there is no bus that could be reset. */
	get sharedReset(): SharedReset {
		const nothing = () => {};
		const { name } = this;
		return {
			name,
			needed: false,
			members: () => [],
			before: nothing,
			perform: nothing,
			after: nothing,
		};
	}

	readonly #report = (message: string): void => this.#reports.add(message);

	#arrived(index: number): void {
		if (this.#irqs[index] && this.#queue.arrive(index)) this.#show(index);
	}

	/** The interrupt is before the guest: the next access to a region ends it, so none may be mapped. */
	#show(index: number): void {
		this.#regions.setMapped(false);
		attempt(this.#irqHost, () => this.#irqs[index]?.set(true));
		if (this.#timeout === 0) return;
		const { clock } = this.#device.kernel;
		this.#deadline = clock.now() + this.#timeout;
		// One timer runs at a time and looks at the deadline when it expires; a stream of interrupts makes no others.
		this.#timer ??= clock.timer(this.#timeout, () => this.#expired());
	}

	#showNext(): void {
		const next = this.#queue.next();
		if (next !== NONE) this.#show(next);
	}

	#endOfInterrupt(): void {
		const ended = this.#queue.end();
		if (ended === NONE) return;
		const irq = this.#irqs[ended];
		attempt(this.#irqHost, () => irq?.set(false));
		// It may come again at once.
		attempt(this.#irqHost, () => irq?.unmask());
		this.#showNext();
	}

	#expired(): void {
		this.#timer = undefined;
		const { clock } = this.#device.kernel;
		const rest = this.#queue.active === NONE ? this.#deadline - clock.now() : this.#timeout;
		if (rest > 0) this.#timer = clock.timer(rest, () => this.#expired());
		else this.#regions.setMapped(true);
	}

	#stopTimer(): void {
		this.#timer?.[Symbol.dispose]();
		this.#timer = undefined;
	}
}
