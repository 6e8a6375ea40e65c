/**
 * Writes that a guest repeats for ever, such as the acknowledgement of each interrupt: after some of them KVM signals an
 * eventfd for the next ones, and VFIO writes the register when that is signalled, with no process between.
 *
 * @module
 */
import { attempt, type Reporter } from "../attempt.ts";
import { NO_EVENTFD } from "../device/irq-setup.ts";
import { Trigger } from "../device/trigger.ts";
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import type { KvmBypass } from "../machine/kvm-bypass.ts";
import { Releases } from "../release.ts";
import { isErrno } from "../retry.ts";
import { ENOTTY } from "../uapi/errno.ts";
import type { AssignableDevice } from "./hardware.ts";

/** Identical writes in a row until the kernel does them. */
export const HITS = 10;
/** How many registers of a device the kernel writes at most. */
export const LARGEST = 10;

/** What bypasses need of their function. */
export interface WriteBypassHost extends Reporter {
	/** KVM, where it takes writes. */
	kvm(): KvmBypass | undefined;
	/** VFIO writes the register; otherwise this process does, without an exit to it. */
	readonly inKernel: boolean;
	/** Where a BAR is in the guest, and in which space; undefined while it is nowhere. */
	place(bar: number): { readonly address: bigint; readonly io: boolean } | undefined;
}

interface Write {
	readonly bar: number;
	readonly offset: number;
	readonly width: AccessWidth;
	readonly value: number;
}

/** The registers of one device that are written past us. */
export class WriteBypasses implements Disposable {
	readonly #device: AssignableDevice;
	readonly #host: WriteBypassHost;
	readonly #active: { readonly bar: number; readonly connection: Disposable }[] = [];
	#last: Write | undefined;
	#hits = 0;

	constructor(device: AssignableDevice, host: WriteBypassHost) {
		this.#device = device;
		this.#host = host;
	}

	/** How many there are. */
	get count(): number {
		return this.#active.length;
	}

	/** A guest has written a register that nobody but the device minds. The write itself is done already. */
	written(bar: number, offset: number, width: AccessWidth, value: number): void {
		const last = this.#last;
		if (last?.bar !== bar || last.offset !== offset || last.width !== width || last.value !== value) {
			this.#last = { bar, offset, width, value };
			this.#hits = 1;
			return;
		}
		if (++this.#hits !== HITS || this.#active.length >= LARGEST) return;
		attempt(this.#host, () => {
			const connection = this.#connect(last);
			if (connection) this.#active.push({ bar, connection });
		});
	}

	/** A BAR has moved, or decodes no more: its writes come to us again. */
	moved(bar: number): void {
		this.#drop((one) => one.bar === bar);
	}

	/** Nothing goes past us any more. */
	[Symbol.dispose](): void {
		this.#drop(() => true);
	}

	#drop(which: (one: { readonly bar: number }) => boolean): void {
		this.#last = undefined;
		this.#hits = 0;
		for (let at = this.#active.length - 1; at >= 0; at--) {
			const one = this.#active[at];
			if (!one || !which(one)) continue;
			this.#active.splice(at, 1);
			attempt(this.#host, () => one.connection[Symbol.dispose]());
		}
	}

	/** @returns undefined where KVM takes no writes */
	#connect(write: Write): Disposable | undefined {
		const kvm = this.#host.kvm();
		const place = this.#host.place(write.bar);
		if (!kvm?.connectWrite || !place) return undefined;
		const { bar, offset, width, value } = write;
		const releases = new Releases();
		try {
			const trigger = releases.use(
				new Trigger(this.#device, () => this.#device.writeRegion(bar, offset, width, value)),
			);
			if (this.#host.inKernel && this.#writeInKernel(trigger, write))
				releases.defer(() => this.#device.setIoeventfd(bar, offset, width, value, NO_EVENTFD));
			releases.use(kvm.connectWrite(place.io, place.address + BigInt(offset), width, value, trigger.fd));
			const held = releases.move();
			return { [Symbol.dispose]: () => held[Symbol.dispose]() };
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** @returns false where the kernel has no such call, so that this process writes */
	#writeInKernel(trigger: Trigger, { bar, offset, width, value }: Write): boolean {
		trigger.pause();
		try {
			this.#device.setIoeventfd(bar, offset, width, value, trigger.fd);
			return true;
		} catch (error) {
			trigger.resume();
			if (!(error instanceof VfioError) || !isErrno(error.cause, ENOTTY)) this.#host.report((error as Error).message);
			return false;
		}
	}
}
