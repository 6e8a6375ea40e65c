/**
 * How completions reach the host, NVM Express 1.4 section 7.5: messages, or the pin; and the mask of INTMS and INTMC, which
 * holds back all but MSI-X.
 *
 * @module
 */
import type { DevicePort } from "../../model.ts";

/** The interrupts of one controller. */
export class InterruptSources {
	readonly #port: DevicePort;
	/** What INTMS and INTMC read: a set bit masks the vector. */
	mask = 0;
	/** Vectors 0 to 31 with completions to announce: for the pin, until the host has taken them; for MSI, until they are sent. */
	#pending = 0;

	constructor(port: DevicePort) {
		this.#port = port;
	}

	/** A completion was written to a queue of this vector. */
	raise(vector: number): void {
		if (this.#port.interruptMode === "msix") {
			this.#port.signal(vector);
			return;
		}
		this.#pending |= 1 << (vector & 31);
		this.#announce();
	}

	/** The host has taken every completion of the queues with this vector. */
	clear(vector: number): void {
		const bit = 1 << (vector & 31);
		if ((this.#pending & bit) === 0) return;
		this.#pending &= ~bit;
		this.#announce();
	}

	setMask(bits: number): void {
		this.mask = (this.mask | bits) >>> 0;
		this.#announce();
	}

	clearMask(bits: number): void {
		this.mask = (this.mask & ~bits) >>> 0;
		this.#announce();
	}

	reset(): void {
		this.mask = 0;
		this.#pending = 0;
		this.#port.setIntx(false);
	}

	#announce(): void {
		const due = this.#pending & ~this.mask;
		if (this.#port.interruptMode === "intx") {
			this.#port.setIntx(due !== 0);
			return;
		}
		this.#port.setIntx(false);
		if (this.#port.interruptMode !== "msi") return;
		this.#pending &= ~due;
		for (let vector = 0, bits = due >>> 0; bits !== 0; vector++, bits >>>= 1)
			if ((bits & 1) !== 0) this.#port.signal(vector);
	}
}
