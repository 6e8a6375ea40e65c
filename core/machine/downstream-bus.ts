/**
 * The bus below a root port.
 *
 * @module
 */
import type { AddressRange } from "./address-space.ts";
import { type HotPlugOptions, PciBus, type PlugOptions } from "./bus.ts";
import type { AddressDecoder } from "./decoder.ts";
import type { HotPlug } from "./hot-plug.ts";
import type { Occupant } from "./hot-plug-event.ts";
import { notHotPluggable } from "./hot-plug-rules.ts";
import type { KvmBypass } from "./kvm-bypass.ts";
import type { GuestPciFunction, PciSlot } from "./machine.ts";
import { formatSlotAddress, type SlotAddress } from "./slot-address.ts";
import { type BridgeWindows, missingRoom } from "./window-room.ts";

/** What the bus below asks of its port. */
export interface DownstreamPort {
	/** Undefined when the slot cannot be plugged while the guest runs. */
	readonly hotPlug: HotPlug | undefined;
	readonly windows: BridgeWindows;
	/** The slot has a device, power and a link: the device answers. */
	readonly linkActive: boolean;
	/** What of an address range the port forwards. */
	forwarded(io: boolean, start: number, end: number): readonly AddressRange[];
	pinBelow(device: number, pin: number, asserted: boolean): void;
	messageBelow(address: bigint, data: number): void;
	kvmBelow(device: number): KvmBypass | undefined;
	directAreasChangedBelow(fn: GuestPciFunction, bar: number): void;
	/** Something was plugged or unplugged. @param hot the guest is to be told */
	occupancyChanged(hot: boolean): void;
}

/** A link with one device at its end: it has slot 0 and no other (PCI Express Base, section 7.3.1). */
export class DownstreamBus extends PciBus {
	readonly kind: PciSlot["bus"] = "downstream-port";
	readonly #port: DownstreamPort;
	#hot = false;

	constructor(name: string, decoder: AddressDecoder, port: DownstreamPort) {
		super(name, decoder);
		this.#port = port;
	}

	/** There is a device: its function 0. */
	get occupied(): boolean {
		return super.functionAt(0) !== undefined;
	}

	override checkHotPlug(options: PlugOptions = {}, name = "a device"): SlotAddress {
		const address = options.address ?? { device: 0, function: 0 };
		const where = formatSlotAddress(address);
		const refuse = (reason: string, remedy: string): never => {
			throw notHotPluggable(`plug ${name} into`, `${this.name} slot ${where}`, reason, [remedy]);
		};
		if (this.#port.hotPlug === undefined)
			refuse(`root port ${this.name} has no hot-plug controller`, `Make it with hotplug=on before the guest starts`);
		if (address.device !== 0)
			refuse("a root port has only slot 0, and that alone can be hot plugged", `Use bus=${this.name},addr=0`);
		const occupant = super.functionAt(0);
		if (occupant !== undefined) {
			const asked = this.#port.hotPlug?.unplugRequested ? ", and the guest has not let go of it yet" : "";
			refuse(
				`${occupant.name} is there${asked}`,
				address.function === 0
					? `Unplug ${occupant.name} first, or use another root port`
					: "Plug functions 1 to 7 before function 0, which shows them to the guest",
			);
		}
		this.check(name, address, options.multifunction ?? false);
		return address;
	}

	override hotPlug(fn: GuestPciFunction, options: HotPlugOptions = {}): SlotAddress {
		const address = this.checkHotPlug(options, fn.name);
		if (options.requireRoom) this.#checkRoom(fn);
		this.#hot = true;
		try {
			return this.plug(fn, { ...options, address });
		} finally {
			this.#hot = false;
		}
	}

	#checkRoom(fn: GuestPciFunction): void {
		const bars = Array.from({ length: 6 }, (_, index) => fn.bar(index)).filter((bar) => bar !== undefined);
		const missing = missingRoom(bars, this.#port.windows);
		if (missing === undefined) return;
		throw notHotPluggable(`plug ${fn.name} into`, this.name, `its ${missing}`, [
			"Have the guest's firmware or kernel reserve larger windows for the port, or plug the device in before it starts",
		]);
	}

	override requestUnplug(fn: GuestPciFunction): "unplugged" | "requested" {
		const { hotPlug } = this.#port;
		if (hotPlug === undefined) {
			const remedy = ["Stop the guest, or make the port with hotplug=on"];
			throw notHotPluggable("unplug", fn.name, `root port ${this.name} has no hot-plug controller`, remedy);
		}
		// Without function 0 the guest has never seen it.
		return this.occupied ? hotPlug.requestUnplug() : hotPlug.remove(fn);
	}

	override cancelUnplug(_fn: GuestPciFunction): "cancelled" | "requested" {
		return this.#port.hotPlug?.cancelUnplug() ?? "cancelled";
	}

	/** What is on the bus and where, function 0 first. */
	get occupants(): Occupant[] {
		return this.functions.flatMap((fn) => {
			const address = this.addressOf(fn);
			return address ? [{ function: fn, address }] : [];
		});
	}

	override functionAt(devfn: number): GuestPciFunction | undefined {
		return this.#port.linkActive ? super.functionAt(devfn) : undefined;
	}

	protected override get slotCount(): number {
		return 1;
	}

	override setPin(device: number, pin: number, asserted: boolean): void {
		this.#port.pinBelow(device, pin, asserted);
	}

	override message(address: bigint, data: number): void {
		this.#port.messageBelow(address, data);
	}

	override kvm(device: number): KvmBypass | undefined {
		return this.#port.kvmBelow(device);
	}

	override reach(io: boolean, start: number, end: number): readonly AddressRange[] {
		return this.#port.forwarded(io, start, end);
	}

	override directAreasChanged(fn: GuestPciFunction, bar: number): void {
		this.#port.directAreasChangedBelow(fn, bar);
	}

	protected override occupancyChanged(): void {
		this.#port.occupancyChanged(this.#hot || !this.occupied);
	}
}
