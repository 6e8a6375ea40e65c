import { describe, expect, it } from "vitest";
import type { AccessWidth } from "../../../core/kernel.ts";
import { EFAULT, EIO } from "../../../core/uapi/errno.ts";
import { rawCapability, vendor } from "../../../kernel-sim/hardware/capabilities.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { load, store } from "../../../kernel-sim/hardware/little-endian.ts";
import { Edu } from "../../../kernel-sim/hardware/models/edu.ts";
import { describeConfig } from "../../../kernel-sim/hardware/raw-config.ts";
import { Machine } from "../../../kernel-sim/hardware/topology.ts";
import { type ConfigHost, ConfigSpace } from "../../../kernel-sim/linux/vfio-pci/config-space.ts";
import { setPowerState } from "../../../kernel-sim/linux/vfio-pci/reset.ts";
import { E1000E, WIDE } from "./descriptions.ts";

/** What a write set off, in order. */
class Host implements ConfigHost {
	readonly fn: PciFunction;
	readonly effects: string[] = [];
	msiVectors = 0;

	constructor(fn: PciFunction) {
		this.fn = fn;
	}

	maskIntx(masked: boolean): void {
		this.effects.push(masked ? "mask" : "unmask");
	}

	setPowerState(state: number): void {
		this.effects.push(`D${state}`);
		setPowerState(this.fn, state);
	}

	tryReset(): void {
		this.effects.push("reset");
	}
}

/** A function as firmware leaves it, and its virtualized configuration space. */
function setUp(description: FunctionDescription) {
	const fn = new PciFunction(description, description.name === "edu" ? new Edu() : undefined);
	new Machine().plug("0000:01:00.0", fn);
	if (!description.captured) {
		fn.configWrite(0x10, 4, 0xfe200000);
		if (fn.bar(0)?.kind === "mem64") fn.configWrite(0x14, 4, 0x38);
		fn.configWrite(0x3c, 1, 0x0b);
		fn.configWrite(0x04, 2, 0x0003);
	}
	const host = new Host(fn);
	const config = new ConfigSpace(host);
	return {
		fn,
		host,
		config,
		read(offset: number, width: AccessWidth) {
			const bytes = new Uint8Array(width);
			expect(config.read(offset, bytes)).toBe(width);
			return load(bytes, 0, width);
		},
		write(offset: number, width: AccessWidth, value: number) {
			const bytes = new Uint8Array(width);
			store(bytes, 0, width, value);
			expect(config.write(offset, bytes)).toBe(width);
		},
	};
}

/** Ids along the chain that the user sees, bounded. */
function chain(read: (offset: number, width: AccessWidth) => number): number[] {
	const ids: number[] = [];
	for (let at = read(0x34, 1); at !== 0 && ids.length < 60; at = read(at + 1, 1)) ids.push(read(at, 1));
	return ids;
}

