/**
 * What a virtual function is made of: what its physical function's model says, or else memory behind its BARs.
 *
 * @module
 */
import { express } from "./capabilities.ts";
import type { PciFunction } from "./function.ts";
import type { SriovUnit, VirtualFunction } from "./sriov.ts";

/** Describes virtual function `index` of a physical one. */
export function describeVirtualFunction(physical: PciFunction, sriov: SriovUnit, index: number): VirtualFunction {
	const { vendor, classCode, revision = 0, subsystemVendor = 0, subsystemDevice = 0 } = physical.description;
	const own = physical.model?.virtualFunction?.(index);
	if (own) return { ...own, description: { ...own.description, virtualFunction: true } };
	return {
		description: {
			name: "virtual function",
			vendor,
			device: sriov.vfDevice,
			classCode,
			revision,
			subsystemVendor,
			subsystemDevice,
			virtualFunction: true,
			bars: sriov.bars,
			capabilities: [express({ flr: true })],
		},
	};
}
