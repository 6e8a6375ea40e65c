import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Mapping } from "../../core/kernel.ts";
import { EBADF, EFAULT, EINVAL } from "../../core/uapi/errno.ts";
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../../core/uapi/fcntl.ts";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { errorOf, mapsLine, memfd } from "./support.ts";

const kernel = new LinuxKernel();
const LENGTH = 8192;
let fd: number;
let mapping: Mapping;

beforeEach(() => {
	fd = memfd(LENGTH);
	mapping = kernel.mmap(fd, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
});
afterEach(() => {
	mapping[Symbol.dispose]();
	kernel.close(fd);
});

function content(length: number, offset = 0): number[] {
	const bytes = new Uint8Array(length);
	kernel.pread(fd, bytes, offset);
	return [...bytes];
}

describe("LinuxMapping", () => {
	it("write() stores the value in little-endian order at each width", () => {
		mapping.write(0, 1, 0x11);
		mapping.write(2, 2, 0x3322);
		mapping.write(4, 4, 0x77665544);
		mapping.write64(8, 0xffeeddccbbaa9988n);
		expect(content(16)).toEqual([
			0x11, 0, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
		]);
	});

	it("read() loads the value unsigned at each width", () => {
		kernel.pwrite(fd, new Uint8Array(16).fill(0xff), 4096);
		expect(mapping.read(4097, 1)).toBe(0xff);
		expect(mapping.read(4098, 2)).toBe(0xffff);
		expect(mapping.read(4100, 4)).toBe(0xffffffff);
		expect(mapping.read64(4104)).toBe(0xffffffffffffffffn);
	});

	it("write() takes the value modulo the width, negative or too large", () => {
		mapping.write(0, 4, -1);
		mapping.write(4, 1, 0x1ff);
		mapping.write64(8, -2n);
		expect([mapping.read(0, 4), mapping.read(4, 4), mapping.read64(8)]).toEqual([0xffffffff, 0xff, 2n ** 64n - 2n]);
	});

	it("maps at the offset of the file it was asked for", () => {
		kernel.pwrite(fd, Uint8Array.of(0x5a), 4096);
		const second = kernel.mmap(fd, 4096, PROT_READ, MAP_SHARED, 4096);
		expect([second.length, second.read(0, 1)]).toEqual([4096, 0x5a]);
		second[Symbol.dispose]();
	});

	it("address is where the kernel mapped the file", () => {
		expect(mapsLine(mapping.address)).toContain("/memfd:vfio-ts-test");
		expect(mapsLine(mapping.address)).toMatch(new RegExp(`^0*${mapping.address.toString(16)}-`));
	});

	it.each([
		["past the end", LENGTH, 4, EFAULT],
		["across the end", LENGTH - 2, 4, EFAULT],
		["at a negative offset", -8, 4, EFAULT],
		["at an odd offset", 1, 2, EINVAL],
		["at a fraction", 0.5, 1, EINVAL],
		["at no number", Number.NaN, 4, EINVAL],
	] as const)("refuses an access %s", (_, offset, width, errno) => {
		expect(errorOf(() => mapping.read(offset, width)).errno).toBe(errno);
		expect(errorOf(() => mapping.write(offset, width, 1)).errno).toBe(errno);
		if (width === 4) {
			expect(errorOf(() => mapping.read64(offset)).errno).toBe(errno);
			expect(errorOf(() => mapping.write64(offset, 1n)).errno).toBe(errno);
		}
		expect(content(8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
	});

	it("refuses what the protection forbids instead of dying of it", () => {
		const readOnly = kernel.mmap(fd, LENGTH, PROT_READ, MAP_SHARED, 0);
		expect(readOnly.read(0, 4)).toBe(0);
		expect(errorOf(() => readOnly.write(0, 4, 1)).errno).toBe(EFAULT);
		expect(errorOf(() => readOnly.write64(0, 1n)).errno).toBe(EFAULT);
		readOnly[Symbol.dispose]();
		const writeOnly = kernel.mmap(fd, LENGTH, PROT_WRITE, MAP_SHARED, 0);
		writeOnly.write(0, 4, 7);
		expect(errorOf(() => writeOnly.read(0, 4)).errno).toBe(EFAULT);
		writeOnly[Symbol.dispose]();
		expect(mapping.read(0, 4)).toBe(7);
	});

	it("throws EBADF after dispose, of every access, and the file is mapped no more", () => {
		mapping.write(0, 4, 0x12345678);
		mapping[Symbol.dispose]();
		mapping[Symbol.dispose]();
		const error = { errno: EBADF, call: "read", target: `fd ${fd}` };
		expect(errorOf(() => mapping.read(16, 4))).toEqual(error);
		expect(errorOf(() => mapping.read64(16)).errno).toBe(EBADF);
		expect(errorOf(() => mapping.write(16, 4, 1))).toEqual({ ...error, call: "write" });
		expect(errorOf(() => mapping.write64(16, 1n)).errno).toBe(EBADF);
		expect(mapsLine(mapping.address)).not.toContain("memfd");
		expect(content(4)).toEqual([0x78, 0x56, 0x34, 0x12]);
	});

	it("reaches beyond 4 GiB", () => {
		const far = 2 ** 32 + 4096;
		const large = memfd(far + 4096);
		const whole = kernel.mmap(large, far + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		whole.write(2 ** 32 - 4, 4, 1);
		whole.write(2 ** 32, 4, 2);
		whole.write(far + 6, 2, 3);
		whole.write64(far + 8, 4n);
		const bytes = new Uint8Array(16);
		kernel.pread(large, bytes, 2 ** 32 - 4);
		expect([...bytes.subarray(0, 8)]).toEqual([1, 0, 0, 0, 2, 0, 0, 0]);
		kernel.pread(large, bytes, far);
		expect([...bytes]).toEqual([0, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
		expect([whole.read(2 ** 32 - 4, 4), whole.read(2 ** 32, 4), whole.read(far + 6, 1), whole.read64(far + 8)]).toEqual(
			[1, 2, 3, 4n],
		);
		expect(errorOf(() => whole.read(far + 4096, 4)).errno).toBe(EFAULT);
		whole[Symbol.dispose]();
		expect(mapsLine(whole.address + 2n ** 32n)).not.toContain("memfd");
		kernel.close(large);
	});

	it("mmap() throws the kernel's error when the file cannot be mapped so", () => {
		expect(errorOf(() => kernel.mmap(fd, LENGTH, PROT_READ, MAP_SHARED, 100)).errno).toBe(EINVAL);
		expect(errorOf(() => kernel.mmap(fd, 0, PROT_READ, MAP_PRIVATE, 0)).errno).toBe(EINVAL);
	});
});
