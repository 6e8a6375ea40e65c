/**
 * An NVM Express 1.4 controller: registers, doorbells, and the way from power-on to ready and back.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";
import type { FunctionDescription } from "../../description.ts";
import type { DeviceModel, DevicePort } from "../../model.ts";
import { CommandLoop, type LoopController } from "./command-loop.ts";
import { type NvmeFunctionOptions, nvmeDescription } from "./description.ts";
import { AsyncEvents, ERROR_EVENT } from "./events.ts";
import { Features } from "./features.ts";
import { type ControllerIdentity, IDENTIFY_SIZE } from "./identify.ts";
import { InterruptSources } from "./interrupts.ts";
import { ERROR_LOG, Log } from "./log.ts";
import { MemoryNamespace, type Namespace, patternContent } from "./namespace.ts";
import { PrpTransfer } from "./prp.ts";
import { QueueSet } from "./queue-set.ts";
import * as registers from "./registers.ts";

/** Options of {@link Nvme}. */
export interface NvmeOptions {
	/** The namespaces, number 1 first; one of 64 MiB in memory when left out. */
	readonly namespaces?: readonly Namespace[];
	/** What Identify tells. */
	readonly vendor?: number;
	readonly subsystemVendor?: number;
	readonly serial?: string;
	readonly model?: string;
	readonly firmware?: string;
	/** Most bytes that one command may transfer, a power of two from 8192; 512 KiB when left out. */
	readonly maximumTransfer?: number;
	/** I/O queue pairs, 1 to 511; 64 when left out. */
	readonly queues?: number;
	/** Most entries of a queue, 2 to 65536; 2048 when left out. */
	readonly queueEntries?: number;
	/** Messages the function has, by mechanism; 32 and 65 when left out. With INTx there is one vector. */
	readonly vectors?: { readonly msi?: number; readonly msix?: number };
}

/** The specification has the registers in BAR 0. */
const REGISTERS_BAR = 0;
const HOUR = 3600e9;

/** What there is while the controller is plugged in. */
interface Attachment {
	readonly port: DevicePort;
	readonly transfer: PrpTransfer;
	readonly interrupts: InterruptSources;
	readonly loop: CommandLoop;
}

/**
 * The controller.
 *
 * @example
 * ```ts
 * const disk = new MemoryNamespace(1024 ** 3, { content: patternContent });
 * machine.plug("0000:05:00.0", new PciFunction(Nvme.description(), new Nvme({ namespaces: [disk] })));
 * ```
 */
export class Nvme implements DeviceModel, LoopController {
	readonly identity: ControllerIdentity;
	readonly namespaces: readonly Namespace[];
	readonly events = new AsyncEvents();
	readonly log = new Log();
	/** Register writes that no driver should make: of a wrong width, or to doorbells of no queue. */
	refusedWrites = 0;
	readonly #options: NvmeOptions;
	readonly #queueLimit: number;
	readonly #queueEntries: number;
	readonly #registers = new DataView(new ArrayBuffer(registers.REGISTERS_END));
	#features: Features;
	#queues: QueueSet;
	#data = new Uint8Array(0);
	#attached: Attachment | undefined;
	#poweredOn = 0;

	constructor(options: NvmeOptions = {}) {
		this.#options = options;
		const maximumTransfer = options.maximumTransfer ?? 512 * 1024;
		this.identity = {
			vendor: options.vendor ?? 0x1b36,
			subsystemVendor: options.subsystemVendor ?? 0x1af4,
			serial: options.serial ?? "VFIOTS0001",
			model: options.model ?? "vfio-ts simulated NVMe controller",
			firmware: options.firmware ?? "1.0",
			maximumTransfer: 2 ** Math.floor(Math.log2(Math.max(maximumTransfer, 2 * IDENTIFY_SIZE))),
		};
		this.namespaces = options.namespaces ?? [new MemoryNamespace(64 * 1024 * 1024, { content: patternContent })];
		this.#queueLimit = Math.min(Math.max(options.queues ?? 64, 1), 511);
		this.#queueEntries = Math.min(Math.max(options.queueEntries ?? 2048, 2), 65536);
		this.#features = this.#freshFeatures();
		this.#queues = new QueueSet(this.#features, this.#queueEntries);
		this.#powerOn();
	}

