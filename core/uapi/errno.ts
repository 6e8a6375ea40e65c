/**
 * Linux's error numbers and what they say (`asm-generic/errno.h`, strerror(3)).
 *
 * @module
 */

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const E2BIG = 7;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const EXDEV = 18;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const ENOTTY = 25;
export const EFBIG = 27;
export const ENOSPC = 28;
export const ESPIPE = 29;
export const EROFS = 30;
export const EPIPE = 32;
export const EDOM = 33;
export const ERANGE = 34;
export const EDEADLK = 35;
export const ENAMETOOLONG = 36;
export const ENOSYS = 38;
export const ENOTEMPTY = 39;
export const ELOOP = 40;
export const ENOMSG = 42;
export const ENODATA = 61;
export const EOVERFLOW = 75;
export const EBADFD = 77;
export const EUSERS = 87;
export const EMSGSIZE = 90;
export const EOPNOTSUPP = 95;
export const EADDRINUSE = 98;
export const ETIMEDOUT = 110;
export const ECANCELED = 125;

const NAMES: ReadonlyMap<number, readonly [name: string, text: string]> = new Map([
	[EPERM, ["EPERM", "Operation not permitted"]],
	[ENOENT, ["ENOENT", "No such file or directory"]],
	[EINTR, ["EINTR", "Interrupted system call"]],
	[EIO, ["EIO", "Input/output error"]],
	[ENXIO, ["ENXIO", "No such device or address"]],
	[E2BIG, ["E2BIG", "Argument list too long"]],
	[EBADF, ["EBADF", "Bad file descriptor"]],
	[EAGAIN, ["EAGAIN", "Resource temporarily unavailable"]],
	[ENOMEM, ["ENOMEM", "Cannot allocate memory"]],
	[EACCES, ["EACCES", "Permission denied"]],
	[EFAULT, ["EFAULT", "Bad address"]],
	[EBUSY, ["EBUSY", "Device or resource busy"]],
	[EEXIST, ["EEXIST", "File exists"]],
	[EXDEV, ["EXDEV", "Invalid cross-device link"]],
	[ENODEV, ["ENODEV", "No such device"]],
	[ENOTDIR, ["ENOTDIR", "Not a directory"]],
	[EISDIR, ["EISDIR", "Is a directory"]],
	[EINVAL, ["EINVAL", "Invalid argument"]],
	[ENFILE, ["ENFILE", "Too many open files in system"]],
	[EMFILE, ["EMFILE", "Too many open files"]],
	[ENOTTY, ["ENOTTY", "Inappropriate ioctl for device"]],
	[EFBIG, ["EFBIG", "File too large"]],
	[ENOSPC, ["ENOSPC", "No space left on device"]],
	[ESPIPE, ["ESPIPE", "Illegal seek"]],
	[EROFS, ["EROFS", "Read-only file system"]],
	[EPIPE, ["EPIPE", "Broken pipe"]],
	[EDOM, ["EDOM", "Numerical argument out of domain"]],
	[ERANGE, ["ERANGE", "Numerical result out of range"]],
	[EDEADLK, ["EDEADLK", "Resource deadlock avoided"]],
	[ENAMETOOLONG, ["ENAMETOOLONG", "File name too long"]],
	[ENOSYS, ["ENOSYS", "Function not implemented"]],
	[ENOTEMPTY, ["ENOTEMPTY", "Directory not empty"]],
	[ELOOP, ["ELOOP", "Too many levels of symbolic links"]],
	[ENOMSG, ["ENOMSG", "No message of desired type"]],
	[ENODATA, ["ENODATA", "No data available"]],
	[EOVERFLOW, ["EOVERFLOW", "Value too large for defined data type"]],
	[EBADFD, ["EBADFD", "File descriptor in bad state"]],
	[EUSERS, ["EUSERS", "Too many users"]],
	[EMSGSIZE, ["EMSGSIZE", "Message too long"]],
	[EOPNOTSUPP, ["EOPNOTSUPP", "Operation not supported"]],
	[EADDRINUSE, ["EADDRINUSE", "Address already in use"]],
	[ETIMEDOUT, ["ETIMEDOUT", "Connection timed out"]],
	[ECANCELED, ["ECANCELED", "Operation canceled"]],
]);

/** The symbolic name of an errno, such as `EBUSY`; `errno 999` for one that has none here. */
export function errnoName(errno: number): string {
	return NAMES.get(errno)?.[0] ?? `errno ${errno}`;
}

/** What strerror(3) says of an errno. */
export function errnoText(errno: number): string {
	return NAMES.get(errno)?.[1] ?? `Unknown error ${errno}`;
}
