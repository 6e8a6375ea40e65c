import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { EBADF, EFAULT, EINVAL, ENOENT, ENOTTY, ESPIPE } from "../../core/uapi/errno.ts";
import { O_RDONLY, O_RDWR } from "../../core/uapi/fcntl.ts";
import { VFIO_DEVICE_FEATURE } from "../../core/uapi/vfio.ts";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { errorOf, memfd, pipeFds } from "./support.ts";

const kernel = new LinuxKernel();
const folder = mkdtempSync(join(tmpdir(), "vfio-ts-"));
afterAll(() => rmSync(folder, { recursive: true }));
const FIONREAD = 0x541b;

function temporary(name: string, content: string): string {
	const path = join(folder, name);
	writeFileSync(path, content);
	return path;
}

describe("LinuxKernel", () => {
	it("name is the release that uname(2) gives", () => {
		expect(kernel.name).toBe(`Linux ${release()}`);
	});

	it("open() throws ENOENT with the path when the file is absent", () => {
		const path = join(folder, "absent");
		expect(errorOf(() => kernel.open(path, O_RDWR))).toEqual({ errno: ENOENT, call: "open", target: path });
	});

	it.skipIf(existsSync("/dev/vfio/vfio"))("open() throws ENOENT when /dev/vfio/vfio is absent", () => {
		expect(() => kernel.open("/dev/vfio/vfio", O_RDWR)).toThrow(
			"open /dev/vfio/vfio: No such file or directory (ENOENT)",
		);
	});

	it("open() opens close-on-exec, so that no child process inherits the file", () => {
		const fd = kernel.open("/dev/null", O_RDWR);
		const flags = /flags:\s+([0-7]+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "";
		expect(Number.parseInt(flags, 8) & 0o2000000).not.toBe(0);
		kernel.close(fd);
	});

	it("close() throws EBADF the second time, and by then the path is forgotten", () => {
		const fd = kernel.open("/dev/null", O_RDONLY);
		kernel.close(fd);
		expect(errorOf(() => kernel.close(fd))).toEqual({ errno: EBADF, call: "close", target: `fd ${fd}` });
	});

	it("pread() and pwrite() move the bytes of a view of a larger buffer, at an offset", () => {
		const fd = kernel.open(temporary("positions", "0123456789"), O_RDWR);
		const buffer = new Uint8Array(8).fill(0x2e);
		expect(kernel.pread(fd, buffer.subarray(2, 5), 4)).toBe(3);
		expect(String.fromCharCode(...buffer)).toBe("..456...");
		expect(kernel.pwrite(fd, buffer.subarray(2, 4), 0)).toBe(2);
		expect(kernel.pread(fd, buffer, 6)).toBe(4);
		expect(String.fromCharCode(...buffer)).toBe("67896...");
		expect(kernel.pread(fd, buffer, 10)).toBe(0);
		kernel.close(fd);
		expect(readFileSync(join(folder, "positions"), "utf8")).toBe("4523456789");
	});

	it("pread() and pwrite() keep an offset above 2^42 exact, as a region of VFIO has", () => {
		const fd = memfd(0);
		const offset = 7 * 2 ** 40 + 5;
		expect(kernel.pwrite(fd, Uint8Array.of(0xa5), offset)).toBe(1);
		const byte = new Uint8Array(1);
		expect([kernel.pread(fd, byte, offset), byte[0]]).toEqual([1, 0xa5]);
		expect([kernel.pread(fd, byte, offset - 1), byte[0]]).toEqual([1, 0]);
		kernel.close(fd);
	});

	it("read() and write() go through the file's position", () => {
		const fd = kernel.open(temporary("position", "abcdef"), O_RDWR);
		const two = new Uint8Array(2);
		expect([kernel.read(fd, two), String.fromCharCode(...two)]).toEqual([2, "ab"]);
		expect(kernel.write(fd, two)).toBe(2);
		expect([kernel.read(fd, two), String.fromCharCode(...two)]).toEqual([2, "ef"]);
		expect(kernel.read(fd, two)).toBe(0);
		kernel.close(fd);
	});

	it.each([
		["read", () => kernel.read(-1, new Uint8Array(4))],
		["write", () => kernel.write(-1, new Uint8Array(4))],
		["pread", () => kernel.pread(-1, new Uint8Array(4), 0)],
		["pwrite", () => kernel.pwrite(-1, new Uint8Array(4), 0)],
		["mmap", () => kernel.mmap(-1, 4096, 1, 1, 0)],
	])("%s() throws EBADF when the descriptor is none", (call, attempt) => {
		expect(errorOf(attempt)).toEqual({ errno: EBADF, call, target: "fd -1" });
	});

	it("pread() throws ESPIPE on a pipe, and EINVAL at a negative offset", () => {
		const { read, write } = pipeFds();
		expect(errorOf(() => kernel.pread(read, new Uint8Array(1), 0)).errno).toBe(ESPIPE);
		const fd = memfd(16);
		expect(errorOf(() => kernel.pread(fd, new Uint8Array(1), -1)).errno).toBe(EINVAL);
		for (const open of [read, write, fd]) kernel.close(open);
	});

	it("ioctl() fills the bytes it is given in place, also behind an offset", () => {
		const { read, write } = pipeFds();
		kernel.write(write, new Uint8Array(300));
		const buffer = new Uint8Array(12).fill(0xff);
		expect(kernel.ioctl(read, FIONREAD, buffer.subarray(4, 8))).toBe(0);
		expect([...buffer]).toEqual([255, 255, 255, 255, 300 - 256, 1, 0, 0, 255, 255, 255, 255]);
		kernel.close(read);
		kernel.close(write);
	});

	it("ioctl() passes the null pointer when its argument is 0 or left out", () => {
		const { read, write } = pipeFds();
		expect(errorOf(() => kernel.ioctl(read, FIONREAD, 0)).errno).toBe(EFAULT);
		expect(errorOf(() => kernel.ioctl(read, FIONREAD))).toEqual({
			errno: EFAULT,
			call: "ioctl 0x541b",
			target: `fd ${read}`,
		});
		kernel.close(read);
		kernel.close(write);
	});

	it("ioctl() throws ENOTTY with the request's name when the file is not VFIO's", () => {
		const fd = kernel.open("/dev/null", O_RDWR);
		expect(errorOf(() => kernel.ioctl(fd, VFIO_DEVICE_FEATURE, new Uint8Array(8)))).toEqual({
			errno: ENOTTY,
			call: "VFIO_DEVICE_FEATURE",
			target: "/dev/null",
		});
		kernel.close(fd);
	});
});
