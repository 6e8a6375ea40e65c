import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL, ENOMEM } from "../../core/uapi/errno.ts";
import { O_RDONLY, PROT_READ } from "../../core/uapi/fcntl.ts";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { errorOf, mapsLine } from "./support.ts";

// Not in the library that the sources are compiled against.
declare const WebAssembly: {
	Memory: new (size: {
		initial: number;
		maximum: number;
	}) => { readonly buffer: ArrayBuffer; grow(pages: number): number };
};
const kernel = new LinuxKernel();

/** What is at an address, read by the kernel and not through the buffer. */
function peek(address: bigint, length: number): number[] {
	const fd = kernel.open("/proc/self/mem", O_RDONLY);
	const bytes = new Uint8Array(length);
	expect(kernel.pread(fd, bytes, Number(address))).toBe(length);
	kernel.close(fd);
	return [...bytes];
}

describe("LinuxKernel.allocate()", () => {
	it("gives zeroed pages, whole ones, at the address it says", () => {
		const memory = kernel.allocate(5000);
		expect(memory.length).toBe(8192);
		expect(memory.bytes.length).toBe(8192);
		expect(memory.address % 4096n).toBe(0n);
		expect(memory.bytes.every((byte) => byte === 0)).toBe(true);
		expect(mapsLine(memory.address)).toContain(" rw-p ");
		memory.bytes.set([1, 2, 3], 8189);
		expect(peek(memory.address + 8189n, 3)).toEqual([1, 2, 3]);
		memory[Symbol.dispose]();
	});

	it("gives the pages the protection it was asked for", () => {
		const memory = kernel.allocate(4096, { protection: PROT_READ });
		expect(mapsLine(memory.address)).toContain(" r--p ");
		memory[Symbol.dispose]();
	});

	it("dispose frees the pages at once, and a view that was kept reads zeros", () => {
		const memory = kernel.allocate(4096);
		const { bytes, address } = memory;
		bytes.fill(0xee);
		memory[Symbol.dispose]();
		memory[Symbol.dispose]();
		expect(bytes[100]).toBe(0);
		bytes[100] = 1;
		expect(errorOf(() => memory.bytes).errno).toBe(EFAULT);
		expect(memory.address).toBe(address);
	});

	it.each([
		["nothing", 0, EINVAL],
		["more than there is", 2 ** 52, ENOMEM],
	])("throws when %s is asked for", (_, length, errno) => {
		expect(errorOf(() => kernel.allocate(length))).toEqual({
			errno,
			call: "mmap",
			target: `${length} bytes of memory`,
		});
	});
});

describe("LinuxKernel.adopt()", () => {
	it("gives the address of the bytes, of a view at its offset", () => {
		const buffer = new Uint8Array(65536);
		buffer.set([9, 8, 7], 4096);
		const memory = kernel.adopt(buffer.subarray(4096, 8192));
		expect(memory.length).toBe(4096);
		expect(peek(memory.address, 3)).toEqual([9, 8, 7]);
		expect(kernel.adopt(buffer).address).toBe(memory.address - 4096n);
	});

	it("gives the address of a buffer so small that the engine keeps it in its heap", () => {
		const small = Uint8Array.of(4, 3, 2, 1);
		const memory = kernel.adopt(small);
		const { address } = memory;
		expect(peek(address, 4)).toEqual([4, 3, 2, 1]);
		small[0] = 5;
		expect([memory.address, peek(address, 1)]).toEqual([address, [5]]);
	});

	it("gives the address of WebAssembly memory, page aligned", () => {
		const wasm = new WebAssembly.Memory({ initial: 1, maximum: 4 });
		const memory = kernel.adopt(new Uint8Array(wasm.buffer));
		expect(memory.address % 4096n).toBe(0n);
		memory.bytes[17] = 0x42;
		expect(peek(memory.address + 17n, 1)).toEqual([0x42]);
	});

	it("asks for the buffer anew each time when it is given a function, so it follows one that grows", () => {
		const wasm = new WebAssembly.Memory({ initial: 1, maximum: 4 });
		const memory = kernel.adopt(() => new Uint8Array(wasm.buffer));
		expect(memory.length).toBe(65536);
		wasm.grow(1);
		expect(memory.length).toBe(131072);
		memory.bytes[131071] = 0x24;
		expect(peek(memory.address + 131071n, 1)).toEqual([0x24]);
	});

	it("dispose only forgets the buffer", () => {
		const buffer = new Uint8Array(4096).fill(3);
		const memory = kernel.adopt(buffer);
		memory[Symbol.dispose]();
		expect(buffer[4095]).toBe(3);
		expect(errorOf(() => memory.address).errno).toBe(EFAULT);
	});
});
