import { describe, expect, it } from "vitest";
import * as uapi from "../../../core/uapi/vfio.ts";
import { sriov } from "../../../kernel-sim/hardware/extended-capabilities.ts";
import { Edu } from "../../../kernel-sim/hardware/models/edu.ts";
import { DmaBufFile } from "../../../kernel-sim/linux/vfio-pci/dma-buf.ts";
import { at, attempt, Bench, hostWith, ints } from "./bench.ts";
import { E1000E } from "./descriptions.ts";

const ADDRESS = "0000:01:00.0";
const { VFIO_DEVICE_FEATURE_GET: GET, VFIO_DEVICE_FEATURE_SET: SET, VFIO_DEVICE_FEATURE_PROBE: PROBE } = uapi;
const edu = (version: "6.12" | "7.2" = "6.12") =>
	new Bench(hostWith({ [ADDRESS]: [Edu.description(), new Edu()] }), ADDRESS, version);
const e1000e = (version: "6.12" | "7.2" = "6.12") => new Bench(hostWith({ [ADDRESS]: [E1000E] }), ADDRESS, version);

describe("VFIO_DEVICE_FEATURE", () => {
	it.each([
		["213 argsz 7", SET | 5, 7, "EINVAL"],
		["213 unknown bit", (1 << 19) | SET | 5, 8, "EINVAL"],
		["213 GET and SET", GET | SET | 5, 8, "EINVAL"],
		["GET and SET of a probe", PROBE | GET | SET | 5, 8, "EINVAL"],
		["214 probe 3", PROBE | SET | 3, 8, 0],
		["214 probe 4 without its data", PROBE | SET | 4, 8, 0],
		["214 probe 5", PROBE | SET | 5, 8, 0],
		["214 probe of the wrong direction", PROBE | GET | 3, 8, "EINVAL"],
		["214 probe without a direction", PROBE | 3, 8, 0],
		["neither GET nor SET nor PROBE", 3, 8, "EINVAL"],
		["214 1", PROBE | 1, 8, "ENOTTY"],
		["214 6", PROBE | 6, 8, "ENOTTY"],
		["214 10", PROBE | 10, 8, "ENOTTY"],
		["214 0xfff", PROBE | 0xfff, 8, "ENOTTY"],
		["215 VF token", SET | 0, 24, "ENOTTY"],
		["217 wakeup without room", SET | 4, 12, "EINVAL"],
	] as const)("case %s", (_name, flags, argsz, expected) => {
		expect(edu().feature(flags, new Uint8Array(24), argsz)).toBe(expected);
	});

	it.each([
		["6.12", "ENOTTY", "ENOTTY"],
		["7.2", 0, "EINVAL"],
	] as const)("case 214: %s knows features 11 and 12 or does not", (version, dmaBuf, precopy) => {
		const bench = edu(version);
		expect([bench.feature(PROBE | GET | 11), bench.feature(PROBE | GET | 12)]).toEqual([dmaBuf, precopy]);
	});

	it("case 215: a physical function takes a token", () => {
		const extendedCapabilities = [sriov({ totalVfs: 2, vfDevice: 0x10ca })];
		const bench = new Bench(hostWith({ [ADDRESS]: [{ ...E1000E, extendedCapabilities }] }), ADDRESS);
		expect(bench.feature(SET | 0, new Uint8Array(16).fill(0xab))).toBe(0);
		expect(bench.feature(SET | 0, new Uint8Array(15))).toBe("EINVAL");
		expect(bench.feature(GET | 0, new Uint8Array(16))).toBe("EINVAL");
		expect(bench.deviceFd(`${ADDRESS} vf_token=00000000-0000-0000-0000-000000000001`)).toBeGreaterThan(0);
	});
});

