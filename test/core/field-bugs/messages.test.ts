// What drivers do with MSI and MSI-X in the field: no id, but the same kind of incident.
import { describe, expect, it } from "vitest";
import {
	assign,
	assignDecoding,
	MSI_AT,
	MSIX_AT,
	MSIX_MASKALL,
	MSIX_ON,
	msixControl,
	PBA,
	program,
	TABLE,
} from "../support/assigned.ts";
import type { FakeDevice } from "../support/fake-vfio-device.ts";
import { configSpace, msixBody } from "../support/pci-config.ts";

const MSI = 1;
const MSIX = 2;

/** The device sends these messages, and all that follows from them happens. */
function send(device: FakeDevice, index: number, ...vectors: number[]): void {
	for (const vector of vectors) device.message(index, vector);
	device.fake.settle();
}

describe("MSI", () => {
	it("sends what the guest wrote last, in whatever widths, while it is on", () => {
		const { device, fn, slot } = assign();
		fn.configWrite(MSI_AT + 4, 4, 0xfee01000);
		fn.configWrite(MSI_AT + 12, 2, 0x41);
		fn.configWrite(MSI_AT + 2, 2, 1);
		send(device, MSI, 0);
		fn.configWrite(MSI_AT + 5, 1, 0x20);
		fn.configWrite(MSI_AT + 12, 1, 0x51);
		send(device, MSI, 0);
		fn.configWrite(MSI_AT + 8, 4, 1);
		send(device, MSI, 0);
		expect(slot.messages).toEqual(["fee01000=41", "fee02000=51", "1fee02000=51"]);
	});

	it("has no more vectors than the device, whatever a guest allocates", () => {
		const { device, fn } = assign();
		fn.configWrite(MSI_AT + 2, 2, 0x71);
		expect([fn.configRead(MSI_AT + 2, 2) & 0x70, device.irqState[MSI]?.fds.length]).toEqual([0x20, 4]);
	});

	it("keeps what arrives masked in its pending register, and sends it at unmask", () => {
		const { device, fn, slot } = assign();
		fn.configWrite(MSI_AT + 2, 2, 0x21);
		fn.configWrite(MSI_AT + 0x10, 4, 0xf);
		send(device, MSI, 2);
		expect([fn.configRead(MSI_AT + 0x14, 4), slot.messages.length]).toEqual([4, 0]);
		fn.configWrite(MSI_AT + 0x10, 1, 0xb);
		expect([fn.configRead(MSI_AT + 0x14, 4), slot.messages.length]).toEqual([0, 1]);
	});

	it("that the kernel refused works once it is switched on again, and INTx in between", () => {
		const { device, fn } = assign();
		device.failing = ["set 1"];
		const modes = [1, 0, 1].map((enable) => {
			fn.configWrite(MSI_AT + 2, 2, enable);
			device.failing = [];
			return fn.interruptMode;
		});
		expect(modes).toEqual(["none", "intx", "msi"]);
	});

	it("silences an INTx that waits, which comes back with it", () => {
		const { device, fn, slot } = assign();
		device.setLine(true);
		device.fake.settle();
		fn.configWrite(MSI_AT + 2, 2, 1);
		expect([slot.pins[1], fn.interruptMode]).toEqual([false, "msi"]);
		fn.configWrite(MSI_AT + 2, 2, 0);
		device.setLine(true);
		device.fake.settle();
		expect(slot.pins[1]).toBe(true);
	});

	it("and MSI-X switched on together: the last one speaks, and the other when it goes", () => {
		const { device, fn } = assign();
		const modes: string[] = [];
		const msi = (enable: number) => {
			fn.configWrite(MSI_AT + 2, 2, enable);
			modes.push(fn.interruptMode);
		};
		const msix = (control: number) => {
			msixControl(fn, control);
			modes.push(fn.interruptMode);
		};
		msi(1);
		msix(MSIX_ON);
		msix(0);
		msix(MSIX_ON);
		msi(0);
		msi(1);
		msi(0);
		msix(0);
		expect(modes).toEqual(["msi", "msix", "msi", "msix", "msix", "msi", "msix", "intx"]);
		expect(device.irqState.slice(0, 3).map(({ active }) => active)).toEqual([true, false, false]);
	});
});

