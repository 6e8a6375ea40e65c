/**
 * What the examples of each file take for granted. A getter makes its object when an example names it, so that an
 * environment costs what is used of it. An example needs an entry only for names that nobody exports.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
	AssignedFunction,
	bindGroup,
	bindPlatformDevice,
	type Container,
	describePlatformDevice,
	type GuestBar,
	type Iommu,
	Iommufd,
	type Kernel,
	type MachineEvent,
	PciTopology,
	PlatformBus,
	PlatformDevice,
	type Releases,
	type SharedResetCandidate,
	VfioDevice,
} from "../../core/mod.ts";
import type { ConfigHardware } from "../../core/pci/config-space.ts";
import { ConfigRegisters } from "../../core/pci/config-space.ts";
import type { MsixCapability } from "../../core/pci/msix-capability.ts";
import { OpenFile } from "../../kernel-sim/linux/file.ts";
import type { MappedRegion } from "../../kernel-sim/linux/region-mapping.ts";
import {
	Edu,
	Host,
	IommuDomain,
	Machine,
	mtty,
	Nvme,
	PciFunction,
	printLspci,
	type SimProcess,
	SimulatedLinux,
} from "../../kernel-sim/mod.ts";
import { FakeMachine } from "../core/qmp/fake-machine.ts";
import { region, TestMemory } from "../core/support/guest-memory.ts";
import type { Example } from "./extract.ts";
import type { Environment } from "./run.ts";

export interface Place {
	readonly environment?: Environment;
	/** Uses what an example only declares; it has `expect`. */
	readonly afterwards?: string;
	/** Why the example cannot go through here; it must throw the KernelError with this errno then. */
	readonly unless?: { readonly applies: () => boolean; readonly errno: number; readonly reason: string };
}

/** A simulated host after boot. */
class Booted {
	protected readonly version: "6.12" | "7.2" = "6.12";
	#linux: SimulatedLinux | undefined;
	#kernel: SimProcess | undefined;

	get linux(): SimulatedLinux {
		this.#linux ??= this.boot();
		return this.#linux;
	}
	get kernel(): SimProcess {
		this.#kernel ??= this.linux.process();
		return this.#kernel;
	}
	protected boot(): SimulatedLinux {
		return new SimulatedLinux({ host: Host.reference(), version: this.version });
	}
}

/** The same with its endpoints bound to vfio-pci, and one opened. */
class Bound extends Booted {
	#device: VfioDevice | undefined;

	protected override boot(): SimulatedLinux {
		const linux = super.boot();
		const administrator = linux.process();
		for (const endpoint of ["01:00.0", "05:00.0", "06:00.0"]) bindGroup(administrator, endpoint);
		return linux;
	}
	get device(): VfioDevice {
		this.#device ??= VfioDevice.open(this.kernel, "0000:05:00.0");
		return this.#device;
	}
	get container(): Container {
		return this.device.container as Container;
	}
	get iommu(): Iommu {
		return this.device.iommu;
	}
	get iommufd(): Iommufd {
		return Iommufd.open(this.kernel);
	}
}

/** One that exports BARs. */
class Exporting extends Bound {
	protected override readonly version = "7.2";
}

/** One that makes mediated devices. */
class Mediated extends Booted {
	protected override boot(): SimulatedLinux {
		return new SimulatedLinux({ host: Host.reference(), mediated: [mtty()] });
	}
}

/** A VMM's side. */
class Vmm extends Bound {
	readonly pci = new PciTopology({ pin() {}, message() {} });
	get machine() {
		const memory = this.kernel.allocate(1 << 20);
		return { memory: new TestMemory([region(0n, memory.length, { memory })]) };
	}
	get regions() {
		return [region(0n, 1 << 20), region(0x100000000n, 1 << 20)];
	}
	get root() {
		return this.pci.root;
	}
	get rootPort() {
		return this.pci.addRootPort("rp1");
	}
	get fn() {
		return AssignedFunction.attach(this.device);
	}
}

/** Hardware, with no kernel on it. */
class Hardware {
	readonly machine = new Machine();
	readonly domain = new IommuDomain();
	get nvme() {
		return this.machine.plug("0000:05:00.0", new PciFunction(Nvme.description(), new Nvme()));
	}
	get peer() {
		return this.machine.plug("0000:06:00.0", new PciFunction(Nvme.description(), new Nvme()));
	}
}

/** Something that owns a file descriptor and more. */
class Thing {
	readonly fd: number;
	readonly releases: Releases;

	constructor(fd: number, releases: Releases) {
		this.fd = fd;
		this.releases = releases;
	}
}

const registers: MappedRegion = { read: () => 0, read64: () => 0n, write: () => 0, write64: () => 0 };

/** What `lspci -vvvnnxxxx` prints on a host with one NVMe controller. */
function lspciText(): string {
	const machine = new Machine();
	machine.plug("0000:05:00.0", new PciFunction(Nvme.description(), new Nvme()));
	return printLspci(machine);
}

