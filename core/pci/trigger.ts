/**
 * An eventfd that the kernel signals for one interrupt, and who is called when it does.
 *
 * @module
 */
import type { Kernel } from "../kernel.ts";

/** Owns the eventfd and the watch on it. */
export class Trigger implements Disposable {
	readonly fd: number;
	readonly #kernel: Kernel;
	readonly #onSignal: (count: number) => void;
	#watch: Disposable | undefined;
	#closed = false;

	/** @param onSignal receives how often it was signalled since the last call @throws KernelError */
	constructor(kernel: Kernel, onSignal: (count: number) => void) {
		this.#kernel = kernel;
		this.#onSignal = onSignal;
		this.fd = kernel.eventfd();
		try {
			this.resume();
		} catch (error) {
			kernel.close(this.fd);
			throw error;
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
