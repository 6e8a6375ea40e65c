import { describe, expect, it } from "vitest";
import { PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MEMORY } from "../../../core/uapi/pci_regs.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import type { BarDescription, DeviceModel } from "../../../kernel-sim/hardware/model.ts";
import { bench } from "./fixtures.ts";

const bars: BarDescription[] = [
	{ index: 0, kind: "mem32", size: 0x1000, backing: "registers" },
	{ index: 1, kind: "io", size: 32, backing: "registers" },
	{ index: 2, kind: "mem64", size: 0x1000, backing: "memory" },
];

describe("PciFunction BARs", () => {
	it("read() and write() hand the model what it may see: unsigned and inside the BAR", () => {
		const { fn, model } = bench({ bars });
		model.value = -1;
		expect([fn.read(0, 4, 4), fn.read(0, 8, 1), fn.read(1, 30, 2)]).toEqual([0xffffffff, 0xff, 0xffff]);
		fn.write(0, 12, 4, -2);
		fn.write(0, 12, 2, 0x12345);
		expect(model.log).toEqual([
			"read 0 4 4",
			"read 0 8 1",
			"read 1 30 2",
			"write 0 12 4 4294967294",
			"write 0 12 2 9029",
		]);
	});

	it("read() is all ones and write() nothing when the access leaves the BAR or there is none", () => {
		const { fn, model } = bench({ bars });
		expect([
			fn.read(0, 0xffe, 4),
			fn.read(0, 0x1000, 1),
			fn.read(0, -4, 4),
			fn.read(3, 0, 4),
			fn.read(9, 0, 2),
		]).toEqual([0xffffffff, 0xff, 0xffffffff, 0xffffffff, 0xffff]);
		expect([fn.read64(0, 0xffc), fn.read64(4, 0)]).toEqual([0xffffffffffffffffn, 0xffffffffffffffffn]);
		fn.write(0, 0xffe, 4, 0);
		fn.write(5, 0, 4, 0);
		fn.write64(0, 0xffc, 0n);
		expect(model.log).toEqual([]);
	});

	it("decodes memory and I/O as COMMAND says", () => {
		const { fn, model } = bench({ bars });
		fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_IO);
		expect([fn.memoryEnabled, fn.ioEnabled]).toEqual([false, true]);
		expect([fn.read(0, 0, 4), fn.read(1, 0, 4), fn.read64(2, 0)]).toEqual([
			0xffffffff,
			0x12345678,
			0xffffffffffffffffn,
		]);
		fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		expect([fn.read(0, 0, 4), fn.read(1, 0, 4)]).toEqual([0x12345678, 0xffffffff]);
		fn.configWrite(PCI_COMMAND, 2, 0);
		fn.write(0, 0, 4, 1);
		fn.write64(2, 0, 1n);
		expect(fn.memory(2)?.[0]).toBe(0);
		expect(model.log).toEqual(["read 1 0 4", "read 0 0 4"]);
	});

	it("keeps plain memory to itself, little-endian at every width", () => {
		const { fn, model } = bench({ bars });
		fn.write64(2, 8, 0x1122334455667788n);
		expect([fn.read(2, 8, 4), fn.read(2, 12, 2), fn.read(2, 15, 1)]).toEqual([0x55667788, 0x3344, 0x11]);
		fn.write(2, 9, 2, 0xabcd);
		fn.write(2, 15, 1, 0xee);
		fn.write(2, 0, 4, 0xdeadbeef);
		expect(fn.read64(2, 8)).toBe(0xee22334455abcd88n);
		expect([...(fn.memory(2)?.subarray(0, 4) ?? [])]).toEqual([0xef, 0xbe, 0xad, 0xde]);
		expect(fn.memory(0)).toBeUndefined();
		expect(model.log).toEqual([]);
	});

	it("read64() and write64() make two accesses when the model has none of its own, the lower first", () => {
		const { fn, model } = bench({ bars });
		expect(fn.read64(0, 8)).toBe(0x1234567812345678n);
		fn.write64(0, 16, 0xaabbccdd00000001n);
		expect(model.log).toEqual(["read 0 8 4", "read 0 12 4", "write 0 16 4 1", "write 0 20 4 2864434397"]);
	});

	it("read64() and write64() are one access when the model takes it", () => {
		const writes: bigint[] = [];
		const model: DeviceModel = {
			attach() {},
			read: () => 0,
			write() {},
			read64: () => -1n,
			write64: (_bar, _offset, value) => void writes.push(value),
			reset() {},
		};
		const fn = new PciFunction({ vendor: 1, device: 1, classCode: 0, bars }, model);
		fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		expect(fn.read64(0, 0)).toBe(0xffffffffffffffffn);
		fn.write64(0, 0, -2n);
		expect(writes).toEqual([0xfffffffffffffffen]);
	});

	it("reads zero from registers without a model", () => {
		const fn = new PciFunction({ vendor: 1, device: 1, classCode: 0, bars });
		fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		fn.write(0, 0, 4, 5);
		expect([fn.read(0, 0, 4), fn.read64(0, 0)]).toEqual([0, 0n]);
	});

	it("is all ones everywhere once it was pulled out", () => {
		const { fn, machine, model, memory } = bench({ bars, interruptPin: 1 });
		const port = model.port;
		port?.setIntx(true);
		machine.unplug("0000:01:00.0");
		expect(fn.present).toBe(false);
		expect([fn.configRead(0, 4), fn.configRead(0, 1), fn.read(0, 0, 4), fn.read(2, 0, 2)]).toEqual([
			0xffffffff, 0xff, 0xffffffff, 0xffff,
		]);
		fn.configWrite(PCI_COMMAND, 2, 0);
		fn.write(0, 0, 4, 1);
		expect(fn.memoryEnabled).toBe(true);
		expect(port?.dmaWrite(0x10000n, Uint8Array.of(1))).toBe(false);
		expect(memory[0]).toBe(0);
		expect(fn.intxAsserted).toBe(false);
		expect(model.log).toEqual(["detach"]);
	});
});