/** Plugs the Doorbell that an example declares into a machine, and has a driver ring it twice. */
const RING_TWICE = `
	const linux = new SimulatedLinux({ host: Host.reference() });
	const fn = new PciFunction({
		vendor: 0x1234, device: 0x5678, classCode: 0xff0000, interruptPin: 1,
		bars: [{ index: 0, kind: "mem32", size: 4096, backing: "registers" }],
		capabilities: [msi({ vectors: 1 })],
	}, new Doorbell());
	linux.machine.plug("0000:02:00.0", fn);
	const kernel = linux.process();
	bindGroup(kernel, "02:00.0");
	const device = VfioDevice.open(kernel, "02:00.0");
	device.writeRegion(7, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	const eventfd = kernel.eventfd();
	let interrupts = 0;
	kernel.watch(eventfd, (count) => { interrupts += count; });
	device.setEventfd(VFIO_PCI_MSI_IRQ_INDEX, 0, eventfd);
	for (let ring = 0; ring < 2; ring++) device.writeRegion(0, 0, 4, 1);
	linux.clock.settle();
	expect([device.readRegion(0, 0, 4), interrupts]).toEqual([2, 2]);`;

/** The board of platform devices. */
class OnBoard {
	readonly kernel: SimProcess = new SimulatedLinux({ host: Host.board() }).process();
	constructor(bound = true) {
		if (bound) bindPlatformDevice(this.kernel, "fff51000.ethernet");
	}
	get nic(): PlatformDevice {
		return PlatformDevice.attach(VfioDevice.open(this.kernel, { platform: "fff51000.ethernet" }, { kind: "platform" }));
	}
	get bus(): PlatformBus {
		const interrupts = { first: 112, count: 64 };
		return new PlatformBus({ base: 0xc000000n, size: 0x2000000n, interrupts, setLine: () => {} });
	}
}

