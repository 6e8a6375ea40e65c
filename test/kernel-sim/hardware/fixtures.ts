/** What the hardware tests share: a model that writes everything down, and a machine with one endpoint. */
import { PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from "../../../core/uapi/pci_regs.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { DMA_READ, DMA_WRITE, IommuDomain } from "../../../kernel-sim/hardware/iommu.ts";
import type { DeviceModel, DevicePort } from "../../../kernel-sim/hardware/model.ts";
import { Machine, type MachineOptions } from "../../../kernel-sim/hardware/topology.ts";

export class RecordingModel implements DeviceModel {
	port: DevicePort | undefined;
	readonly log: string[] = [];
	/** What reads answer. */
	value = 0x12345678;

	attach(port: DevicePort): void {
		this.port = port;
		this.log.push("attach");
	}
	read(bar: number, offset: number, width: number): number {
		this.log.push(`read ${bar} ${offset} ${width}`);
		return this.value;
	}
	write(bar: number, offset: number, width: number, value: number): void {
		this.log.push(`write ${bar} ${offset} ${width} ${value}`);
	}
	reset(): void {
		this.log.push("reset");
	}
	detach(): void {
		this.log.push("detach");
	}
}

export const DECODE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

/** A machine with one function at 0000:01:00.0, decoding and bus master, its memory at IOVA 0x10000. */
export function bench(description: Partial<FunctionDescription> = {}, options: MachineOptions = {}) {
	const machine = new Machine(options);
	const model = new RecordingModel();
	const fn = new PciFunction({ vendor: 0x1234, device: 0x5678, classCode: 0xff0000, ...description }, model);
	machine.plug("0000:01:00.0", fn);
	fn.configWrite(PCI_COMMAND, 2, DECODE);
	const memory = new Uint8Array(0x2000);
	const domain = new IommuDomain();
	domain.map(0x10000n, 0x2000n, { bytes: () => memory }, 0, DMA_READ | DMA_WRITE);
	machine.iommu.attach(fn, domain);
	model.log.length = 0;
	return { machine, model, fn, memory, domain };
}
