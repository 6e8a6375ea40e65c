import { describe, expect, it } from "vitest";
import { PCI_COMMAND, PCI_COMMAND_MEMORY } from "../../../core/uapi/pci_regs.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { DMA_READ, DMA_WRITE } from "../../../kernel-sim/hardware/iommu.ts";
import { memoryDevice } from "../../../kernel-sim/hardware/memory-device.ts";
import { barTarget } from "../../../kernel-sim/hardware/peer-to-peer.ts";
import { bench, RecordingModel } from "./fixtures.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);

describe("Iommu", () => {
	it("read() and write() reach the memory behind a mapping", () => {
		const { model, memory } = bench();
		expect(model.port?.dmaWrite(0x10010n, bytes(1, 2, 3))).toBe(true);
		expect([...memory.subarray(0x10, 0x14)]).toEqual([1, 2, 3, 0]);
		const into = new Uint8Array(2);
		expect(model.port?.dmaRead(0x10011n, into)).toBe(true);
		expect([...into]).toEqual([2, 3]);
	});

	it("read() and write() move long buffers as they are", () => {
		const { model, memory } = bench();
		const pattern = Uint8Array.from({ length: 5000 }, (_value, index) => index * 7);
		expect(model.port?.dmaWrite(0x10100n, pattern)).toBe(true);
		expect(memory.subarray(0x100, 0x100 + 5000)).toEqual(pattern);
		const into = new Uint8Array(5000);
		model.port?.dmaRead(0x10100n, into);
		expect(into).toEqual(pattern);
	});

	it("counts the bytes of each direction", () => {
		const { machine, fn, model } = bench();
		model.port?.dmaWrite(0x10000n, new Uint8Array(100));
		model.port?.dmaRead(0x10000n, new Uint8Array(30));
		expect([machine.iommu.bytesWritten(fn), machine.iommu.bytesRead(fn)]).toEqual([100, 30]);
	});

	it("write() splits an access over mappings that lie beside each other", () => {
		const { model, domain, memory } = bench();
		const elsewhere = new Uint8Array(0x1000);
		domain.map(0x12000n, 0x1000n, { bytes: () => elsewhere }, 0, DMA_WRITE);
		expect(model.port?.dmaWrite(0x11ffen, bytes(1, 2, 3, 4))).toBe(true);
		expect([...memory.subarray(0x1ffe)]).toEqual([1, 2]);
		expect([...elsewhere.subarray(0, 2)]).toEqual([3, 4]);
	});

	it("write() faults at the first address that is not mapped, when it runs out of the mapping", () => {
		const { machine, model, memory } = bench();
		expect(model.port?.dmaWrite(0x11ffen, bytes(1, 2, 3, 4))).toBe(false);
		expect([...memory.subarray(0x1ffe)]).toEqual([1, 2]);
		expect(machine.iommu.faults).toEqual([
			{ address: 0x12000n, device: "0000:01:00.0", direction: "write", reason: "not-mapped" },
		]);
	});

	it("faults with not-permitted when the mapping lacks the direction", () => {
		const { machine, model, domain } = bench();
		const memory = new Uint8Array(0x1000);
		domain.map(0x20000n, 0x1000n, { bytes: () => memory }, 0, DMA_READ);
		domain.map(0x21000n, 0x1000n, { bytes: () => memory }, 0, DMA_WRITE);
		expect(model.port?.dmaWrite(0x20000n, bytes(1))).toBe(false);
		expect(model.port?.dmaRead(0x21000n, new Uint8Array(1))).toBe(false);
		expect(machine.iommu.faults.map(({ direction, reason }) => [direction, reason])).toEqual([
			["write", "not-permitted"],
			["read", "not-permitted"],
		]);
		expect(memory[0]).toBe(0);
	});

	it("faults with blocked when the function has no domain", () => {
		const { machine, fn, model } = bench();
		machine.iommu.attach(fn, undefined);
		expect(model.port?.dmaRead(0x10000n, new Uint8Array(4))).toBe(false);
		expect(machine.iommu.faults[0]).toMatchObject({ reason: "blocked", address: 0x10000n });
		machine.iommu.clearFaults();
		expect(machine.iommu.faults).toEqual([]);
	});

	it("records a bounded number of faults and counts the others", () => {
		const { machine, model } = bench();
		for (let index = 0; index < 3000; index++) model.port?.dmaRead(0n, new Uint8Array(1));
		expect(machine.iommu.faultCount).toBe(3000);
		expect(machine.iommu.faults.length).toBeLessThan(3000);
	});

	it("tells onFault at once", () => {
		const { machine, model } = bench();
		const seen: bigint[] = [];
		machine.iommu.onFault = (fault) => void seen.push(fault.address);
		model.port?.dmaRead(0x5000n, new Uint8Array(1));
		expect(seen).toEqual([0x5000n]);
	});

	it("sees memory where it is now, after it has moved", () => {
		const { model, domain } = bench();
		let memory = new Uint8Array(0x1000);
		domain.map(0x20000n, 0x1000n, { bytes: () => memory }, 0, 3);
		model.port?.dmaWrite(0x20000n, bytes(1));
		memory = new Uint8Array(0x1000);
		model.port?.dmaWrite(0x20001n, bytes(2));
		expect([...memory.subarray(0, 2)]).toEqual([0, 2]);
	});

	it("faults when the target ends before the mapping does", () => {
		const { machine, model, domain } = bench();
		domain.map(0x20000n, 0x2000n, { bytes: () => new Uint8Array(0x1000) }, 0, 3);
		expect(model.port?.dmaWrite(0x21000n, bytes(1))).toBe(false);
		expect(machine.iommu.faults[0]).toMatchObject({ address: 0x21000n, reason: "not-mapped" });
	});

	it("takes four aligned bytes to the message window as an interrupt and blocks everything else there", () => {
		const { machine, fn, model } = bench();
		let count = 0;
		const { address, data } = machine.interrupts.allocateMessage(fn, () => count++);
		const message = new Uint8Array(4);
		new DataView(message.buffer).setUint32(0, data, true);
		expect(model.port?.dmaWrite(address, message)).toBe(true);
		expect(count).toBe(1);
		expect(model.port?.dmaWrite(address, new Uint8Array(8))).toBe(false);
		expect(model.port?.dmaRead(address, message)).toBe(false);
		expect(model.port?.dmaWrite(0xfedffffen, message)).toBe(false);
		expect(machine.iommu.faults.map((fault) => fault.reason)).toEqual(["blocked", "blocked", "blocked"]);
		expect(count).toBe(1);
	});

	it("refuses DMA without a fault when the function is no bus master", () => {
		const { machine, fn, model } = bench();
		fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		expect(model.port?.dmaWrite(0x10000n, bytes(1))).toBe(false);
		expect(machine.iommu.faults).toEqual([]);
	});

	it("shares one domain between functions", () => {
		const { machine, domain, memory } = bench();
		const model = new RecordingModel();
		const other = machine.plug("0000:02:00.0", new PciFunction({ vendor: 1, device: 1, classCode: 0 }, model));
		other.configWrite(PCI_COMMAND, 2, 4);
		machine.iommu.attach(other, domain);
		expect(model.port?.dmaWrite(0x10000n, bytes(9))).toBe(true);
		expect(memory[0]).toBe(9);
	});
});

