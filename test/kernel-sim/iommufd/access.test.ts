import { describe, expect, it } from "vitest";
import * as uapi from "../../../core/uapi/iommufd.ts";
import { DMA_READ, DMA_WRITE } from "../../../kernel-sim/hardware/iommu-domain.ts";
import { IommufdAccess } from "../../../kernel-sim/linux/iommufd/access.ts";
import { IommufdFile } from "../../../kernel-sim/linux/iommufd/file.ts";
import { boot, outcome } from "../linux/support.ts";
import { destroy, FIXED, ioasAlloc, ioasMap, ioasUnmap, iovaRanges, NOTHING, openIommu } from "./support.ts";

/** A device without DMA of its own, bound to a /dev/iommu with an address space of two pages. */
function bound() {
	const linux = boot();
	const kernel = linux.process();
	const iommu = openIommu(kernel);
	const file = kernel.file(iommu);
	if (!(file instanceof IommufdFile)) throw new Error("no /dev/iommu");
	const ioas = ioasAlloc(kernel, iommu);
	const memory = kernel.allocate(8192);
	ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0x1000n, length: 8192n });
	return { linux, kernel, iommu, ioas, memory, access: IommufdAccess.bindTo(file) };
}

describe("IommufdAccess", () => {
	it("attaches to address spaces alone, and keeps their number", () => {
		const { kernel, iommu, ioas, access } = bound();
		expect(access.attach(77)).toBe(-2);
		expect(access.attach(access.id)).toBe(-2);
		expect(access.attach(ioas)).toBe(ioas);
		expect(iovaRanges(kernel, iommu, ioas).alignment).toBe(4096n);
		expect(outcome(() => destroy(kernel, iommu, ioas))).toBe("EBUSY");
		expect(outcome(() => destroy(kernel, iommu, access.id))).toBe("EBUSY");
		access.detach();
		expect(iovaRanges(kernel, iommu, ioas).alignment).toBe(1n);
		destroy(kernel, iommu, ioas);
	});

	it("refuses an address space with mappings that are no whole pages", () => {
		const { kernel, iommu, ioas, memory, access } = bound();
		ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0x100000n, length: 100n });
		expect(access.attach(ioas)).toBe(-98);
	});

	it("reads and writes what is mapped, as the mapping allows", () => {
		const { kernel, iommu, ioas, memory, access } = bound();
		memory.bytes.set([1, 2, 3, 4], 4094);
		const bytes = new Uint8Array(4);
		expect(access.read(0x1ffen, bytes)).toBe(-2);
		access.attach(ioas);
		expect(access.read(0x1ffen, bytes)).toBe(0);
		expect([...bytes]).toEqual([1, 2, 3, 4]);
		expect(access.write(0x1000n, Uint8Array.of(9))).toBe(0);
		expect(memory.bytes[0]).toBe(9);
		expect(access.read(0x2ffen, bytes)).toBe(-2);
		const flags = FIXED | uapi.IOMMU_IOAS_MAP_READABLE;
		ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0x8000n, flags });
		expect(access.write(0x8000n, bytes)).toBe(-1);
		expect(access.pin(0x8000n, DMA_WRITE)).toBe(-1);
	});

	it("lets go of everything when its driver throws as it is told of an unmap", () => {
		const { linux, kernel, access, ioas } = bound();
		access.attach(ioas);
		access.onUnmap(() => {
			throw new Error("a driver with a bug");
		});
		access.pin(0x1000n, DMA_WRITE);
		expect(() => access.unbind()).toThrow("a driver with a bug");
		kernel.exit();
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("pins pages, and is asked for them before they are unmapped", () => {
		const { linux, kernel, iommu, ioas, memory, access } = bound();
		access.attach(ioas);
		const asked: [bigint, bigint][] = [];
		const listening = access.onUnmap((iova, size) => {
			asked.push([iova, size]);
			access.unpin(0x1000n);
		});
		const page = access.pin(0x1234n, DMA_READ);
		if (typeof page === "number") throw new Error(`pin: ${page}`);
		memory.bytes[0] = 7;
		expect(page.target.bytes()[page.offset]).toBe(7);
		access.pin(0x1000n, DMA_WRITE);
		access.unpin(0x1000n);
		expect(linux.leaks().pinnedPages).toBe(1);
		ioasUnmap(kernel, iommu, ioas, 0x1000n, 8192n);
		expect(asked).toEqual([[0x1000n, 0x2000n]]);
		expect(linux.leaks()).toMatchObject({ pinnedPages: 0, dmaMappings: 0 });
		listening[Symbol.dispose]();
	});

	it("loses what its driver keeps, and everything when it is unbound", () => {
		const { linux, kernel, iommu, ioas, memory, access } = bound();
		access.attach(ioas);
		access.pin(0x1000n, DMA_READ);
		const second = ioasAlloc(kernel, iommu);
		expect(access.attach(second)).toBe(second);
		expect(linux.leaks().pinnedPages).toBe(0);
		destroy(kernel, iommu, ioas);
		kernel.close(iommu);
		expect(linux.leaks().iommufdObjects).toBe(2);
		access.unbind();
		memory[Symbol.dispose]();
		expect(linux.leaks()).toEqual(NOTHING);
	});
});
