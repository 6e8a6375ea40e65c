import { describe, expect, it } from "vitest";
import { PCI_COMMAND, PCI_INTERRUPT_LINE } from "../../../core/uapi/pci_regs.ts";
import { rootPort } from "../../../kernel-sim/hardware/bridges.ts";
import { programHotplugged, programMachine } from "../../../kernel-sim/hardware/firmware.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { memoryDevice } from "../../../kernel-sim/hardware/memory-device.ts";
import type { BarDescription } from "../../../kernel-sim/hardware/model.ts";
import { Machine } from "../../../kernel-sim/hardware/topology.ts";

const device = (bars: BarDescription[], rom?: number) =>
	new PciFunction({
		vendor: 1,
		device: 1,
		classCode: 0,
		interruptPin: 1,
		bars,
		...(rom === undefined ? {} : { rom: { size: rom } }),
	});

function machineWithPorts() {
	const machine = new Machine();
	const port = (number: number) =>
		machine.plug(`00:0${number}.0`, new PciFunction(rootPort({ secondary: number, slot: number })));
	const ports = [port(1), port(2), port(3)] as const;
	const first = machine.plug("01:00.0", new PciFunction(memoryDevice()));
	const second = machine.plug(
		"02:00.0",
		device(
			[
				{ index: 0, kind: "mem64", size: 0x4000, backing: "registers" },
				{ index: 2, kind: "io", size: 0x40, backing: "registers" },
				{ index: 3, kind: "mem32", size: 0x400000, backing: "registers" },
			],
			0x10000,
		),
	);
	programMachine(machine);
	return { machine, ports, first, second };
}

/** Memory windows of a bridge: base and limit, below 4 GiB and prefetchable. */
function windows(bridge: PciFunction): [bigint, bigint][] {
	const read = (offset: number, width: 2 | 4) => BigInt(bridge.configRead(offset, width));
	const low = (offset: number) => (read(offset, 2) & 0xfff0n) << 16n;
	return [
		[low(0x20), low(0x22) | 0xfffffn],
		[(read(0x28, 4) << 32n) | low(0x24), (read(0x2c, 4) << 32n) | low(0x26) | 0xfffffn],
	];
}

describe("programMachine()", () => {
	it("gives every BAR its own aligned addresses inside the windows above it", () => {
		const { ports, first, second } = machineWithPorts();
		const [memory, prefetchable] = windows(ports[0]) as [[bigint, bigint], [bigint, bigint]];
		expect(first.barAddress(0) >= memory[0] && first.barAddress(0) + 0xffffn <= memory[1]).toBe(true);
		expect(first.barAddress(2) >= prefetchable[0] && first.barAddress(2) + 0xfffffn <= prefetchable[1]).toBe(true);
		const [other] = windows(ports[1]) as [[bigint, bigint]];
		for (const [index, size] of [
			[0, 0x4000n],
			[3, 0x400000n],
		] as const) {
			const address = second.barAddress(index);
			expect(address % size).toBe(0n);
			expect(address >= other[0] && address + size - 1n <= other[1]).toBe(true);
		}
		expect(other[0] > memory[1]).toBe(true);
		const ioBase = BigInt((ports[1].configRead(0x1c, 1) & 0xf0) << 8);
		expect(second.barAddress(2) >= ioBase && second.barAddress(2) < ioBase + 0x1000n).toBe(true);
		expect(second.configRead(0x30, 4) & 1).toBe(0);
		expect(second.configRead(0x30, 4)).not.toBe(0);
	});

	it("switches decoding on, bridges also as masters, and routes interrupt lines", () => {
		const { ports, first, second } = machineWithPorts();
		expect([ports[0], first, second].map((fn) => fn.configRead(PCI_COMMAND, 2))).toEqual([0x107, 0x103, 0x103]);
		expect([first, second].map((fn) => fn.configRead(PCI_INTERRUPT_LINE, 1))).toEqual([0, 10]);
	});

	it("closes an I/O window that nobody needs, and keeps memory for a hot plug", () => {
		const { ports } = machineWithPorts();
		const empty = ports[2];
		expect(empty.configRead(0x1c, 1)).toBeGreaterThan(empty.configRead(0x1d, 1));
		for (const [base, limit] of windows(empty)) expect(limit - base + 1n).toBe(0x200000n);
	});
});

describe("programHotplugged()", () => {
	it("finds room in the window of the port, and leaves decoding off", () => {
		const { machine, ports } = machineWithPorts();
		const fn = machine.plug("03:00.0", new PciFunction(memoryDevice({ prefetchableSize: 0x1000 })));
		expect(programHotplugged(machine, fn)).toBe(true);
		const [memory, prefetchable] = windows(ports[2]) as [[bigint, bigint], [bigint, bigint]];
		expect([fn.barAddress(0), fn.barAddress(2)]).toEqual([memory[0], prefetchable[0]]);
		expect(fn.memoryEnabled).toBe(false);
		const sibling = machine.plug("03:00.1", new PciFunction(memoryDevice({ prefetchableSize: 0x1000 })));
		expect(programHotplugged(machine, sibling)).toBe(true);
		expect([sibling.barAddress(0), sibling.barAddress(2)]).toEqual([memory[0] + 0x10000n, prefetchable[0] + 0x1000n]);
	});

	it("finds room on the root bus beside everything that is there", () => {
		const { machine, ports } = machineWithPorts();
		const fn = machine.plug("00:10.0", new PciFunction(memoryDevice()));
		expect(programHotplugged(machine, fn)).toBe(true);
		expect(fn.barAddress(0)).toBe((windows(ports[2])[0]?.[1] ?? 0n) + 1n);
	});

	it("returns false when something does not fit", () => {
		const { machine } = machineWithPorts();
		const fn = machine.plug("03:00.0", device([{ index: 0, kind: "mem32", size: 0x10000000, backing: "registers" }]));
		expect(programHotplugged(machine, fn)).toBe(false);
		expect(fn.barAddress(0)).toBe(0n);
	});
});
