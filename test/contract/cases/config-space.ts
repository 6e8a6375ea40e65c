import { PCI_COMMAND_MASTER } from "../../../core/uapi/pci_regs.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { bytesOf, hex, numberOf } from "../calls.ts";
import type { Case } from "../case.ts";
import { capability, extendedCapability } from "../host.ts";
import { e1000e, edu, express, igb, needs, nvme, of } from "../roles.ts";
import { CONFIG, type Trial } from "../trial.ts";

const COMMAND = 4;
const MEMORY = 2;
const DISABLE_INTX = 0x400;
const CAP = { PM: 1, MSI: 5, EXPRESS: 0x10, MSIX: 0x11 } as const;
const AER = 1;
const SRIOV = 0x10;
/** Capabilities that vfio-pci does not show. */
const HIDDEN = [0, 4, 6, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x14];
const SHOWN_EXTENDED = [1, 2, 3, 4, 8, 9, 0xb, 0xd, 0xe, 0xf, 0x10, 0x12, 0x13, 0x15, 0x16, 0x17, 0x18, 0x23];
const D3HOT = 3;

/** Writes a register and reads it back. */
function written(t: Trial, fd: number, offset: number, width: number, value: number): number {
	t.is(t.write(fd, CONFIG, offset, width, value), width);
	return t.read(fd, CONFIG, offset, width);
}

