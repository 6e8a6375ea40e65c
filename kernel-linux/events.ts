/**
 * Eventfds that call back from the event loop.
 *
 * One epoll instance holds all of them, and koffi watches that one descriptor in the runtime's own loop: no thread, 15 to
 * 20 µs from the kernel's signal to the callback, whether a device has one vector or two thousand.
 *
 * @module
 */
import { arch } from "node:process";
import { setImmediate } from "node:timers";
import { KernelError } from "../core/errors.ts";
import { EAGAIN } from "../core/uapi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../core/uapi/fcntl.ts";
import type { Descriptors } from "./descriptors.ts";
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, type Libc, type PollHandle } from "./libc.ts";

// struct epoll_event in words: packed on x86-64, and nowhere else. Ours carry the descriptor and the watch's number.
const EVENT_WORDS = arch === "x64" ? 3 : 4;
const DATA = EVENT_WORDS - 2;
/** Events taken at a time. More are not lost: epoll reports them at the next turn of the loop. */
const BATCH = 64;
/**
 * Deno's watch is for one event, and must be started again. Node must not be asked to: where a worker thread is being
 * terminated meanwhile, koffi aborts the process.
 */
const ONE_SHOT = "Deno" in globalThis;

interface Watch {
	/** Tells it from an earlier watch of the same descriptor, of which an event may still be under way. */
	readonly number: number;
	readonly onSignal: (count: number) => void;
}

/** The eventfds of one kernel object. */
export class Events {
	readonly #libc: Libc;
	readonly #descriptors: Descriptors;
	readonly #watches = new Map<number, Watch>();
	readonly #events = new Uint32Array(BATCH * EVENT_WORDS);
	readonly #eventBytes = new Uint8Array(this.#events.buffer);
	readonly #change = new Uint32Array(EVENT_WORDS);
	readonly #changeBytes = new Uint8Array(this.#change.buffer);
	readonly #counter = new Uint32Array(2);
	readonly #counterBytes = new Uint8Array(this.#counter.buffer);
	/** Both exist while something is watched, so that the process can end when nothing is. */
	#loop: { readonly epoll: number; readonly poll: PollHandle } | undefined;
	#last = 0;

	constructor(libc: Libc, descriptors: Descriptors) {
		this.#libc = libc;
		this.#descriptors = descriptors;
	}

	/** @see Kernel.eventfd */
	create(initial: number): number {
		const fd = this.#libc.eventfd(initial, O_CLOEXEC | O_NONBLOCK);
		if (fd < 0) throw new KernelError(this.#libc.errno(), "eventfd", "eventfd");
		this.#descriptors.opened(fd, `eventfd ${fd}`);
		return fd;
	}

	/** @see Kernel.watch */
	watch(fd: number, onSignal: (count: number) => void): Disposable {
		this.#last = (this.#last + 1) >>> 0;
		const watch: Watch = { number: this.#last, onSignal };
		this.#change[0] = EPOLLIN;
		this.#change[DATA] = fd;
		this.#change[DATA + 1] = watch.number;
		const { epoll } = this.#open();
		if (this.#libc.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, this.#changeBytes) < 0) {
			const errno = this.#libc.errno();
			this.#closeWhenIdle();
			throw this.#descriptors.error(errno, "epoll_ctl", fd);
		}
		this.#watches.set(fd, watch);
		return {
			[Symbol.dispose]: () => {
				// The descriptor may have been closed since, and its number be another's: that one is watched on.
				if (this.#watches.get(fd) === watch) this.forget(fd);
			},
		};
	}

	/** Stops watching a descriptor, if it is watched. Closing it must do so first. */
	forget(fd: number): void {
		if (!this.#watches.delete(fd) || !this.#loop) return;
		// It fails only when the descriptor is gone already, and then epoll has dropped it by itself.
		this.#libc.epoll_ctl(this.#loop.epoll, EPOLL_CTL_DEL, fd, this.#changeBytes);
		this.#closeWhenIdle();
	}

	#open(): { readonly epoll: number } {
		if (!this.#loop) {
			const epoll = this.#libc.epoll_create1(O_CLOEXEC);
			if (epoll < 0) throw new KernelError(this.#libc.errno(), "epoll_create1", "epoll");
			this.#loop = { epoll, poll: this.#libc.poll(epoll, this.#dispatch) };
		}
		return this.#loop;
	}

	#closeWhenIdle(): void {
		if (this.#watches.size > 0 || !this.#loop) return;
		this.#loop.poll.close();
		this.#libc.close(this.#loop.epoll);
		this.#loop = undefined;
	}

	/** Must never throw: koffi has nobody to give the error to, and the handle would be stuck with it. */
	readonly #dispatch = (): void => {
		const loop = this.#loop;
		if (!loop) return;
		const count = this.#libc.epoll_wait(loop.epoll, this.#eventBytes, BATCH, 0);
		for (let index = 0; index < count; index++) {
			const at = index * EVENT_WORDS + DATA;
			const fd = this.#events[at] as number;
			const watch = this.#watches.get(fd);
			if (watch?.number === this.#events[at + 1]) this.#deliver(fd, watch as Watch);
		}
		if (ONE_SHOT) this.#loop?.poll.start(this.#dispatch);
	};

	#deliver(fd: number, watch: Watch): void {
		try {
			if (this.#libc.read(fd, this.#counterBytes, 8) < 0) {
				const errno = this.#libc.errno();
				if (errno === EAGAIN) return; // another process or our own code has read it first
				this.forget(fd); // it would be ready for ever
				throw this.#descriptors.error(errno, "read", fd);
			}
			watch.onSignal((this.#counter[0] as number) + (this.#counter[1] as number) * 2 ** 32);
		} catch (error) {
			// An uncaught exception like any other, but after the callbacks of this turn.
			setImmediate(() => {
				throw error;
			});
		}
	}
}
