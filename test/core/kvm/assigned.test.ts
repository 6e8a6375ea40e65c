import { describe, expect, it } from "vitest";
import { KvmVm } from "../../../core/kvm/kvm-vm.ts";
import { VFIO_PCI_MSIX_IRQ_INDEX as MSIX } from "../../../core/uapi/vfio.ts";
import { Edu, PciFunction } from "../../../kernel-sim/mod.ts";
import { createVm } from "../../kernel-sim/kvm/support.ts";
import { assignWithKvm, capability, IOAPIC, NVME, nothingLeft } from "./support.ts";

/** edu's registers. */
const EDU_REGISTERS = { raise: 0x60, acknowledge: 0x64 };

type Made = ReturnType<typeof assignWithKvm>;

/** A driver writes the messages of these vectors, unmasked, and switches MSI-X on. */
function enableMsix({ fn }: Made, vectors: number) {
	const at = capability(fn, 0x11);
	const table = fn.configRead(at + 4, 4) & ~7;
	const write = (vector: number, offset: number, value: number) =>
		fn.barWrite(0, table + 16 * vector + offset, 4, value);
	for (let vector = 0; vector < vectors; vector++) {
		write(vector, 0, 0xfee00000 + 0x1000 * vector);
		write(vector, 4, 0);
		write(vector, 8, 0x40 + vector);
		write(vector, 12, 0);
	}
	return { write, control: (value: number) => fn.configWrite(at + 2, 2, value), pba: fn.configRead(at + 8, 4) & ~7 };
}

function enableMsi({ fn }: Made, data: number) {
	const at = capability(fn, 5);
	fn.configWrite(at + 4, 4, 0xfee01000);
	fn.configWrite(at + 8, 4, 0);
	fn.configWrite(at + 12, 2, data);
	fn.configWrite(at + 2, 2, fn.configRead(at + 2, 2) | 1);
	return at;
}

