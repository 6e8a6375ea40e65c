import { describe, expect, it } from "vitest";
import * as errno from "../../../core/uapi/errno.ts";

// asm-generic/errno-base.h and errno.h, which x86-64 and arm64 use.
const LINUX: Readonly<Record<string, number>> = {
	EPERM: 1,
	ENOENT: 2,
	EINTR: 4,
	EIO: 5,
	ENXIO: 6,
	E2BIG: 7,
	EBADF: 9,
	EAGAIN: 11,
	ENOMEM: 12,
	EACCES: 13,
	EFAULT: 14,
	EBUSY: 16,
	EEXIST: 17,
	EXDEV: 18,
	ENODEV: 19,
	ENOTDIR: 20,
	EISDIR: 21,
	EINVAL: 22,
	ENFILE: 23,
	EMFILE: 24,
	ENOTTY: 25,
	EFBIG: 27,
	ENOSPC: 28,
	ESPIPE: 29,
	EROFS: 30,
	EPIPE: 32,
	EDOM: 33,
	ERANGE: 34,
	EDEADLK: 35,
	ENAMETOOLONG: 36,
	ENOSYS: 38,
	ENOTEMPTY: 39,
	ELOOP: 40,
	ENOMSG: 42,
	ENODATA: 61,
	EOVERFLOW: 75,
	EBADFD: 77,
	EUSERS: 87,
	EMSGSIZE: 90,
	EOPNOTSUPP: 95,
	EADDRINUSE: 98,
	ETIMEDOUT: 110,
	ECANCELED: 125,
};
const ours = Object.entries(errno).flatMap(([name, value]) =>
	typeof value === "number" ? [[name, value] as const] : [],
);

describe("errno numbers", () => {
	it.each(ours)("%s is %i on Linux, and says so", (name, value) => {
		expect(value).toBe(LINUX[name]);
		expect(errno.errnoName(value)).toBe(name);
		expect(errno.errnoText(value)).not.toContain("Unknown");
	});
	it("an unknown number is shown as it is", () => {
		expect([errno.errnoName(9999), errno.errnoText(9999)]).toEqual(["errno 9999", "Unknown error 9999"]);
	});
});
