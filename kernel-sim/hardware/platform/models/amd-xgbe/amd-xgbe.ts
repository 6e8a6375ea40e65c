/**
 * The 10 Gb Ethernet controller of AMD's Opteron A1100 ("Seattle"): five blocks of registers, four DMA channels with an
 * edge-triggered interrupt each, and level-triggered ones for the device and for auto-negotiation.
 *
 * What it has: transmit rings on all channels, receive on channel 0, frames over several buffers, header buffers (of
 * which frames that are no IP use all), the station addresses and the promiscuous, multicast and broadcast bits of its
 * filter, loop-back, the status and interrupts of channels, auto-negotiation that succeeds at once. What it has not: RSS,
 * hash filters, VLANs, checksums, segmentation, time stamps, statistics, data centre bridging.
 *
 * @module
 */
import type { AccessWidth } from "../../../../../core/kernel.ts";
import { cells64, deviceTreeNode } from "../../../../../core/platform/device-tree/node.ts";
import { load, store } from "../../../little-endian.ts";
import { frameCheckSequence, type NetworkPeer } from "../../../models/network.ts";
import type { PlatformDescription } from "../../description.ts";
import type { PlatformModel, PlatformPort } from "../../model.ts";
import { type StationAddress, takesFrame, withCheckSequence } from "../ethernet.ts";
import { Channel, type ChannelHost } from "./channel.ts";
import { Pcs } from "./pcs.ts";
import * as reg from "./registers.ts";

const MAC_SIZE = 0x80000;
const MAC = 0;
const PCS = 1;
const SERDES = 2;
const SIR0 = 3;
/** Interrupt lines, in the order of the device tree. */
const DEVICE = 0;
const FIRST_CHANNEL = 1;
const AUTO_NEGOTIATION = FIRST_CHANNEL + reg.CHANNELS;
/** Of the core, as Seattle's says it. */
const CORE_VERSION = 0x00000341;
/** 1 Gb/s and 10 Gb/s, one more station address than the first for each of 31. */
const FEATURES_0 = 0x007c0002;
/** 40 bits of address, FIFOs of 64 KiB. */
const FEATURES_1 = 0x00004249;
/** Four of each: receive queues, transmit queues, receive channels, transmit channels. */
const FEATURES_2 = 3 | (3 << 6) | (3 << 12) | (3 << 18);

/** Options of {@link AmdXgbe}. */
export interface AmdXgbeOptions {
	/** What is at the other end of the wire; nothing when left out. */
	readonly peer?: NetworkPeer;
}

/** Options of {@link AmdXgbe.description}. */
export interface AmdXgbePlace {
	/** Its station address, 6 bytes; 02:a1:a2:a3:a4:a5 when left out. */
	readonly macAddress?: Uint8Array;
	/** The phandles of its DMA and PTP clocks in the host's device tree; 1 and 2 when left out. */
	readonly clocks?: readonly [dma: number, ptp: number];
}

/**
 * AMD's 10 Gb Ethernet controller.
 *
 * @example
 * ```ts
 * const nic = new AmdXgbe({ peer: { receive: (frame) => console.log(frame.length) } });
 * machine.plugPlatform(new PlatformHardware(AmdXgbe.description(), nic));
 * nic.deliver(new Uint8Array(60)); // a frame arrives
 * ```
 */
export class AmdXgbe implements PlatformModel, ChannelHost {
	/** Frames that came while nobody wanted them, or the filter refused them. */
	droppedFrames = 0;
	readonly #peer: NetworkPeer | undefined;
	readonly #registers = new Uint8Array(MAC_SIZE);
	readonly #serdes = new Uint8Array(0x400);
	readonly #channels = Array.from({ length: reg.CHANNELS }, (_, index) => new Channel(index, this));
	readonly #pcs = new Pcs((asserted) => this.#port?.setLine(AUTO_NEGOTIATION, asserted));
	#port: PlatformPort | undefined;

	constructor(options: AmdXgbeOptions = {}) {
		this.#peer = options.peer;
		this.#resetMac();
	}

