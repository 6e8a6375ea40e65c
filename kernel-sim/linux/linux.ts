/**
 * A simulated Linux: one kernel, the host it runs on, and the processes that use it.
 *
 * @module
 */
import { KernelError } from "../../core/errors.ts";
import { formatPciAddress } from "../../core/host/address.ts";
import { type SimClock, VirtualClock } from "../clock.ts";
import { programHotplugged } from "../hardware/firmware.ts";
import type { PciFunction } from "../hardware/function.ts";
import type { IommuFault } from "../hardware/iommu.ts";
import type { Machine } from "../hardware/topology.ts";
import type { Host } from "../host.ts";
import { BarClaims } from "./bar-claims.ts";
import { PciDevice } from "./driver.ts";
import type { PciDeviceId } from "./dynamic-id.ts";
import type { EventFd } from "./eventfd.ts";
import { FileSystem } from "./filesystem.ts";
import { InterruptLines } from "./interrupt-lines.ts";
import type { IommuGroup } from "./iommu-group.ts";
import { type GroupedDevice, IommuGroups } from "./iommu-groups.ts";
import { type IommufdPlatform, UserAccounts } from "./iommufd/mod.ts";
import { Kvm } from "./kvm/mod.ts";
import { countLeaks, type Leaks } from "./leaks.ts";
import type { LinuxOptions } from "./linux-options.ts";
import { MdevBus } from "./mdev/bus.ts";
import type { MdevKernel } from "./mdev/mdev-driver.ts";
import { addMdevBus, mdevSysfs } from "./mdev/sysfs.ts";
import { BUILT_IN_DRIVERS, NativeDriver, namedDriver } from "./native-driver.ts";
import { NullFile } from "./null-file.ts";
import { ModuleParameters } from "./parameters.ts";
import { PciBus, type PciBusListener } from "./pci-bus.ts";
import { readResources } from "./pci-resources.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import type { PlatformBus } from "./platform/bus.ts";
import { addPlatformDevice, bootPlatform, makePlatformBus, type PlatformContext } from "./platform/platform.ts";
import { type ProcessOptions, SimProcess } from "./process.ts";
import { Sleep } from "./sleep.ts";
import { addDriverLinks, removeDriverLinks } from "./sysfs/bus.ts";
import { addIommuDirectories } from "./sysfs/iommu.ts";
import { iommuRegisters } from "./sysfs/iommu-registers.ts";
import { addPciBusDirectory, addPciDriverDirectory } from "./sysfs/pci-bus.ts";
import { addDeviceDirectory, removeDeviceDirectory } from "./sysfs/pci-device.ts";
import { addVirtualFunctionLinks, removeVirtualFunctionLinks } from "./sysfs/sriov.ts";
import { addModuleFiles, addSystemFiles } from "./sysfs/system.ts";
import { Vfio } from "./vfio/core.ts";
import { VfioPciDriver } from "./vfio-pci/driver.ts";
import { discoverResetMethods } from "./vfio-pci/reset.ts";
import { InterruptNumbers, VfioPlatformDriver } from "./vfio-platform/mod.ts";
import { VirtualFunctions } from "./virtual-functions.ts";

const RELEASES = { "6.12": "6.12.95", "7.2": "7.2.12" } as const;
const FIRST_PID = 1000;
const NO_IOMMU_MODE = ["vfio", "enable_unsafe_noiommu_mode"] as const;
/** TAINT_USER: a user was given what the kernel cannot answer for. */
const TAINTED_BY_USER = 64;

/**
 * A Linux with VFIO.
 *
 * @example
 * ```ts
 * const linux = new SimulatedLinux({ host: Host.reference() });
 * const kernel = linux.process();
 * kernel.writeFile("/sys/bus/pci/devices/0000:05:00.0/driver/unbind", "0000:05:00.0");
 * kernel.writeFile("/sys/bus/pci/devices/0000:05:00.0/driver_override", "vfio-pci");
 * kernel.writeFile("/sys/bus/pci/drivers_probe", "0000:05:00.0");
 * const device = VfioDevice.open(kernel, "0000:05:00.0");
 * ```
 */
