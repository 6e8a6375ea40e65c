/**
 * From an address the guest's processor accesses to a function, a BAR and an offset in it.
 *
 * @module
 */
import { AddressSpace } from "./address-space.ts";

/** The two address spaces of a PC. */
export class AddressDecoder {
	/** Memory: below 2^52, the most address bits an x86 processor has. */
	readonly memory = new AddressSpace(2 ** 52);
	/** I/O ports: 16 bits. */
	readonly io = new AddressSpace(0x10000);

	/** Recomputes both: a bridge forwards something else now. */
	rebuild(): void {
		this.memory.rebuild();
		this.io.rebuild();
	}
}
