import { VfioDevice } from "../core/device/device.ts";
import { KernelError, VfioError } from "../core/errors.ts";
import { bindGroup } from "../core/host/bind.ts";
import { PciSysfs, readText } from "../core/host/sysfs.ts";
import type { Kernel } from "../core/kernel.ts";
import type { PciSlot } from "../core/machine/machine.ts";
import { type AssignOptions, checkOptions } from "../core/pci/assign-options.ts";
import { ROM_BAR } from "../core/pci/bar-registers.ts";
import { type CapabilityLists, type FunctionPlan, planFunction } from "../core/pci/plan.ts";
import { surveyDevice } from "../core/pci/survey.ts";
import { walkCapabilities, walkExtendedCapabilities } from "../core/pci/walk.ts";
import { Releases } from "../core/release.ts";
import { hexDigits } from "./cli/text.ts";

/** What would be done with one device: what `vfio-ts plan --json` prints for it. */
export interface DevicePlan {
	/** Such as `0000:05:00.0`. */
	readonly address: string;
	/** Four hexadecimal digits, as lspci prints them. */
	readonly vendor: string;
	readonly device: string;
	/** Six hexadecimal digits: class, subclass, programming interface. */
	readonly class: string;
	/** Null where there is no IOMMU. */
	readonly iommuGroup: number | null;
	/** The capability lists of the hardware, in chain order. */
	readonly host: CapabilityLists;
	/** The lists that a guest finds. */
	readonly guest: CapabilityLists;
	readonly bars: readonly {
		readonly index: number;
		readonly kind: "mem32" | "mem64" | "io";
		/** Bytes. */
		readonly size: number;
		readonly prefetchable: boolean;
		/** They tile the BAR: `start` is the first byte, `end` one past the last. */
		readonly areas: readonly {
			readonly start: number;
			readonly end: number;
			readonly access: "mmap" | "trap";
			readonly reason: string;
		}[];
	}[];
	/** The option ROM, where there is one that can be read. */
	readonly rom: { readonly size: number } | null;
	/** How many interrupts of each kind the guest can use. */
	readonly interrupts: { readonly intx: number; readonly msi: number; readonly msix: number };
	/** How the host can reset it, in the order that Linux tries. */
	readonly reset: readonly string[];
	/** What is wrong with it, a sentence each. */
	readonly problems: readonly string[];
}

/** How {@link planDevice} looks at a device. */
export interface DevicePlanOptions {
	/** What it would be plugged into; it decides which type of PCI Express device the guest sees. */
	readonly bus?: PciSlot["bus"];
	readonly multifunction?: boolean;
	/** How it would be assigned. */
	readonly assign?: AssignOptions;
	/** The UUID that the owner of a virtual function's physical function has set. */
	readonly vfToken?: string;
	/**
	 * Give the group to vfio-pci for as long as it takes, and back: for a simulated host. Without it, a device that is not
	 * with a VFIO driver is described as far as sysfs goes.
	 */
	readonly bind?: boolean;
}

const NO_LISTS: CapabilityLists = { capabilities: [], extended: [] };

/**
 * Says what assigning a device would do, without a guest. What stands in the way is in `problems`.
 *
 * @param kernel must be allowed to open the device, where its BARs and interrupts are to be known
 * @param address such as `0000:05:00.0`
 * @throws VfioError `malformed-address`, `no-such-device`, and `kernel` when sysfs cannot be read
 */
export function planDevice(kernel: Kernel, address: string, options: DevicePlanOptions = {}): DevicePlan {
	const pci = new PciSysfs(kernel);
	const ids = pci.ids(address);
	const config = pci.config(address);
	const standard =
		config.length >= 256
			? walkCapabilities(config)
			: {
					capabilities: [],
					problem: `Only ${config.length} bytes of configuration space can be read: root sees all of it`,
				};
	const extended = walkExtendedCapabilities(config);
	const problems = [standard.problem, extended.problem].filter((problem) => problem !== undefined);
	let plan: FunctionPlan | undefined;
	try {
		plan = openAndPlan(kernel, address, options);
		problems.push(...plan.problems.filter((problem) => !problems.includes(problem)));
	} catch (error) {
		if (!(error instanceof VfioError || error instanceof KernelError)) throw error;
		problems.push(error.message);
	}
	return {
		address,
		vendor: hexDigits(ids.vendor, 4),
		device: hexDigits(ids.device, 4),
		class: hexDigits(ids.class, 6),
		iommuGroup: pci.group(address) ?? null,
		host: {
			capabilities: standard.capabilities.map(({ id, offset }) => ({ id, offset })),
			extended: extended.capabilities.map(({ id, version, offset }) => ({ id, version, offset })),
		},
		guest: plan?.guest ?? NO_LISTS,
		bars: (plan?.bars ?? [])
			.filter(({ index }) => index !== ROM_BAR)
			.map(({ index, kind, size, prefetchable, areas }) => ({
				index,
				kind,
				size,
				prefetchable,
				areas,
			})),
		rom: romOf(plan),
		interrupts: plan?.interrupts ?? { intx: 0, msi: 0, msix: 0 },
		reset: resetMethods(kernel, pci, address),
		problems,
	};
}

function openAndPlan(kernel: Kernel, address: string, options: DevicePlanOptions): FunctionPlan {
	const { assign = {}, vfToken } = options;
	const releases = new Releases();
	try {
		if (options.bind) {
			const group = releases.use(bindGroup(kernel, address));
			const { leftAlone } = group.plan.devices.find(({ name }) => name === address) ?? {};
			if (leftAlone !== undefined && new PciSysfs(kernel).driver(address) !== group.plan.driver)
				throw new VfioError(
					"unassignable-device",
					`Cannot assign ${address}: it stays with the host, being ${leftAlone}`,
					{ device: address },
				);
		}
		const device = releases.use(VfioDevice.open(kernel, address, vfToken === undefined ? {} : { vfToken }));
		return planFunction({
			...surveyDevice(device, checkOptions(assign)),
			bus: options.bus ?? "root-complex",
			multifunction: options.multifunction ?? false,
		});
	} finally {
		releases[Symbol.dispose]();
	}
}

function romOf(plan: FunctionPlan | undefined): DevicePlan["rom"] {
	const rom = plan?.bars.find(({ index }) => index === ROM_BAR);
	return rom ? { size: rom.size } : null;
}

/** The file is absent when there is no way to reset the function. */
function resetMethods(kernel: Kernel, pci: PciSysfs, address: string): string[] {
	try {
		return readText(kernel, `${pci.path(address)}/reset_method`)
			.split(/\s+/)
			.filter(Boolean);
	} catch {
		return [];
	}
}
