import { describe, expect, it } from "vitest";
import type { FunctionEvent, RequestPolicy } from "../../../core/pci/mod.ts";
import { requestAction } from "../../../core/pci/request-policy.ts";
import { assign } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";

describe("requestAction()", () => {
	it.each([
		["ask", 100, "ask"],
		["ignore", 1, "ignore"],
		[{ forceAfter: 2 }, 2, "ask"],
		[{ forceAfter: 2 }, 3, "force"],
		[{ forceAfter: 0 }, 1, "force"],
	] as const)("%j at request %i: %s", (policy, count, action) => {
		expect(requestAction(policy, count)).toBe(action);
	});
});

describe("AssignedFunction's policy for requests", () => {
	function requested(request: RequestPolicy, times: number) {
		const events: FunctionEvent[] = [];
		const { device, fn, slot } = assign({}, { request, onEvent: (event) => events.push(event) });
		fn.configWrite(0x10, 4, 0xe0000000);
		fn.configWrite(4, 2, 6);
		for (let n = 0; n < times; n++) {
			const fd = device.irqState[4]?.fds[0];
			if (fd !== undefined && fd >= 0) device.fake.signal(fd);
			device.fake.settle();
		}
		const actions = events.flatMap((event) => (event.type === "device-requested" ? [event.action] : []));
		return { device, fn, slot, actions };
	}

	it("asks for ever, and the function stays", () => {
		const { fn, actions } = requested("ask", 5);
		expect(actions).toEqual(Array(5).fill("ask"));
		expect(fn.configRead(0, 2)).toBe(0x8086);
	});

	it("takes the device away after n requests: silent, no DMA, all ones; further signals do nothing", () => {
		const { device, fn, slot, actions } = requested({ forceAfter: 2 }, 5);
		expect(actions).toEqual(["ask", "ask", "force"]);
		expect(fn.configRead(0, 4)).toBe(0xffffffff);
		expect(slot.bars[0]).toBeUndefined();
		expect((device.config[4] ?? 0) & 4).toBe(0);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it("ignores them, and says so", () => {
		const { fn, actions } = requested("ignore", 2);
		expect(actions).toEqual(["ignore", "ignore"]);
		expect(fn.configRead(0, 2)).toBe(0x8086);
	});

	it.each([["maybe"], [{ forceAfter: -1 }], [{ forceAfter: 1.5 }], [null], [{}]])("refuses %j", (request) => {
		const error = vfioError(() => assign({}, { request: request as RequestPolicy }));
		expect(error.message).toContain('"ask", "ignore" or { forceAfter: n }');
	});
});
