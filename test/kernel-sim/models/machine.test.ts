import { describe, expect, it } from "vitest";
import { machineFromLspci } from "../../../kernel-sim/from-lspci.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { DMA_READ, DMA_WRITE, IommuDomain } from "../../../kernel-sim/hardware/iommu.ts";
import { Edu, MemoryNamespace, Nvme, patternContent } from "../../../kernel-sim/hardware/models/mod.ts";
import { Machine } from "../../../kernel-sim/hardware/topology.ts";
import { fixture } from "../lspci/fixtures.ts";

const IOVA = 0x10_0000_0000n;

function withMemory(machine: Machine, fn: PciFunction, iova: bigint) {
	const memory = new Uint8Array(0x40000);
	const domain = new IommuDomain();
	domain.map(iova, BigInt(memory.length), { bytes: () => memory }, 0, DMA_READ | DMA_WRITE);
	machine.iommu.attach(fn, domain);
	fn.configWrite(4, 2, 6);
	return { memory, view: new DataView(memory.buffer) };
}

/** Brings a controller up and reads its first block by an interrupt-driven I/O queue. */
function readFirstBlock(machine: Machine, fn: PciFunction, mode: "msix" | "msi" | "intx") {
	const { view } = withMemory(machine, fn, IOVA);
	const received: number[] = [];
	const entries = 8;
	if (mode === "msix" && fn.msix) {
		for (const vector of [0, 1]) {
			const message = machine.interrupts.allocateMessage(fn, () => received.push(vector));
			const entry = fn.msix.table.offset + vector * 16;
			fn.write(fn.msix.table.bar, entry, 4, Number(message.address & 0xffffffffn));
			fn.write(fn.msix.table.bar, entry + 4, 4, Number(message.address >> 32n));
			fn.write(fn.msix.table.bar, entry + 8, 4, message.data);
			fn.write(fn.msix.table.bar, entry + 12, 4, 0);
		}
		fn.configWrite(fn.msix.offset + 2, 2, 0x8000);
	} else if (mode === "msi" && fn.msi) {
		const message = machine.interrupts.allocateMessage(fn, () => received.push(0));
		fn.configWrite(fn.msi.offset + 4, 4, Number(message.address & 0xffffffffn));
		fn.configWrite(fn.msi.offset + 8, 4, Number(message.address >> 32n));
		fn.configWrite(fn.msi.offset + 12, 2, message.data);
		fn.configWrite(fn.msi.offset + 2, 2, 1);
	} else {
		machine.interrupts.onIntx(fn, (asserted) => {
			if (asserted) received.push(0);
		});
	}
	const vector = mode === "msix" ? 1 : 0;
	fn.write64(0, 0x28, IOVA);
	fn.write64(0, 0x30, IOVA + 0x1000n);
	fn.write(0, 0x24, 4, (entries - 1) | ((entries - 1) << 16));
	fn.write(0, 0x14, 4, 1 | (6 << 16) | (4 << 20));
	expect(fn.read(0, 0x1c, 4)).toBe(1);
	const command = (at: number, opcode: number, prp1: bigint, dwords: number[]) => {
		view.setUint8(at, opcode);
		view.setUint32(at + 4, opcode === 2 ? 1 : 0, true);
		view.setBigUint64(at + 24, prp1, true);
		dwords.forEach((dword, i) => {
			view.setUint32(at + 40 + i * 4, dword, true);
		});
	};
	command(0, 5, IOVA + 0x2000n, [1 | ((entries - 1) << 16), 3 | (vector << 16)]);
	command(64, 1, IOVA + 0x3000n, [1 | ((entries - 1) << 16), 1 | (1 << 16)]);
	fn.write(0, 0x1000, 4, 2);
	fn.write(0, 0x1004, 4, 2);
	command(0x3000, 2, IOVA + 0x4000n, [1, 0, 0]);
	fn.write(0, 0x1008, 4, 1);
	fn.write(0, 0x100c, 4, 1);
	return { received, first: view.getBigUint64(0x4000, true), status: view.getUint16(0x200e, true) >>> 1 };
}

