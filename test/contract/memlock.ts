import koffi from "koffi";

const RLIMIT_MEMLOCK = 8;

/** setrlimit(2) of this process: the bytes that may be locked. */
export function limitLockedMemory(bytes: number): void {
	const setrlimit = koffi.load("libc.so.6").func("int setrlimit(int resource, const void *limit)");
	if (setrlimit(RLIMIT_MEMLOCK, new BigUint64Array([BigInt(bytes), BigInt(bytes)])) !== 0)
		throw new Error(`setrlimit: errno ${koffi.errno()}`);
}
