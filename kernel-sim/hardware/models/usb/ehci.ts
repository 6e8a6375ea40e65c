/**
 * An EHCI controller of the ICH9 (82801I, 8086:293a; Intel I/O Controller Hub 9 Datasheet, section 17; Enhanced Host Controller
 * Interface Specification 1.0).
 *
 * Here are: capability and operational registers in a BAR of 1 KiB, six root ports, the asynchronous schedule with queue heads
 * and transfer descriptors, the advance doorbell, interrupts, the legacy support capability, function level reset. Not here:
 * the periodic schedule, split transactions (low and full speed devices stay with the companion), 64-bit addresses, the debug
 * port, suspend and resume signalling.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";
import { af, pm } from "../../capabilities.ts";
import type { FunctionDescription } from "../../description.ts";
import { allOnes, load, store } from "../../little-endian.ts";
import type { DeviceModel, DevicePort } from "../../model.ts";
import type { UsbDevice } from "./device.ts";
import { EhciQueue } from "./ehci-queue.ts";
import * as ehci from "./ehci-registers.ts";

/** Options of {@link Ehci}. */
export interface EhciOptions {
	/** What is plugged into ports 1 to 6 to begin with. */
	readonly devices?: readonly (UsbDevice | undefined)[];
}

const REGISTERS_BAR = 0;
const SIZE = 0x400;
const FRAME = 1e6;
const MICROFRAMES = 8;
/** A frame list of 1024 entries, eight microframes each, whatever its programmed size. */
const FRAME_INDEX_END = 0x4000;
const ROLLOVER = 0x2000;
/** Queue heads visited in a frame, and 480 Mb/s for a millisecond: lists that never end do not keep us longer. */
const QUEUE_HEADS_PER_FRAME = 256;
const BYTES_PER_FRAME = 60000;
const CHANGES = ehci.PORT_CONNECT_CHANGED | ehci.PORT_ENABLE_CHANGED;
const PORT_WRITABLE = ehci.PORT_SUSPENDED | ehci.PORT_RESET;

/**
 * The controller.
 *
 * @example
 * ```ts
 * const ehci = new Ehci({ devices: [new LoopbackDevice("high")] });
 * machine.plug("0000:00:1d.7", new PciFunction(Ehci.description(), ehci));
 * ```
 */
export class Ehci implements DeviceModel {
	readonly #devices: (UsbDevice | undefined)[];
	readonly #ports: number[] = new Array(ehci.PORTS).fill(0);
	readonly #queue = new EhciQueue((address) => this.#find(address));
	readonly #dword = new Uint8Array(4);
	#port: DevicePort | undefined;
	#command = ehci.CMD_DEFAULT;
	#status = ehci.STS_HALTED;
	#enables = 0;
	#frameIndex = 0;
	#periodic = 0;
	#async = 0;
	#configured = 0;
	#timer: Disposable | undefined;

	constructor(options: EhciOptions = {}) {
		this.#devices = Array.from({ length: ehci.PORTS }, (_, port) => options.devices?.[port]);
		this.#resetPorts();
	}

	/** The function it lives in: 8086:293a, 1 KiB of registers in BAR 0, INTA#. */
	static description(): FunctionDescription {
		const legacySupport = new Uint8Array(8);
		legacySupport[0] = 1;
		return {
			name: "ehci",
			vendor: 0x8086,
			device: 0x293a,
			revision: 3,
			classCode: 0x0c0320,
			subsystemVendor: 0x1af4,
			subsystemDevice: 0x1100,
			interruptPin: 1,
			bars: [{ index: REGISTERS_BAR, kind: "mem32", size: SIZE, backing: "registers" }],
			capabilities: [pm({ offset: 0x50, pme: true }), af({ offset: 0x98 })],
			registers: [
				// Release 2.0, frame length adjustment, wake-up of every port (ICH9, sections 17.1.16 to 17.1.18).
				{ offset: 0x60, bytes: Uint8Array.of(0x20, 0x20, 0x7f, 0), writable: Uint8Array.of(0, 0x3f, 0x7f, 0) },
				// USBLEGSUP and USBLEGCTLSTS: nobody but the operating system has the controller (EHCI, section 2.1.7).
				{
					offset: ehci.EXTENDED_CAPABILITIES,
					bytes: legacySupport,
					writable: Uint8Array.of(0, 0, 1, 1, 0x3f, 0xe0, 0, 0),
				},
			],
		};
	}

	/** Plugs a device into a port, or pulls it out. @param port 0 to 5 */
	plug(port: number, device: UsbDevice | undefined): void {
		if (port < 0 || port >= ehci.PORTS)
			throw new RangeError(`Cannot plug a device into port ${port}: there are 0 to 5`);
		this.#devices[port] = device;
		device?.reset();
		const state = this.#ports[port] ?? 0;
		this.#ports[port] = (state & ehci.PORT_COMPANION) | ehci.PORT_CONNECT_CHANGED;
		if ((state & ehci.PORT_COMPANION) === 0) this.#status |= ehci.STS_PORT_CHANGE;
		this.#announce();
	}

