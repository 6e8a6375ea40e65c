/**
 * An eventfd that the kernel signals for one interrupt, and who is called when it does.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno } from "../retry.ts";
import { EMFILE } from "../uapi/errno.ts";

/** Owns the eventfd and the watch on it. */
export class Trigger implements Disposable {
	readonly fd: number;
	readonly #kernel: Kernel;
	readonly #onSignal: (count: number) => void;
	#watch: Disposable | undefined;
	#closed = false;

	/**
	 * @param device whose interrupt it is
	 * @param onSignal receives how often it was signalled since the last call
	 * @throws VfioError `interrupt-failed`
	 */
	constructor(device: { readonly kernel: Kernel; readonly name: string }, onSignal: (count: number) => void) {
		const { kernel } = device;
		this.#kernel = kernel;
		this.#onSignal = onSignal;
		try {
			this.fd = kernel.eventfd();
		} catch (cause) {
			throw noEventfd(device.name, cause);
		}
		try {
			this.resume();
		} catch (cause) {
			kernel.close(this.fd);
			throw noEventfd(device.name, cause);
		}
	}

	/** Somebody else reads the eventfd from now on, such as KVM. */
	pause(): void {
		this.#watch?.[Symbol.dispose]();
		this.#watch = undefined;
	}

	/** Calls back again. @throws KernelError */
	resume(): void {
		this.#watch ??= this.#kernel.watch(this.fd, this.#onSignal);
	}

	/** Nothing is called back from now on. Take the eventfd away from the device first. */
	[Symbol.dispose](): void {
		if (this.#closed) return;
		this.#closed = true;
		try {
			this.pause();
		} finally {
			this.#kernel.close(this.fd);
		}
	}
}

/** Disposes all of them, whatever fails on the way, and empties the list. @throws the first error */
export function disposeTriggers(triggers: (Trigger | undefined)[]): void {
	let failure: { readonly error: unknown } | undefined;
	for (const trigger of triggers) {
		try {
			trigger?.[Symbol.dispose]();
		} catch (error) {
			failure ??= { error };
		}
	}
	triggers.length = 0;
	if (failure) throw failure.error;
}

function noEventfd(device: string, cause: unknown): VfioError {
	const full = isErrno(cause, EMFILE);
	const reason = full
		? "the process has as many files open as it may (RLIMIT_NOFILE), and each vector takes one"
		: (cause as Error).message;
	return new VfioError("interrupt-failed", `Cannot set up an interrupt of ${device}: ${reason}`, {
		device,
		cause,
		remedy: full ? ["In the shell that starts it: ulimit -n 65536", "In a systemd unit: LimitNOFILE=65536"] : [],
	});
}
