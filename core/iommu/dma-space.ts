/**
 * The book of DMA mappings that both of Linux's interfaces need: what is mapped where, and what may replace what.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno } from "../retry.ts";
import { EBUSY, EEXIST } from "../uapi/errno.ts";
import type { DirtyTracking } from "./dirty-tracking.ts";
import { cuts, IntervalMap } from "./interval-map.ts";
import type { DmaAccess, DmaMapping, Iommu, IommuBackend, IommuInfo } from "./iommu.ts";
import type { Memlock } from "./memlock.ts";
import { describeStretch } from "./planner.ts";

/** Addresses have 64 bits. */
export const SPACE = 1n << 64n;

/**
 * An {@link Iommu} but for the calls themselves. It keeps its own map of the mappings, keyed by IOVA, and unmaps what it
 * mapped, whatever changed in between.
 */
export abstract class DmaSpace implements Iommu {
	readonly kernel: Kernel;
	abstract readonly backend: IommuBackend;
	abstract readonly dirty: DirtyTracking & Disposable;
	readonly #mapped = new IntervalMap<Mapped>();
	readonly #users = new Releases();
	#open = true;

	constructor(kernel: Kernel) {
		this.kernel = kernel;
	}

	/** What errors call it, such as `the container`. */
	protected abstract readonly what: string;
	/** Asks the kernel for a mapping. @throws KernelError */
	protected abstract requestMap(iova: bigint, vaddr: bigint, size: bigint, access: DmaAccess): void;
	/** Asks the kernel to remove all mappings in a stretch of less than 2^64 bytes. @returns the bytes @throws KernelError */
	protected abstract requestUnmap(iova: bigint, size: bigint): bigint;
	/** Asks the kernel to remove everything; `entries` is what there is. @throws VfioError `kernel` */
	protected abstract removeAll(entries: readonly DmaMapping[]): bigint;
	/** What the kernel's refusal of a mapping means. */
	protected abstract explainMap(iova: bigint, vaddr: bigint, size: bigint, cause: unknown): unknown;
	abstract info(): IommuInfo;
	abstract lockable(): Memlock | undefined;

	get mappings(): Iterable<DmaMapping> {
		return this.#mapped;
	}

	get mappingCount(): number {
		return this.#mapped.size;
	}

	/** See {@link Iommu.map}. */
	map(iova: bigint, vaddr: bigint, size: bigint, access: DmaAccess = {}): DmaMapping {
		const explain = (cause: unknown) => this.explainMap(iova, vaddr, size, cause);
		return this.place(iova, size, vaddr, () => this.requestMap(iova, vaddr, size, access), explain);
	}

	/**
	 * Makes a mapping in the place of those that it covers.
	 *
	 * @param vaddr address in this process, where it has one
	 * @param request asks the kernel for it; it may be asked twice
	 * @param explain what the kernel's refusal means
	 */
	protected place(
		iova: bigint,
		size: bigint,
		vaddr: bigint | undefined,
		request: () => void,
		explain: (cause: unknown) => unknown,
	): DmaMapping {
		this.requireOpen("map memory in");
		if (iova < 0n || size <= 0n || iova + size > SPACE)
			throw new VfioError(
				"mapping-failed",
				`Cannot map ${size} bytes at 0x${iova.toString(16)} for DMA: that is not within 2^64`,
			);
		const covered = this.#whole(iova, size, "overlapping-memory", "map");
		if (covered.length > 0) this.unmapEntries(covered, () => this.requestUnmap(iova, size));
		try {
			try {
				request();
			} catch (error) {
				// A mapping that is not ours, made through the same file: what covers it wins, once.
				if (!isErrno(error, EBUSY, EEXIST)) throw error;
				this.requestUnmap(iova, size);
				request();
			}
		} catch (cause) {
			throw explain(cause);
		}
		const mapping = new Mapped(iova, vaddr, size, (entry) => this.#unmapEntry(entry));
		this.#mapped.add(mapping);
		return mapping;
	}

	/** See {@link Iommu.unmap}. */
	unmap(iova: bigint, size: bigint): bigint {
		this.requireOpen("unmap memory in");
		const entries = this.#whole(iova, size, "invalid-argument", "unmap");
		if (entries.length === 0) return 0n;
		if (size >= SPACE) return this.unmapAll();
		return this.unmapEntries(entries, () => this.requestUnmap(iova, size));
	}

	/** See {@link Iommu.unmapAll}. */
	unmapAll(): bigint {
		this.requireOpen("unmap memory in");
		const entries = [...this.#mapped];
		return entries.length === 0 ? 0n : this.removeAll(entries);
	}

	/** See {@link Iommu.use}. */
	use<T extends Disposable>(resource: T): T {
		return this.#users.use(resource);
	}

	/** What was unmapped by other means, such as together with its dirty bitmap. */
	forget(iova: bigint, size: bigint): void {
		for (const entry of this.#mapped.overlapping(iova, size)) this.#mapped.delete(entry);
	}

	/** The kernel has forgotten all mappings: there is nothing left to unmap. */
	lost(): void {
		this.#mapped.clear();
	}

	/** Releases its users, unmaps everything, and ends. Whoever made it calls it. */
	[Symbol.dispose](): void {
		if (!this.#open) return;
		const releases = new Releases();
		releases.defer(() => {
			this.#open = false;
		});
		releases.use(this.dirty);
		releases.defer(() => this.unmapAll());
		releases.use(this.#users);
		releases[Symbol.dispose]();
	}

	/** Makes a call that unmaps these entries and no others. @throws VfioError `kernel` */
	protected unmapEntries(entries: readonly DmaMapping[], call: () => bigint): bigint {
		try {
			const bytes = call();
			for (const entry of entries) this.#mapped.delete(entry as Mapped);
			return bytes;
		} catch (cause) {
			const first = entries[0] as DmaMapping;
			const what = entries.length === 1 ? describeStretch(first.start, first.size) : `${entries.length} mappings`;
			throw new VfioError("kernel", `Cannot unmap ${what}: ${(cause as Error).message}`, { cause });
		}
	}

	protected requireOpen(action: string): void {
		if (!this.#open) throw new VfioError("disposed", `Cannot ${action} ${this.what}: its IOMMU is gone`);
	}

	/** The mappings in a stretch that cuts none. */
	#whole(iova: bigint, size: bigint, code: "invalid-argument" | "overlapping-memory", action: string): Mapped[] {
		const entries = this.#mapped.overlapping(iova, size);
		const cut = entries.find((entry) => cuts(entry, iova, size));
		if (!cut) return entries;
		const reason = `it would cut the mapping ${describeStretch(cut.start, cut.size)}`;
		throw new VfioError(code, `Cannot ${action} ${describeStretch(iova, size)}: ${reason}`);
	}

	#unmapEntry(entry: Mapped): void {
		if (this.#open && this.#mapped.has(entry))
			this.unmapEntries([entry], () => this.requestUnmap(entry.start, entry.size));
	}
}

class Mapped implements DmaMapping {
	readonly start: bigint;
	readonly size: bigint;
	readonly vaddr: bigint | undefined;
	readonly #unmap: (entry: Mapped) => void;

	constructor(iova: bigint, vaddr: bigint | undefined, size: bigint, unmap: (entry: Mapped) => void) {
		this.start = iova;
		this.vaddr = vaddr;
		this.size = size;
		this.#unmap = unmap;
	}

	[Symbol.dispose](): void {
		this.#unmap(this);
	}
}