export class SimulatedLinux {
	readonly version: "6.12" | "7.2";
	readonly machine: Machine;
	readonly clock: SimClock;
	readonly parameters: ModuleParameters;
	/** sysfs, procfs and /dev. */
	readonly files = new FileSystem();
	readonly pci: PciBus;
	/** Mediated devices. */
	readonly mdev: MdevBus;
	readonly platform: PlatformBus;
	readonly vfio: Vfio;
	/** KVM, and its virtual machines. */
	readonly kvm: Kvm;
	/** Living eventfds, those that only a driver holds included. */
	readonly eventfds = new Set<EventFd>();
	readonly #processes = new Set<SimProcess>();
	readonly #groups: IommuGroups;
	readonly #interrupts: InterruptLines;
	readonly #strictIoMemory: boolean;
	readonly #iommufd: IommufdPlatform;
	readonly #physicalMemory = new PhysicalMemory(() => this.processes);
	#tainted = false;
	readonly #platformContext: PlatformContext;
	#nextPid = FIRST_PID;

	constructor(options: LinuxOptions) {
		const { host, version = "6.12", vfio: loaded = true, iommufd: hasIommufd = true } = options;
		const hasNoIommu = options.noIommu ?? true;
		const { machine } = host;
		this.version = version;
		this.machine = machine;
		this.#strictIoMemory = options.strictIoMemory ?? true;
		this.clock = options.clock ?? (machine.clock instanceof VirtualClock ? machine.clock : new VirtualClock());
		machine.clock = this.clock;
		this.parameters = new ModuleParameters(options.parameters, [
			...(hasIommufd ? [] : ["iommufd"]),
			...(hasNoIommu ? [] : [NO_IOMMU_MODE.join(".")]),
		]);
		const { iommu, interrupts, hasIommu } = machine;
		const platform = {
			version,
			parameters: this.parameters,
			addressWidth: iommu.addressWidth,
			pageSizes: iommu.pageSizes,
			noIommuMode: () => hasNoIommu && this.parameters.flag(...NO_IOMMU_MODE),
			isolatedMsi: interrupts.remapping,
			enforcesCoherency: options.snoopControl ?? false,
		};
		this.#groups = new IommuGroups(this.files, iommu);
		this.files.device("/dev/null", 0o666, () => new NullFile());
		this.#interrupts = new InterruptLines(machine, () => this.pci.devices.values());
		addSystemFiles(this.files, {
			release: RELEASES[version],
			iommu: hasIommu,
			interrupts: () => this.#interrupts.format(),
		});
		this.files.attribute("/proc/sys/kernel/tainted", { show: () => `${this.#tainted ? TAINTED_BY_USER : 0}\n` });
		if (loaded) addModuleFiles(this.files, this.parameters);
		const unit = {
			iommu,
			interrupts,
			groups: () => this.#groups,
			snoopControl: options.snoopControl ?? false,
		};
		addIommuDirectories(this.files, hasIommu ? unit : undefined);
		this.#iommufd = {
			...platform,
			standsForContainers: options.containers === "iommufd",
			noIommu: hasNoIommu,
			dirtyTracking: options.dirtyTracking ?? false,
			registers: iommuRegisters(unit),
			users: new UserAccounts(),
			contexts: new Set(),
		};
		this.vfio = new Vfio(platform, this.files, this.clock, hasIommufd ? this.#iommufd : undefined);
		if (loaded) this.vfio.load();
		this.kvm = new Kvm(version);
		if (options.kvm ?? true) this.kvm.load(this.files);
		this.pci = new PciBus(this.#sysfs());
		addPciBusDirectory(this.files, this.pci, () => this.#rescan());
		this.mdev = new MdevBus(
			this.#mdevKernel(),
			mdevSysfs(this.files, () => this.mdev),
		);
		addMdevBus(this.files, this.mdev);
		this.#platformContext = {
			files: this.files,
			machine,
			addGroup: (id) => this.#groups.obtain(id),
			joined: (group, device) => this.#groups.joined(group, device),
			left: (group, device) => this.#groups.left(group, device),
		};
		this.platform = makePlatformBus(this.#platformContext);
		this.#boot(host, loaded);
		for (const driver of loaded ? (options.mediated ?? []) : []) this.mdev.load(driver);
		machine.listen({
			plugged: (fn) => this.#plugged(fn),
			unplugged: (fn) => this.#unplugged(fn),
			platformPlugged: (hardware) => {
				const device = addPlatformDevice(this.#platformContext, this.platform, hardware);
				if (this.platform.autoprobe) this.platform.probe(device);
			},
			platformUnplugged: ({ name }) => {
				const device = this.platform.devices.get(name);
				if (device) this.platform.removeDevice(device);
			},
		});
	}

	/** DMA that did not go through, oldest first. */
	get faults(): readonly IommuFault[] {
		return this.machine.iommu.faults;
	}

	/** The living processes, oldest first. */
	get processes(): readonly SimProcess[] {
		return [...this.#processes];
	}

	/** Starts a process. */
	process(options: ProcessOptions = {}): SimProcess {
		return this.#started(new SimProcess(this, this.#nextPid++, options));
	}

	/** @internal fork(2) */
	forked(parent: SimProcess, changes: Pick<ProcessOptions, "uid" | "capabilities" | "memlock">): SimProcess {
		const { uid, memlock, openFilesLimit, commandName: name } = parent;
		// setuid(2) away from root takes all capabilities along.
		const capabilities = (changes.uid ?? uid) === uid ? { capabilities: parent.capabilities } : {};
		const options = { uid, memlock, openFilesLimit, name, ...capabilities, ...changes };
		return this.#started(new SimProcess(this, this.#nextPid++, options, parent));
	}

	/** @internal a process has exited */
	exited(process: SimProcess): void {
		this.#processes.delete(process);
	}

	/**
	 * A write to a file in sysfs that may have to wait, such as the unbind of a device that is in use.
	 *
	 * @returns when the write has returned
	 * @throws KernelError
	 */
	async writeFileAsync(process: SimProcess, path: string, text: string): Promise<void> {
		const step = process.startWriteFile(path, text);
		const result = step instanceof Sleep ? await new Promise<number>((wake) => step.whenAwake(wake)) : step;
		if (result < 0) throw new KernelError(-result, "write", path);
	}

	/** chown(2), as an administrator does it for a device node. @throws KernelError */
	chown(path: string, uid: number): void {
		const result = this.files.chown(path, uid);
		if (result < 0) throw new KernelError(-result, "chown", path);
	}

	/** Everything not yet given back, over all processes: zero of each when nothing leaks. */
	leaks(): Leaks {
		return countLeaks({
			processes: this.processes,
			containers: this.vfio.containers,
			contexts: this.#iommufd.contexts,
			eventfds: this.eventfds,
			clock: this.clock,
			machines: this.kvm.machines,
		});
	}

	#started(process: SimProcess): SimProcess {
		this.#processes.add(process);
		return process;
	}

	#boot(host: Host, vfio: boolean): void {
		const { machine } = host;
		for (const [id, members] of machine.groups) this.#groups.obtain(id, members);
		for (const options of BUILT_IN_DRIVERS) this.pci.addDriver(new NativeDriver(options));
		const { version, parameters } = this;
		const noIommu = this.#noIommuGroups();
		const vfioPci = new VfioPciDriver({ machine, version, parameters, noIommu }, this.vfio);
		if (vfio) this.pci.addDriver(vfioPci);
		const onPlatform = new Set(machine.platformDevices.map(({ name }) => name));
		const onPci = [...host.drivers].filter(([name]) => !onPlatform.has(name));
		for (const name of new Set(onPci.map(([, driver]) => driver)))
			if (!this.pci.drivers.has(name)) this.pci.addDriver(namedDriver(name, idsFor(host.machine, onPci, name)));
		for (const fn of machine.functions) if (!fn.virtual) this.#add(fn);
		for (const [address, name] of onPci) {
			const device = this.pci.devices.get(address);
			const driver = this.pci.drivers.get(name);
			if (!device || !driver) continue;
			// What somebody bound by hand before the host was described: the way back is to clear it.
			if (!this.pci.matches(driver, device)) device.driverOverride = name;
			this.pci.bind(driver, device);
		}
		this.#bootPlatform(host, vfio);
		const ids = vfio ? this.parameters.text("vfio_pci", "ids") : "";
		for (const id of ids.split(",")) this.pci.addId(vfioPci, id.replaceAll(":", " "));
	}

	#bootPlatform(host: Host, vfio: boolean): void {
		const resetRequired = this.parameters.flag("vfio_platform", "reset_required");
		const noIommu = this.#noIommuGroups();
		const options = { version: this.version, numbers: new InterruptNumbers(), resetRequired, noIommu };
		const drivers = vfio ? [new VfioPlatformDriver(options, this.vfio)] : [];
		bootPlatform(this.#platformContext, this.platform, host, drivers);
	}

	/** What the mdev bus needs: groups are made for its devices, which no IOMMU knows. */
	#mdevKernel(): MdevKernel {
		const { vfio, clock, version } = this;
		return {
			vfio,
			clock,
			version,
			addEmulatedGroup: (device) => this.#groups.make(device, { emulated: true }),
			removeEmulatedGroup: (device, group) => this.#groups.unmake(device, group),
		};
	}

	/** Groups for devices without an IOMMU, as VFIO makes them when the administrator allows that. */
	#noIommuGroups() {
		return {
			add: (device: GroupedDevice): IommuGroup | undefined => {
				if (!this.#iommufd.noIommuMode()) return undefined;
				this.#tainted = true;
				return this.#groups.make(device, { unrestrained: this.#physicalMemory });
			},
			remove: (device: GroupedDevice, group: IommuGroup) => this.#groups.unmake(device, group),
		};
	}

	#add(fn: PciFunction): PciDevice {
		const id = this.machine.groupOf(fn);
		const group = id === undefined ? undefined : this.#groups.obtain(id, [fn]);
		const physical = fn.virtual && this.#deviceOf(fn.virtual.physical);
		const device = new PciDevice(fn, group, this.#syspath(fn), physical);
		if (fn.sriov && fn.sriov.totalVfs > 0)
			device.virtualFunctions = new VirtualFunctions(device, fn.sriov, this.machine, this.pci);
		if (physical) this.#adopt(physical, device);
		device.resources = readResources(fn);
		device.claims = new BarClaims(this.#strictIoMemory);
		const known = new Set([...this.pci.devices.values()].map((other) => other.fn));
		device.resetMethods = discoverResetMethods(fn, this.machine, (other) => known.has(other));
		this.pci.addDevice(device);
		return device;
	}

	/** A virtual function belongs to its physical one, and to the driver that made it if that is how the driver is. */
	#adopt(physical: PciDevice, device: PciDevice): void {
		physical.virtualFunctions?.devices.push(device);
		const { driver } = physical;
		if (driver?.keepsVirtualFunctions) device.driverOverride = driver.name;
	}

	#deviceOf(fn: PciFunction): PciDevice | undefined {
		return [...this.pci.devices.values()].find((device) => device.fn === fn);
	}

