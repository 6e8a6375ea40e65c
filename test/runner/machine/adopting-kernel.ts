import type { Kernel, Memory } from "../../../core/kernel.ts";

/** The one call of a kernel that a guest machine makes. `memory` is what it adopted last. */
export class AdoptingKernel {
	memory: Memory | undefined;
	disposed = 0;

	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		const bytes = typeof buffer === "function" ? buffer : () => buffer;
		this.memory = {
			address: 0x7f00_0000_0000n,
			get length() {
				return bytes().length;
			},
			get bytes() {
				return bytes();
			},
			[Symbol.dispose]: () => void this.disposed++,
		};
		return this.memory;
	}

	/** The bytes that were adopted. */
	get ram(): Uint8Array {
		return this.memory?.bytes ?? new Uint8Array(0);
	}

	/** This kernel, as far as a guest machine needs one. */
	get asKernel(): Kernel {
		return this as unknown as Kernel;
	}
}