describe("barTarget()", () => {
	it("leads DMA into another function's memory, as long as that decodes", () => {
		const { machine, model, domain } = bench();
		const peer = machine.plug("0000:02:00.0", new PciFunction(memoryDevice()));
		domain.map(0x40000n, 0x10000n, barTarget(peer, 0), 0, 3);
		expect(model.port?.dmaWrite(0x40100n, bytes(1, 2, 3))).toBe(false);
		peer.configWrite(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		expect(model.port?.dmaWrite(0x40100n, bytes(1, 2, 3))).toBe(true);
		expect([...(peer.memory(0)?.subarray(0x100, 0x104) ?? [])]).toEqual([1, 2, 3, 0]);
		const into = new Uint8Array(3);
		expect(model.port?.dmaRead(0x40100n, into)).toBe(true);
		expect([...into]).toEqual([1, 2, 3]);
	});

	it("accesses registers as wide as alignment allows", () => {
		const { machine, model, domain } = bench();
		const registers = new RecordingModel();
		const bars = [{ index: 0, kind: "mem32", size: 0x1000, backing: "registers" } as const];
		const peer = machine.plug("0000:02:00.0", new PciFunction({ vendor: 1, device: 1, classCode: 0, bars }, registers));
		peer.configWrite(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		domain.map(0x40000n, 0x1000n, barTarget(peer, 0), 0, DMA_WRITE);
		registers.log.length = 0;
		model.port?.dmaWrite(0x40001n, bytes(1, 2, 3, 4, 5, 6, 7));
		expect(registers.log).toEqual(["write 0 1 1 1", "write 0 2 2 770", "write 0 4 4 117835012"]);
	});
});