	/** Devices lie in the directories of the bridges above them. */
	#syspath(fn: PciFunction): string {
		const name = formatPciAddress(fn.address);
		const bridge = this.machine.bridgeOf(fn);
		return bridge ? `${this.#syspath(bridge)}/${name}` : `/sys/devices/pci${name.slice(0, "0000:00".length)}/${name}`;
	}

	#sysfs(): PciBusListener {
		const { files } = this;
		const context = () => ({
			files,
			machine: this.machine,
			bus: this.pci,
			interrupts: this.#interrupts,
			version: this.version,
		});
		return {
			deviceAdded: (device) => {
				addDeviceDirectory(context(), device);
				if (device.group) this.#groups.joined(device.group, device);
				addVirtualFunctionLinks(files, device);
			},
			deviceRemoved: (device) => {
				removeDeviceDirectory(context(), device);
				if (device.group) this.#groups.left(device.group, device);
			},
			virtualFunctionLeaving: (device) => removeVirtualFunctionLinks(files, device),
			driverAdded: (driver) => addPciDriverDirectory(files, this.pci, driver),
			bound: (device, driver) => addDriverLinks(files, "pci", device, driver),
			unbinding: (device, driver) => removeDriverLinks(files, "pci", device, driver),
		};
	}

	#plugged(fn: PciFunction): void {
		if (!fn.virtual) programHotplugged(this.machine, fn);
		this.#addAndProbe(fn);
	}

	/** Kernels before 7 do not ask `drivers_autoprobe` for devices that are found on a bus. */
	#addAndProbe(fn: PciFunction): void {
		const device = this.#add(fn);
		if (this.pci.autoprobe || this.version === "6.12") this.pci.probe(device);
	}

	/** The driver leaves when its users do; the device is gone for good then. */
	#unplugged(fn: PciFunction): void {
		const device = this.#deviceOf(fn);
		if (device?.physical) this.pci.removeVirtualFunction(device);
		else if (device) this.pci.removeDevice(device);
	}

	#rescan(): void {
		for (const fn of this.machine.functions) {
			// Nobody answers at the address of a virtual function: it has no ids of its own.
			if (!fn.virtual && !this.pci.devices.has(formatPciAddress(fn.address))) this.#addAndProbe(fn);
		}
	}
}

/** A driver that is only known by name drives what the host says it drives. */
function idsFor(machine: Machine, drivers: readonly [string, string][], name: string): PciDeviceId[] {
	const any = { subvendor: 0xffffffff, subdevice: 0xffffffff, class: 0, classMask: 0 };
	return drivers
		.filter(([, driver]) => driver === name)
		.flatMap(([address]) => machine.function(address) ?? [])
		.map(({ config }) => ({ vendor: word(config, 0), device: word(config, 2), ...any }));
}

function word(config: Uint8Array, offset: number): number {
	return (config[offset] ?? 0) | ((config[offset + 1] ?? 0) << 8);
}
