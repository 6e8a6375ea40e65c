/**
 * VFIO's core record of a device: how often it is open, and what happens when its driver wants it back.
 *
 * @module
 */
import type { Clock } from "../../../core/kernel.ts";
import { Releases } from "../../../core/release.ts";
import type { OpenFile } from "../file.ts";
import { Sleep } from "../sleep.ts";
import type { VfioDeviceOps } from "./device.ts";
import type { VfioGroup } from "./group.ts";

/** How often the user is asked again to let go of the device, nanoseconds. */
const REQUEST_INTERVAL = 10_000_000_000;

/** A device in a group. Every file of it shares the one open device. */
export class RegisteredDevice {
	readonly ops: VfioDeviceOps;
	readonly group: VfioGroup;
	/** Its number in /sys/.../vfio-dev. */
	readonly index: number;
	readonly #clock: Clock;
	#openCount = 0;
	#leaving: Sleep | undefined;
	#nextRequest: Disposable | undefined;

	constructor(ops: VfioDeviceOps, group: VfioGroup, index: number, clock: Clock) {
		this.ops = ops;
		this.group = group;
		this.index = index;
		this.#clock = clock;
	}

	/** How many files of it are open. */
	get openCount(): number {
		return this.#openCount;
	}

	/** Opens it, or opens it once more. @returns -errno when it cannot be */
	open(): OpenFile | number {
		if (this.#openCount === 0) {
			const used = this.group.use();
			if (used < 0) return used;
			const opened = this.ops.open();
			if (opened < 0) {
				this.group.unuse();
				return opened;
			}
		}
		this.#openCount++;
		const file = this.ops.file();
		file.whenReleased(() => this.#fileReleased());
		return file;
	}

	/** The driver leaves: asks the user for the device, and goes on asking. @returns a sleep until it is closed, or 0 */
	leave(): number | Sleep {
		if (this.#openCount === 0) return 0;
		this.#leaving = new Sleep();
		this.#request(0);
		return this.#leaving;
	}

	#request(count: number): void {
		this.ops.request?.(count);
		this.#nextRequest = this.#clock.timer(REQUEST_INTERVAL, () => this.#request(count + 1));
	}

	#fileReleased(): void {
		if (--this.#openCount > 0) return;
		// A device model that throws while it is reset must not leave the group in use for ever.
		const releases = new Releases();
		releases.defer(() => this.#leaving?.wake());
		releases.defer(() => this.#nextRequest?.[Symbol.dispose]());
		releases.defer(() => this.group.unuse());
		releases.defer(() => this.ops.close());
		releases[Symbol.dispose]();
	}
}