describe("low power", () => {
	it("case 216: is entered once and left as often as one likes", () => {
		const bench = e1000e();
		expect([bench.feature(SET | 3), bench.feature(SET | 3)]).toEqual([0, "EINVAL"]);
		expect([bench.feature(SET | 5), bench.feature(SET | 5)]).toEqual([0, 0]);
	});

	it("case 218: mappings do not answer, everything else wakes the device for its duration", () => {
		const bench = e1000e();
		const mapping = bench.mmap(0, 0, 0x1000);
		bench.feature(SET | 3);
		expect(bench.fn.powerState).toBe(3);
		expect(attempt(() => mapping.read(0, 4))).toBe("EIO");
		expect(bench.pread(0, 0, 4)).toBe("00000000");
		expect(attempt(() => mapping.read(0, 4))).toBe("EIO");
		bench.feature(SET | 5);
		expect([bench.fn.powerState, mapping.read(0, 4)]).toEqual([0, 0]);
	});

	it("case 217: the first use signals the wakeup eventfd and ends it", () => {
		const bench = e1000e();
		const fd = bench.eventfd();
		expect(bench.feature(SET | 4, ints(-1, 0))).toBe("EINVAL");
		expect(bench.feature(SET | 4, ints(9999, 0))).toBe("EBADF");
		expect(bench.feature(SET | 4, ints(bench.container, 0))).toBe("EINVAL");
		expect(bench.feature(SET | 4, ints(fd, 0))).toBe(0);
		expect(bench.count(fd)).toBe(0);
		bench.pread(7, 0, 4);
		expect(bench.count(fd)).toBe(1);
		bench.pread(7, 0, 4);
		expect(bench.count(fd)).toBe(0);
		expect(bench.feature(SET | 3)).toBe(0);
	});

	it("keeps interrupts across a sleep", () => {
		const bench = e1000e();
		bench.pwrite(7, 4, "0700");
		const fd = bench.eventfd();
		bench.setIrqs(2, uapi.VFIO_IRQ_SET_DATA_EVENTFD | uapi.VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1, [fd]);
		bench.feature(SET | 3);
		bench.feature(SET | 5);
		bench.fn.signal(0);
		expect(bench.count(fd)).toBe(1);
	});

	it("ends with the last close", () => {
		const bench = e1000e();
		bench.feature(SET | 4, ints(bench.eventfd(), 0));
		bench.process.close(bench.fd);
		expect(bench.fn.powerState).toBe(0);
		bench.fd = bench.deviceFd();
		expect(bench.feature(SET | 3)).toBe(0);
	});
});

