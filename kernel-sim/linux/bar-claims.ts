/**
 * Which BARs of a function a driver has to itself, as /proc/iomem shows them. With CONFIG_IO_STRICT_DEVMEM, which
 * distributions set, nobody else may map those through sysfs; and who had them mapped before loses them.
 *
 * @module
 */

/** The claims on the BARs of one function. */
export class BarClaims {
	readonly #strict: boolean;
	/** Bit n: BAR n is claimed. */
	#claimed = 0;
	/** How often mappings of a BAR were taken away. */
	readonly #revocations = [0, 0, 0, 0, 0, 0];

	constructor(strict: boolean) {
		this.#strict = strict;
	}

	/** A driver takes a BAR, or has it already. */
	claim(bar: number): void {
		if (this.#claimed & (1 << bar)) return;
		this.#claimed |= 1 << bar;
		if (this.#strict) this.#revocations[bar] = this.revocations(bar) + 1;
	}

	claimAll(): void {
		for (let bar = 0; bar < this.#revocations.length; bar++) this.claim(bar);
	}

	/** The driver gives all of them back. */
	release(): void {
		this.#claimed = 0;
	}

	/** Whether a BAR may be mapped through sysfs. */
	mappable(bar: number): boolean {
		return !this.#strict || (this.#claimed & (1 << bar)) === 0;
	}

	/** A mapping that is older than the last of these is gone. */
	revocations(bar: number): number {
		return this.#revocations[bar] ?? 0;
	}
}