describe("ConfigSpace header", () => {
	it.each([
		["119 vendor is dropped", 0x00, 2, 0xffff, 0x8086],
		["125 status is dropped", 0x06, 2, 0xffff, 0x0010],
		["126 BAR 0 sizes", 0x10, 4, 0xffffffff, 0xfffe0000],
		["126 BAR 0 aligns what it is given", 0x10, 4, 0xe001_2345, 0xe000_0000],
		["126 an I/O BAR sizes", 0x18, 4, 0xffffffff, 0xffffffe1],
		["128 an unimplemented BAR stays 0", 0x20, 4, 0xffffffff, 0],
		["129 the ROM BAR sizes and keeps its enable bit", 0x30, 4, 0xffffffff, 0xfffc0001],
		["130 the interrupt line is the user's", 0x3c, 1, 0x5a, 0x5a],
		["131 the interrupt pin is dropped", 0x3d, 1, 4, 1],
		["the cache line size reaches hardware", 0x0c, 1, 0x10, 0x10],
		["the capability pointer is dropped", 0x34, 1, 0, 0xc8],
	] as const)("write() %s (contract D.2)", (_name, offset, width, value, expected) => {
		const { read, write } = setUp(E1000E);
		write(offset, width, value);
		expect(read(offset, width)).toBe(expected);
	});

	it("read() shows the host's addresses first and write() leaves the hardware's alone (case 126)", () => {
		const { fn, read, write } = setUp(WIDE);
		expect([read(0x10, 4), read(0x14, 4)]).toEqual([0xfe20000c, 0x38]);
		write(0x10, 4, 0xffffffff);
		write(0x14, 4, 0xffffffff);
		expect([read(0x10, 4), read(0x14, 4)]).toEqual([0xffffc00c, 0xffffffff]);
		expect([fn.configRead(0x10, 4), fn.configRead(0x14, 4)]).toEqual([0xfe20000c, 0x38]);
	});

	it("write() of single bytes of a BAR comes to the same as one of the whole", () => {
		const { read, write } = setUp(E1000E);
		for (let byte = 0; byte < 4; byte++) write(0x10 + byte, 1, 0xff);
		expect(read(0x10, 4)).toBe(0xfffe0000);
	});

	it("read() is -EFAULT as a whole when it crosses the end (cases 120, 144)", () => {
		const { config } = setUp(Edu.description());
		expect(config.read(0, new Uint8Array(64))).toBe(64);
		for (const [offset, length] of [
			[0xfe, 4],
			[0x100, 4],
			[0, 4096],
		] as const) {
			expect(config.read(offset, new Uint8Array(length))).toBe(-EFAULT);
			expect(config.write(offset, new Uint8Array(length))).toBe(-EFAULT);
		}
	});

	it("read() takes any alignment and matches byte reads (case 121)", () => {
		const { config, read } = setUp(E1000E);
		const bytes = new Uint8Array(3);
		expect(config.read(1, bytes)).toBe(3);
		expect([...bytes]).toEqual([read(1, 1), read(2, 1), read(3, 1)]);
	});

	it("write() of COMMAND passes MASTER on, keeps DisINTx virtual and says so (cases 123, 124)", () => {
		const { fn, host, read, write } = setUp(E1000E);
		write(4, 2, 0x0407);
		expect(read(4, 2)).toBe(0x0407);
		expect(fn.configRead(4, 2)).toBe(0x0007);
		write(5, 1, 0);
		expect(host.effects).toEqual(["mask", "unmask"]);
	});

	it("write() of COMMAND brings back BARs that a reset behind the kernel's back has lost (contract D.3)", () => {
		const { fn, write } = setUp(E1000E);
		fn.reset();
		expect(fn.configRead(0x10, 4)).toBe(0);
		write(4, 2, 0x0002);
		expect(fn.configRead(0x10, 4)).toBe(0xfe200000);
	});

	it("load() is -EIO for hardware bits once the function is gone, and the copy still reads", () => {
		const { fn, config } = setUp(E1000E);
		fn.present = false;
		expect(config.read(4, new Uint8Array(2))).toBe(-EIO);
		expect(config.write(4, new Uint8Array(2))).toBe(-EIO);
		expect(config.read(0x10, new Uint8Array(4))).toBe(4);
	});

	it("read() hides the pin of controllers whose pin does not work", () => {
		expect(setUp({ ...E1000E, device: 0x1572 }).read(0x3d, 1)).toBe(0);
	});
});

