// A slot of a machine that writes down what the function does to it.
import type { KvmBypass } from "../../../core/machine/kvm-bypass.ts";
import type { PciSlot } from "../../../core/machine/machine.ts";

export class FakeSlot implements PciSlot {
	readonly bus: PciSlot["bus"];
	readonly multifunction: boolean;
	readonly pins = [false, false, false, false, false];
	readonly messages: string[] = [];
	readonly bars: (bigint | undefined)[] = [];
	readonly placements: string[] = [];
	readonly changes: number[] = [];
	kvm: KvmBypass | undefined;

	constructor(bus: PciSlot["bus"] = "downstream-port", multifunction = false) {
		this.bus = bus;
		this.multifunction = multifunction;
	}
	setPin(pin: number, asserted: boolean): void {
		this.pins[pin] = asserted;
	}
	message(address: bigint, data: number): void {
		this.messages.push(`${address.toString(16)}=${data.toString(16)}`);
	}
	placeBar(bar: number, address: bigint | undefined): void {
		this.bars[bar] = address;
		this.placements.push(`${bar}@${address?.toString(16) ?? "-"}`);
	}
	directAreasChanged(bar: number): void {
		this.changes.push(bar);
	}
}
