/**
 * eventfd: a counter that user space, drivers and the kernel's own consumers signal and take.
 *
 * @module
 */
import type { Clock } from "../../core/kernel.ts";
import { EAGAIN, EBADF, EINVAL, ESPIPE } from "../../core/uapi/errno.ts";
import { OpenFile } from "./file.ts";
import type { SimProcess } from "./process.ts";

/** The counter's largest value (eventfd(2)). */
const LARGEST = 0xffff_ffff_ffff_fffen;
/** Below this, values are added as numbers. */
const SMALL = 2 ** 51;

/** Something in the kernel that is woken by an eventfd and takes its count before user space can: a virqfd. */
export interface EventConsumer {
	/** The eventfd was signalled. Called inside the signal. */
	signalled(): void;
	/** User space has closed the eventfd: the consumer is detached already. */
	closed?(): void;
}

/** A callback of user space that waits for an eventfd. */
class Watcher {
	readonly #eventfd: EventFd;
	readonly #clock: Clock;
	readonly #onSignal: (count: number) => void;
	#scheduled: Disposable | undefined;

	constructor(eventfd: EventFd, clock: Clock, onSignal: (count: number) => void) {
		this.#eventfd = eventfd;
		this.#clock = clock;
		this.#onSignal = onSignal;
	}

	/** Calls back later, once however often it is woken until then. */
	wake(): void {
		this.#scheduled ??= this.#clock.timer(0, this.#deliver);
	}

	cancel(): void {
		this.#scheduled?.[Symbol.dispose]();
		this.#scheduled = undefined;
	}

	// One closure for all interrupts.
	readonly #deliver = () => {
		this.#scheduled = undefined;
		// Somebody else may have taken it meanwhile.
		if (!this.#eventfd.empty) this.#onSignal(Number(this.#eventfd.take()));
	};
}

/**
 * The object behind an eventfd's descriptors. The kernel may hold it beyond their close: an interrupt whose eventfd was
 * closed keeps firing into it.
 */
export class EventFd {
	readonly #clock: Clock;
	/** Where living eventfds are listed. */
	readonly #registry: Set<EventFd>;
	// The count is their sum: interrupts only ever add one, which allocates no bigint this way.
	#small = 0;
	#large: bigint;
	#references = 1;
	readonly #consumers = new Set<EventConsumer>();
	readonly #watchers = new Set<Watcher>();

	/** @param initial the counter's first value */
	constructor(clock: Clock, registry: Set<EventFd>, initial = 0) {
		this.#clock = clock;
		this.#registry = registry;
		this.#large = BigInt(initial);
		registry.add(this);
	}

	/**
	 * The eventfd behind a file descriptor, with a reference taken.
	 *
	 * @returns -EBADF when the descriptor is not open, -EINVAL when it is no eventfd
	 */
	static fromFd(process: SimProcess, fd: number): EventFd | number {
		const file = process.file(fd);
		if (!file) return -EBADF;
		return file instanceof EventFdFile ? file.eventfd.reference() : -EINVAL;
	}

	/** How much has been signalled and not yet taken. */
	get count(): bigint {
		return this.#large + BigInt(this.#small);
	}

	/** Whether there is nothing to take. */
	get empty(): boolean {
		return this.#small === 0 && this.#large === 0n;
	}

	/** How many callbacks wait for it. */
	get watches(): number {
		return this.#watchers.size;
	}

	/** Holds it for a driver. */
	reference(): this {
		this.#references++;
		return this;
	}

	unreference(): void {
		if (--this.#references === 0) this.#registry.delete(this);
	}

	/** The kernel adds one: eventfd_signal. A full counter stays full. */
	signal(): void {
		if (this.#large === 0n || this.count < LARGEST) this.#small++;
		this.#wake();
	}

	/** User space adds a value. @returns 0, -EAGAIN when the counter would overflow, -EINVAL for 2^64-1 */
	add(value: bigint): number {
		if (value > LARGEST) return -EINVAL;
		if (value > LARGEST - this.count) return -EAGAIN;
		if (value < SMALL && this.#small < SMALL) this.#small += Number(value);
		else this.#large += value;
		this.#wake();
		return 0;
	}

	/** Takes the whole count. */
	take(): bigint {
		const count = this.count;
		this.#small = 0;
		this.#large = 0n;
		return count;
	}

	/**
	 * Installs a consumer in the kernel. From now on each signal's count is gone before anybody can read it. A count that
	 * was there before calls the consumer once and stays readable.
	 */
	consume(consumer: EventConsumer): Disposable {
		this.#consumers.add(consumer);
		if (!this.empty) consumer.signalled();
		return { [Symbol.dispose]: () => void this.#consumers.delete(consumer) };
	}

	/** Takes the count and calls back, later and from the clock, whenever there is one. */
	watch(onSignal: (count: number) => void): Disposable {
		const watcher = new Watcher(this, this.#clock, onSignal);
		this.#watchers.add(watcher);
		if (!this.empty) watcher.wake();
		return { [Symbol.dispose]: () => this.#drop(watcher) };
	}

	/** The last descriptor was closed: who waits for it, waits no more. */
	closed(): void {
		const consumers = [...this.#consumers];
		this.#consumers.clear();
		for (const consumer of consumers) consumer.closed?.();
		for (const watcher of [...this.#watchers]) this.#drop(watcher);
		this.unreference();
	}

	#wake(): void {
		if (this.#consumers.size > 0) {
			this.take();
			for (const consumer of this.#consumers) consumer.signalled();
			return;
		}
		for (const watcher of this.#watchers) watcher.wake();
	}

	#drop(watcher: Watcher): void {
		watcher.cancel();
		this.#watchers.delete(watcher);
	}
}

/** An eventfd as an open file. */
export class EventFdFile extends OpenFile {
	readonly eventfd: EventFd;

	constructor(eventfd: EventFd) {
		super("anon_inode:[eventfd]");
		this.eventfd = eventfd;
	}

	override read(_process: SimProcess, buffer: Uint8Array): number {
		if (buffer.length < 8) return -EINVAL;
		const count = this.eventfd.take();
		if (count === 0n) return -EAGAIN;
		new DataView(buffer.buffer, buffer.byteOffset).setBigUint64(0, count, true);
		return 8;
	}

	override write(_process: SimProcess, buffer: Uint8Array): number {
		if (buffer.length < 8) return -EINVAL;
		const value = new DataView(buffer.buffer, buffer.byteOffset).getBigUint64(0, true);
		return this.eventfd.add(value) || 8;
	}

	override pread(): number {
		return -ESPIPE;
	}

	override pwrite(): number {
		return -ESPIPE;
	}

	override fdinfo(): string {
		return `eventfd-count: ${this.eventfd.count.toString(16).padStart(16)}\n`;
	}

	protected override release(): void {
		this.eventfd.closed();
	}
}
