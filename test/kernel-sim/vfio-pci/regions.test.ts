import { beforeEach, describe, expect, it } from "vitest";
import { MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_READ } from "../../../core/uapi/fcntl.ts";
import * as uapi from "../../../core/uapi/vfio.ts";
import { Edu } from "../../../kernel-sim/hardware/models/edu.ts";
import { at, attempt, Bench, hex, hostWith } from "./bench.ts";
import { E1000E, WIDE } from "./descriptions.ts";

const ADDRESS = "0000:01:00.0";

function edu(version: "6.12" | "7.2" = "6.12"): Bench {
	return new Bench(hostWith({ [ADDRESS]: [Edu.description(), new Edu()] }), ADDRESS, version);
}

function e1000e(version: "6.12" | "7.2" = "6.12"): Bench {
	return new Bench(hostWith({ [ADDRESS]: [E1000E] }), ADDRESS, version);
}

describe("VFIO_DEVICE_GET_INFO", () => {
	it.each([
		[15, "EINVAL", 0],
		[16, 0, 16],
		[24, 0, 24],
		[40, 0, 24],
	])("case 99: argsz %i answers %s and writes %i bytes", (argsz, expected, written) => {
		const bytes = new Uint8Array(40).fill(0xee);
		new DataView(bytes.buffer).setUint32(0, argsz, true);
		expect(edu().ioctl(uapi.VFIO_DEVICE_GET_INFO, bytes)).toBe(expected);
		if (written === 0) return;
		const info = uapi.vfio_device_info.view(bytes);
		expect([info.flags, info.num_regions, info.num_irqs]).toEqual([3, 9, 5]);
		expect([...bytes.subarray(written)].every((byte) => byte === 0xee)).toBe(true);
	});

	it("has no RESET flag on a root bus without a reset of its own (case 175)", () => {
		const bench = new Bench(hostWith({ "0000:00:10.0": [Edu.description(), new Edu()] }), "0000:00:10.0");
		expect(bench.deviceFlags()).toBe(uapi.VFIO_DEVICE_FLAGS_PCI);
	});
});

describe("VFIO_DEVICE_GET_REGION_INFO", () => {
	it("case 100: refuses short structures and indexes that are not there", () => {
		const bench = edu();
		expect([bench.regionInfo(0, 31), bench.regionInfo(9), bench.regionInfo(8)]).toEqual(["EINVAL", "EINVAL", "EINVAL"]);
	});

	it.each([
		["101 conventional config", "edu", 7, { flags: 3, size: 256 }],
		["101 express config", "e1000e", 7, { flags: 3, size: 4096 }],
		["102 unimplemented BAR", "edu", 3, { flags: 0, size: 0 }],
		["memory BAR", "edu", 0, { flags: 7, size: 0x100000 }],
		["105 I/O BAR", "e1000e", 2, { flags: 3, size: 32 }],
		["106 absent ROM", "edu", 6, { flags: 0, size: 0 }],
		["ROM", "e1000e", 6, { flags: 1, size: 0x40000 }],
	] as const)("case %s", (_name, device, index, expected) => {
		const bench = device === "edu" ? edu() : e1000e();
		expect(bench.regionInfo(index)).toMatchObject({ ...expected, offset: at(index) });
	});

	it("case 103: the BAR of the MSI-X table has a capability, and says how much room it needs", () => {
		const bench = e1000e();
		expect(bench.regionInfo(3, 32)).toMatchObject({ argsz: 40, flags: 15, cap_offset: 0 });
		const full = bench.regionInfo(3, 40);
		expect(full).toMatchObject({ argsz: 40, flags: 15, cap_offset: 32 });
		if (typeof full !== "string") expect(hex(full.bytes.subarray(32, 40))).toBe("0300010000000000");
	});

	it("case 104: cap_offset is echoed where there is no chain", () => {
		expect(edu().regionInfo(0, 32, 0x1234)).toMatchObject({ cap_offset: 0x1234 });
	});

	it("lets a BAR below a page be mapped when it has the page for itself", () => {
		const bench = new Bench(hostWith({ [ADDRESS]: [WIDE] }), ADDRESS);
		expect(bench.regionInfo(4)).toMatchObject({ size: 256, flags: 7 });
		bench.fn.configWrite(0x20, 4, 0xfe000100);
		expect(bench.regionInfo(4)).toMatchObject({ size: 256, flags: 3 });
	});
});

