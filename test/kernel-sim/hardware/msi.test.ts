import { describe, expect, it } from "vitest";
import { PCI_COMMAND } from "../../../core/uapi/pci_regs.ts";
import { type MsiOptions, msi } from "../../../kernel-sim/hardware/capabilities.ts";
import { bench } from "./fixtures.ts";

const AT = 0x40;

/** A function with MSI whose messages are counted by number. */
function msiBench(options: MsiOptions, enabled: number) {
	const bed = bench({ interruptPin: 1, capabilities: [msi({ offset: AT, ...options })] });
	const seen: number[] = [];
	const block = bed.machine.interrupts.allocateMessages(bed.fn, 1 << enabled, (index) => void seen.push(index));
	if (!block) throw new Error("no block");
	const wide = options.address64 ?? true;
	const enable = () => {
		bed.fn.configWrite(AT + 4, 4, Number(block.address));
		bed.fn.configWrite(AT + (wide ? 12 : 8), 2, block.data);
		bed.fn.configWrite(AT + 2, 2, 0x1 | (enabled << 4));
	};
	return { ...bed, seen, enable, maskAt: AT + (wide ? 16 : 12) };
}

describe("MSI", () => {
	it.each([true, false])("sends its message when it is enabled (64-bit addresses: %s)", (address64) => {
		const { model, seen, enable } = msiBench({ address64 }, 0);
		expect(model.port?.signal(0)).toBe(false);
		expect(model.port?.interruptMode).toBe("intx");
		enable();
		expect(model.port?.interruptMode).toBe("msi");
		expect(model.port?.signal(0)).toBe(true);
		expect(seen).toEqual([0]);
	});

	it("numbers its messages in the low bits, as many as software allowed", () => {
		const { model, seen, enable } = msiBench({ vectors: 8 }, 2);
		enable();
		for (const vector of [0, 3, 1, 5]) model.port?.signal(vector);
		expect(seen).toEqual([0, 3, 1, 1]);
	});

	it("folds everything into one message when software allowed one", () => {
		const { model, seen, enable } = msiBench({ vectors: 8 }, 0);
		enable();
		model.port?.signal(7);
		expect(seen).toEqual([0]);
	});

	it("keeps a masked vector pending and sends it when it is unmasked", () => {
		const { fn, model, seen, enable, maskAt } = msiBench({ vectors: 4, maskable: true }, 2);
		enable();
		fn.configWrite(maskAt, 4, 0b1010);
		for (const vector of [1, 1, 3, 0]) model.port?.signal(vector);
		expect(seen).toEqual([0]);
		expect(fn.configRead(maskAt + 4, 4)).toBe(0b1010);
		fn.configWrite(maskAt, 4, 0b1000);
		expect(seen).toEqual([0, 1]);
		fn.configWrite(maskAt, 1, 0);
		expect(seen).toEqual([0, 1, 3]);
		expect(fn.configRead(maskAt + 4, 4)).toBe(0);
	});

	it("masks all of 32 vectors, the 31st included", () => {
		const { fn, model, seen, enable, maskAt } = msiBench({ vectors: 32, maskable: true }, 5);
		enable();
		fn.configWrite(maskAt, 4, 0xffffffff);
		model.port?.signal(31);
		expect(fn.configRead(maskAt + 4, 4)).toBe(0x80000000);
		fn.configWrite(maskAt, 4, 0);
		expect(seen).toEqual([31]);
	});

	it("sends nothing while the function is no bus master", () => {
		const { fn, model, seen, enable } = msiBench({}, 0);
		enable();
		fn.configWrite(PCI_COMMAND, 2, 0x2);
		expect(model.port?.signal(0)).toBe(true);
		expect(seen).toEqual([]);
	});

	it("writes its data to memory when the address is plain memory", () => {
		const { fn, model, memory } = msiBench({}, 0);
		fn.configWrite(AT + 4, 4, 0x10020);
		fn.configWrite(AT + 12, 2, 0x4321);
		fn.configWrite(AT + 2, 2, 1);
		model.port?.signal(0);
		expect([...memory.subarray(0x20, 0x24)]).toEqual([0x21, 0x43, 0, 0]);
	});

	it("is off after a reset", () => {
		const { fn, model, enable } = msiBench({ maskable: true }, 0);
		enable();
		fn.reset();
		expect(model.port?.interruptMode).toBe("intx");
		expect([fn.configRead(AT + 2, 2), fn.configRead(AT + 4, 4)]).toEqual([0x0180, 0]);
	});
});