	/** The device it lives in, with its node (`amd,xgbe-seattle-v1a`), as the device tree of the board has it. */
	static description(place: AmdXgbePlace = {}): PlatformDescription {
		const { macAddress = Uint8Array.of(2, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5), clocks = [1, 2] } = place;
		const blocks: [address: bigint, size: number][] = [
			[0xe0700000n, MAC_SIZE],
			[0xe0780000n, MAC_SIZE],
			[0xe1240800n, 0x400],
			[0xe1250000n, 0x60],
			[0xe12500f8n, 4],
		];
		const level = (number: number) => ({ number, trigger: "level" as const });
		const edge = (number: number) => ({ number, trigger: "edge" as const });
		const interrupts = [level(325), edge(346), edge(347), edge(348), edge(349), level(323)];
		return {
			name: "e0700000.xgmac",
			regions: blocks.map(([address, size], index) => ({
				kind: "mmio",
				address,
				size,
				// The smallest block only remembers what is written to it.
				backing: index === 4 ? "memory" : "registers",
			})),
			interrupts,
			node: deviceTreeNode("xgmac@e0700000", {
				compatible: "amd,xgbe-seattle-v1a",
				reg: blocks.flatMap(([address, size]) => [...cells64(address), ...cells64(BigInt(size))]),
				interrupts: interrupts.flatMap(({ number, trigger }) => [0, number, trigger === "level" ? 4 : 1]),
				"amd,per-channel-interrupt": true,
				"amd,speed-set": 0,
				"amd,serdes-blwc": [1, 1, 0],
				"amd,serdes-cdr-rate": [2, 2, 7],
				"amd,serdes-pq-skew": [10, 10, 18],
				"amd,serdes-tx-amp": [0, 0, 0],
				"amd,serdes-dfe-tap-config": [3, 3, 3],
				"amd,serdes-dfe-tap-enable": [0, 0, 7],
				"mac-address": macAddress,
				clocks: [...clocks],
				"clock-names": ["dma_clk", "ptp_clk"],
				"phy-mode": "xgmii",
				"dma-coherent": true,
			}),
		};
	}

	attach(port: PlatformPort): void {
		this.#port = port;
	}

	detach(): void {
		this.#port = undefined;
	}

	reset(): void {
		this.#resetMac();
		this.#serdes.fill(0);
		this.#pcs.reset();
	}

