import { VfioDevice } from "../core/device/device.ts";
import { KernelError, VfioError } from "../core/errors.ts";
import { groupAt, locate } from "../core/host/location.ts";
import type { Kernel } from "../core/kernel.ts";
import { PlatformBus } from "../core/machine/platform-bus.ts";
import { bindPlatformDevice } from "../core/platform/bind.ts";
import { describePlatformDevice } from "../core/platform/describe.ts";
import { Phandles, platformNodes, printNode, stringsOf } from "../core/platform/device-tree/mod.ts";
import { checkPlatformOptions, type PlatformOptions } from "../core/platform/options.ts";
import { PlatformDevice } from "../core/platform/platform-device.ts";
import { Releases } from "../core/release.ts";
import { VFIO_REGION_INFO_FLAG_READ } from "../core/uapi/vfio.ts";

/** What would be done with one platform device: what `vfio-ts plan --json` prints for it. */
export interface PlatformPlan {
	/** Such as `fff51000.ethernet`. */
	readonly name: string;
	/** Null where there is no IOMMU. */
	readonly iommuGroup: number | null;
	/** What the host's device tree says it is, the most specific first. */
	readonly compatible: readonly string[];
	readonly regions: readonly {
		readonly index: number;
		/** Bytes. */
		readonly size: number;
		/** `mmap`: at once. `trap`: by a system call each. `none`: not at all. */
		readonly access: "mmap" | "trap" | "none";
		readonly readOnly: boolean;
	}[];
	readonly interrupts: readonly { readonly index: number; readonly trigger: "edge" | "level" }[];
	/** Milliseconds after the last interrupt until regions are mapped again; 0: never after the first. */
	readonly mmapTimeout: number;
	/** Interrupts go past this process where the machine has KVM. */
	readonly irqfd: boolean;
	/** Whether the kernel can reset it; null where that cannot be known. */
	readonly resettable: boolean | null;
	/** The nodes of its guest's device tree, as source, at the places of a bus of its own; null where there is none. */
	readonly deviceTree: string | null;
	/** What is wrong with it, a sentence each. */
	readonly problems: readonly string[];
}

/** Where QEMU's "virt" machine has its platform bus, and the interrupts that it gives. */
const BASE = 0xc000000n;
const SIZE = 0x2000000n;
const INTERRUPTS = { first: 112, count: 64 };
/** No node of the guest's that is in the way has one as high as this. */
const FIRST_PHANDLE = 0x8001;

/**
 * Says what assigning a platform device would do, without a guest. What stands in the way is in `problems`.
 *
 * @param kernel must be allowed to open the device, where its regions and interrupts are to be known
 * @param options `bind`: give it to vfio-platform for as long as it takes, and back, as on a simulated host; `assign`: how
 *   it would be assigned
 * @throws VfioError `invalid-argument`, `no-such-device`, `no-iommu-group`, and `kernel` when sysfs cannot be read
 */
export function planPlatformDevice(
	kernel: Kernel,
	reference: { readonly platform: string } | { readonly sysfsdev: string },
	options: { readonly bind?: boolean; readonly assign?: PlatformOptions } = {},
): PlatformPlan {
	const { mmapTimeout, irqfd = true } = checkPlatformOptions(options.assign ?? {});
	const location = locate(reference);
	const iommuGroup = groupAt(kernel, location);
	const problems: string[] = [];
	const tried = <T>(action: () => T): T | undefined => {
		try {
			return action();
		} catch (error) {
			if (!(error instanceof VfioError || error instanceof KernelError)) throw error;
			problems.push(error.message);
			return undefined;
		}
	};
	const nothing = { regions: [], interrupts: [] };
	const onHost = tried(() => describePlatformDevice(kernel, reference, nothing));
	const releases = new Releases();
	try {
		const opened = tried(() => {
			if (options.bind) releases.use(bindPlatformDevice(kernel, location.name));
			const device = releases.use(VfioDevice.open(kernel, reference, { kind: "platform" }));
			const onReport = (message: string) => problems.push(message);
			return { device, assigned: releases.use(PlatformDevice.attach(device, { ...options.assign, onReport })) };
		});
		const assigned = opened?.assigned;
		return {
			name: location.name,
			iommuGroup,
			compatible: (onHost && stringsOf(onHost.hostNode, "compatible")) ?? [],
			regions: (assigned?.regions ?? []).map(({ index, size, readOnly }) => ({
				index,
				size,
				access: opened ? accessOf(opened, index) : "none",
				readOnly,
			})),
			interrupts: (assigned?.interrupts ?? []).map(({ index, trigger }) => ({ index, trigger })),
			mmapTimeout,
			irqfd,
			resettable: opened?.device.resettable ?? null,
			deviceTree: (assigned && onHost && tried(() => nodesOf({ ...onHost, ...shape(assigned) }, assigned))) ?? null,
			problems,
		};
	} finally {
		releases[Symbol.dispose]();
	}
}

function accessOf(
	{ device, assigned }: { device: VfioDevice; assigned: PlatformDevice },
	index: number,
): "mmap" | "trap" | "none" {
	if (assigned.directAreas(index).length > 0) return "mmap";
	return (device.region(index).flags & VFIO_REGION_INFO_FLAG_READ) === 0 ? "none" : "trap";
}

function shape({ regions, interrupts }: PlatformDevice) {
	return { regions, interrupts };
}

/** On a bus of its own, since where it will be is the machine's to say. */
function nodesOf(description: Parameters<typeof platformNodes>[0], device: PlatformDevice): string {
	const bus = new PlatformBus({ base: BASE, size: SIZE, interrupts: INTERRUPTS, setLine: () => {} });
	const placement = bus.plug(device);
	const { shared, device: node } = platformNodes(description, placement, new Phandles(FIRST_PHANDLE));
	return [...shared, node].map((each) => printNode(each)).join("\n");
}