describe("pread and pwrite of regions", () => {
	it.each([
		["105 I/O BAR", 2, 0, 4, "00000000"],
		["107 at the size", 1, 0x20000, 4, "EINVAL"],
		["107 crossing the end", 1, 0x1fffe, 8, "0000"],
		["108 index 9", 9, 0, 4, "EINVAL"],
		["108 index 9, nothing", 9, 0, 0, ""],
		["109 unimplemented BAR", 4, 0, 4, "EINVAL"],
		["116 MSI-X table", 3, 0x10, 4, "ffffffff"],
		["116 crossing out of the table", 3, 0x4c, 8, "ffffffff00000000"],
		["116 PBA", 3, 0x2000, 8, "0000000000000000"],
		["ROM", 6, 0, 4, "55aa0100"],
		["ROM past its image", 6, 0x3fffe, 4, "ffff"],
		["no VGA region", 8, 0xa0000, 4, "EINVAL"],
	] as const)("case %s", (_name, index, offset, length, expected) => {
		expect(e1000e().pread(index, offset, length)).toBe(expected);
	});

	it("case 106: writing a ROM is EINVAL", () => {
		expect(e1000e().pwrite(6, 0, "00000000")).toBe("EINVAL");
		expect(edu().pread(6, 0, 4)).toBe("EINVAL");
	});

	it("splits by alignment and never writes into the MSI-X table (case 116)", () => {
		const bench = e1000e();
		expect(bench.pwrite(1, 0x101, "0102030405060708090a0b")).toBe(11);
		expect(bench.pread(1, 0x100, 13)).toBe("000102030405060708090a0b00");
		expect(bench.pwrite(3, 0x48, "00".repeat(16))).toBe(16);
		const mapping = bench.mmap(3, 0, 0x4000);
		expect(mapping.read(0x4c, 4)).toBe(1);
	});

	it("case 115: memory decoding off is EIO, on is as before; I/O goes on", () => {
		const bench = e1000e();
		bench.pwrite(7, 4, "0100");
		expect([bench.pread(0, 0, 4), bench.pwrite(0, 0, "00000000"), bench.pread(6, 0, 4)]).toEqual(["EIO", "EIO", "EIO"]);
		expect(bench.pread(2, 0, 4)).toBe("00000000");
		expect(bench.pread(3, 0, 4)).toBe("ffffffff");
		bench.pwrite(7, 4, "0300");
		expect(bench.pread(0, 0, 4)).toBe("00000000");
	});

	it("case 117: 8 aligned bytes are one access of 64 bits", () => {
		const bench = edu();
		bench.pwrite(0, 0x80, "8877665544332211");
		expect(bench.pread(0, 0x80, 8)).toBe("8877665544332211");
	});

	it("read() and write() go on at the file's position", () => {
		const bench = edu();
		const bytes = new Uint8Array(4);
		expect(bench.process.read(bench.fd, bytes)).toBe(4);
		expect(hex(bytes)).toBe("ed000001");
		expect(bench.process.write(bench.fd, Uint8Array.from([1, 0, 0, 0]))).toBe(4);
		expect(bench.pread(0, 4, 4)).toBe("feffffff");
	});
});

describe("the VGA region", () => {
	const vga = (disabled: string) =>
		new Bench(hostWith({ [ADDRESS]: [{ ...E1000E, classCode: 0x030000 }] }), ADDRESS, "6.12", true, {
			vfio_pci: { disable_vga: disabled },
		});

	it.each([
		["frame buffer", 0xa0000, 4, "ffffffff"],
		["clamped to its window", 0xbfffe, 4, "ffff"],
		["ports", 0x3c0, 2, "ffff"],
		["outside of the windows", 0x100, 4, "EINVAL"],
	])("%s", (_name, offset, length, expected) => {
		const bench = vga("N");
		expect(bench.regionInfo(8)).toMatchObject({ flags: 3, size: 0xc0000 });
		expect(bench.pread(8, offset, length)).toBe(expected);
		expect(bench.pwrite(8, offset, "00".repeat(length))).toBe(expected === "EINVAL" ? "EINVAL" : expected.length / 2);
	});

	it("is gone with disable_vga", () => {
		expect(vga("Y").regionInfo(8)).toBe("EINVAL");
	});
});