describe("Nvme in a Machine", () => {
	it.each([
		["msix", [0, 0, 1]],
		["msi", [0, 0, 0]],
		["intx", [0, 0]],
	] as const)("reads through the IOMMU and interrupts by %s", (interrupts, expected) => {
		const machine = new Machine();
		const disk = new MemoryNamespace(1 << 20, { content: patternContent });
		const fn = new PciFunction(Nvme.description({ interrupts }), new Nvme({ namespaces: [disk] }));
		machine.plug("0000:05:00.0", fn);
		const { received, first, status } = readFirstBlock(machine, fn, interrupts);
		expect(status).toBe(0);
		expect(first).toBe(512n);
		// The pin is one edge for two completions that were there at once.
		expect(received).toEqual(expected);
		expect(machine.iommu.faults).toEqual([]);
		expect(machine.interrupts.dropped).toEqual([]);
		expect(fn.intxAsserted).toBe(false);
	});

	it("works on the controllers of a host that lspci printed", () => {
		const { machine } = machineFromLspci(fixture("host.txt"));
		for (const address of ["0000:05:00.0", "0000:06:00.0"]) {
			const { first, received } = readFirstBlock(machine, machine.function(address) as PciFunction, "msix");
			expect(first).toBe(512n);
			expect(received).toEqual([0, 0, 1]);
		}
	});

	it("fails without bus mastering or a mapping, and recovers by a function level reset", () => {
		const machine = new Machine();
		const fn = new PciFunction(Nvme.description(), new Nvme());
		machine.plug("0000:05:00.0", fn);
		const enable = () => {
			fn.write64(0, 0x28, IOVA);
			fn.write64(0, 0x30, IOVA + 0x1000n);
			fn.write(0, 0x24, 4, 0x00070007);
			fn.write(0, 0x14, 4, 1 | (6 << 16) | (4 << 20));
			fn.write(0, 0x1000, 4, 1);
			return fn.read(0, 0x1c, 4);
		};
		fn.configWrite(4, 2, 2);
		expect(enable()).toBe(3);
		fn.configWrite(0x88, 2, 0x8000);
		expect(fn.read(0, 0x1c, 4)).toBe(0xffffffff); // COMMAND is 0 after the reset
		fn.configWrite(4, 2, 6);
		expect(fn.read(0, 0x1c, 4)).toBe(0);
		expect(enable()).toBe(3);
		expect(machine.iommu.faults).toHaveLength(1);
	});

	it("leaves no timer behind when it is unplugged", () => {
		const machine = new Machine();
		const fn = new PciFunction(Nvme.description(), new Nvme());
		machine.plug("0000:05:00.0", fn);
		machine.unplug("0000:05:00.0");
		expect(fn.read(0, 0, 4)).toBe(0xffffffff);
	});
});

describe("Edu in a Machine", () => {
	it("moves data through the IOMMU and interrupts by its pin", () => {
		const machine = new Machine();
		const fn = new PciFunction(Edu.description(), new Edu());
		machine.plug("0000:01:00.0", fn);
		const { memory } = withMemory(machine, fn, 0x100000n);
		const levels: boolean[] = [];
		machine.interrupts.onIntx(fn, (asserted) => levels.push(asserted));
		memory.fill(0x42, 0, 64);
		const run = (source: bigint, destination: bigint, command: number) => {
			fn.write64(0, 0x80, source);
			fn.write64(0, 0x88, destination);
			fn.write64(0, 0x90, 64n);
			fn.write(0, 0x98, 4, command);
		};
		run(0x100000n, 0x40000n, 1);
		run(0x40000n, 0x100800n, 7);
		expect(memory[0x83f]).toBe(0x42);
		expect(memory[0x840]).toBe(0);
		fn.write(0, 0x64, 4, 0x100);
		expect(levels).toEqual([true, false]);
		run(0x40000n, 0x900000n, 3);
		expect(machine.iommu.faults[0]).toMatchObject({ address: 0x900000n, device: "0000:01:00.0", direction: "write" });
	});
});
