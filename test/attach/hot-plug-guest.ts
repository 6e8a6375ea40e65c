import type { AccessWidth } from "../../core/kernel.ts";
import type { PciTopology, RootPort } from "../../core/machine/mod.ts";
import { ABP, PDC, PDS, type PortConfig, SlotDriver } from "../core/machine/slot-driver.ts";

const HOT_PLUG_CAPABLE = 0x40;
const SLOT_CAPABILITIES = 0x54;
const PORT_MSI = 0x80;
const MESSAGE_ADDRESS = 0xfee00000;
const WINDOW = 0x0100_0000;
const FIRST_WINDOW = 0x8000_0000;

/** Configuration space through the ports 0xcf8 and 0xcfc. */
export class PortIoConfig implements PortConfig {
	readonly #pci: PciTopology;
	readonly #address: number;

	constructor(pci: PciTopology, bus: number, device: number, fn = 0) {
		this.#pci = pci;
		this.#address = 0x8000_0000 + bus * 0x10000 + device * 0x800 + fn * 0x100;
	}

	configRead(offset: number, width: AccessWidth): number {
		this.#pci.hostBridge.portWrite(0xcf8, 4, this.#address + (offset & 0xfc));
		return this.#pci.hostBridge.portRead(0xcfc + (offset & 3), width);
	}

	configWrite(offset: number, width: AccessWidth, value: number): void {
		this.#pci.hostBridge.portWrite(0xcf8, 4, this.#address + (offset & 0xfc));
		this.#pci.hostBridge.portWrite(0xcfc + (offset & 3), width, value);
	}
}

/** A device that the guest has placed: function 0 of its slot. */
export interface PlacedDevice {
	readonly config: PortConfig;
	/** Where BAR 0 is; undefined without one. */
	readonly bar0: number | undefined;
}

/** A slot as the guest's driver has it. */
export interface GuestSlot {
	readonly driver: SlotDriver;
	/** The bus below. */
	readonly bus: number;
	/** What the guest uses there. */
	device: PlacedDevice | undefined;
	/** What happened, in words. */
	readonly log: string[];
}

/** How a {@link HotPlugGuest} behaves. */
export interface GuestManners {
	/** How its root ports interrupt; `none`: it has no hot-plug driver. */
	readonly slotInterrupt?: "msi" | "intx" | "none";
}

/**
 * A guest's PCI core with a hot-plug driver, in JavaScript so that it costs nothing. It looks at its slots only in
 * {@link run}, and there only at those that have interrupted.
 */
export class HotPlugGuest {
	readonly slots = new Map<string, GuestSlot>();
	/** Messages that were not for slots. */
	readonly messages: number[] = [];
	readonly #pci: PciTopology;
	readonly #manners: GuestManners;
	/** Slots that have sent a message since the last time, by its data. */
	readonly #signalled = new Set<number>();
	/** Pins that are asserted, as device * 4 + pin. */
	readonly #pins = new Set<number>();

	constructor(pci: PciTopology, manners: GuestManners = {}) {
		this.#pci = pci;
		this.#manners = manners;
	}

	/** @internal Where the machine's pins lead. */
	pin(device: number, pin: number, asserted: boolean): void {
		if (asserted) this.#pins.add(device * 4 + pin);
		else this.#pins.delete(device * 4 + pin);
	}

	/** @internal Where its messages go. */
	message(address: bigint, data: number): void {
		if (address !== BigInt(MESSAGE_ADDRESS)) return;
		if (data >= 0x80) this.#signalled.add(data - 0x80);
		else this.messages.push(data);
	}