describe("ConfigSpace capabilities", () => {
	it("PM: the power state goes through the kernel, PME bits read 0 (cases 133, 134)", () => {
		const { fn, host, read, write } = setUp(E1000E);
		expect(read(0xca, 2) & 0xf800).toBe(0);
		expect(fn.configRead(0xca, 2) & 0xf800).not.toBe(0);
		write(0xcc, 2, 0x8103);
		expect([read(0xcc, 2), fn.powerState]).toEqual([3, 3]);
		write(0xcd, 1, 0xff);
		expect(host.effects).toEqual(["D3"]);
		write(0xcc, 2, 0);
		expect(host.effects).toEqual(["D3", "D0"]);
	});

	it("MSI: enable and vector count wait for SET_IRQS, the message is the user's (cases 135-137)", () => {
		const { fn, host, read, write } = setUp(WIDE);
		write(0x52, 2, 0x0031 | read(0x52, 1));
		expect(read(0x52, 2) & 0x71).toBe(0);
		expect(fn.msi?.enabled).toBe(false);
		write(0x54, 4, 0xfeedc000);
		write(0x5c, 2, 0x4321);
		expect([read(0x54, 4), read(0x5c, 2)]).toEqual([0xfeedc000, 0x4321]);
		expect([fn.configRead(0x54, 4), fn.configRead(0x5c, 2)]).toEqual([0, 0]);
		host.msiVectors = 4;
		write(0x52, 2, 0x0031 | read(0x52, 1));
		expect([read(0x52, 2) & 0x71, fn.configRead(0x52, 2) & 0x71]).toEqual([0x21, 0x21]);
		write(0x60, 4, 0x5a);
		expect(fn.configRead(0x60, 4)).toBe(0x5a);
	});

	it("MSI: bits that say what the capability is can be overwritten by the user (contract D.4.1)", () => {
		const { read, write } = setUp(Edu.description());
		write(0x42, 2, 1);
		expect(read(0x42, 2)).toBe(0);
	});

	it("MSI-X: writes are dropped, hardware shows through (case 138)", () => {
		const { fn, read, write } = setUp(E1000E);
		write(0xa2, 2, 0xc000);
		expect(read(0xa2, 2)).toBe(4);
		fn.configWrite(0xa2, 2, 0x8000);
		expect(read(0xa2, 2)).toBe(0x8004);
	});

	it("EXP: FLR resets and reads 0, MPS is virtual, MRRS reaches hardware, link control is dropped (cases 139-141)", () => {
		const { fn, host, read, write } = setUp(WIDE);
		write(0x88, 2, 0x8000);
		expect(host.effects).toEqual(["reset"]);
		expect(read(0x88, 2) & 0x8000).toBe(0);
		write(0x88, 2, 0x20e0);
		expect(read(0x88, 2) & 0xf0e0).toBe(0x20e0);
		expect(fn.configRead(0x88, 2) & 0xf0e0).toBe(0x2000);
		const link = read(0x90, 2);
		write(0x90, 2, 0xffff);
		expect(read(0x90, 2)).toBe(link);
	});

	it("EXP: FLR is ignored where the device has none", () => {
		const { host, write } = setUp(E1000E);
		write(0xe8, 2, 0x8000);
		expect(host.effects).toEqual([]);
	});

	it("AF: FLR resets and reads 0", () => {
		const bytes = Uint8Array.from([0, 0, 6, 3, 0, 0]);
		const { host, read, write } = setUp({ ...E1000E, capabilities: [rawCapability({ id: 0x13, bytes })] });
		const at = read(0x34, 1);
		write(at + 4, 1, 1);
		expect(host.effects).toEqual(["reset"]);
		expect(read(at + 4, 1)).toBe(0);
	});

	it("VPD: a device that does not answer leaves the flag alone", () => {
		const { read, write } = setUp({ ...E1000E, capabilities: [rawCapability({ id: 3, bytes: new Uint8Array(8) })] });
		const at = read(0x34, 1);
		write(at + 2, 2, 0x0010);
		expect(read(at + 2, 2)).toBe(0x0010);
	});

	it("AER: only the bits that the kernel knows can be written (case 142)", () => {
		const { fn, read, write } = setUp(E1000E);
		write(0x108, 4, 0xffffffff);
		expect(read(0x108, 4) & ~0x03fff031).toBe(0);
		expect(read(0x108, 4)).toBe(fn.configRead(0x108, 4));
	});

	it("vendor capabilities and gaps pass through raw (case 145)", () => {
		const body = new Uint8Array(5);
		const writable = new Uint8Array(5).fill(0xff);
		const { fn, read, write } = setUp({ ...E1000E, capabilities: [vendor({ offset: 0x40, body, writable })] });
		write(0x44, 4, 0xdeadbeef);
		expect([read(0x44, 4), fn.configRead(0x44, 4)]).toEqual([0xdeadbeef, 0xdeadbeef]);
		write(0x80, 1, 0x77);
		expect(read(0x80, 1)).toBe(fn.configRead(0x80, 1));
	});

	it("hidden capabilities leave the chain, their registers stay readable (case 132)", () => {
		const hidden = rawCapability({ id: 0x0d, offset: 0x48, bytes: Uint8Array.from([0, 0, 0, 0, 0xaa, 0xbb, 0, 0]) });
		const { read } = setUp({ ...E1000E, capabilities: [vendor({ offset: 0x40, body: new Uint8Array(1) }), hidden] });
		expect(chain(read)).toEqual([9]);
		expect(read(0x4c, 2)).toBe(0xbbaa);
	});

	it("the capability list disappears with its last visible member", () => {
		const { read } = setUp({ ...E1000E, capabilities: [rawCapability({ id: 0x0d, bytes: new Uint8Array(8) })] });
		expect([read(0x06, 2) & 0x10, read(0x34, 1)]).toEqual([0, 0]);
	});

	it("a hidden head of the extended list stays as an empty link (case 143)", () => {
		const { fn, read } = setUp(WIDE);
		const next = fn.configRead(0x100, 4) >>> 20;
		expect(read(0x100, 4)).toBe((next << 20) >>> 0);
		expect(read(next, 2)).toBe(3);
	});

	it("the extended list reads as nothing when all of it is hidden", () => {
		const { read } = setUp({ ...WIDE, extendedCapabilities: WIDE.extendedCapabilities?.slice(0, 1) ?? [] });
		expect(read(0x100, 4)).toBe(0);
	});
});

