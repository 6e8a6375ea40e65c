/**
 * A UHCI controller of the ICH9 (82801I, 8086:2934; Intel I/O Controller Hub 9 Datasheet, section 16; Universal Host Controller
 * Interface Design Guide 1.1).
 *
 * Here are: registers in I/O ports, two root ports, the schedule with transfer descriptors and queue heads, a frame each
 * millisecond, interrupts on completion, short packets and errors, function level reset. Not here: resume and suspend
 * signalling, data toggles (no packet is ever lost), bandwidth reclamation, legacy keyboard emulation.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";
import { af } from "../../capabilities.ts";
import type { FunctionDescription } from "../../description.ts";
import { allOnes, load, store } from "../../little-endian.ts";
import type { DeviceModel, DevicePort } from "../../model.ts";
import type { UsbDevice } from "./device.ts";
import * as uhci from "./uhci-registers.ts";
import { UhciSchedule } from "./uhci-schedule.ts";

/** Options of {@link Uhci}. */
export interface UhciOptions {
	/** What is plugged into ports 1 and 2 to begin with. */
	readonly devices?: readonly (UsbDevice | undefined)[];
}

const PORTS_BAR = 4;
const SIZE = 32;
const FRAME = 1e6;
const FRAME_ENTRIES = 1024;
const SOF_DEFAULT = 0x40;
const CHANGES = uhci.PORT_CONNECT_CHANGED | uhci.PORT_ENABLE_CHANGED;
const PORT_WRITABLE = uhci.PORT_ENABLED | uhci.PORT_RESET | uhci.PORT_SUSPENDED;

/**
 * The controller.
 *
 * @example
 * ```ts
 * const uhci = new Uhci({ devices: [new LoopbackDevice()] });
 * machine.plug("0000:00:1d.0", new PciFunction(Uhci.description(), uhci));
 * ```
 */
export class Uhci implements DeviceModel {
	readonly #devices: (UsbDevice | undefined)[];
	readonly #ports: number[] = new Array(uhci.PORTS).fill(0);
	readonly #schedule = new UhciSchedule((address) => this.#find(address));
	/** The register block as software reads it, filled at each access. */
	readonly #block = new Uint8Array(SIZE);
	#port: DevicePort | undefined;
	#command = 0;
	#status = uhci.STS_HALTED;
	#enables = 0;
	#frame = 0;
	#base = 0;
	#sof = SOF_DEFAULT;
	/** What is behind USBSTS.USBINT: the two have enables of their own. */
	#completion = false;
	#short = false;
	#timer: Disposable | undefined;

	constructor(options: UhciOptions = {}) {
		this.#devices = Array.from({ length: uhci.PORTS }, (_, port) => options.devices?.[port]);
		this.#resetPorts();
	}

	/** The function it lives in: 8086:2934, I/O ports in BAR 4, INTA#. */
	static description(): FunctionDescription {
		return {
			name: "uhci",
			vendor: 0x8086,
			device: 0x2934,
			revision: 3,
			classCode: 0x0c0300,
			subsystemVendor: 0x1af4,
			subsystemDevice: 0x1100,
			interruptPin: 1,
			bars: [{ index: PORTS_BAR, kind: "io", size: SIZE, backing: "registers" }],
			capabilities: [af({ offset: 0x50 })],
			registers: [
				// Release 1.0, and the legacy support register: interrupts go to PCI (ICH9, sections 16.1.17 and 16.1.22).
				{ offset: 0x60, bytes: Uint8Array.of(0x10) },
				{ offset: 0xc0, bytes: Uint8Array.of(0x00, 0x20), writable: Uint8Array.of(0xbf, 0x20) },
			],
		};
	}

	/** Plugs a device into a port, or pulls it out. @param port 0 or 1 */
	plug(port: number, device: UsbDevice | undefined): void {
		if (port < 0 || port >= uhci.PORTS)
			throw new RangeError(`Cannot plug a device into port ${port}: there are 0 and 1`);
		this.#devices[port] = device;
		this.#ports[port] = ((this.#ports[port] ?? 0) & ~uhci.PORT_ENABLED) | uhci.PORT_CONNECT_CHANGED;
		device?.reset();
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
		this.#command = 0;
		this.#status = uhci.STS_HALTED;
		this.#enables = 0;
		this.#frame = 0;
		this.#base = 0;
		this.#sof = SOF_DEFAULT;
		this.#completion = false;
		this.#short = false;
		this.#resetPorts();
		this.#port?.setIntx(false);
	}