/** I.5: the config space that a VFIO program sees. */
export const configSpaceCases: readonly Case[] = [
	{
		id: "I.5/119",
		name: "the ids are those of sysfs, and cannot be written",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			t.is(t.read(fd, CONFIG, 0, 2), device.vendor);
			t.is(t.read(fd, CONFIG, 2, 2), device.device);
			t.is(written(t, fd, 0, 2, 0xffff), device.vendor);
			t.is(written(t, fd, 0, 4, 0), device.device * 0x10000 + device.vendor);
			t.is(written(t, fd, 0x2c, 4, 0xffffffff), 0x11001af4);
		},
	},
	{
		id: "I.5/120",
		name: "config space ends with EFAULT",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is(t.pread(fd, CONFIG, 0, 64).length, 128);
			t.is(t.pread(fd, CONFIG, 0, 256).length, 512);
			for (const [offset, length] of [
				[256, 4],
				[252, 8],
				[255, 2],
				[0, 257],
				[4096, 1],
			] as const)
				t.is(t.pread(fd, CONFIG, offset, length), "EFAULT");
			t.is(t.pwrite(fd, CONFIG, 255, "0000"), "EFAULT");
			t.is(t.pwrite(fd, CONFIG, 256, "00"), "EFAULT");
			t.is(t.pread(fd, CONFIG, 255, 1), "00");
		},
	},
	{
		id: "I.5/121",
		name: "any offset and any length is read",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const bytes = Array.from({ length: 64 }, (_, offset) => t.pread(fd, CONFIG, offset, 1));
			for (const [offset, length] of [
				[1, 3],
				[3, 5],
				[0, 7],
				[0x3d, 3],
				[2, 1],
			] as const)
				t.is(t.pread(fd, CONFIG, offset, length), bytes.slice(offset, offset + length).join(""));
		},
	},
	{
		id: "I.5/122",
		name: "an opened device decodes memory and is no bus master",
		needs: needs(edu, nvme),
		run(t) {
			for (const device of [of(edu, t.host), of(nvme, t.host)]) {
				const { fd } = t.device(device);
				t.is(t.read(fd, CONFIG, COMMAND, 2) & (PCI_COMMAND_MASTER | MEMORY), MEMORY);
			}
		},
	},
	{
		id: "I.5/123",
		name: "bus mastering goes to the hardware",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			const command = t.read(fd, CONFIG, COMMAND, 2);
			t.is(written(t, fd, COMMAND, 2, command | PCI_COMMAND_MASTER) & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
			t.is(Number.parseInt(t.hardware(device.name, COMMAND, 1), 16) & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
			t.is(written(t, fd, COMMAND, 2, command) & PCI_COMMAND_MASTER, 0);
			t.is(Number.parseInt(t.hardware(device.name, COMMAND, 1), 16) & PCI_COMMAND_MASTER, 0);
			for (const value of [0x0000, 0xffff, 0x0547, 0x0006]) written(t, fd, COMMAND, 2, value);
		},
	},
	{
		id: "I.5/124",
		name: "INTx disable is the program's own, and the hardware follows",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			const command = t.read(fd, CONFIG, COMMAND, 2);
			t.is(command & DISABLE_INTX, 0);
			t.is(written(t, fd, COMMAND, 2, command | DISABLE_INTX) & DISABLE_INTX, DISABLE_INTX);
			t.hardware(device.name, COMMAND, 2);
			t.is(written(t, fd, COMMAND, 2, command) & DISABLE_INTX, 0);
			t.hardware(device.name, COMMAND, 2);
		},
	},
	{
		id: "I.5/125",
		name: "status is not written",
		needs: needs(edu, express),
		run(t) {
			for (const device of [of(edu, t.host), of(express, t.host)]) {
				const { fd } = t.device(device);
				const status = t.read(fd, CONFIG, 6, 2);
				t.is(written(t, fd, 6, 2, 0xffff), status);
			}
		},
	},
	{
		id: "I.5/126",
		name: "a BAR shows the host's address, then its size, then what was written",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			const [start = 0n, end = 0n] = device.resources[0] ?? [];
			const mask = Number(BigInt.asUintN(32, ~(end - start)));
			t.is(t.read(fd, CONFIG, 0x10, 4), Number(start));
			t.is(written(t, fd, 0x10, 4, 0xffffffff), mask);
			t.is(written(t, fd, 0x10, 4, 0xe0123456), (0xe0123456 & mask) >>> 0);
			t.is(written(t, fd, 0x10, 4, 0), 0);
			t.is(written(t, fd, 0x12, 2, 0xfe5f), 0xfe50 & (mask >>> 16));
			t.is(written(t, fd, 0x10, 1, 0xff), 0);
			t.is(t.hardware(device.name, 0x10, 4), hex(bytesOf(start, 4)));
		},
	},
	{
		id: "I.5/127",
		name: "the two halves of a 64-bit BAR",
		needs: needs(nvme),
		run(t) {
			const { fd } = t.device(of(nvme, t.host));
			t.is(t.read(fd, CONFIG, 0x10, 4) & 0xf, 4);
			t.is(written(t, fd, 0x10, 4, 0xffffffff), 0xffffc004);
			t.is(written(t, fd, 0x14, 4, 0xffffffff), 0xffffffff);
			t.is(written(t, fd, 0x14, 4, 0x12), 0x12);
			t.is(written(t, fd, 0x10, 4, 0x12345678), 0x12344004);
		},
	},
	{
		id: "I.5/128",
		name: "a BAR that is not there stays 0",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const offset of [0x14, 0x18, 0x1c, 0x20, 0x24]) t.is(written(t, fd, offset, 4, 0xffffffff), 0);
		},
	},
	{
		id: "I.5/129",
		name: "a ROM BAR has a size and its enable bit; without a ROM it stays 0",
		needs: needs(edu, e1000e),
		run(t) {
			t.is(written(t, t.device(of(edu, t.host)).fd, 0x30, 4, 0xfffff801), 0);
			const { fd } = t.device(of(e1000e, t.host));
			const { size } = t.regionInfo(fd, 6);
			t.is(written(t, fd, 0x30, 4, 0xfffff801), (0x100000000 - size + 1) >>> 0);
			t.is(written(t, fd, 0x30, 4, 0xfffff800), (0x100000000 - size) >>> 0);
			t.is(written(t, fd, 0x30, 4, 1), 1);
			t.is(written(t, fd, 0x30, 4, 0), 0);
		},
	},
	{
		id: "I.5/130",
		name: "the interrupt line is the program's own",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			const before = t.hardware(device.name, 0x3c, 1);
			t.is(t.pread(fd, CONFIG, 0x3c, 1), before);
			t.is(written(t, fd, 0x3c, 1, 0x5a), 0x5a);
			t.is(t.hardware(device.name, 0x3c, 1), before);
		},
	},
	{
		id: "I.5/131",
		name: "the interrupt pin is not written",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is(written(t, fd, 0x3d, 1, 3), 1);
			t.is(written(t, fd, 0x3c, 2, 0x0307), 0x0107);
			for (const offset of [0x3e, 0x3f, 0x0c, 0x0d, 0x0f, 0x08, 0x0e, 0x28, 0x35, 0x38])
				written(t, fd, offset, 1, 0xff);
		},
	},
	...[edu, e1000e, igb, nvme].map(
		(role): Case => ({
			id: `I.5/132 ${role.name}`,
			name: `the capabilities of ${role.name} are a chain of those that can be shown`,
			needs: needs(role),
			run(t) {
				const { fd } = t.device(of(role, t.host));
				let left = 48;
				for (let at = t.read(fd, CONFIG, 0x34, 1); at !== 0 && left > 0; at = t.read(fd, CONFIG, at + 1, 1), left--) {
					t.holds(at >= 0x40 && at % 4 === 0, `a capability at 0x${at.toString(16)}`);
					const id = t.read(fd, CONFIG, at, 1);
					t.holds(!HIDDEN.includes(id), `capability ${id} is shown`);
					// Ids and links are not written.
					t.is(written(t, fd, at, 1, 0xff), id);
				}
				t.holds(left > 0, "the chain does not end");
			},
		}),
	),
	{
		id: "I.5/133",
		name: "D3hot takes a device's BARs away, D0 gives them back",
		needs: needs(e1000e),
		run(t) {
			const device = of(e1000e, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.PM) + 4;
			t.write(fd, CONFIG, COMMAND, 2, MEMORY);
			t.pread(fd, 0, 8, 4);
			t.is(written(t, fd, at, 2, D3HOT) & 3, D3HOT);
			t.is(t.pread(fd, 0, 8, 4), "EIO");
			t.pread(fd, CONFIG, COMMAND, 2);
			t.is(t.write(fd, CONFIG, at, 2, 0), 2);
			t.pread(fd, CONFIG, at, 2);
			t.pread(fd, CONFIG, COMMAND, 2);
		},
	},
	{
		id: "I.5/133b",
		name: "D3hot with MSI-X on and a BAR mapped, and back",
		needs: needs(e1000e),
		run(t) {
			const device = of(e1000e, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.PM) + 4;
			t.write(fd, CONFIG, COMMAND, 2, 7);
			t.holds(typeof t.mmap(fd, 3, 0, 0x4000) !== "string", "no mapping");
			const [one, two] = [t.eventfd(), t.eventfd()];
			t.is(t.trigger(fd, vfio.VFIO_PCI_MSIX_IRQ_INDEX, [one, -1, two, -1, -1]), 0);
			t.is(t.trigger(fd, vfio.VFIO_PCI_MSIX_IRQ_INDEX, [one, one], 3), 0);
			t.is(t.trigger(fd, vfio.VFIO_PCI_ERR_IRQ_INDEX, [one]), 0);
			for (const state of ["0300", "0000", "0300", "0000"]) {
				t.is(t.pwrite(fd, CONFIG, at, state), 2);
				t.pread(fd, CONFIG, at, 2);
				t.pread(fd, CONFIG, COMMAND, 2);
				t.pread(fd, CONFIG, 0x10, 4);
				t.hardware(device.name, at, 2);
				t.hardware(device.name, COMMAND, 2);
				t.observations.add("BAR", "", t.quietly(() => t.pread(fd, 0, 8, 4)).startsWith("E") ? "EIO" : "read");
			}
			t.is(t.disable(fd, vfio.VFIO_PCI_MSIX_IRQ_INDEX), 0);
			for (const state of ["0300", "0000"]) {
				t.is(t.pwrite(fd, CONFIG, at, state), 2);
				t.pread(fd, CONFIG, at, 2);
				t.pread(fd, CONFIG, COMMAND, 2);
			}
		},
	},
	{
		id: "I.5/134",
		name: "power management events are not shown",
		needs: needs(e1000e),
		run(t) {
			const device = of(e1000e, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.PM);
			t.is(t.read(fd, CONFIG, at + 2, 2) & 0xf800, 0);
			t.is(written(t, fd, at + 4, 2, 0x8100) & 0x8100, 0);
			t.is(written(t, fd, at + 2, 2, 0xffff), t.read(fd, CONFIG, at + 2, 2));
			for (const value of [0x0100, 0x8000, 0x0008, 0x2000, 0xfffc]) written(t, fd, at + 4, 2, value);
		},
	},
	...[edu, e1000e, igb].map(
		(role): Case => ({
			id: `I.5/135 ${role.name}`,
			name: `MSI of ${role.name} is not enabled by its control register`,
			needs: needs(role),
			run(t) {
				const device = of(role, t.host);
				const { fd } = t.device(device);
				const at = capability(device, CAP.MSI) + 2;
				t.is(written(t, fd, at, 2, 1) & 1, 0);
				t.is(Number.parseInt(t.hardware(device.name, at, 1), 16) & 1, 0);
				for (const value of [0x0000, 0xffff, 0x0080, 0x0071]) written(t, fd, at, 2, value);
			},
		}),
	),
	{
		id: "I.5/136",
		name: "MSI's address and data are the program's own",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.MSI);
			t.is(written(t, fd, at + 4, 4, 0xfee01234), 0xfee01234);
			for (const [offset, width, value] of [
				[8, 4, 0x12345678],
				[12, 2, 0x4321],
				[12, 4, 0xffffffff],
				[4, 4, 0xffffffff],
			] as const)
				written(t, fd, at + offset, width, value);
			t.hardware(device.name, at + 4, 12);
			t.is(t.write(fd, CONFIG, at + 14, 2, 0), 2);
		},
	},
	{
		id: "I.5/137",
		name: "MSI has no more vectors than SET_IRQS gave it",
		needs: needs(e1000e),
		run(t) {
			const device = of(e1000e, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.MSI) + 2;
			for (const size of [1, 2, 5, 7]) t.is((written(t, fd, at, 2, size << 4) >> 4) & 7, 0);
			const one = t.eventfd();
			t.is(t.trigger(fd, vfio.VFIO_PCI_MSI_IRQ_INDEX, [one]), 0);
			t.pread(fd, CONFIG, at, 2);
			t.is((written(t, fd, at, 2, 0x51) >> 4) & 7, 0);
			t.hardware(device.name, at, 2);
			written(t, fd, at, 2, 0);
			t.hardware(device.name, at, 2);
			t.is(t.disable(fd, vfio.VFIO_PCI_MSI_IRQ_INDEX), 0);
			t.pread(fd, CONFIG, at, 2);
		},
	},
	{
		id: "I.5/138",
		name: "MSI-X is not written",
		needs: needs(e1000e),
		run(t) {
			const device = of(e1000e, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.MSIX);
			const control = t.read(fd, CONFIG, at + 2, 2);
			for (const value of [0x8000, 0xc000, 0xffff, 0]) t.is(written(t, fd, at + 2, 2, value), control);
			for (const offset of [4, 8])
				t.is(
					written(t, fd, at + offset, 4, 0xffffffff),
					numberOf(device.config.subarray(at + offset, at + offset + 4)),
				);
		},
	},
	...[nvme, igb].map(
		(role): Case => ({
			id: `I.5/139 ${role.name}`,
			name: `function level reset of ${role.name} by its control register keeps what the program set`,
			needs: needs(role),
			run(t) {
				const device = of(role, t.host);
				const { fd } = t.device(device);
				const at = capability(device, CAP.EXPRESS) + 8;
				const control = t.read(fd, CONFIG, at, 2);
				t.write(fd, CONFIG, 0x10, 4, 0xe0000000);
				t.write(fd, CONFIG, COMMAND, 2, MEMORY | PCI_COMMAND_MASTER);
				t.is(written(t, fd, at, 2, control | 0x8000), control);
				t.is(t.read(fd, CONFIG, COMMAND, 2), MEMORY | PCI_COMMAND_MASTER);
				t.is(t.read(fd, CONFIG, 0x10, 4) & 0xfff00000, 0xe0000000 | 0);
			},
		}),
	),
	{
		id: "I.5/140",
		name: "the payload size is the program's own, the read request size reaches the hardware",
		needs: needs(e1000e),
		run(t) {
			const device = of(e1000e, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.EXPRESS) + 8;
			const control = t.read(fd, CONFIG, at, 2);
			const hardware = t.hardware(device.name, at, 2);
			t.is(written(t, fd, at, 2, (control & ~0xe0) | 0x40) & 0xe0, 0x40);
			t.is(t.hardware(device.name, at, 2), hardware);
			for (const size of [0, 1, 2, 3, 4, 5, 7]) {
				written(t, fd, at, 2, (control & ~0x7000) | (size << 12));
				t.hardware(device.name, at, 2);
			}
			for (const value of [0x0000, 0x7fff, 0x0810, 0x001f]) written(t, fd, at, 2, value);
			t.hardware(device.name, at, 2);
		},
	},
	{
		id: "I.5/141",
		name: "the link is not the program's",
		needs: needs(express),
		run(t) {
			const device = of(express, t.host);
			const { fd } = t.device(device);
			const at = capability(device, CAP.EXPRESS);
			for (const [offset, width] of [
				[2, 2],
				[4, 4],
				[0x0a, 2],
				[0x0c, 4],
				[0x10, 2],
				[0x12, 2],
			] as const) {
				const before = t.read(fd, CONFIG, at + offset, width);
				t.is(written(t, fd, at + offset, width, 0xffffffff % 2 ** (8 * width)), before);
			}
		},
	},
	...[e1000e, igb].map(
		(role): Case => ({
			id: `I.5/142 ${role.name}`,
			name: `error reporting of ${role.name} is written where errors are known`,
			needs: needs(role),
			run(t) {
				const device = of(role, t.host);
				const { fd } = t.device(device);
				const at = extendedCapability(device, AER);
				t.is(at, 0x100);
				for (const offset of [8, 12]) {
					const value = written(t, fd, at + offset, 4, 0xffffffff);
					t.is(value & ~(0x03fff031 | 0x00462030), 0);
					t.hardware(device.name, at + offset, 4);
				}
				for (const offset of [4, 0x10, 0x14, 0x18, 0x1c]) written(t, fd, at + offset, 4, 0xffffffff);
			},
		}),
	),
	{
		id: "I.5/143",
		name: "virtual functions are shown, and not the program's to set up",
		needs: needs(igb),
		run(t) {
			const device = of(igb, t.host);
			const { fd } = t.device(device);
			const at = extendedCapability(device, SRIOV);
			t.is(t.read(fd, CONFIG, at, 2), SRIOV);
			for (const [offset, width] of [
				[8, 2],
				[0x10, 2],
				[0x24, 4],
			] as const) {
				const before = t.read(fd, CONFIG, at + offset, width);
				t.is(written(t, fd, at + offset, width, 0xffffffff % 2 ** (8 * width)), before);
			}
		},
	},
	...[e1000e, igb, nvme].map(
		(role): Case => ({
			id: `I.5/143b ${role.name}`,
			name: `the extended capabilities of ${role.name} are those that can be shown`,
			needs: needs(role),
			run(t) {
				const { fd } = t.device(of(role, t.host));
				let left = 200;
				for (let at = 0x100; at >= 0x100 && left > 0; left--) {
					const header = t.read(fd, CONFIG, at, 4);
					const id = header & 0xffff;
					t.holds(SHOWN_EXTENDED.includes(id) || (at === 0x100 && id === 0), `extended capability ${id} is shown`);
					t.is(written(t, fd, at, 4, 0), header);
					at = header >>> 20;
				}
				t.holds(left > 0, "the chain does not end");
			},
		}),
	),
	{
		id: "I.5/144",
		name: "a conventional device has no extended config space",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is(t.pread(fd, CONFIG, 0x100, 4), "EFAULT");
			t.is(t.pwrite(fd, CONFIG, 0x100, "00000000"), "EFAULT");
		},
	},
	{
		id: "I.5/145",
		name: "what no capability claims is the hardware's",
		needs: needs(edu, e1000e),
		run(t) {
			for (const device of [of(edu, t.host), of(e1000e, t.host)]) {
				const { fd } = t.device(device);
				for (const offset of [0x40, 0x60, 0x80, 0xf8]) {
					const free = [CAP.PM, CAP.MSI, CAP.EXPRESS, CAP.MSIX].every((id) => {
						const at = capability(device, id);
						return at === 0 || offset < at || offset >= at + 0x3c;
					});
					if (!free) continue;
					const before = t.pread(fd, CONFIG, offset, 4);
					t.releases.defer(() => void t.pwrite(fd, CONFIG, offset, before));
					t.is(t.write(fd, CONFIG, offset, 4, 0xffffffff), 4);
					t.is(t.pread(fd, CONFIG, offset, 4), t.hardware(device.name, offset, 4));
				}
			}
		},
	},
];