describe("ConfigSpace on hostile hardware", () => {
	const captured = (edit: (bytes: Uint8Array) => void): FunctionDescription => {
		const bytes = new Uint8Array(4096);
		bytes.set([0x86, 0x80, 0xd3, 0x10, 3, 0, 0x10, 0]);
		edit(bytes);
		return describeConfig(bytes);
	};

	it.each([
		["a chain that loops", (bytes: Uint8Array) => bytes.set([1, 0x50], 0x40) ?? bytes.set([5, 0x40], 0x50), 0x40, 48],
		["a capability that points at itself", (bytes: Uint8Array) => bytes.set([0x11, 0x40], 0x40), 0x40, 48],
		["a hidden capability that points at itself", (bytes: Uint8Array) => bytes.set([0x0d, 0x40], 0x40), 0x40, 0],
		["a pointer into the header", () => {}, 0x20, 0],
		["an unaligned pointer", (bytes: Uint8Array) => bytes.set([9, 0, 4], 0x40), 0x43, 1],
		["a capability of all ones", (bytes: Uint8Array) => bytes.fill(0xff, 0x40, 0x100), 0x40, 0],
		["a capability that reaches past the end", (bytes: Uint8Array) => bytes.set([0x10, 0, 2], 0xfc), 0xfc, 1],
	] as const)("the walk ends on %s", (_name, edit, pointer, capabilities) => {
		const { config } = setUp(
			captured((bytes) => {
				bytes[0x34] = pointer;
				edit(bytes);
			}),
		);
		const owners = new Set(config.bits.owner.subarray(0x40, 0x100));
		owners.delete(0);
		expect(owners.size > 0).toBe(capabilities > 0);
		expect(config.read(0, new Uint8Array(config.size))).toBe(config.size);
	});

	it("the walk ends on extended capabilities that loop", () => {
		const { config } = setUp(
			captured((bytes) => {
				bytes[0x34] = 0x40;
				bytes.set([0x10, 0, 2, 0], 0x40);
				store(bytes, 0x100, 4, 0x20010003);
				store(bytes, 0x200, 4, 0x10010003);
			}),
		);
		expect(config.read(0x200, new Uint8Array(4))).toBe(4);
	});

	it("a device of all ones is read and written without harm", () => {
		const { config } = setUp(describeConfig(new Uint8Array(4096).fill(0xff)));
		expect(config.read(0, new Uint8Array(4096))).toBe(4096);
		expect(config.write(0, new Uint8Array(4096))).toBe(4096);
	});
});
