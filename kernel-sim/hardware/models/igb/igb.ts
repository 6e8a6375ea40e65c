/**
 * The Intel 82576 Gigabit Ethernet controller, physical function (Intel 82576EB Gigabit Ethernet Controller Datasheet).
 *
 * Here are: reset, EEPROM and PHY (sections 4.3, 6, 8.25), register access through memory and I/O ports (9.4.3), receive and
 * transmit queues with legacy and advanced descriptors (7.1, 7.2), exact, multicast and pool filters (7.1.1, 7.10.3),
 * MAC and PHY loopback (3.5.6), interrupts by pin, MSI and MSI-X (7.3), virtual functions with mailbox and local switching
 * (7.10). Not here: checksum, VLAN and segmentation offloads, RSS, header splitting, throttling, time stamps, wake-up,
 * security, firmware. A whole frame takes no time on the wire.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";
import type { FunctionDescription } from "../../description.ts";
import { allOnes } from "../../little-endian.ts";
import type { DeviceModel, DevicePort } from "../../model.ts";
import type { VirtualFunction } from "../../sriov.ts";
import { FCS_LENGTH, frameCheckSequence, isBroadcast, isMulticast, type NetworkPeer } from "../network.ts";
import { IO_BAR, igbDescription, REGISTERS_BAR, REGISTERS_SIZE } from "./description.ts";
import { eepromContent } from "./eeprom.ts";
import { IgbVf, type PhysicalFunction } from "./igb-vf.ts";
import { Interrupts } from "./interrupts.ts";
import { PHY_ADDRESS, Phy } from "./phy.ts";
import type { QueueOwner } from "./queue.ts";
import { type Direction, queueDirection, queueIndex, queuePlace, queueRegister } from "./queue-place.ts";
import { ReceiveFilter } from "./receive-filter.ts";
import { ReceiveQueue } from "./receive-queue.ts";
import { RegisterFile } from "./register-file.ts";
import * as registers from "./registers.ts";
import { TransmitQueue, type TransmitSink } from "./transmit-queue.ts";
import { Virtualization } from "./virtualization.ts";

/** Options of {@link Igb}. */
export interface IgbOptions {
	/** Six bytes; 52:54:00:12:34:56 when left out. */
	readonly mac?: Uint8Array;
	/** What is at the other end of the wire; nothing when left out, and the link is down. */
	readonly peer?: NetworkPeer;
}

/**
 * What one write may send before the event loop gets its turn: more than a ring of any driver, little enough that a hostile
 * guest cannot stop the VMM. The rest is sent later.
 */
const DESCRIPTORS_AT_ONCE = 4096;
const DEFAULT_MAC: readonly number[] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const IO_ADDRESS = 0;
const IO_DATA = 4;
const SHORTEST_HEADER = 14;

/**
 * The controller.
 *
 * @example
 * ```ts
 * const [a, b] = [new Igb(), new Igb({ mac: new Uint8Array([2, 0, 0, 0, 0, 1]) })];
 * a.connect(b);
 * b.connect(a);
 * machine.plug("0000:04:00.0", new PciFunction(Igb.description(), a));
 * ```
 */
export class Igb implements DeviceModel, NetworkPeer, TransmitSink, PhysicalFunction, QueueOwner {
	readonly #registers = new RegisterFile();
	readonly #interrupts = new Interrupts(this.#registers, () => this.#port);
	readonly #filter = new ReceiveFilter(this.#registers);
	readonly #phy = new Phy();
	readonly #eeprom: Uint16Array;
	readonly #receive: readonly ReceiveQueue[];
	readonly #transmit: readonly TransmitQueue[];
	readonly #virtualization = new Virtualization(this.#registers, this.#interrupts);
	#port: DevicePort | undefined;
	#peer: NetworkPeer | undefined;
	#control = 0;
	#eerd = 0;
	#mdic = 0;
	#semaphore = 0;
	#ioAddress = 0;
	#sending = false;
	#later: Disposable | undefined;

	constructor(options: IgbOptions = {}) {
		const indexes = Array.from({ length: registers.QUEUES }, (_, index) => index);
		const owner = (queue: number): QueueOwner => this.#virtual(queue) ?? this;
		this.#eeprom = eepromContent(options.mac ?? Uint8Array.from(DEFAULT_MAC));
		this.#receive = indexes.map((index) => new ReceiveQueue(index, owner));
		this.#transmit = indexes.map((index) => new TransmitQueue(index, owner, this));
		this.#powerOn();
		if (options.peer) this.connect(options.peer);
	}

