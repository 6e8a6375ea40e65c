import { describe, expect, it } from "vitest";
import {
	KVM_IOEVENTFD_FLAG_DATAMATCH as DATAMATCH,
	KVM_IOEVENTFD_FLAG_DEASSIGN as DEASSIGN,
	KVM_IOEVENTFD_FLAG_PIO as PIO,
} from "../../../core/uapi/kvm.ts";
import { count, machine } from "./support.ts";

const AT = 0xfd000000n;

describe("KVM_IOEVENTFD", () => {
	it("takes a guest's write of that width, and of that value where one is asked for", () => {
		const { kernel, ioeventfd, machine: vm } = machine();
		const [any, five] = [kernel.eventfd(), kernel.eventfd()];
		expect(ioeventfd(any, AT, 2)).toBe(0);
		expect(ioeventfd(five, AT + 4n, 4, DATAMATCH, 5n)).toBe(0);
		expect(vm.write("mmio", AT, 4, 1n)).toBe(false);
		expect(vm.write("mmio", AT, 2, 7n)).toBe(true);
		expect(vm.write("mmio", AT + 4n, 4, 6n)).toBe(false);
		expect(vm.write("mmio", AT + 4n, 4, 5n)).toBe(true);
		expect(vm.write("pio", AT, 2, 7n)).toBe(false);
		expect([count(kernel, any), count(kernel, five)]).toEqual([1, 1]);
	});

	it("takes every width with length 0, and ports apart from memory", () => {
		const { kernel, ioeventfd, machine: vm } = machine();
		const event = kernel.eventfd();
		ioeventfd(event, 0x3f0n, 0, PIO);
		expect([1, 2, 4].map((width) => vm.write("pio", 0x3f0n, width, 0n))).toEqual([true, true, true]);
		expect(count(kernel, event)).toBe(3);
	});

	it("answers wrong requests as Linux does", () => {
		const { kernel, ioeventfd, vm } = machine();
		const event = kernel.eventfd();
		expect(ioeventfd(event, AT, 3)).toBe("EINVAL");
		expect(ioeventfd(event, 0xfffffffffffffffcn, 4)).toBe("EINVAL");
		expect(ioeventfd(event, AT, 4, 32)).toBe("EINVAL");
		expect(ioeventfd(event, AT, 0, DATAMATCH)).toBe("EINVAL");
		expect(ioeventfd(99, AT, 4)).toBe("EBADF");
		expect(ioeventfd(vm, AT, 4)).toBe("EINVAL");
		expect(ioeventfd(event, AT, 4, 16)).toBe(0);
	});

	it("refuses two that one write would be for", () => {
		const { kernel, ioeventfd } = machine();
		const event = kernel.eventfd();
		expect(ioeventfd(event, AT, 4, DATAMATCH, 5n)).toBe(0);
		expect(ioeventfd(event, AT, 4, DATAMATCH, 5n)).toBe("EEXIST");
		expect(ioeventfd(event, AT, 4, DATAMATCH, 6n)).toBe(0);
		expect(ioeventfd(event, AT, 4)).toBe("EEXIST");
		expect(ioeventfd(event, AT, 0)).toBe("EEXIST");
		expect(ioeventfd(event, AT, 2)).toBe(0);
		expect(ioeventfd(event, AT, 4, PIO)).toBe(0);
	});

	it("removes the one that is named, exactly", () => {
		const { linux, kernel, ioeventfd } = machine();
		const [event, other] = [kernel.eventfd(), kernel.eventfd()];
		ioeventfd(event, AT, 4, DATAMATCH, 5n);
		expect(ioeventfd(other, AT, 4, DATAMATCH | DEASSIGN, 5n)).toBe("ENOENT");
		expect(ioeventfd(event, AT, 4, DATAMATCH | DEASSIGN, 6n)).toBe("ENOENT");
		expect(ioeventfd(99, AT, 4, DEASSIGN)).toBe("EBADF");
		expect(ioeventfd(event, AT, 4, DATAMATCH | DEASSIGN, 5n)).toBe(0);
		expect(ioeventfd(event, AT, 4, DATAMATCH | DEASSIGN, 5n)).toBe("ENOENT");
		kernel.close(event);
		kernel.close(other);
		expect(linux.leaks().eventfds).toBe(0);
	});

	it("is not limited as other devices on the bus are", () => {
		const { kernel, ioeventfd } = machine();
		const event = kernel.eventfd();
		for (let at = 0; at < 1100; at++) expect(ioeventfd(event, AT + BigInt(8 * at), 4)).toBe(0);
	});
});