	/** Numbers the buses, and takes the slots into service. */
	boot(): void {
		for (const [index, port] of this.#pci.rootPorts.entries()) {
			const device = this.#pci.root.addressOf(port)?.device ?? 0;
			const config = new PortIoConfig(this.#pci, 0, device);
			const bus = index + 1;
			config.configWrite(0x18, 4, (bus << 8) | (bus << 16));
			config.configWrite(0x20, 4, 0x0000_fff0);
			const slot: GuestSlot = { driver: new SlotDriver(config), bus, device: undefined, log: [] };
			this.slots.set(port.name, slot);
			if (slot.driver.linkActive) this.#take(slot);
			if (this.#manners.slotInterrupt === "none") continue;
			if ((config.configRead(SLOT_CAPABILITIES, 4) & HOT_PLUG_CAPABLE) === 0) continue;
			if (this.#manners.slotInterrupt !== "intx") {
				config.configWrite(PORT_MSI + 4, 4, MESSAGE_ADDRESS);
				config.configWrite(PORT_MSI + 12, 2, 0x80 + index);
				config.configWrite(PORT_MSI + 2, 2, 1);
			}
			slot.driver.start();
			if (!slot.device && (slot.driver.status & PDS) !== 0) this.#plugged(slot);
		}
	}

	slot(port: RootPort | string): GuestSlot {
		const found = this.slots.get(typeof port === "string" ? port : port.name);
		if (!found) throw new Error("the guest knows no such slot");
		return found;
	}

	/** Serves the slots that have interrupted, until there is none. */
	run(): void {
		for (let i = 0; i < 16; i++) {
			const due = [...this.slots.values()].filter((slot, index) => this.#interrupts(slot, index));
			if (due.length === 0) return;
			for (const slot of due) this.serve(slot, slot.driver.takeEvents());
		}
		throw new Error("a slot interrupts for ever");
	}

	/** What a driver does about events. */
	serve(slot: GuestSlot, events: number): void {
		const present = (slot.driver.status & PDS) !== 0;
		if (slot.device && (!present || !slot.driver.linkActive)) {
			slot.log.push("lost");
			slot.device = undefined;
			slot.driver.powerOff();
		} else if (slot.device && (events & ABP) !== 0) {
			slot.log.push("released");
			slot.device.config.configWrite(4, 2, 0);
			slot.device = undefined;
			slot.driver.powerOff();
		} else if (!slot.device && present && (events & (ABP | PDC)) !== 0) this.#plugged(slot);
	}

	#interrupts(slot: GuestSlot, index: number): boolean {
		if (this.#signalled.delete(index)) return true;
		const device = this.#pci.root.addressOf(this.#pci.rootPorts[index] as RootPort)?.device ?? 0;
		// The pin is shared with what is below: the driver looks whether it is its own.
		return this.#pins.has(device * 4 + 1) && (slot.driver.status & ~PDS) !== 0;
	}

	#plugged(slot: GuestSlot): void {
		if (slot.driver.powerOn()) this.#take(slot);
		else slot.log.push("failed");
	}

	/** Places the device's BARs in the port's window, and lets it answer. */
	#take(slot: GuestSlot): void {
		const config = new PortIoConfig(this.#pci, slot.bus, 0);
		let next = FIRST_WINDOW + slot.bus * WINDOW;
		const port = slot.driver.port;
		port.configWrite(0x20, 2, next >>> 16);
		port.configWrite(0x22, 2, (next + WINDOW - 1) >>> 16);
		port.configWrite(4, 2, 6);
		let bar0: number | undefined;
		for (let offset = 0x10; offset < 0x28; offset += 4) {
			config.configWrite(offset, 4, 0xffff_ffff);
			const low = config.configRead(offset, 4);
			if (low === 0 || (low & 1) !== 0) continue;
			const size = (~(low & ~0xf) >>> 0) + 1;
			next = Math.ceil(next / size) * size;
			if (offset === 0x10) bar0 = next;
			config.configWrite(offset, 4, next);
			next += size;
			if ((low & 4) !== 0) {
				offset += 4;
				config.configWrite(offset, 4, 0);
			}
		}
		config.configWrite(4, 2, 6);
		slot.device = { config, bar0 };
		slot.log.push(`uses ${config.configRead(0, 4).toString(16).padStart(8, "0")}`);
	}
}
