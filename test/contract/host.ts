import type { Kernel } from "../../core/kernel.ts";
import type { Version } from "./target.ts";

/** A PCI function as sysfs shows it before the suite touches anything. */
export interface HostDevice {
	/** Such as `0000:05:00.0`. */
	readonly name: string;
	readonly vendor: number;
	readonly device: number;
	/** 24 bits. */
	readonly class: number;
	/** The group's number, undefined when there is no IOMMU above it. */
	readonly group: number | undefined;
	readonly driver: string | undefined;
	/** The hardware's registers, 256 or 4096 bytes. */
	readonly config: Uint8Array;
	/** Start, end and flags of each line of the file `resource`. */
	readonly resources: readonly (readonly [start: bigint, end: bigint, flags: bigint])[];
	/** Empty when it has none. */
	readonly resetMethods: readonly string[];
	/** How many functions there may be: 0 when it is no physical function. */
	readonly virtualFunctions: number;
}

const decoder = new TextDecoder();

/** A host, as a suite may know it: its devices, and the version of its Linux. */
export class HostDescription {
	readonly version: Version;
	readonly devices: readonly HostDevice[];
	/** The drivers there are. */
	readonly drivers: readonly string[];
	/** There is /dev/kvm. */
	readonly kvm: boolean;
	/** The kernel can give devices without an IOMMU to users. */
	readonly noIommuMode: boolean;
	/** The kernel has /dev/iommu, and character devices of VFIO's. */
	readonly iommufd: boolean;
	/** Nothing hangs on it that would hang a machine. */
	readonly simulated: boolean;
	/** What mediated devices can be made of, such as `mtty`. */
	readonly parents: readonly string[];

	constructor(kernel: Kernel, version: Version) {
		this.version = version;
		this.devices = kernel.readDirectory("/sys/bus/pci/devices").map((name) => describe(kernel, name));
		this.kvm = kernel.readDirectory("/dev").includes("kvm");
		const parameters = attempt(() => kernel.readDirectory("/sys/module/vfio/parameters")) ?? [];
		this.noIommuMode = parameters.includes("enable_unsafe_noiommu_mode");
		this.iommufd = kernel.readDirectory("/dev").includes("iommu");
		this.drivers = kernel.readDirectory("/sys/bus/pci/drivers");
		this.simulated = kernel.name.startsWith("simulated");
		this.parents = attempt(() => kernel.readDirectory("/sys/class/mdev_bus")) ?? [];
	}

	/** A device by ids. @param which among several, in the order of their addresses */
	find(vendor: number, device: number, which = 0): HostDevice | undefined {
		return this.assignable.filter((one) => one.vendor === vendor && one.device === device)[which];
	}

	/** What can be given to a VFIO program: an endpoint whose group has no driver of the kernel's but one that can be taken away. */
	get assignable(): HostDevice[] {
		return this.devices.filter(
			(one) => one.group !== undefined && !isBridge(one) && this.#free(one.group) && one.class >> 16 !== 6,
		);
	}

	/** The devices of a group. */
	members(group: number | undefined): HostDevice[] {
		return this.devices.filter((one) => one.group === group);
	}

	#free(group: number): boolean {
		// What the lab's own root file system comes through must stay.
		return this.members(group).every((one) => one.vendor !== 0x1af4 || one.device !== 0x1009);
	}
}

/** Whether it has a bus below it. */
export function isBridge(device: HostDevice): boolean {
	return ((device.config[0x0e] ?? 0) & 0x7f) !== 0;
}

/** Where a capability is, or 0. */
export function capability(device: HostDevice, id: number): number {
	const { config } = device;
	if (((config[0x06] ?? 0) & 0x10) === 0) return 0;
	let at = (config[0x34] ?? 0) & 0xfc;
	for (let left = 48; at >= 0x40 && left > 0; left--) {
		if (config[at] === id) return at;
		at = (config[at + 1] ?? 0) & 0xfc;
	}
	return 0;
}

/** Where an extended capability is, or 0. */
export function extendedCapability(device: HostDevice, id: number): number {
	const { config } = device;
	const word = (at: number) =>
		((config[at] ?? 0) |
			((config[at + 1] ?? 0) << 8) |
			((config[at + 2] ?? 0) << 16) |
			((config[at + 3] ?? 0) << 24)) >>>
		0;
	let at = config.length > 256 && word(0x100) !== 0 ? 0x100 : 0;
	for (let left = 200; at >= 0x100 && left > 0; left--) {
		if ((word(at) & 0xffff) === id) return at;
		at = word(at) >>> 20;
	}
	return 0;
}

function describe(kernel: Kernel, name: string): HostDevice {
	const path = `/sys/bus/pci/devices/${name}`;
	const text = (file: string) => decoder.decode(kernel.readFile(`${path}/${file}`)).trim();
	const optional = (file: string) => attempt(() => text(file)) ?? "";
	const link = (file: string) => attempt(() => kernel.readLink(`${path}/${file}`).split("/").pop());
	const group = link("iommu_group");
	return {
		name,
		vendor: Number(text("vendor")),
		device: Number(text("device")),
		class: Number(text("class")),
		group: group === undefined ? undefined : Number(group),
		driver: link("driver"),
		config: kernel.readFile(`${path}/config`),
		resources: text("resource")
			.split("\n")
			.map((line) => line.split(" ").map(BigInt) as unknown as [bigint, bigint, bigint]),
		resetMethods: optional("reset_method").split(" ").filter(Boolean),
		virtualFunctions: Number(optional("sriov_totalvfs")),
	};
}

function attempt<T>(read: () => T): T | undefined {
	try {
		return read();
	} catch {
		return undefined;
	}
}
