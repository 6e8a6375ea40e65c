// A VFIO device and its kernel for tests of core/pci: it answers like Linux where that matters, writes down what is asked
// of it, and fails where a test wants it to.
import type { Irq } from "../../../core/device/irq.ts";
import type { Region } from "../../../core/device/region.ts";
import { KernelError } from "../../../core/errors.ts";
import type { AccessWidth, Clock, Kernel, Mapping } from "../../../core/kernel.ts";
import type { AssignableDevice, HotResetMember } from "../../../core/pci/hardware.ts";
import { EINVAL, EIO } from "../../../core/uapi/errno.ts";

export function load(bytes: Uint8Array, offset: number, width: number): number {
	let value = 0;
	for (let i = 0; i < width; i++) value += (bytes[offset + i] ?? 0) * 2 ** (8 * i);
	return value;
}

export function store(bytes: Uint8Array, offset: number, width: number, value: number): void {
	for (let i = 0; i < width; i++) bytes[offset + i] = Math.floor(value / 2 ** (8 * i)) & 0xff;
}

export class FakeClock implements Clock {
	#now = 0;
	timers: { due: number; action: () => void }[] = [];

	now(): number {
		return this.#now;
	}
	timer(delay: number, action: () => void): Disposable {
		const entry = { due: this.#now + delay, action };
		this.timers.push(entry);
		return {
			[Symbol.dispose]: () => {
				this.timers = this.timers.filter((other) => other !== entry);
			},
		};
	}
	/** @param milliseconds to go forward, with all timers on the way */
	advance(milliseconds: number): void {
		const end = this.#now + milliseconds * 1e6;
		for (;;) {
			const next = this.timers.filter(({ due }) => due <= end).sort((a, b) => a.due - b.due)[0];
			if (!next) break;
			this.#now = next.due;
			this.timers = this.timers.filter((other) => other !== next);
			next.action();
		}
		this.#now = end;
	}
}

export class FakeKernel {
	readonly name = "fake";
	readonly clock = new FakeClock();
	readonly eventfds = new Map<number, number>();
	readonly watches = new Map<number, (count: number) => void>();
	/** The n-th call of eventfd() or watch() from now on fails. */
	failAfter = Number.POSITIVE_INFINITY;
	#next = 100;

	eventfd(): number {
		this.#count("eventfd");
		const fd = this.#next++;
		this.eventfds.set(fd, 0);
		return fd;
	}
	watch(fd: number, onSignal: (count: number) => void): Disposable {
		this.#count("watch");
		this.watches.set(fd, onSignal);
		return { [Symbol.dispose]: () => void this.watches.delete(fd) };
	}
	close(fd: number): void {
		if (!this.eventfds.delete(fd) || this.watches.has(fd)) throw new KernelError(EINVAL, "close", `fd ${fd}`);
	}
	/** What the device's interrupt does; the watcher runs in {@link settle}. */
	signal(fd: number): void {
		this.eventfds.set(fd, (this.eventfds.get(fd) ?? 0) + 1);
	}
	settle(): void {
		for (const [fd, count] of [...this.eventfds]) {
			if (count === 0) continue;
			this.eventfds.set(fd, 0);
			this.watches.get(fd)?.(count);
		}
	}
	asKernel(): Kernel {
		return this as unknown as Kernel;
	}
	#count(call: string): void {
		if (--this.failAfter < 0) throw new KernelError(EIO, call, "test");
	}
}

/** One index of SET_IRQS. */
class FakeIrq {
	fds: number[] = [];
	active = false;
}

export interface FakeRegion {
	readonly size: number;
	readonly mappable?: boolean;
	readonly msixMappable?: boolean;
	readonly sparseAreas?: readonly { offset: number; size: number }[];
}

export interface FakeDeviceOptions {
	readonly config: Uint8Array;
	readonly regions?: Readonly<Record<number, FakeRegion>>;
	/** Vectors of INTx, MSI, MSI-X, ERR, REQ. */
	readonly irqs?: readonly number[];
	/** MSI-X vectors can be added one by one. */
	readonly dynamic?: boolean;
	/** How many message vectors the host has to give. */
	readonly available?: number;
	readonly resettable?: boolean;
	readonly kernel?: FakeKernel;
}