describe("MSI-X", () => {
	it("takes entries written in 64 bits", () => {
		const { device, fn, slot } = assignDecoding();
		fn.barWrite64(0, TABLE + 32, 0x1_fee00000n);
		fn.barWrite64(0, TABLE + 40, 0x77n);
		msixControl(fn, MSIX_ON);
		send(device, MSIX, 2);
		expect([slot.messages, fn.barRead64(0, TABLE + 32)]).toEqual([["1fee00000=77"], 0x1_fee00000n]);
	});

	it("sends what an entry holds now, also where a guest changes it unmasked", () => {
		const { device, fn, slot } = assignDecoding();
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		fn.barWrite(0, TABLE + 8, 4, 0x99);
		send(device, MSIX, 0);
		expect(slot.messages).toEqual(["fee00000=99"]);
	});

	it("keeps what arrives under the function's mask, each vector once, and sends it at the end of the mask", () => {
		const { device, fn, slot } = assignDecoding();
		for (const vector of [0, 1, 2]) program(fn, vector);
		msixControl(fn, MSIX_ON);
		msixControl(fn, MSIX_ON | MSIX_MASKALL);
		send(device, MSIX, 2, 0);
		send(device, MSIX, 0);
		expect([slot.messages, fn.barRead(0, PBA, 4), fn.barRead64(0, PBA)]).toEqual([[], 5, 5n]);
		fn.configWrite(MSIX_AT + 3, 1, 0x80);
		expect([slot.messages, fn.barRead(0, PBA, 4)]).toEqual([["fee00000=40", "fee00020=42"], 0]);
	});

	it("asks the kernel nothing when it is switched on once more", () => {
		const { device, fn } = assignDecoding();
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		expect(device.take("set 2").length).toBe(2);
		msixControl(fn, MSIX_ON);
		fn.configWrite(MSIX_AT, 4, 0x80000011);
		expect(device.take("set 2")).toEqual([]);
	});

	it.each([
		["can add vectors", true],
		["cannot", false],
	])("uses what a host that %s has, and says what that is", (_what, dynamic) => {
		const { device, fn, slot, reports } = assignDecoding({ dynamic, available: 3 });
		for (let vector = 0; vector < 8; vector++) program(fn, vector);
		msixControl(fn, MSIX_ON);
		send(device, MSIX, 0, 1, 2, 3, 4, 5, 6, 7);
		expect([slot.messages.length, reports.length > 0]).toEqual([3, true]);
		msixControl(fn, 0);
		expect(fn.interruptMode).toBe("intx");
	});

	it("loses nothing that arrived before the range grew", () => {
		const { device, fn, slot } = assignDecoding({ dynamic: false });
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		device.message(MSIX, 0);
		program(fn, 5);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee00000=40"]);
	});

	it("enables 2048 vectors with two calls", () => {
		const capabilities = [[MSIX_AT, 0x11, msixBody(2048, [0, 0x8000], [0, 0x4000])]] as const;
		const config = configSpace({ bars: [0xfe400000], capabilities });
		const { device, fn, slot } = assignDecoding({ vectors: 2048, config, irqs: [1, 0, 2048, 1, 1] });
		for (let vector = 0; vector < 2048; vector++) fn.barWrite(0, 0x8000 + 16 * vector + 12, 4, 0);
		device.take();
		msixControl(fn, MSIX_ON);
		expect(device.take("set 2").length).toBe(2);
		send(device, MSIX, 2047);
		expect(slot.messages.length).toBe(1);
	});

	it("sends nothing of what arrived before a reset", () => {
		const { device, fn, slot } = assignDecoding();
		program(fn, 1);
		msixControl(fn, MSIX_ON);
		device.message(MSIX, 1);
		fn.reset();
		device.fake.settle();
		expect([slot.messages, fn.interruptMode]).toEqual([[], "intx"]);
	});
});