describe("mmap of regions", () => {
	let bench: Bench;
	beforeEach(() => {
		bench = e1000e();
	});

	it.each([
		["112 private", 0, 0, 0x1000, MAP_PRIVATE],
		["113 too long", 0, 0, 0x21000, MAP_SHARED],
		["113 past the end", 0, 0x20000, 0x1000, MAP_SHARED],
		["105 I/O", 2, 0, 0x1000, MAP_SHARED],
		["113 config", 7, 0, 0x1000, MAP_SHARED],
		["113 ROM", 6, 0, 0x1000, MAP_SHARED],
		["unimplemented", 4, 0, 0x1000, MAP_SHARED],
		["index 9", 9, 0, 0x1000, MAP_SHARED],
	])("case %s is EINVAL", (_name, index, offset, length, flags) => {
		expect(attempt(() => bench.mmap(index, offset, length, flags))).toBe("EINVAL");
	});

	it("case 112: shows the same as pread, at the mapping's offset", () => {
		const mapping = bench.mmap(0, 0x1000, 0x1000);
		mapping.write(8, 4, 0x12345678);
		expect(bench.pread(0, 0x1008, 4)).toBe("78563412");
		mapping.write64(16, 0x1122334455667788n);
		expect(mapping.read64(16)).toBe(0x1122334455667788n);
	});

	it("case 114: memory decoding off is EIO instead of SIGBUS, and on brings the mapping back", () => {
		const mapping = bench.mmap(0, 0, 0x1000);
		bench.pwrite(7, 4, "0100");
		expect(attempt(() => mapping.read(0, 4))).toBe("EIO");
		expect(attempt(() => mapping.write64(0, 0n))).toBe("EIO");
		bench.pwrite(7, 4, "0300");
		expect(mapping.read(0, 4)).toBe(0);
	});

	it("case 133: D3hot is EIO for mappings and pread, D0 brings the settings back", () => {
		const mapping = bench.mmap(0, 0, 0x1000);
		bench.pwrite(7, 4, "0700");
		bench.pwrite(7, 0xcc, "0300");
		expect([bench.pread(7, 0xcc, 2), bench.pread(7, 4, 2), bench.pread(0, 0, 4)]).toEqual(["0300", "0700", "EIO"]);
		expect(attempt(() => mapping.read(0, 4))).toBe("EIO");
		bench.pwrite(7, 0xcc, "0000");
		expect([bench.pread(7, 0xcc, 2), bench.pread(7, 4, 2), mapping.read(0, 4)]).toEqual(["0000", "0700", 0]);
	});

	it("is EIO once the function is gone", () => {
		const mapping = bench.mmap(0, 0, 0x1000);
		bench.fn.present = false;
		expect(attempt(() => mapping.read(0, 4))).toBe("EIO");
		expect(bench.pread(0, 0, 4)).toBe("ffffffff");
	});

	it("may be executable on 6.12 only", () => {
		const executable = (version: "6.12" | "7.2") =>
			attempt(() => e1000e(version).mmap(0, 0, 0x1000, MAP_SHARED, PROT_READ | PROT_EXEC).length);
		expect([executable("6.12"), executable("7.2")]).toEqual([0x1000, "EPERM"]);
	});

	it("keeps the device open after close (case 241)", () => {
		const mapping = bench.mmap(0, 0, 0x1000);
		bench.process.close(bench.fd);
		expect(attempt(() => bench.process.ioctl(bench.group, uapi.VFIO_GROUP_UNSET_CONTAINER))).toBe("EBUSY");
		expect(mapping.read(0, 4)).toBe(0);
		mapping[Symbol.dispose]();
		expect(bench.process.ioctl(bench.group, uapi.VFIO_GROUP_UNSET_CONTAINER)).toBe(0);
	});

	it("is a target of DMA: MAP_DMA takes its address (case 66)", () => {
		const mapping = bench.mmap(0, 0, 0x1000);
		const map = uapi.vfio_iommu_type1_dma_map.create();
		map.argsz = uapi.vfio_iommu_type1_dma_map.size;
		map.flags = uapi.VFIO_DMA_MAP_FLAG_READ | uapi.VFIO_DMA_MAP_FLAG_WRITE;
		map.vaddr = mapping.address;
		map.iova = 0x10000n;
		map.size = 0x1000n;
		expect(bench.process.ioctl(bench.container, uapi.VFIO_IOMMU_MAP_DMA, map.bytes)).toBe(0);
		expect(bench.process.lockedPages).toBe(0);
		expect(bench.machine.iommu.write(bench.fn, 0x10010n, Uint8Array.from([1, 2, 3, 4]))).toBe(true);
		expect(mapping.read(0x10, 4)).toBe(0x04030201);
	});
});

describe("device file", () => {
	it("case 111: refuses what it does not know", () => {
		const bench = edu();
		expect(bench.ioctl(0x3bff)).toBe("ENOTTY");
		expect(bench.ioctl(uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT, new Uint8Array(16))).toBe("ENOTTY");
		expect(bench.ioctl(uapi.VFIO_DEVICE_DETACH_IOMMUFD_PT, new Uint8Array(16))).toBe("ENOTTY");
		const bind = new Uint8Array(24);
		new DataView(bind.buffer).setUint32(0, 24, true);
		expect(bench.ioctl(uapi.VFIO_DEVICE_BIND_IOMMUFD, bind)).toBe("EINVAL");
		expect(bench.ioctl(uapi.VFIO_DEVICE_GET_INFO, 0)).toBe("EFAULT");
	});

	it("case 118: fdinfo names the device in sysfs, since 7.2", () => {
		const info = (bench: Bench) => bench.process.openFiles.get(bench.fd)?.fdinfo();
		expect(info(edu("6.12"))).toBe("");
		expect(info(edu("7.2"))).toMatch(/^vfio-device-syspath: \/sys\/devices\/.*0000:01:00\.0\n$/);
	});
});
