import { VirtualClock } from "../kernel-sim/mod.ts";

const NS_PER_MS = 1e6;

/** The simulation's clock, driven by this machine's: what a guest that runs in real time needs. */
export class HostClock extends VirtualClock {
	readonly #start = performance.now();
	#alarm: { readonly due: number; readonly handle: ReturnType<typeof setTimeout> } | undefined;
	#stopped = false;

	override now(): number {
		return (performance.now() - this.#start) * NS_PER_MS;
	}

	override timer(delay: number, onExpiry: () => void): Disposable {
		// The simulated time stands where its last event was; a delay counts from the time it is asked for.
		return super.timer(delay <= 0 ? 0 : delay + this.now() - super.now(), onExpiry);
	}

	/** Stops following real time: nothing expires any more, and the process may exit. */
	stop(): void {
		this.#stopped = true;
		clearTimeout(this.#alarm?.handle);
		this.#alarm = undefined;
	}

	protected override scheduled(due: number): void {
		if (due <= super.now()) super.scheduled(due);
		else this.#set(due);
	}

	#set(due: number): void {
		if (this.#stopped || (this.#alarm && this.#alarm.due <= due)) return;
		clearTimeout(this.#alarm?.handle);
		const delay = Math.max(0, Math.ceil((due - this.now()) / NS_PER_MS));
		this.#alarm = { due, handle: setTimeout(() => this.#ring(), delay) };
	}

	#ring(): void {
		this.#alarm = undefined;
		try {
			this.advance(this.now() - super.now());
		} finally {
			const next = this.nextDue;
			if (next !== undefined) this.#set(next);
		}
	}
}