	/** The function it lives in: 8086:10c9, with SR-IOV for 8 virtual functions. */
	static description(): FunctionDescription {
		return igbDescription();
	}

	/** Frames that asked for offloads that are not here, or were too long. */
	get refusedFrames(): number {
		return this.#transmit.reduce((sum, queue) => sum + queue.refused, 0);
	}

	/** Puts the cable in: the link goes up. @param peer undefined pulls it out */
	connect(peer: NetworkPeer | undefined): void {
		this.#peer = peer;
		this.#phy.linked = peer !== undefined;
		this.#interrupts.raise(registers.INT_LINK);
	}

	// ---- the function ----

	attach(port: DevicePort): void {
		this.#port = port;
	}

	detach(): void {
		this.#later?.[Symbol.dispose]();
		this.#later = undefined;
		this.#port = undefined;
	}

	reset(): void {
		this.#powerOn();
	}

	virtualFunction(index: number): VirtualFunction {
		return { description: IgbVf.description(), model: new IgbVf(this, index) };
	}

	/** A narrow read is a part of the register. */
	read(bar: number, offset: number, width: AccessWidth): number {
		if (bar === REGISTERS_BAR) return ((this.#read(offset & ~3) >>> (8 * (offset & 3))) & allOnes(width)) >>> 0;
		if (bar !== IO_BAR) return 0;
		if (offset === IO_ADDRESS) return this.#ioAddress;
		return offset === IO_DATA && this.#ioAddress < REGISTERS_SIZE ? this.#read(this.#ioAddress & ~3) : 0;
	}

	/** Registers take aligned writes of 4 bytes; what else comes is dropped. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (width !== 4 || (offset & 3) !== 0) return;
		if (bar === REGISTERS_BAR) this.#write(offset, value);
		else if (bar === IO_BAR && offset === IO_ADDRESS) this.#ioAddress = value;
		else if (bar === IO_BAR && offset === IO_DATA && this.#ioAddress < REGISTERS_SIZE)
			this.#write(this.#ioAddress & ~3, value);
	}

	// ---- the wire ----

	/** A frame from the other end of the wire. */
	receive(frame: Uint8Array): void {
		this.#deliver(frame, -1);
	}

	transmit(queue: number, frame: Uint8Array): void {
		const file = this.#registers;
		file.count(registers.GPTC);
		file.count(registers.GOTCL, frame.length + FCS_LENGTH);
		const pool = queue & 7;
		this.#virtual(queue)?.transmitted();
		if (this.#loopback) {
			this.#deliver(frame, -1);
			return;
		}
		if (
			this.#filter.pooled &&
			file.has(registers.DTXSWC, registers.DTXSWC_LOOPBACK) &&
			frame.length >= SHORTEST_HEADER
		) {
			const local = this.#filter.pools(frame) & ~(1 << pool);
			if (local !== 0) this.#deliver(frame, pool);
			if (local !== 0 && !isMulticast(frame)) return;
		}
		if (this.#linkUp) this.#peer?.receive(frame);
	}

	transmitted(queue: number): void {
		this.#wroteBack(queue, "transmit");
	}

	// ---- DMA of the queues that no virtual function has ----

	dmaRead(address: bigint, into: Uint8Array): boolean {
		return this.#port?.dmaRead(address, into) ?? false;
	}

	dmaWrite(address: bigint, from: Uint8Array): boolean {
		return this.#port?.dmaWrite(address, from) ?? false;
	}

	// ---- what virtual functions ask ----

	virtualAttached(pool: number, vf: IgbVf): void {
		this.#virtualization.functions[pool] = vf;
	}

	virtualDetached(pool: number): void {
		this.#virtualization.functions[pool] = undefined;
		this.#resetQueues(pool);
	}

	virtualReset(pool: number): void {
		this.#resetQueues(pool);
		this.#virtualization.functionReset(pool);
	}

	readStatus(): number {
		const up = this.#linkUp ? registers.STATUS_LINK_UP : 0;
		const master = (this.#control & registers.CTRL_MASTER_DISABLE) === 0 ? registers.STATUS_MASTER_ENABLE : 0;
		return registers.STATUS_FULL_DUPLEX | registers.STATUS_SPEED_1000 | up | this.#virtualization.status | master;
	}

	readMailbox(pool: number): number {
		return this.#virtualization.mailboxes[pool]?.readVirtual() ?? 0;
	}

	writeMailbox(pool: number, value: number): void {
		this.#virtualization.mailboxes[pool]?.writeVirtual(value);
	}

	readMailboxMemory(pool: number, offset: number): number {
		return this.#registers.get(registers.VMB_MEMORY + 64 * pool + offset);
	}

	writeMailboxMemory(pool: number, offset: number, value: number): void {
		this.#registers.set(registers.VMB_MEMORY + 64 * pool + offset, value);
	}

	readQueue(direction: Direction, queue: number, register: number): number {
		return (direction === "receive" ? this.#receive : this.#transmit)[queue]?.readRegister(register) ?? 0;
	}

	writeQueue(direction: Direction, queue: number, register: number, value: number): void {
		(direction === "receive" ? this.#receive : this.#transmit)[queue]?.writeRegister(register, value);
		if (direction === "transmit" && (register === registers.Q_TAIL || register === registers.Q_CONTROL)) this.#send();
	}

	// ---- registers ----

	#read(offset: number): number {
		const at = registers.INTERRUPT_ALIASES.get(offset) ?? offset;
		const interrupt = this.#interrupts.read(at);
		if (interrupt !== undefined) return interrupt;
		const place = queuePlace(at, true);
		if (place >= 0) return this.readQueue(queueDirection(place), queueIndex(place), queueRegister(place));
		const virtual = this.#virtualization.read(at);
		if (virtual !== undefined) return virtual;
		switch (at) {
			case registers.CTRL:
			case registers.CTRL_ALIAS:
				return this.#control;
			case registers.STATUS:
				return this.readStatus();
			case registers.EEC:
				return registers.EEC_PRESENT;
			case registers.EERD:
				return this.#eerd;
			case registers.MDIC:
				return this.#mdic;
			case registers.SWSM:
				return this.#takeSemaphore();
			case registers.FWSM:
				return 0;
			default:
				return this.#registers.read(at);
		}
	}

	#write(offset: number, value: number): void {
		const at = registers.INTERRUPT_ALIASES.get(offset) ?? offset;
		if (this.#interrupts.write(at, value)) return;
		const place = queuePlace(at, true);
		if (place >= 0) {
			this.writeQueue(queueDirection(place), queueIndex(place), queueRegister(place), value);
			return;
		}
		if (this.#virtualization.write(at, value)) return;
		switch (at) {
			case registers.CTRL:
			case registers.CTRL_ALIAS:
				this.#writeControl(value);
				return;
			case registers.EERD:
				if ((value & registers.EERD_START) !== 0) this.#readEeprom((value >>> 2) & 0x3fff);
				return;
			case registers.MDIC:
				this.#accessPhy(value);
				return;
			case registers.SWSM:
				this.#semaphore = value & 3;
				return;
			case registers.CTRL_EXT:
				this.#registers.write(at, value & ~registers.CTRL_EXT_PF_RESET_DONE);
				if ((value & registers.CTRL_EXT_PF_RESET_DONE) !== 0) this.#virtualization.resetDone();
				return;
			case registers.TCTL:
				this.#registers.write(at, value);
				this.#send();
				return;
			default:
				this.#registers.write(at, value);
		}
	}

	#writeControl(value: number): void {
		if ((value & registers.CTRL_RESET) !== 0) {
			this.#powerOn();
			return;
		}
		if ((value & registers.CTRL_PHY_RESET) !== 0) this.#phy.reset();
		const was = this.#linkUp;
		this.#control = (value & ~registers.CTRL_PHY_RESET) >>> 0;
		if (this.#linkUp !== was) this.#interrupts.raise(registers.INT_LINK);
	}

	#readEeprom(word: number): void {
		this.#eerd = (((this.#eeprom[word] ?? 0) << 16) | (word << 2) | registers.EERD_DONE) >>> 0;
	}

	/** MDIC: at once, since nothing here takes time. */
	#accessPhy(value: number): void {
		const ready = 1 << 28;
		const failed = 1 << 30;
		const operation = (value >>> 26) & 3;
		const register = (value >>> 16) & 0x1f;
		let result = value & ~(ready | failed);
		if (((value >>> 21) & 0x1f) !== PHY_ADDRESS || operation === 0 || operation === 3) result |= failed;
		else if (operation === 1) this.#phy.write(register, value & 0xffff);
		else result = (result & ~0xffff) | this.#phy.read(register);
		this.#mdic = (result | ready) >>> 0;
		const wanted = (value & (1 << 29)) !== 0;
		if (wanted) this.#interrupts.raise(registers.INT_MDIO);
	}

	/** The one who reads a 0 has it. */
	#takeSemaphore(): number {
		const before = this.#semaphore;
		this.#semaphore |= registers.SWSM_SEMAPHORE;
		return before;
	}

	get #linkUp(): boolean {
		return this.#peer !== undefined && (this.#control & registers.CTRL_LINK_UP) !== 0;
	}

	get #loopback(): boolean {
		const mac = this.#registers.get(registers.RCTL) & registers.RCTL_LOOPBACK_MASK;
		return mac === registers.RCTL_MAC_LOOPBACK || this.#phy.loopback;
	}

	/** Power-on, CTRL.RST and function level reset (section 4.3): the first receive address comes from the EEPROM. */
	#powerOn(): void {
		this.#later?.[Symbol.dispose]();
		this.#later = undefined;
		this.#registers.reset();
		this.#interrupts.reset();
		this.#phy.reset();
		for (const queue of [...this.#receive, ...this.#transmit]) queue.reset();
		this.#virtualization.reset();
		this.#control = registers.CTRL_FULL_DUPLEX | registers.CTRL_SPEED_1000;
		this.#eerd = 0;
		this.#mdic = 0;
		this.#semaphore = 0;
		this.#ioAddress = 0;
		const [low = 0, middle = 0, high = 0] = this.#eeprom;
		this.#registers.set(registers.RAL, (low | (middle << 16)) >>> 0);
		this.#registers.set(registers.RAL + 4, (high | registers.RAH_VALID) >>> 0);
	}

	/** The virtual function that has a queue; undefined for the physical one's. */
	#virtual(queue: number): IgbVf | undefined {
		return this.#virtualization.functions[queue & 7];
	}

	#resetQueues(pool: number): void {
		for (const queue of [pool, pool + 8]) {
			this.#receive[queue]?.reset();
			this.#transmit[queue]?.reset();
		}
	}