	read(bar: number, offset: number, width: AccessWidth): number {
		if (bar !== PORTS_BAR || offset + width > SIZE) return allOnes(width);
		const block = this.#block;
		store(block, uhci.USBCMD, 2, this.#command);
		store(block, uhci.USBSTS, 2, this.#status);
		store(block, uhci.USBINTR, 2, this.#enables);
		store(block, uhci.FRNUM, 2, this.#frame);
		store(block, uhci.FRBASEADD, 4, this.#base);
		store(block, uhci.SOFMOD, 1, this.#sof);
		for (let port = 0; port < uhci.PORTS; port++) store(block, uhci.PORTSC + 2 * port, 2, this.#readPort(port));
		return load(block, offset, width);
	}

	/** Words but for FRBASEADD and SOFMOD; a dword is two words. Bytes only reach SOFMOD and the words' lower halves. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (bar !== PORTS_BAR) return;
		if (width === 4 && offset !== uhci.FRBASEADD) {
			this.write(bar, offset, 2, value & 0xffff);
			this.write(bar, offset + 2, 2, value >>> 16);
			return;
		}
		switch (offset) {
			case uhci.USBCMD:
				this.#writeCommand(value & 0xff);
				break;
			case uhci.USBSTS:
				this.#status &= ~(value & 0x1f);
				if ((value & uhci.STS_INTERRUPT) !== 0) {
					this.#completion = false;
					this.#short = false;
				}
				break;
			case uhci.USBINTR:
				this.#enables = value & 0xf;
				break;
			case uhci.FRNUM:
				if ((this.#command & uhci.CMD_RUN) === 0) this.#frame = value & 0x7ff;
				break;
			case uhci.FRBASEADD:
				if (width === 4) this.#base = (value & ~0xfff) >>> 0;
				else if (width === 2) this.#base = ((this.#base & 0xffff0000) | (value & 0xf000)) >>> 0;
				break;
			case uhci.FRBASEADD + 2:
				if (width === 2) this.#base = ((this.#base & 0xffff) | (value << 16)) >>> 0;
				break;
			case uhci.SOFMOD:
				this.#sof = value & 0x7f;
				break;
			case uhci.PORTSC:
			case uhci.PORTSC + 2:
				this.#writePort((offset - uhci.PORTSC) / 2, value);
				break;
		}
		this.#announce();
	}

	#find(address: number): UsbDevice | undefined {
		return this.#devices.find(
			(device, port) =>
				device?.address === address &&
				((this.#ports[port] ?? 0) & (uhci.PORT_ENABLED | uhci.PORT_RESET | uhci.PORT_SUSPENDED)) === uhci.PORT_ENABLED,
		);
	}

	#readPort(port: number): number {
		const device = this.#devices[port];
		const connected = device ? uhci.PORT_CONNECTED : 0;
		const slow = device?.speed === "low" ? uhci.PORT_LOW_SPEED : 0;
		return (this.#ports[port] ?? 0) | uhci.PORT_ALWAYS | connected | slow;
	}

	#writePort(port: number, value: number): void {
		const before = this.#ports[port] ?? 0;
		const device = this.#devices[port];
		let after = (before & ~PORT_WRITABLE & ~(value & CHANGES)) | (value & PORT_WRITABLE);
		// A port in reset, or with nothing on it, cannot be enabled.
		if ((value & uhci.PORT_RESET) !== 0 || !device) after &= ~uhci.PORT_ENABLED;
		if ((value & ~before & uhci.PORT_RESET) !== 0) device?.reset();
		this.#ports[port] = after;
	}

	#writeCommand(value: number): void {
		if ((value & uhci.CMD_HOST_RESET) !== 0) {
			this.reset();
			return;
		}
		if ((value & ~this.#command & uhci.CMD_GLOBAL_RESET) !== 0) for (const device of this.#devices) device?.reset();
		this.#command = value;
		if ((value & uhci.CMD_RUN) === 0) this.#stop();
		else if (!this.#timer && this.#port) {
			this.#status &= ~uhci.STS_HALTED;
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
		const result = this.#schedule.run(port, this.#base + 4 * (this.#frame % FRAME_ENTRIES));
		this.#status |= result.status;
		this.#completion ||= result.completion;
		this.#short ||= result.short;
		this.#frame = (this.#frame + 1) & 0x7ff;
		// What cannot go on halts, and clears the run bit (section 2.1.2).
		if ((result.status & (uhci.STS_SYSTEM_ERROR | uhci.STS_PROCESS_ERROR)) !== 0) {
			this.#command &= ~uhci.CMD_RUN;
			this.#stop();
		} else if ((this.#command & uhci.CMD_RUN) !== 0 && !this.#timer) this.#nextFrame(port);
		this.#announce();
	}

	#stop(): void {
		this.#timer?.[Symbol.dispose]();
		this.#timer = undefined;
		this.#status |= uhci.STS_HALTED;
	}

	#resetPorts(): void {
		for (let port = 0; port < uhci.PORTS; port++) {
			this.#devices[port]?.reset();
			this.#ports[port] = this.#devices[port] ? uhci.PORT_CONNECT_CHANGED : 0;
		}
	}

	#announce(): void {
		const enabled = (bit: number) => (this.#enables & bit) !== 0;
		const interrupt = (this.#completion && enabled(uhci.INTR_COMPLETION)) || (this.#short && enabled(uhci.INTR_SHORT));
		const error = (this.#status & uhci.STS_ERROR) !== 0 && enabled(uhci.INTR_ERROR);
		const fatal = (this.#status & (uhci.STS_SYSTEM_ERROR | uhci.STS_PROCESS_ERROR)) !== 0;
		this.#port?.setIntx(interrupt || error || fatal);
	}
}
