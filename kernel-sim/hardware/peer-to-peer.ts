/**
 * Peer-to-peer DMA: one function's BAR as the target of another one's DMA.
 *
 * @module
 */
import type { PciFunction } from "./function.ts";
import type { DmaTarget } from "./iommu-domain.ts";

/**
 * A BAR as a DMA target. Registers see accesses of 8, 4, 2 and 1 bytes, as wide as alignment allows; a BAR that does not
 * decode answers nothing.
 *
 * @example
 * ```ts
 * domain.map(0xfe000000n, 0x1000n, barTarget(peer, 0), 0, DMA_READ | DMA_WRITE);
 * ```
 */
export function barTarget(fn: PciFunction, bar: number): DmaTarget {
	const size = fn.bar(bar)?.size ?? 0;
	const view = new DataView(new ArrayBuffer(8));
	const answers = (offset: number, length: number) =>
		fn.present && fn.memoryEnabled && fn.powerState === 0 && offset + length <= size;
	return {
		bytes: () => fn.memory(bar) ?? new Uint8Array(0),
		read(offset, into) {
			if (!answers(offset, into.length)) return false;
			for (let done = 0; done < into.length; ) {
				const width = widest(offset + done, into.length - done);
				if (width === 8) view.setBigUint64(0, fn.read64(bar, offset + done), true);
				else view.setUint32(0, fn.read(bar, offset + done, width), true);
				for (let index = 0; index < width; index++) into[done + index] = view.getUint8(index);
				done += width;
			}
			return true;
		},
		write(offset, from) {
			if (!answers(offset, from.length)) return false;
			for (let done = 0; done < from.length; ) {
				const width = widest(offset + done, from.length - done);
				view.setBigUint64(0, 0n);
				for (let index = 0; index < width; index++) view.setUint8(index, from[done + index] ?? 0);
				if (width === 8) fn.write64(bar, offset + done, view.getBigUint64(0, true));
				else fn.write(bar, offset + done, width, view.getUint32(0, true));
				done += width;
			}
			return true;
		},
	};
}

function widest(offset: number, length: number): 1 | 2 | 4 | 8 {
	if (length >= 8 && offset % 8 === 0) return 8;
	if (length >= 4 && offset % 4 === 0) return 4;
	return length >= 2 && offset % 2 === 0 ? 2 : 1;
}