	/** The function it lives in: 1b36:0010, class 010802, BAR 0 of 16 KiB, PCI Express. */
	static description(options: NvmeFunctionOptions = {}): FunctionDescription {
		return nvmeDescription(options);
	}

	get features(): Features {
		return this.#features;
	}
	get queues(): QueueSet {
		return this.#queues;
	}
	get transfer(): PrpTransfer {
		return this.#world.transfer;
	}
	get pageSize(): number {
		return registers.pageSize(this.#cc);
	}
	get submissionEntrySize(): number {
		return registers.submissionEntrySize(this.#cc);
	}
	get completionEntrySize(): number {
		return registers.completionEntrySize(this.#cc);
	}
	get vectors(): number {
		const mode = this.#attached?.port.interruptMode;
		if (mode === "msix") return this.#options.vectors?.msix ?? 65;
		return mode === "msi" ? (this.#options.vectors?.msi ?? 32) : 1;
	}
	get hours(): number {
		return Math.floor((this.#world.port.clock.now() - this.#poweredOn) / HOUR);
	}
	/** CSTS.RDY: commands are executed. */
	get isReady(): boolean {
		return (this.#csts & registers.CSTS_READY) !== 0;
	}
	/** CSTS.CFS: the controller could not even report an error; only a reset helps. */
	get hasFailed(): boolean {
		return (this.#csts & registers.CSTS_FATAL) !== 0;
	}

	/** CSTS.RDY, and neither CSTS.CFS nor a shutdown. */
	get isWorking(): boolean {
		const bits = registers.CSTS_READY | registers.CSTS_FATAL | registers.CSTS_SHUTDOWN;
		return (this.#csts & bits) === registers.CSTS_READY;
	}

	fail(): void {
		this.#csts |= registers.CSTS_FATAL;
	}

	data(length: number): Uint8Array {
		if (this.#data.length < length) this.#data = new Uint8Array(length);
		return this.#data.subarray(0, length);
	}

	attach(port: DevicePort): void {
		const interrupts = new InterruptSources(port);
		const loop = new CommandLoop(this, port, interrupts);
		this.#attached = { port, interrupts, loop, transfer: new PrpTransfer(port) };
		this.#poweredOn = port.clock.now();
	}

	reset(): void {
		this.#disable();
		this.#powerOn();
	}

	detach(): void {
		this.#attached?.loop.stop();
		this.#attached = undefined;
		for (const ns of this.namespaces) ns.close?.();
	}

	read(bar: number, offset: number, width: AccessWidth): number {
		if (bar !== REGISTERS_BAR || offset + width > registers.REGISTERS_END) return 0;
		if (width === 1) return this.#registers.getUint8(offset);
		return width === 2 ? this.#registers.getUint16(offset, true) : this.#registers.getUint32(offset, true);
	}

	/** Registers take aligned writes of 4 bytes (section 3.1); what else comes is dropped. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (bar !== REGISTERS_BAR || this.#attached === undefined) return;
		if (width !== 4 || (offset & 3) !== 0) {
			this.refusedWrites += 1;
			return;
		}
		if (offset >= registers.DOORBELLS) this.#ring((offset - registers.DOORBELLS) / 4, value);
		else this.#writeRegister(offset, value >>> 0);
	}

	get #cc(): number {
		return this.#registers.getUint32(registers.CC, true);
	}
	get #csts(): number {
		return this.#registers.getUint32(registers.CSTS, true);
	}
	set #csts(value: number) {
		this.#registers.setUint32(registers.CSTS, value, true);
	}
	/** Nothing that needs the port runs before it is there: registers are not written until then. */
	get #world() {
		if (this.#attached === undefined) throw new Error("The controller is not plugged in");
		return this.#attached;
	}

	#freshFeatures(): Features {
		const { msi = 32, msix = 65 } = this.#options.vectors ?? {};
		return new Features({ queues: this.#queueLimit, vectors: Math.max(msi, msix, 1) });
	}

	#powerOn(): void {
		const view = this.#registers;
		for (let at = 0; at < registers.REGISTERS_END; at += 4) view.setUint32(at, 0, true);
		view.setUint32(registers.CAP, registers.capabilitiesLow(this.#queueEntries), true);
		view.setUint32(registers.CAP + 4, registers.CAPABILITIES_HIGH, true);
		view.setUint32(registers.VS, registers.VERSION, true);
	}

	#writeRegister(offset: number, value: number): void {
		const view = this.#registers;
		const { interrupts } = this.#world;
		switch (offset) {
			case registers.INTMS:
				interrupts.setMask(value);
				this.#showMask();
				return;
			case registers.INTMC:
				interrupts.clearMask(value);
				this.#showMask();
				return;
			case registers.CC:
				this.#configure(value);
				return;
			case registers.AQA:
				view.setUint32(offset, value & registers.AQA_WRITABLE, true);
				return;
			case registers.ASQ:
			case registers.ACQ:
				view.setUint32(offset, value & ~0xfff, true);
				return;
			case registers.ASQ + 4:
			case registers.ACQ + 4:
				view.setUint32(offset, value, true);
				return;
		}
	}

	#showMask(): void {
		this.#registers.setUint32(registers.INTMS, this.#world.interrupts.mask, true);
		this.#registers.setUint32(registers.INTMC, this.#world.interrupts.mask, true);
	}

	#configure(value: number): void {
		const before = this.#cc;
		const wasEnabled = (before & registers.CC_ENABLE) !== 0;
		let after = value & registers.CC_WRITABLE;
		if (wasEnabled && (after & registers.CC_ENABLE) !== 0)
			after = (after & ~registers.CC_STATIC) | (before & registers.CC_STATIC);
		this.#registers.setUint32(registers.CC, after, true);
		const isEnabled = (after & registers.CC_ENABLE) !== 0;
		if (wasEnabled && !isEnabled) this.#disable();
		if (!wasEnabled && isEnabled) this.#enable(after);
		if (registers.shutdownNotification(after) !== 0) this.#shutDown();
	}

	#enable(cc: number): void {
		const view = this.#registers;
		const aqa = view.getUint32(registers.AQA, true);
		const submission = { id: 0, base: view.getBigUint64(registers.ASQ, true), size: (aqa & 0xfff) + 1 };
		const completion = { id: 0, base: view.getBigUint64(registers.ACQ, true), size: (aqa >>> 16) + 1 };
		const misaligned = ((submission.base | completion.base) & BigInt(registers.pageSize(cc) - 1)) !== 0n;
		const unsupported =
			registers.pageSize(cc) > 4096 << registers.MPS_MAX ||
			registers.commandSet(cc) !== 0 ||
			registers.arbitration(cc) !== 0;
		if (misaligned || unsupported || submission.size < 2 || completion.size < 2) {
			this.fail();
			return;
		}
		this.#queues.createAdmin(submission, completion);
		this.#csts = registers.CSTS_READY;
	}

	/** Controller reset, section 7.3.2: queues and requests are forgotten; AQA, ASQ and ACQ stay. */
	#disable(): void {
		this.#attached?.loop.stop();
		this.events.clear();
		this.#features = this.#freshFeatures();
		this.#queues = new QueueSet(this.#features, this.#queueEntries);
		this.#attached?.interrupts.reset();
		this.#registers.setUint32(registers.INTMS, 0, true);
		this.#registers.setUint32(registers.INTMC, 0, true);
		this.#csts = 0;
	}

	/** Section 7.6.2. Commands are executed again after the next reset. */
	#shutDown(): void {
		for (const ns of this.namespaces) ns.flush();
		this.#csts = (this.#csts & ~registers.CSTS_SHUTDOWN) | registers.CSTS_SHUTDOWN_COMPLETE;
	}

	#ring(doorbell: number, value: number): void {
		if (!this.isWorking) return;
		const refused = this.#queues.ring(doorbell, value);
		if (refused !== undefined) {
			this.refusedWrites += 1;
			this.events.raise(ERROR_EVENT, refused, ERROR_LOG);
		} else if ((doorbell & 1) !== 0) {
			const vector = this.#queues.completion(doorbell >>> 1)?.vector;
			if (vector !== undefined && !this.#queues.hasCompletions(vector)) this.#world.interrupts.clear(vector);
		}
		this.#world.loop.run();
	}
}