	attach(port: DevicePort): void {
		this.#port = port;
	}

	detach(): void {
		this.#stop();
		this.#port = undefined;
	}

	reset(): void {
		this.#stop();
		this.#command = ehci.CMD_DEFAULT;
		this.#status = ehci.STS_HALTED;
		this.#enables = 0;
		this.#frameIndex = 0;
		this.#periodic = 0;
		this.#async = 0;
		this.#configured = 0;
		this.#resetPorts();
		this.#port?.setIntx(false);
	}

	/** Registers can be read in parts. */
	read(bar: number, offset: number, width: AccessWidth): number {
		if (bar !== REGISTERS_BAR) return 0;
		return ((this.#read(offset & ~3) >>> (8 * (offset & 3))) & allOnes(width)) >>> 0;
	}

	/** And written in parts: the rest of the dword keeps what it has, and clears nothing. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (bar !== REGISTERS_BAR || offset < ehci.CAPLENGTH) return;
		const register = (offset & ~3) - ehci.CAPLENGTH;
		store(this.#dword, 0, 4, width === 4 ? 0 : this.#read(offset & ~3) & ~clearable(register));
		store(this.#dword, offset & 3, width, value);
		this.#write(register, load(this.#dword, 0, 4));
		this.#announce();
	}

	#find(address: number): UsbDevice | undefined {
		const wanted = ehci.PORT_ENABLED;
		const state = wanted | ehci.PORT_RESET | ehci.PORT_SUSPENDED | ehci.PORT_COMPANION;
		return this.#devices.find(
			(device, port) => device?.address === address && ((this.#ports[port] ?? 0) & state) === wanted,
		);
	}

	#read(offset: number): number {
		if (offset < ehci.CAPLENGTH) return capability(offset);
		const register = offset - ehci.CAPLENGTH;
		switch (register) {
			case ehci.USBCMD:
				return this.#command;
			case ehci.USBSTS:
				return this.#readStatus();
			case ehci.USBINTR:
				return this.#enables;
			case ehci.FRINDEX:
				return this.#frameIndex;
			case ehci.PERIODICLISTBASE:
				return this.#periodic;
			case ehci.ASYNCLISTADDR:
				return this.#async;
			case ehci.CONFIGFLAG:
				return this.#configured;
			default:
				return this.#readPort((register - ehci.PORTSC) / 4);
		}
	}

	#write(register: number, value: number): void {
		switch (register) {
			case ehci.USBCMD:
				this.#writeCommand(value);
				return;
			case ehci.USBSTS:
				this.#status &= ~(value & ehci.STS_CLEARABLE);
				return;
			case ehci.USBINTR:
				this.#enables = value & 0x3f;
				return;
			case ehci.FRINDEX:
				if ((this.#command & ehci.CMD_RUN) === 0) this.#frameIndex = value & (FRAME_INDEX_END - 1);
				return;
			case ehci.PERIODICLISTBASE:
				this.#periodic = (value & ~0xfff) >>> 0;
				return;
			case ehci.ASYNCLISTADDR:
				this.#async = (value & ~0x1f) >>> 0;
				return;
			case ehci.CONFIGFLAG:
				this.#configure(value & 1);
				return;
			default:
				this.#writePort((register - ehci.PORTSC) / 4, value);
		}
	}

	#readStatus(): number {
		const runs = (this.#command & ehci.CMD_RUN) !== 0;
		const async = runs && (this.#command & ehci.CMD_ASYNC) !== 0 ? ehci.STS_ASYNC : 0;
		const periodic = runs && (this.#command & ehci.CMD_PERIODIC) !== 0 ? ehci.STS_PERIODIC : 0;
		return this.#status | async | periodic;
	}

	/** Low and full speed devices are for the companion, and so are all ports until the driver is there. */
	#readPort(port: number): number {
		const state = this.#ports[port];
		if (state === undefined) return 0;
		const companion = (state & ehci.PORT_COMPANION) !== 0;
		const connected = !companion && this.#devices[port] ? ehci.PORT_CONNECTED : 0;
		return (companion ? state & ~CHANGES : state) | ehci.PORT_POWER | connected;
	}

	#writePort(port: number, value: number): void {
		const before = this.#ports[port];
		if (before === undefined) return;
		const device = this.#devices[port];
		let after = (before & ~PORT_WRITABLE & ~(value & CHANGES)) | (value & PORT_WRITABLE);
		// Software can disable a port; only the end of a reset enables it (section 2.3.9).
		if ((value & ehci.PORT_ENABLED) === 0) after &= ~ehci.PORT_ENABLED;
		if ((value & ehci.PORT_RESET) !== 0) {
			after &= ~ehci.PORT_ENABLED;
			if ((before & ehci.PORT_RESET) === 0) device?.reset();
		} else if ((before & ehci.PORT_RESET) !== 0 && device?.speed === "high") after |= ehci.PORT_ENABLED;
		after = (after & ~ehci.PORT_COMPANION) | (value & ehci.PORT_COMPANION);
		this.#ports[port] = after;
	}