	read(region: number, offset: number, width: AccessWidth): number {
		if (region === PCS) return this.#pcs.read(offset & ~3) >>> (8 * (offset & 3));
		if (region === SERDES) return load(this.#serdes, offset, width);
		if (region === SIR0) return offset === reg.SIR0_STATUS ? reg.SIR0_STATUS_READY : 0;
		if (region !== MAC) return 0;
		const word = this.#readMac(offset & ~3);
		return word >>> (8 * (offset & 3));
	}

	write(region: number, offset: number, width: AccessWidth, value: number): void {
		if (region === SERDES) store(this.#serdes, offset, width, value);
		if (width !== 4 || offset % 4 !== 0) return;
		if (region === PCS) this.#pcs.write(offset, value);
		else if (region === MAC) this.#writeMac(offset, value);
	}

	/** A frame arrives from the wire, from the destination address on and without frame check sequence. */
	deliver(frame: Uint8Array): void {
		const control = this.#get(reg.MAC_RCR);
		const queue = (this.#get(reg.MAC_RQC0R) & 3) !== 0;
		const [channel] = this.#channels;
		const wanted = (control & reg.MAC_RCR_RE) !== 0 && queue && channel?.receives && takesFrame(frame, this.#filter);
		const strip = (control & reg.MAC_RCR_CST) !== 0;
		const stored = strip ? frame : withCheckSequence(frame, frameCheckSequence(frame));
		if (!wanted || !channel.receive(stored)) this.droppedFrames++;
	}

	// ---- what the channels call ----

	dmaRead(address: bigint, into: Uint8Array): boolean {
		return this.#port?.dmaRead(address, into) ?? false;
	}

	dmaWrite(address: bigint, from: Uint8Array): boolean {
		return this.#port?.dmaWrite(address, from) ?? false;
	}

	transmits(channel: number): boolean {
		const queue = this.#get(reg.MTL_Q_BASE + reg.MTL_Q_INC * channel + reg.MTL_Q_TQOMR);
		return (this.#get(reg.MAC_TCR) & reg.MAC_TCR_TE) !== 0 && (queue & reg.MTL_Q_TQOMR_TXQEN) !== 0;
	}

	send(frame: Uint8Array): void {
		if ((this.#get(reg.MAC_RCR) & reg.MAC_RCR_LM) !== 0) this.deliver(frame);
		else this.#peer?.receive(frame);
	}

	/** A channel's own line pulses with each frame; the device's is up as long as something enabled is not acknowledged. */
	changed(channel: number, event: number): void {
		if (event !== 0) this.#port?.pulse(FIRST_CHANNEL + channel);
		this.#port?.setLine(DEVICE, this.#interruptStatus !== 0);
	}

	get headerSize(): number {
		return 64 << ((this.#get(reg.MAC_RCR) >>> reg.MAC_RCR_HDSMS_SHIFT) & 7);
	}

	#resetMac(): void {
		this.#registers.fill(0);
		for (const channel of this.#channels) channel.reset();
		store(this.#registers, reg.MAC_VR, 4, CORE_VERSION);
		store(this.#registers, reg.MAC_HWF0R, 4, FEATURES_0);
		store(this.#registers, reg.MAC_HWF1R, 4, FEATURES_1);
		store(this.#registers, reg.MAC_HWF2R, 4, FEATURES_2);
		this.#port?.setLine(DEVICE, false);
	}

	/** A bit for each channel. */
	get #interruptStatus(): number {
		return this.#channels.reduce((bits, { index, interrupting }) => bits | (interrupting ? 1 << index : 0), 0);
	}

	get #filter() {
		const bits = this.#get(reg.MAC_PFR);
		const addresses: StationAddress[] = [];
		for (let index = 0; index < reg.MAC_ADDRESSES; index++) {
			const at = reg.MAC_MACA0HR + 8 * index;
			// The first is always in use.
			if (index === 0 || (this.#get(at) & reg.MAC_MACA_AE) !== 0)
				addresses.push({ high: this.#get(at), low: this.#get(at + 4) });
		}
		return {
			promiscuous: (bits & (reg.MAC_PFR_PR | reg.MAC_PFR_RA)) !== 0,
			allMulticast: (bits & reg.MAC_PFR_PM) !== 0,
			noBroadcast: (bits & reg.MAC_PFR_DBF) !== 0,
			addresses,
		};
	}

	#channelAt(offset: number): Channel | undefined {
		return this.#channels[Math.floor((offset - reg.DMA_CH_BASE) / reg.DMA_CH_INC)];
	}

	#readMac(offset: number): number {
		if (offset === reg.DMA_ISR) return this.#interruptStatus;
		return this.#channelAt(offset)?.get((offset - reg.DMA_CH_BASE) % reg.DMA_CH_INC) ?? this.#get(offset);
	}

	#writeMac(offset: number, value: number): void {
		const channel = this.#channelAt(offset);
		if (channel) {
			channel.write((offset - reg.DMA_CH_BASE) % reg.DMA_CH_INC, value);
			return;
		}
		switch (offset) {
			case reg.MAC_VR:
			case reg.MAC_HWF0R:
			case reg.MAC_HWF1R:
			case reg.MAC_HWF2R:
			case reg.DMA_ISR:
				return;
			case reg.DMA_MR:
				// It is over before anybody can look.
				if ((value & reg.DMA_MR_SWR) !== 0) this.#resetMac();
				store(this.#registers, offset, 4, value & ~reg.DMA_MR_SWR);
				return;
		}
		const queue = offset - reg.MTL_Q_BASE;
		const flush = queue >= 0 && queue < reg.MTL_Q_INC * reg.CHANNELS && queue % reg.MTL_Q_INC === reg.MTL_Q_TQOMR;
		store(this.#registers, offset, 4, flush ? value & ~reg.MTL_Q_TQOMR_FTQ : value);
		if (offset === reg.MAC_TCR || flush) for (const each of this.#channels) each.transmit();
	}

	#get(offset: number): number {
		return load(this.#registers, offset, 4);
	}
}