/** By file, or by folder for the files without an entry, below the repository's root. */
const PLACES = {
	"README.md": ({ code }) =>
		code.startsWith("class Doorbell")
			? { afterwards: RING_TWICE }
			: { environment: Object.assign(new Vmm(), { raiseInterruptLine() {}, deliverMessage() {} }) },
	"core/device/container.ts": () => ({ environment: new Bound() }),
	"core/device/device.ts": () => ({ environment: new Exporting() }),
	"core/device/io-address-space.ts": () => ({ environment: new Vmm() }),
	"core/errors.ts": () => ({ environment: new Bound() }),
	"core/failing-kernel.ts": () => ({
		environment: Object.assign(new Bound(), {
			attachRunDetach: (kernel: Kernel) => VfioDevice.open(kernel, "05:00.0")[Symbol.dispose](),
		}),
	}),
	"core/host/bind.ts": () => ({ environment: new Booted() }),
	"core/host/mdev.ts": () => ({ environment: new Mediated() }),
	"core/host/doctor.ts": () => ({ environment: new Bound() }),
	"core/host/sysfs.ts": () => ({ environment: new Booted() }),
	"core/iommu/dirty-tracking.ts": () => ({ environment: new Bound() }),
	"core/iommu/ioas.ts": () => ({ environment: new Bound() }),
	"core/iommu/iommufd.ts": () => ({ environment: new Bound() }),
	"core/iommu/iommu.ts": () => ({ environment: new Bound() }),
	"core/iommu/memory-map.ts": () => ({ environment: new Vmm() }),
	"core/iommu/planner.ts": () => ({ environment: new Vmm() }),
	"core/iommu/type1.ts": () => ({ environment: new Bound() }),
	"core/kvm/kvm-vm.ts": () => ({ environment: new Bound() }),
	"core/machine/root-port.ts": () => ({ environment: new Vmm() }),
	"core/machine/topology.ts": () => ({ environment: new Bound() }),
	"core/pci/assigned-function.ts": () => ({ environment: new Vmm() }),
	"core/pci/config-space.ts": () => ({
		environment: {
			registers: new ConfigRegisters(new Uint8Array(256)),
			hardware: { read: () => 0, write() {} } satisfies ConfigHardware,
		},
	}),
	"core/pci/machine-reset.ts": () => {
		const members = ["0000:01:00.0", "0000:01:00.1"].map((name) => ({ name, group: 1, owned: true }));
		const candidate = (name: string): SharedResetCandidate => ({ name, needed: true, members });
		return { environment: { gpu: candidate("0000:01:00.0"), audio: candidate("0000:01:00.1") } };
	},
	"core/pci/peer-memory.ts": () => ({ environment: new Vmm() }),
	"core/pci/msix-relocation.ts": () => ({
		environment: {
			capability: {
				offset: 0x70,
				vectors: 129,
				table: { bar: 0, offset: 0x5200 },
				pba: { bar: 0, offset: 0x6000 },
			} satisfies MsixCapability,
			bars: [{ index: 0, kind: "mem32", size: 0x10000, prefetchable: false }] satisfies GuestBar[],
		},
	}),
	"core/qmp/monitor.ts": () => ({ environment: { machine: new FakeMachine(), socket: { write(_text: string) {} } } }),
	"core/qmp/peripherals.ts": () => {
		const vmm = new Vmm();
		vmm.pci.addRootPort("rp1");
		return { environment: Object.assign(vmm, { topology: vmm.pci, monitor: { tell(_event: MachineEvent) {} } }) };
	},
	"core/pci/plan.ts": () => {
		const { device } = new Bound();
		const config = new Uint8Array(4096);
		device.readBytes(7, 0, config);
		const numbered = <T>(count: number, item: (index: number) => T) => Array.from({ length: count }, (_, i) => item(i));
		return {
			environment: {
				config,
				regions: numbered(7, (index) => device.region(index)),
				irqs: numbered(3, (index) => device.irq(index)),
			},
		};
	},
	"core/machine/platform-bus.ts": () => ({ environment: new OnBoard() }),
	"core/platform/": () => ({ environment: new OnBoard() }),
	"core/platform/device-tree/device-node.ts": () => {
		const board = new OnBoard();
		const { nic, bus } = board;
		const nicPlacement = bus.plug(nic);
		const nicDescription = describePlatformDevice(board.kernel, { platform: nic.name }, nic);
		return { environment: { nicDescription, nicPlacement } };
	},
	"core/platform/bind.ts": () => ({ environment: new OnBoard(false) }),
	"core/release.ts": () => ({ environment: Object.assign(new Booted(), { Thing }) }),
	"core/tracing-kernel.ts": () => ({
		environment: new Bound(),
		afterwards: "VfioDevice.open(kernel, '05:00.0'); console.log('done');",
	}),
	"kernel-linux/linux-kernel.ts": () => ({
		unless: {
			reason: "there is no /dev/vfio/vfio here",
			applies: () => !fs.existsSync("/dev/vfio/vfio"),
			errno: 2,
		},
	}),
	"kernel-sim/hardware/": () => ({ environment: new Hardware() }),
	"kernel-sim/hardware/description.ts": () => ({
		afterwards: "expect(new PciFunction(description).configRead(0, 4)).toBe(0x11e81234);",
	}),
	"kernel-sim/hardware/lspci.ts": () => ({ environment: { text: lspciText() } }),
	"kernel-sim/hardware/model.ts": () => ({ afterwards: RING_TWICE }),
	"kernel-sim/hardware/models/nvme/namespace.ts": ({ subject }) => {
		if (subject !== "FileNamespace") return {};
		// The file has no name any more once it is open, so that nothing is left of it.
		const openSync = (name: string, flags: string) => {
			const folder = fs.mkdtempSync(join(tmpdir(), "vfio-ts-example-"));
			fs.writeFileSync(join(folder, name), new Uint8Array(4096));
			const fd = fs.openSync(join(folder, name), flags);
			fs.rmSync(folder, { recursive: true });
			return fd;
		};
		return {
			environment: { fs: { ...fs, openSync } },
			afterwards: `
				expect(disk.write(512, new Uint8Array(512).fill(7))).toBe(true);
				const block = new Uint8Array(512);
				expect(disk.read(512, block)).toBe(true);
				expect(block[511]).toBe(7);
				disk.close();`,
		};
	},
	"kernel-sim/hardware/models/registry.ts": () => ({
		environment: { text: lspciText(), Doorbell: Edu },
	}),
	"kernel-sim/linux/region-mapping.ts": () => ({ environment: { OpenFile, registers } }),
	"kernel-sim/linux/vfio-pci/driver.ts": () => ({
		environment: { linux: new SimulatedLinux({ host: Host.reference(), vfio: false }) },
	}),
	"runner/machine/guest-machine.ts": () => ({ environment: new Bound() }),
	"runner/qtest/machine.ts": () => ({ environment: new Bound() }),
} satisfies Readonly<Record<string, (example: Example) => Place>>;

/** The type of an entry's environment. */
export type EnvironmentOf<K extends keyof typeof PLACES> = Extract<
	ReturnType<(typeof PLACES)[K]>,
	{ readonly environment: unknown }
>["environment"];

/** The entry for an example: its file's, or the nearest folder's. */
export function keyFor({ file }: Example): string | undefined {
	const fitting = KEYS.filter((key) => (key.endsWith("/") ? file.startsWith(key) : file === key));
	return fitting.sort((a, b) => b.length - a.length)[0];
}

/** What an example takes for granted. */
export function placeOf(example: Example): Place {
	const places: Readonly<Record<string, (example: Example) => Place>> = PLACES;
	return places[keyFor(example) ?? ""]?.(example) ?? {};
}

/** Every entry's file or folder. */
export const KEYS: readonly string[] = Object.keys(PLACES);
