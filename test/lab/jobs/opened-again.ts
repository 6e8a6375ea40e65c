import { VfioDevice } from "../../../core/device/device.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import type { Kernel } from "../../../core/kernel.ts";

/** Whether a group is free for the next one: what goes wrong when its device is opened once more, or nothing. */
export function openedAgain(kernel: Kernel, address: string): string[] {
	try {
		const group = bindGroup(kernel, address);
		try {
			VfioDevice.open(kernel, address)[Symbol.dispose]();
		} finally {
			group[Symbol.dispose]();
		}
		return [];
	} catch (error) {
		return [`it cannot be opened again: ${(error as Error).message}`];
	}
}