	// ---- frames ----

	/** Sends what all queues have. It does not nest: frames and DMA may come back to our own registers. */
	#send(): void {
		const file = this.#registers;
		if (this.#sending || !this.#port) return;
		this.#sending = true;
		this.#later?.[Symbol.dispose]();
		this.#later = undefined;
		let budget = DESCRIPTORS_AT_ONCE;
		for (let taken = -1; taken !== 0 && budget > 0; ) {
			taken = 0;
			for (const queue of this.#transmit) {
				if (!file.has(registers.TCTL, registers.TCTL_ENABLE) || budget === 0) break;
				if (this.#filter.pooled && !file.has(registers.VFTE, 1 << (queue.index & 7))) continue;
				const sent = queue.run(Math.min(budget, 64), file.has(registers.TCTL, registers.TCTL_PAD_SHORT));
				taken += sent;
				budget -= sent;
			}
		}
		this.#sending = false;
		if (budget === 0) this.#later = this.#port?.clock.timer(0, () => this.#send());
	}

	/** @param from the pool that must not get it back, or -1 */
	#deliver(frame: Uint8Array, from: number): void {
		const file = this.#registers;
		if (frame.length < SHORTEST_HEADER || !file.has(registers.RCTL, registers.RCTL_ENABLE)) return;
		if (frame.length > this.#filter.longest) return;
		const queues = this.#filter.queues(frame) & ~(from < 0 ? 0 : 1 << from);
		if (queues === 0) return;
		file.count(registers.GPRC);
		file.count(registers.GORCL, frame.length + FCS_LENGTH);
		if (isBroadcast(frame)) file.count(registers.BPRC);
		else if (isMulticast(frame)) file.count(registers.MPRC);
		const whole = file.has(registers.RCTL, registers.RCTL_STRIP_CRC) ? frame : withCheckSequence(frame);
		for (const queue of this.#receive) {
			if (((queues >>> queue.index) & 1) === 0) continue;
			if (queue.receive(whole)) {
				this.#virtual(queue.index)?.received();
				this.#wroteBack(queue.index, "receive");
			} else {
				file.count(registers.MPC);
				this.#interrupts.raise(registers.INT_RECEIVE_OVERRUN);
			}
		}
	}

	/** Tells the function whose queue it is. */
	#wroteBack(queue: number, direction: Direction): void {
		const vf = this.#virtual(queue);
		if (vf) vf.queue(queue >>> 3, direction);
		else this.#interrupts.queue(queue, direction);
	}
}

function withCheckSequence(frame: Uint8Array): Uint8Array {
	const whole = new Uint8Array(frame.length + FCS_LENGTH);
	whole.set(frame);
	new DataView(whole.buffer).setUint32(frame.length, frameCheckSequence(frame), true);
	return whole;
}
