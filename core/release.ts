/**
 * The one mechanism that gives things back: in reverse order of acquisition, all of them, whatever fails on the way.
 *
 * @module
 */

/**
 * What has been acquired and must be released.
 *
 * @example
 * ```ts
 * const releases = new Releases();
 * try {
 *   const fd = kernel.open("/dev/vfio/vfio", O_RDWR);
 *   releases.defer(() => kernel.close(fd));
 *   releases.use(kernel.allocate(4096));
 *   return new Thing(fd, releases.move()); // the thing owns them now
 * } finally {
 *   releases[Symbol.dispose](); // releases nothing after move()
 * }
 * ```
 */
export class Releases implements Disposable {
	#actions: (() => void)[] = [];

	/** Remembers how to release something. */
	defer(release: () => void): void {
		this.#actions.push(release);
	}

	/** Remembers a disposable and returns it. */
	use<T extends Disposable>(resource: T): T {
		this.#actions.push(() => resource[Symbol.dispose]());
		return resource;
	}

	/** Hands everything over to a new owner; nothing is left here. */
	move(): Releases {
		const owner = new Releases();
		owner.#actions = this.#actions;
		this.#actions = [];
		return owner;
	}

	/**
	 * Releases everything, last acquired first. Every release runs even when an earlier one throws.
	 *
	 * @throws the error, or an AggregateError when there were several
	 */
	[Symbol.dispose](): void {
		const errors: unknown[] = [];
		for (let action = this.#actions.pop(); action; action = this.#actions.pop()) {
			try {
				action();
			} catch (error) {
				errors.push(error);
			}
		}
		if (errors.length === 1) throw errors[0];
		if (errors.length > 1) throw new AggregateError(errors, `Cannot release everything: ${errors.length} errors`);
	}
}