	#configure(configured: number): void {
		if (configured === this.#configured) return;
		this.#configured = configured;
		for (let port = 0; port < ehci.PORTS; port++) {
			const state = (this.#ports[port] ?? 0) & ~(ehci.PORT_ENABLED | ehci.PORT_COMPANION);
			this.#ports[port] = state | (configured === 0 ? ehci.PORT_COMPANION : 0);
			if (configured !== 0 && this.#devices[port]) {
				this.#ports[port] = state | ehci.PORT_CONNECT_CHANGED;
				this.#status |= ehci.STS_PORT_CHANGE;
			}
		}
	}

	#writeCommand(value: number): void {
		if ((value & ehci.CMD_RESET) !== 0) {
			this.reset();
			return;
		}
		this.#command = (value & ehci.CMD_WRITABLE) >>> 0;
		if ((value & ehci.CMD_RUN) === 0) this.#stop();
		else if (!this.#timer && this.#port) {
			this.#status &= ~ehci.STS_HALTED;
			this.#nextFrame(this.#port);
		}
	}

	#nextFrame(port: DevicePort): void {
		this.#timer = port.clock.timer(FRAME, () => this.#runFrame());
	}

	#runFrame(): void {
		this.#timer = undefined;
		const port = this.#port;
		if (!port) return;
		const before = this.#frameIndex;
		this.#frameIndex = (before + MICROFRAMES) % FRAME_INDEX_END;
		if (((before ^ this.#frameIndex) & ROLLOVER) !== 0) this.#status |= ehci.STS_FRAME_ROLLOVER;
		if ((this.#command & ehci.CMD_ASYNC) !== 0) this.#runAsync(port);
		if ((this.#command & ehci.CMD_DOORBELL) !== 0) {
			// Nothing of the list is kept between frames.
			this.#command &= ~ehci.CMD_DOORBELL;
			this.#status |= ehci.STS_ASYNC_ADVANCE;
		}
		if ((this.#status & ehci.STS_SYSTEM_ERROR) !== 0) {
			this.#command &= ~ehci.CMD_RUN;
			this.#stop();
		} else if ((this.#command & ehci.CMD_RUN) !== 0 && !this.#timer) this.#nextFrame(port);
		this.#announce();
	}

	/** Once round the list, from where it was left (section 4.8). */
	#runAsync(port: DevicePort): void {
		const first = this.#async;
		let at = first;
		for (let heads = QUEUE_HEADS_PER_FRAME, bytes = BYTES_PER_FRAME; heads > 0 && bytes > 0; heads--) {
			const { next, status } = this.#queue.visit(port, at, bytes);
			this.#status |= status;
			bytes -= 64;
			const isQueueHead = (next & ehci.LINK_TYPE) === ehci.LINK_QUEUE_HEAD;
			if ((status & ehci.STS_SYSTEM_ERROR) !== 0 || (next & ehci.LINK_END) !== 0 || !isQueueHead) return;
			// A device may have told its driver, by its own DMA, to stop us.
			if ((this.#command & ehci.CMD_ASYNC) === 0) return;
			at = (next & ~0x1f) >>> 0;
			if (at === first) return;
		}
	}

	#stop(): void {
		this.#timer?.[Symbol.dispose]();
		this.#timer = undefined;
		this.#status |= ehci.STS_HALTED;
	}

	#resetPorts(): void {
		for (let port = 0; port < ehci.PORTS; port++) {
			this.#devices[port]?.reset();
			this.#ports[port] = ehci.PORT_COMPANION;
		}
	}

	#announce(): void {
		this.#port?.setIntx((this.#status & this.#enables & ehci.STS_CLEARABLE) !== 0);
	}
}

function capability(offset: number): number {
	switch (offset) {
		case 0x00:
			return (ehci.CAPLENGTH | (ehci.HCIVERSION << 16)) >>> 0;
		case 0x04:
			return ehci.HCSPARAMS;
		case 0x08:
			return ehci.HCCPARAMS;
		default:
			return 0;
	}
}

/** Bits of a register that writing ones clears: what is not written must not be. */
function clearable(register: number): number {
	if (register === ehci.USBSTS) return ehci.STS_CLEARABLE;
	return register >= ehci.PORTSC ? CHANGES : 0;
}
