import { describe, expect, it } from "vitest";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { InterruptController } from "../../../kernel-sim/hardware/interrupts.ts";
import { bench } from "./fixtures.ts";

const someFunction = () => new PciFunction({ vendor: 1, device: 1, classCode: 0 });

describe("InterruptController", () => {
	it("deliver() calls the handler of the message and no other", () => {
		const controller = new InterruptController();
		const fn = someFunction();
		const calls: string[] = [];
		const a = controller.allocateMessage(fn, () => calls.push("a"));
		const b = controller.allocateMessage(fn, () => calls.push("b"));
		controller.deliver(fn, b.address, b.data);
		controller.deliver(fn, a.address, a.data);
		expect(calls).toEqual(["b", "a"]);
	});

	it("allocateMessage() gives addresses in the window, each its own", () => {
		const controller = new InterruptController();
		const fn = someFunction();
		const seen = new Set<bigint>();
		for (let index = 0; index < 40000; index++) seen.add(controller.allocateMessage(fn, () => {}).address);
		expect(seen.size).toBe(40000);
		for (const address of seen) expect(address >= 0xfee00000n && address < 0xfef00000n).toBe(true);
		// The 16th bit of the handle is in another place of the address: the last ones must work too.
		let count = 0;
		const last = controller.allocateMessage(fn, () => count++);
		controller.deliver(fn, last.address, last.data);
		expect(count).toBe(1);
	}, 20_000);

	it("deliver() drops and counts a message from a wrong source", () => {
		const { machine, fn } = bench();
		let count = 0;
		const message = machine.interrupts.allocateMessage(someFunction(), () => count++);
		machine.interrupts.deliver(fn, message.address, message.data);
		expect(count).toBe(0);
		expect(machine.interrupts.droppedCount).toBe(1);
		expect(machine.interrupts.dropped).toEqual([
			{ device: "0000:01:00.0", address: message.address, data: message.data, reason: "wrong-source" },
		]);
	});

	it("deliver() drops a message that was freed, and one in the format without remapping", () => {
		const controller = new InterruptController();
		const fn = someFunction();
		const message = controller.allocateMessage(fn, () => {
			throw new Error("freed");
		});
		message.free();
		message.free();
		controller.deliver(fn, message.address, message.data);
		controller.deliver(fn, 0xfee00000n, 0x30);
		expect(controller.dropped.map((dropped) => dropped.reason)).toEqual(["not-allocated", "not-allocated"]);
		expect(controller.allocated).toBe(0);
	});

	it("free() leaves alone what got the same entry later", () => {
		const controller = new InterruptController();
		const fn = someFunction();
		const first = controller.allocateMessage(fn, () => {});
		first.free();
		let count = 0;
		const second = controller.allocateMessage(fn, () => count++);
		expect(second.address).toBe(first.address);
		first.free();
		controller.deliver(fn, second.address, second.data);
		expect(count).toBe(1);
	});

	it("allocateMessages() gives a block whose data counts up", () => {
		const controller = new InterruptController();
		const fn = someFunction();
		const seen: number[] = [];
		const block = controller.allocateMessages(fn, 4, (index) => seen.push(index));
		for (const index of [3, 0, 2]) controller.deliver(fn, block?.address ?? 0n, (block?.data ?? 0) + index);
		expect(seen).toEqual([3, 0, 2]);
		block?.free();
		expect(controller.allocated).toBe(0);
	});

	it("without remapping delivers from anybody, one message a function", () => {
		const controller = new InterruptController({ remapping: false });
		const fn = someFunction();
		let count = 0;
		const message = controller.allocateMessage(fn, () => count++);
		controller.deliver(someFunction(), message.address, message.data);
		expect(count).toBe(1);
		expect(controller.allocateMessages(fn, 2, () => {})).toBeUndefined();
		controller.deliver(fn, 0xfee00000n, 0x08);
		expect(controller.dropped.map((dropped) => dropped.reason)).toEqual(["not-allocated"]);
	});

	it("without remapping moves on to the next CPU when one is full", () => {
		const controller = new InterruptController({ remapping: false });
		const fn = someFunction();
		const keys = new Set<string>();
		for (let index = 0; index < 500; index++) {
			const { address, data } = controller.allocateMessage(fn, () => {});
			keys.add(`${address} ${data}`);
		}
		expect(keys.size).toBe(500);
	});

	it("onIntx() follows the level of one function until it is disposed", () => {
		const { machine, fn, model } = bench({ interruptPin: 1 });
		const levels: boolean[] = [];
		const line = machine.interrupts.onIntx(fn, (asserted) => levels.push(asserted));
		model.port?.setIntx(true);
		model.port?.setIntx(true);
		model.port?.setIntx(false);
		line[Symbol.dispose]();
		model.port?.setIntx(true);
		expect(levels).toEqual([true, false]);
	});
});