describe.each(["6.12", "7.2"] as const)("an assigned function with KVM, on simulated Linux %s", (version) => {
	const linux = { version };

	it("carries INTx from the device to the guest and its end of interrupt back, with this process out of it", () => {
		const made = assignWithKvm({ linux });
		const { fn, machine, settle } = made;
		fn.barWrite(0, EDU_REGISTERS.raise, 4, 1);
		expect(settle()).toEqual({ kvm: ["pin 19 up"], here: [] });
		expect(fn.directAreas(0)).toHaveLength(1);
		// The guest ends the interrupt without having quieted the device: it comes again at once.
		machine.endOfInterrupt(IOAPIC, 19);
		expect(settle().kvm).toEqual(["pin 19 down", "pin 19 up"]);
		fn.barWrite(0, EDU_REGISTERS.acknowledge, 4, 1);
		machine.endOfInterrupt(IOAPIC, 19);
		expect([settle().kvm, machine.asserted(IOAPIC, 19)]).toEqual([["pin 19 down"], false]);
		fn.barWrite(0, EDU_REGISTERS.raise, 4, 2);
		expect(settle()).toEqual({ kvm: ["pin 19 up"], here: [] });
		made[Symbol.dispose]();
		expect([made.reports, nothingLeft(made.linux)]).toEqual([[], {}]);
	});

	it("takes INTx back when the pin leads nowhere, and gives it to KVM when it leads somewhere else", () => {
		let gsi: number | undefined;
		const made = assignWithKvm({ linux, gsiOf: () => gsi });
		const { fn, pci, machine, settle } = made;
		fn.barWrite(0, EDU_REGISTERS.raise, 4, 1);
		expect(settle()).toEqual({ kvm: [], here: ["pin 1 up"] });
		gsi = 21;
		pci.root.interruptRoutesChanged();
		expect(settle()).toEqual({ kvm: ["pin 21 up"], here: ["pin 1 down"] });
		gsi = 22;
		pci.root.interruptRoutesChanged();
		expect([settle().kvm, machine.asserted(IOAPIC, 21)]).toEqual([["pin 21 down", "pin 22 up"], false]);
		fn.barWrite(0, EDU_REGISTERS.acknowledge, 4, 1);
		machine.endOfInterrupt(IOAPIC, 22);
		expect(settle().kvm).toEqual(["pin 22 down"]);
		made[Symbol.dispose]();
		expect(nothingLeft(made.linux)).toEqual({});
	});

	it("sends edu's MSI, and the guest's new message after it has changed it", () => {
		const made = assignWithKvm({ linux });
		const { fn, settle } = made;
		const at = enableMsi(made, 0x41);
		fn.barWrite(0, EDU_REGISTERS.raise, 4, 1);
		expect(settle()).toEqual({ kvm: ["fee01000=41"], here: [] });
		fn.configWrite(at + 12, 2, 0x52);
		fn.configWrite(at + 4, 4, 0xfee03000);
		fn.barWrite(0, EDU_REGISTERS.raise, 4, 1);
		expect(settle()).toEqual({ kvm: ["fee03000=52"], here: [] });
		fn.configWrite(at + 2, 2, 0);
		fn.barWrite(0, EDU_REGISTERS.acknowledge, 4, 1);
		fn.barWrite(0, EDU_REGISTERS.raise, 4, 1);
		expect(settle().kvm).toEqual(["pin 19 up"]);
		made[Symbol.dispose]();
		expect(nothingLeft(made.linux)).toEqual({});
	});

	it.each([1, 8, 65])("enables %i MSI-X vectors with at most 2 SET_IRQS and one SET_GSI_ROUTING", (vectors) => {
		const calls: string[] = [];
		const made = assignWithKvm({ linux, address: NVME, calls });
		const { control } = enableMsix(made, vectors);
		// Leaving INTx is the same for any number of vectors.
		made.fn.configWrite(4, 2, 0x406);
		calls.length = 0;
		control(0x8000);
		const after = calls.slice(calls.lastIndexOf("KVM_SET_GSI_ROUTING"));
		expect(after.filter((call) => call === "VFIO_DEVICE_SET_IRQS").length).toBeLessThanOrEqual(2);
		expect(calls.filter((call) => call === "KVM_SET_GSI_ROUTING")).toHaveLength(1);
		for (let vector = 0; vector < vectors; vector++) made.device.triggerIrq(MSIX, vector);
		const { kvm, here } = made.settle();
		expect([kvm.length, here, kvm.at(-1)]).toEqual([
			vectors,
			[],
			`${(0xfee00000 + 0x1000 * (vectors - 1)).toString(16)}=${(0x3f + vectors).toString(16)}`,
		]);
		made[Symbol.dispose]();
		expect(nothingLeft(made.linux)).toEqual({});
	});

	it("loses no interrupt while a vector or the function is masked, or its message is moved", () => {
		const made = assignWithKvm({ linux, address: NVME });
		const { fn, device, settle } = made;
		const { write, control, pba } = enableMsix(made, 4);
		control(0x8000);
		write(1, 12, 1);
		device.triggerIrq(MSIX, 1);
		expect([settle(), fn.barRead(0, pba, 4)]).toEqual([{ kvm: [], here: [] }, 2]);
		write(1, 8, 0x99);
		write(1, 12, 0);
		device.triggerIrq(MSIX, 1);
		expect(settle()).toEqual({ kvm: ["fee01000=99"], here: ["fee01000=99"] });
		control(0xc000);
		device.triggerIrq(MSIX, 2);
		expect(settle()).toEqual({ kvm: [], here: [] });
		control(0x8000);
		device.triggerIrq(MSIX, 3);
		expect(settle()).toEqual({ kvm: ["fee03000=43"], here: ["fee02000=42"] });
		control(0);
		made[Symbol.dispose]();
		expect(nothingLeft(made.linux)).toEqual({});
	});

	it("works through this process where KVM has no interrupt controllers", () => {
		const made = assignWithKvm({ linux, vm: (kernel) => KvmVm.adopt(kernel, createVm(kernel, false)) });
		expect([made.vm.hasIrqchip, made.vm.rootBus(() => 16)]).toEqual([false, undefined]);
		made.fn.barWrite(0, EDU_REGISTERS.raise, 4, 1);
		expect(made.settle()).toEqual({ kvm: [], here: ["pin 1 up"] });
		enableMsi(made, 0x41);
		made.fn.barWrite(0, EDU_REGISTERS.raise, 4, 1);
		expect(made.settle().here).toContain("fee01000=41");
		expect(made.reports).toEqual([]);
		made[Symbol.dispose]();
	});

	it.each([
		[false, true],
		[true, false],
	])(
		"tells KVM of the group while it is in use; with snoop control %s its DMA may be incoherent: %s",
		(snoopControl, incoherent) => {
			const made = assignWithKvm({ linux: { ...linux, snoopControl } });
			expect([made.device.container?.coherent, made.machine.nonCoherentDma]).toEqual([snoopControl, incoherent]);
			made[Symbol.dispose]();
			expect(nothingLeft(made.linux)).toEqual({});
		},
	);

	it("has a repeated write go from KVM to the register, with this process out of it", () => {
		const card = new PciFunction({
			...Edu.description(),
			vendor: 0x10de,
			classCode: 0x030000,
			bars: [{ index: 0, kind: "mem32", size: 0x100000, backing: "memory" }],
		});
		const made = assignWithKvm({ linux, address: "0000:02:00.0", plug: card });
		const { fn, machine, settle } = made;
		const at = capability(fn, 5);
		const register = 0x88000 + at;
		const address = 0xfd000000n + BigInt(register);
		const acknowledge = () => {
			if (!machine.write("mmio", address, 1, 0x5an)) fn.barWrite(0, register, 1, 0x5a);
		};
		for (let time = 0; time < 10; time++) acknowledge();
		card.write(0, register, 1, 0);
		// The eleventh never leaves the kernel.
		expect(machine.write("mmio", address, 1, 0x5an)).toBe(true);
		expect([card.read(0, register, 1), settle()]).toEqual([0x5a, { kvm: [], here: [] }]);
		fn.configWrite(0x10, 4, 0xfe000000);
		expect(machine.write("mmio", address, 1, 0x5an)).toBe(false);
		made[Symbol.dispose]();
		expect([made.reports, nothingLeft(made.linux)]).toEqual([[], {}]);
	});
});