export class FakeDevice implements AssignableDevice {
	readonly name = "0000:05:00.0";
	readonly fake: FakeKernel;
	readonly kernel: Kernel;
	readonly resettable: boolean;
	onReport: (message: string) => void = () => {};
	readonly config: Uint8Array;
	readonly memory: Uint8Array[] = [];
	readonly irqState = [new FakeIrq(), new FakeIrq(), new FakeIrq(), new FakeIrq(), new FakeIrq()];
	/** What was asked, such as `set 2 0 [101,102]`. */
	readonly calls: string[] = [];
	readonly mappings = new Set<Mapping>();
	available: number;
	/** Calls that begin so fail. */
	failing: string[] = [];
	/** The level of the device's interrupt line, and whether the kernel has masked it. */
	line = false;
	masked = false;
	members: HotResetMember[] = [];
	readonly #regions: Readonly<Record<number, FakeRegion>>;
	readonly #irqs: readonly number[];
	readonly #dynamic: boolean;
	#romBar = 0;

	constructor(options: FakeDeviceOptions) {
		this.fake = options.kernel ?? new FakeKernel();
		this.kernel = this.fake.asKernel();
		this.config = options.config;
		this.#regions = options.regions ?? {};
		this.#irqs = options.irqs ?? [1, 0, 0, 1, 1];
		this.#dynamic = options.dynamic ?? true;
		this.available = options.available ?? 4096;
		this.resettable = options.resettable ?? true;
		for (let index = 0; index < 9; index++)
			this.memory[index] = new Uint8Array(Math.min(this.#regions[index]?.size ?? 0, 1 << 20));
	}

	region(index: number): Region {
		const region = index === 7 ? { size: this.config.length } : (this.#regions[index] ?? { size: 0 });
		return {
			index,
			flags: 3,
			size: region.size,
			offset: index * 2 ** 40,
			mappable: "mappable" in region ? (region.mappable ?? false) : false,
			msixMappable: "msixMappable" in region ? (region.msixMappable ?? false) : false,
			sparseAreas: "sparseAreas" in region ? region.sparseAreas : undefined,
			type: undefined,
		};
	}
	irq(index: number): Irq {
		const count = this.#irqs[index] ?? 0;
		return {
			index,
			flags: 0,
			count,
			resizable: index === 2 && this.#dynamic && count > 0,
			maskable: index === 0,
			automasked: index === 0,
		};
	}
	readRegion(index: number, offset: number, width: AccessWidth): number {
		if (this.#fails(`read ${index} ${offset.toString(16)}`)) return 2 ** (8 * width) - 1;
		if (index === 7) return offset === 0x30 ? this.#romBar : load(this.config, offset, width);
		return load(this.memory[index] as Uint8Array, offset, width);
	}
	writeRegion(index: number, offset: number, width: AccessWidth, value: number): void {
		if (this.#fails(`write ${index} ${offset.toString(16)} ${value.toString(16)}`)) return;
		if (index !== 7) store(this.memory[index] as Uint8Array, offset, width, value);
		else if (offset === 4) store(this.config, offset, width, value);
		else if (offset === 0x30)
			this.#romBar = this.romSize === 0 ? 0 : Number(BigInt(value) & (0x1_0000_0000n - BigInt(this.romSize)));
		else if (this.writable.has(offset)) store(this.config, offset, width, value);
	}
	/** Registers of configuration space that the device lets through. */
	readonly writable = new Set<number>();
	get romSize(): number {
		return this.#regions[6]?.size ?? 0;
	}
	readRegion64(index: number, offset: number): bigint {
		this.calls.push(`read64 ${index} ${offset.toString(16)}`);
		return new DataView((this.memory[index] as Uint8Array).buffer).getBigUint64(offset, true);
	}
	writeRegion64(index: number, offset: number, value: bigint): void {
		this.calls.push(`write64 ${index} ${offset.toString(16)}`);
		new DataView((this.memory[index] as Uint8Array).buffer).setBigUint64(offset, value, true);
	}
	readBytes(index: number, offset: number, into: Uint8Array): number {
		if (this.#fails(`bytes ${index}`)) return 0;
		const from = index === 7 ? this.config : (this.memory[index] as Uint8Array);
		const part = from.subarray(offset, offset + into.length);
		into.set(part);
		return part.length;
	}
	mapRegion(index: number, offset = 0, length = 0): Mapping {
		this.#throwing(`map ${index} ${offset.toString(16)} ${length.toString(16)}`);
		const bytes = this.memory[index] as Uint8Array;
		const view = new DataView(bytes.buffer);
		const mapping: Mapping = {
			address: 0n,
			length,
			read: (at, width) => load(bytes, offset + at, width),
			read64: (at) => view.getBigUint64(offset + at, true),
			write: (at, width, value) => store(bytes, offset + at, width, value),
			write64: (at, value) => view.setBigUint64(offset + at, value, true),
			[Symbol.dispose]: () => void this.mappings.delete(mapping),
		};
		this.mappings.add(mapping);
		return mapping;
	}
	setEventfds(index: number, start: number, fds: readonly number[]): number {
		this.#throwing(`set ${index} ${start} [${fds.join()}]`);
		const irq = this.irqState[index] as FakeIrq;
		const others = this.irqState.slice(0, 3).some((other) => other !== irq && other.active);
		if (others && index < 3) throw new KernelError(EINVAL, "VFIO_DEVICE_SET_IRQS", this.name);
		const count = start + fds.length;
		if (count > (this.#irqs[index] ?? 0)) throw new KernelError(EINVAL, "VFIO_DEVICE_SET_IRQS", this.name);
		if (!irq.active) {
			if (index !== 0 && count > this.available) return this.available;
			irq.active = true;
			irq.fds = Array<number>(count).fill(-1);
		} else if (count > irq.fds.length) {
			if (!(index === 2 && this.#dynamic) || count > this.available) {
				for (const [n] of fds.entries()) if (start + n < irq.fds.length) irq.fds[start + n] = -1;
				throw new KernelError(EINVAL, "VFIO_DEVICE_SET_IRQS", this.name);
			}
			while (irq.fds.length < count) irq.fds.push(-1);
		}
		for (const [n, fd] of fds.entries()) irq.fds[start + n] = fd;
		return 0;
	}
	setEventfd(index: number, vector: number, fd: number): void {
		this.setEventfds(index, vector, [fd]);
	}
	disableIrq(index: number): void {
		this.#throwing(`disable ${index}`);
		const irq = this.irqState[index] as FakeIrq;
		if (!irq.active) throw new KernelError(EINVAL, "VFIO_DEVICE_SET_IRQS", this.name);
		irq.active = false;
		irq.fds = [];
		if (index === 0) this.masked = false;
	}
	maskIrq(index: number): void {
		this.#throwing(`mask ${index}`);
		this.masked = true;
	}
	/** What unmasks INTx when it is signalled; -1 for nothing. */
	unmaskFd = -1;
	setUnmaskEventfd(fd: number): void {
		this.#throwing(`set-unmask ${fd}`);
		this.unmaskFd = fd;
	}
	unmaskIrq(index: number): void {
		this.#throwing(`unmask ${index}`);
		if (!this.masked) return;
		this.masked = false;
		this.#intx();
	}
	/** What writes a register when it is signalled, such as `0 88068 1 ff`. */
	readonly ioeventfds = new Map<string, number>();
	setIoeventfd(index: number, offset: number, width: AccessWidth, value: number, fd: number): void {
		const register = `${index} ${offset.toString(16)} ${width} ${value.toString(16)}`;
		this.#throwing(`ioeventfd ${register} ${fd < 0 ? "off" : "on"}`);
		if (fd < 0) this.ioeventfds.delete(register);
		else this.ioeventfds.set(register, fd);
	}
	reset(): void {
		this.#throwing("reset");
	}
	hotResetInfo(): readonly HotResetMember[] {
		this.#throwing("hot-reset-info");
		return this.members;
	}
	hotReset(): void {
		this.#throwing("hot-reset");
	}

	/** The device drives its interrupt line. */
	setLine(asserted: boolean): void {
		this.line = asserted;
		this.#intx();
	}
	/** The device sends a message. @returns whether an eventfd was there for it */
	message(index: number, vector: number): boolean {
		const fd = this.irqState[index]?.fds[vector] ?? -1;
		if (fd >= 0) this.fake.signal(fd);
		return fd >= 0;
	}
	/** Calls since the last time, of those that begin so. */
	take(prefix = ""): string[] {
		return this.calls.splice(0).filter((call) => call.startsWith(prefix));
	}
	/** Everything that has to be given back. */
	get held(): number {
		const active = this.irqState.filter((irq) => irq.active).length;
		const { clock, eventfds, watches } = this.fake;
		return this.mappings.size + active + eventfds.size + watches.size + clock.timers.length;
	}

	#intx(): void {
		const fd = this.irqState[0]?.fds[0] ?? -1;
		if (!this.line || this.masked || fd < 0) return;
		this.masked = true;
		this.fake.signal(fd);
	}
	#fails(call: string): boolean {
		this.calls.push(call);
		const fails = this.failing.some((prefix) => call.startsWith(prefix));
		if (fails) this.onReport(`${call} failed`);
		return fails;
	}
	#throwing(call: string): void {
		this.calls.push(call);
		if (this.failing.some((prefix) => call.startsWith(prefix))) throw new KernelError(EIO, call, this.name);
	}
}
