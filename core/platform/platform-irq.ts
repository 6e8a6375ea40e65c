/**
 * One interrupt of a platform device: from the kernel's eventfd to the machine's line.
 *
 * @module
 */
import type { Reporter } from "../attempt.ts";
import { NO_EVENTFD } from "../device/irq-setup.ts";
import { Trigger } from "../device/trigger.ts";
import type { PlatformLine } from "../machine/platform.ts";
import { Releases } from "../release.ts";
import type { AssignablePlatformDevice } from "./hardware.ts";

/** What an interrupt tells the device it belongs to. */
export interface PlatformIrqHost extends Reporter {
	/** It has come. */
	arrived(index: number): void;
	/** Lines may be driven by somebody else. */
	readonly irqfd: boolean;
}

/** An interrupt that is connected to a line. Disposing it switches it off. */
export class PlatformIrq implements Disposable {
	readonly index: number;
	/** The kernel masks it each time. */
	readonly automasked: boolean;
	/** Somebody else drives the line. */
	readonly bypassed: boolean;
	readonly #device: AssignablePlatformDevice;
	readonly #line: PlatformLine;
	readonly #releases: Releases;

	private constructor(
		device: AssignablePlatformDevice,
		index: number,
		line: PlatformLine,
		bypassed: boolean,
		releases: Releases,
	) {
		this.#device = device;
		this.bypassed = bypassed;
		this.index = index;
		this.automasked = device.irq(index).automasked;
		this.#line = line;
		this.#releases = releases;
	}

	/**
	 * Arms it. Where the line can be driven from an eventfd, it is, and nothing of the interrupt is seen here.
	 *
	 * @throws VfioError `interrupt-failed`, with nothing left behind
	 */
	static start(
		device: AssignablePlatformDevice,
		index: number,
		line: PlatformLine,
		host: PlatformIrqHost,
	): PlatformIrq {
		const releases = new Releases();
		try {
			const trigger = releases.use(new Trigger(device, () => host.arrived(index)));
			const bypassed = host.irqfd && bypass(device, index, line, trigger, releases, host);
			releases.defer(() => device.disableIrq(index));
			device.setEventfd(index, 0, trigger.fd);
			return new PlatformIrq(device, index, line, bypassed, releases.move());
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** @throws what the machine throws */
	set(asserted: boolean): void {
		this.#line.set(asserted);
	}

	/** Lets the next one come, of an interrupt that the kernel masks. @throws VfioError `interrupt-failed` */
	unmask(): void {
		if (this.automasked) this.#device.unmaskIrq(this.index);
	}

	[Symbol.dispose](): void {
		this.#releases[Symbol.dispose]();
	}
}

/** Before the interrupt is armed, so that none is lost on the way. @returns whether somebody else drives the line now */
function bypass(
	device: AssignablePlatformDevice,
	index: number,
	line: PlatformLine,
	trigger: Trigger,
	releases: Releases,
	host: PlatformIrqHost,
): boolean {
	const { kernel } = device;
	const undo = new Releases();
	try {
		const resample = device.irq(index).automasked ? kernel.eventfd() : undefined;
		if (resample !== undefined) undo.defer(() => kernel.close(resample));
		const connection = line.connectEventfd?.(trigger.fd, resample);
		if (!connection) return false;
		undo.use(connection);
		if (resample !== undefined) {
			device.setUnmaskEventfd(resample, index);
			undo.defer(() => device.setUnmaskEventfd(NO_EVENTFD, index));
		}
		trigger.pause();
		releases.use(undo.move());
		return true;
	} catch (error) {
		host.report(`${(error as Error).message}; interrupt ${index} goes through this process`);
		return false;
	} finally {
		undo[Symbol.dispose]();
	}
}