describe("VFIO_DEVICE_IOEVENTFD", () => {
	it.each([
		["219 no size", 0, at(0, 0), "EINVAL"],
		["219 two sizes", 3, at(0, 0), "EINVAL"],
		["unknown flag", 0x14, at(0, 0), "EINVAL"],
		["219 config", 4, at(7, 0), "EINVAL"],
		["219 beyond the BAR", 4, at(0, 0x20000 - 2), "EINVAL"],
		["unimplemented BAR", 4, at(4, 0), "EINVAL"],
		["219 MSI-X table", 4, at(3, 0x4c), "EINVAL"],
		["behind the MSI-X table", 4, at(3, 0x50), 0],
		["I/O port", 2, at(2, 4), 0],
	] as const)("case %s", (_name, flags, offset, expected) => {
		const bench = e1000e();
		expect(bench.ioeventfd(flags, offset, bench.eventfd())).toBe(expected);
	});

	it("checks the structure and the descriptor", () => {
		const bench = e1000e();
		const fd = bench.eventfd();
		expect(bench.ioeventfd(4, 0, fd, 0n, 27)).toBe("EINVAL");
		expect(bench.ioeventfd(4, 0, -2)).toBe("EINVAL");
		expect(bench.ioeventfd(4, 0, 9999)).toBe("EBADF");
		expect(bench.ioeventfd(4, 0, bench.container)).toBe("EINVAL");
	});

	it("case 220: writes the register when it is signalled", () => {
		const bench = edu();
		const fd = bench.eventfd();
		const one = Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]);
		expect(bench.ioeventfd(4, at(0, 4), fd, 0x12345678n)).toBe(0);
		expect(bench.ioeventfd(4, at(0, 4), fd, 0x12345678n)).toBe("EEXIST");
		bench.process.write(fd, one);
		expect(bench.pread(0, 4, 4)).toBe("87a9cbed");
		expect(bench.count(fd)).toBe(0);
		bench.pwrite(0, 4, "00000000");
		bench.pwrite(7, 4, "0000");
		bench.process.write(fd, one);
		bench.pwrite(7, 4, "0200");
		expect(bench.pread(0, 4, 4)).toBe("ffffffff");
		expect(bench.ioeventfd(4, at(0, 4), -1, 0x12345678n)).toBe(0);
		expect(bench.ioeventfd(4, at(0, 4), -1, 0x12345678n)).toBe("ENODEV");
	});

	it("case 219: takes 8 bytes on 6.12 only", () => {
		const wide = (version: "6.12" | "7.2") => {
			const bench = e1000e(version);
			return bench.ioeventfd(8, at(0, 8), bench.eventfd());
		};
		expect([wide("6.12"), wide("7.2")]).toEqual([0, "EINVAL"]);
	});

	it("has room for 1000", () => {
		const bench = e1000e();
		const fd = bench.eventfd();
		for (let index = 0; index < 1000; index++) expect(bench.ioeventfd(4, at(0, 4 * index), fd)).toBe(0);
		expect(bench.ioeventfd(4, at(0, 4000), fd)).toBe("ENOSPC");
	});

	it("goes with its eventfd, and with the device", () => {
		const bench = e1000e();
		const fd = bench.eventfd();
		bench.ioeventfd(4, at(0, 0), fd);
		bench.process.close(fd);
		expect(bench.ioeventfd(4, at(0, 0), -1)).toBe("ENODEV");
		bench.ioeventfd(4, at(0, 0), bench.eventfd());
		bench.process.exit();
		expect(bench.linux.leaks().eventfds).toBe(0);
	});
});

describe("VFIO_DEVICE_FEATURE_DMA_BUF", () => {
	const range = (offset: bigint, length: bigint) => new Uint8Array(BigUint64Array.of(offset, length).buffer);
	const request = (bar: number, flags: number, count: number, ...ranges: Uint8Array[]) =>
		Uint8Array.from([...ints(bar, 0, flags, count), ...ranges.flatMap((bytes) => [...bytes])]);

	it.each([
		["221 no range", request(0, 0, 0), "EINVAL"],
		["flags", request(0, 1, 1, range(0n, 0x1000n)), "EINVAL"],
		["221 region 7", request(7, 0, 1, range(0n, 0x1000n)), "ENODEV"],
		["unimplemented BAR", request(4, 0, 1, range(0n, 0x1000n)), "ENODEV"],
		["221 misaligned", request(0, 0, 1, range(1n, 0x1000n)), "EINVAL"],
		["nothing", request(0, 0, 1, range(0n, 0n)), "EINVAL"],
		["beyond the BAR", request(0, 0, 1, range(0x20000n, 0x1000n)), "EINVAL"],
		["overflow", request(0, 0, 1, range(0xffff_ffff_ffff_f000n, 0x1000n)), "EOVERFLOW"],
		["ranges missing", request(0, 0, 2, range(0n, 0x1000n)), "EFAULT"],
	] as const)("case %s", (_name, data, expected) => {
		expect(e1000e("7.2").feature(GET | 11, data)).toBe(expected);
	});

	it("case 221: exports a file that is revoked while memory decoding is off", () => {
		const bench = e1000e("7.2");
		const fd = bench.feature(GET | 11, request(0, 0, 1, range(0x1000n, 0x2000n)));
		const file = bench.process.openFiles.get(fd as number) as DmaBufFile;
		expect(file).toBeInstanceOf(DmaBufFile);
		expect([file.bar, file.ranges, file.revoked]).toEqual([0, [{ offset: 0x1000, length: 0x2000 }], false]);
		bench.pwrite(7, 4, "0000");
		expect(file.revoked).toBe(true);
	});
});
