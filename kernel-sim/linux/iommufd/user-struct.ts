/**
 * How iommufd reads its arguments: structures that may grow, each with its size in front.
 *
 * @module
 */
import { E2BIG, EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import type { Fields, Struct, StructView } from "../../../core/uapi/struct.ts";
import { type AddressSpace, PAGE_SIZE } from "../address-space.ts";
import type { IoctlArgument } from "../file.ts";

/** A caller's structure. */
export interface UserStruct<F extends Fields> {
	/** A copy; what the caller's version of the structure does not have is 0. */
	readonly view: StructView<F>;
	/** Gives the caller as much of it as they have room for. @returns 0 or -EFAULT */
	respond(): number;
}

/** @returns a copy of the first bytes that are there, 0 behind them; or -errno */
export function copyStruct(argument: IoctlArgument, size: number, known: number): Uint8Array | number {
	const given = argument.read(Math.min(size, known));
	if (!given) return -EFAULT;
	if (size > known) {
		const tail = argument.read(size - known, known);
		if (!tail) return -EFAULT;
		if (tail.some((byte) => byte !== 0)) return -E2BIG;
	}
	const bytes = new Uint8Array(known);
	bytes.set(given);
	return bytes;
}

/**
 * Copies a structure from its caller.
 *
 * @param minimum bytes of its first version
 * @returns -EFAULT, -EINVAL for one that is too short, -E2BIG for one that says what this kernel does not know
 */
export function readUserStruct<F extends Fields>(
	argument: IoctlArgument,
	layout: Struct<F>,
	minimum: number,
): UserStruct<F> | number {
	const header = argument.read(4);
	if (!header) return -EFAULT;
	const size = new DataView(header.buffer, header.byteOffset).getUint32(0, true);
	if (size < minimum) return -EINVAL;
	const bytes = copyStruct(argument, size, layout.size);
	if (typeof bytes === "number") return bytes;
	return {
		view: layout.view(bytes),
		respond: () => (argument.write(bytes.subarray(0, Math.min(size, layout.size))) ? 0 : -EFAULT),
	};
}

const ZEROS = new Uint8Array(PAGE_SIZE);

/**
 * Fills a caller's buffer: as much of an answer as it has room for, and zeros behind that.
 *
 * @param length bytes that the caller says there are: they are only looked at one page after the other
 * @returns false where there is no memory: EFAULT
 */
export function fillBuffer(memory: AddressSpace, address: bigint, length: number, answer: Uint8Array): boolean {
	const given = answer.subarray(0, length);
	if (given.length > 0 && !memory.write(address, given)) return false;
	for (let done = given.length; done < length; done += PAGE_SIZE)
		if (!memory.write(address + BigInt(done), ZEROS.subarray(0, length - done))) return false;
	return true;
}
