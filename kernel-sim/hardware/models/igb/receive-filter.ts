/**
 * Which queues get a frame (82576 datasheet, sections 7.1.1 and 7.10.3): exact addresses, the multicast table, promiscuous
 * modes; with virtualization the pools of each. VLAN filters, RSS and the five-tuple filters are not here: without pools
 * everything goes to queue 0.
 *
 * @module
 */
import { FCS_LENGTH, isBroadcast, isMulticast } from "../network.ts";
import type { RegisterFile } from "./register-file.ts";
import * as registers from "./registers.ts";

/** Modes of MRQC that sort by virtual machine pool, the second with RSS inside a pool. */
const MRQC_POOLS: readonly number[] = [3, 5];
const MULTICAST_SHIFTS: readonly number[] = [4, 3, 2, 0];

/** Decides by what the registers say. */
export class ReceiveFilter {
	readonly #registers: RegisterFile;

	constructor(file: RegisterFile) {
		this.#registers = file;
	}

	/** Frames are sorted into pools; queue n is the first one of pool n. */
	get pooled(): boolean {
		return MRQC_POOLS.includes(this.#registers.get(registers.MRQC) & 7);
	}

	/** The longest frame that is taken, frame check sequence excluded. */
	get longest(): number {
		const long = this.#registers.has(registers.RCTL, registers.RCTL_LONG_PACKETS);
		const most = long ? this.#registers.get(registers.RLPML) & 0x3fff : registers.LONGEST_STANDARD_FRAME;
		return most - FCS_LENGTH;
	}

	/** Which queues get a frame: a bit for each. */
	queues(frame: Uint8Array): number {
		return this.pooled ? this.pools(frame) & this.#registers.get(registers.VFRE) : this.#accepts(frame) ? 1 : 0;
	}

	/** Which pools a frame is for: a bit for each. */
	pools(frame: Uint8Array): number {
		const control = this.#registers.get(registers.VT_CTL);
		let pools = 0;
		if (isMulticast(frame)) pools = this.#groupPools(frame);
		else {
			const exact = this.#match(frame);
			pools = exact === undefined ? 0 : (exact >>> registers.RAH_POOL_SHIFT) & 0xff;
			const promiscuous = this.#registers.has(registers.RCTL, registers.RCTL_UNICAST_PROMISCUOUS);
			if (exact === undefined && promiscuous && (control & registers.VT_CTL_NO_DEFAULT_POOL) === 0)
				pools = 1 << ((control >>> registers.VT_CTL_DEFAULT_POOL_SHIFT) & 7);
		}
		// Without replication one pool gets it, the lowest.
		return (control & registers.VT_CTL_REPLICATE) !== 0 ? pools : pools & -pools;
	}

	#groupPools(frame: Uint8Array): number {
		const broadcast = isBroadcast(frame);
		const inTable = !broadcast && this.#inMulticastTable(frame);
		const exact = ((this.#match(frame) ?? 0) >>> registers.RAH_POOL_SHIFT) & 0xff;
		let pools = exact;
		for (let pool = 0; pool < registers.POOLS; pool++) {
			const mode = this.#registers.get(registers.VMOLR + 4 * pool);
			const wanted = broadcast
				? mode & registers.VMOLR_BROADCAST
				: (mode & registers.VMOLR_MULTICAST_PROMISCUOUS) | (inTable ? mode & registers.VMOLR_MULTICAST_TABLE : 0);
			if (wanted !== 0) pools |= 1 << pool;
		}
		return pools;
	}

	#accepts(frame: Uint8Array): boolean {
		const file = this.#registers;
		if (isBroadcast(frame) && file.has(registers.RCTL, registers.RCTL_BROADCAST)) return true;
		if (this.#match(frame) !== undefined) return true;
		if (!isMulticast(frame)) return file.has(registers.RCTL, registers.RCTL_UNICAST_PROMISCUOUS);
		return file.has(registers.RCTL, registers.RCTL_MULTICAST_PROMISCUOUS) || this.#inMulticastTable(frame);
	}

	/** RAH of the first receive address that is the frame's destination, or undefined. */
	#match(frame: Uint8Array): number | undefined {
		const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
		const low = view.getUint32(0, true);
		const high = view.getUint16(4, true);
		for (let index = 0; index < registers.ADDRESSES; index++) {
			const at = index < 16 ? registers.RAL + 8 * index : registers.RAL_HIGH + 8 * (index - 16);
			const upper = this.#registers.get(at + 4);
			if ((upper & registers.RAH_VALID) === 0 || (upper & 0xffff) !== high) continue;
			if (this.#registers.get(at) === low) return upper;
		}
		return undefined;
	}

	/** Twelve bits of the destination, which ones RCTL.MO says, index a bit of MTA (section 7.1.1.3.2). */
	#inMulticastTable(frame: Uint8Array): boolean {
		const shift = MULTICAST_SHIFTS[(this.#registers.get(registers.RCTL) >>> 12) & 3] ?? 4;
		const index = ((((frame[5] ?? 0) << 8) | (frame[4] ?? 0)) >>> shift) & 0xfff;
		return this.#registers.has(registers.MTA + 4 * (index >>> 5), 1 << (index & 31));
	}
}
