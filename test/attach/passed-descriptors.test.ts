// What a privileged process has opened, and one without any privilege works with.
import { beforeEach, describe, expect, it } from "vitest";
import { Container } from "../../core/device/container.ts";
import { VfioDevice } from "../../core/device/device.ts";
import { Group } from "../../core/device/group.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import type { Kernel } from "../../core/kernel.ts";
import { O_RDWR } from "../../core/uapi/fcntl.ts";
import {
	VFIO_GROUP_SET_CONTAINER,
	VFIO_SET_IOMMU,
	VFIO_TYPE1_IOMMU,
	VFIO_TYPE1v2_IOMMU,
} from "../../core/uapi/vfio.ts";
import { Host, type SimProcess, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";
import { withCalls } from "../core/support/with-calls.ts";
import { attachOpened, FixedMemory } from "./scripted-guest.ts";

const EDU = "0000:01:00.0";
const NVME = "0000:05:00.0";
const NOBODY = { uid: 65534 };
const MIB = 1 << 20;

let clock: VirtualClock;
let linux: SimulatedLinux;
let launcher: SimProcess;
let group: number;
beforeEach(() => {
	clock = new VirtualClock();
	linux = new SimulatedLinux({ host: Host.reference(), clock });
	launcher = linux.process();
	for (const address of [EDU, NVME]) bindGroup(launcher, address);
	group = Number(launcher.readLink(`/sys/bus/pci/devices/${EDU}/iommu_group`).split("/").at(-1));
});
const leaks = () => Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
const cdevOf = (address: string) =>
	`/dev/vfio/devices/${launcher.readDirectory(`/sys/bus/pci/devices/${address}/vfio-dev`)[0]}`;
/** Opens these, forks, and closes them in the launcher: the child has the only descriptors. */
function handOver(...nodes: string[]): { readonly child: SimProcess; readonly fds: number[] } {
	const fds = nodes.map((node) => launcher.open(node, O_RDWR));
	const child = launcher.fork(NOBODY);
	for (const fd of fds) launcher.close(fd);
	return { child, fds };
}
/** A process in a root directory of its own, with neither procfs nor sysfs. */
function blind(kernel: SimProcess): Kernel {
	const nothing = () => kernel.readLink("/nowhere") as never;
	return withCalls(kernel, { readLink: nothing, readFile: nothing, readDirectory: nothing });
}
/** edu moves a page and interrupts. */
function works(attached: ReturnType<typeof attachOpened>): void {
	const { fn, memory, pins } = attached;
	fn.configWrite(0x10, 4, 0xfd000000);
	fn.configWrite(4, 2, 6);
	memory.bytes.fill(0x5a, 0, 4096);
	const dma = (from: bigint, to: bigint, command: bigint) => {
		fn.barWrite64(0, 0x80, from);
		fn.barWrite64(0, 0x88, to);
		fn.barWrite64(0, 0x90, 4096n);
		fn.barWrite64(0, 0x98, command);
		clock.advance(1e9);
	};
	dma(0n, 0x40000n, 1n);
	dma(0x40000n, 0x8000n, 3n);
	expect([...memory.bytes.subarray(0x8000, 0x9000)].every((byte) => byte === 0x5a)).toBe(true);
	fn.barWrite(0, 0x60, 4, 1);
	clock.settle();
	expect(pins).toEqual([true]);
}

describe("a process without privileges", () => {
	it("F-03 can open none of it by itself, and works with a group and a container that were passed", () => {
		const { child, fds } = handOver(`/dev/vfio/${group}`, "/dev/vfio/vfio");
		expect(vfioError(() => VfioDevice.open(linux.process(NOBODY), EDU)).code).toBe("no-permission");
		const passed = Group.fromFd(child, fds[0] as number);
		const container = Container.fromFd(child, fds[1] as number);
		const attached = attachOpened(child, MIB, (memory) =>
			VfioDevice.open(child, EDU, { group: passed, addressSpace: new IoAddressSpace(child, { memory, container }) }),
		);
		expect([passed.id, attached.device.container]).toEqual([group, container]);
		passed[Symbol.dispose]();
		container[Symbol.dispose]();
		works(attached);
		attached[Symbol.dispose]();
		clock.settle();
		expect(leaks()).toEqual([]);
	});

	it("F-03 works with a character device and an iommufd that were passed, and knows which device it is", () => {
		const { child, fds } = handOver(cdevOf(EDU), "/dev/iommu");
		const stranger = linux.process(NOBODY);
		expect(vfioError(() => Iommufd.open(stranger)).code).toBe("no-permission");
		const iommufd = Iommufd.fromFd(child, fds[1] as number);
		const attached = attachOpened(child, MIB, (memory) =>
			VfioDevice.open(
				child,
				{ fd: fds[0] as number },
				{ addressSpace: new IoAddressSpace(child, { memory, iommufd }) },
			),
		);
		iommufd[Symbol.dispose]();
		expect([attached.device.name, attached.device.groupId]).toEqual([EDU, group]);
		expect(attached.device.opened).toEqual({
			way: "character-device",
			node: `descriptor ${fds[0]}`,
			reason: "its descriptor was passed",
		});
		works(attached);
		attached[Symbol.dispose]();
		clock.settle();
		expect(leaks()).toEqual([]);
	});

	it("F-06 a passed character device is taken back from KVM before it is closed", () => {
		const { child, fds } = handOver(cdevOf(EDU), "/dev/iommu");
		const fd = fds[0] as number;
		const log: string[] = [];
		const noting = withCalls(child, {
			close: (closed) => {
				if (closed === fd) log.push("close");
				child.close(closed);
			},
		});
		const kvm = { addFile: () => void log.push("add"), removeFile: () => void log.push("remove") };
		const iommufd = Iommufd.fromFd(noting, fds[1] as number);
		const device = VfioDevice.open(noting, { fd }, { addressSpace: new IoAddressSpace(noting, { iommufd, kvm }) });
		iommufd[Symbol.dispose]();
		device[Symbol.dispose]();
		expect(log).toEqual(["add", "remove", "close"]);
		expect(leaks()).toEqual([]);
	});

	it("F-03 is told which node of iommufd it may not open", () => {
		const admin = Iommufd.fromFd(launcher, launcher.open("/dev/iommu", O_RDWR));
		const { child, fds } = handOver("/dev/iommu");
		const iommufd = Iommufd.fromFd(child, fds[0] as number);
		const error = vfioError(() => VfioDevice.open(child, EDU, { iommufd }));
		expect([error.code, error.message]).toEqual([
			"no-permission",
			`Cannot open ${EDU}: no permission for ${cdevOf(EDU)}`,
		]);
		iommufd[Symbol.dispose]();
		admin[Symbol.dispose]();
		child.exit();
		expect(leaks()).toEqual([]);
	});
});

describe("sharing is the caller's to choose", () => {
	const open = (count: number) =>
		Array.from({ length: count }, () => Iommufd.fromFd(launcher, launcher.open("/dev/iommu", O_RDWR)));

	it("F-03 devices with one iommufd share what is mapped in an address space, and two iommufds are apart", () => {
		const memory = launcher.allocate(MIB);
		for (const [count, pinned] of [
			[1, 256],
			[2, 512],
		] as const) {
			const iommufds = open(count);
			const spaces = iommufds.map(
				(iommufd) => new IoAddressSpace(launcher, { memory: new FixedMemory(memory), iommufd }),
			);
			const devices = [EDU, NVME].map((address, n) =>
				VfioDevice.open(launcher, address, { addressSpace: spaces[n % count] as IoAddressSpace }),
			);
			expect(linux.leaks().pinnedPages).toBe(pinned);
			expect(devices[0]?.iommu === devices[1]?.iommu).toBe(count === 1);
			for (const thing of [...devices, ...iommufds]) thing[Symbol.dispose]();
		}
		memory[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("F-03 two address spaces of one iommufd are apart as well", () => {
		const [iommufd] = open(1) as [Iommufd];
		const devices = [EDU, NVME].map((address) =>
			VfioDevice.open(launcher, address, { addressSpace: new IoAddressSpace(launcher, { iommufd }) }),
		);
		const memory = launcher.allocate(MIB);
		devices[0]?.iommu.map(0n, memory.address, BigInt(MIB));
		expect(devices.map(({ iommu }) => iommu.mappingCount)).toEqual([1, 0]);
		for (const thing of [...devices, iommufd, memory]) thing[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});
});

describe("a passed descriptor", () => {
	const nodes = () => ({
		"an eventfd": launcher.eventfd(),
		"/dev/null": launcher.open("/dev/null", O_RDWR),
		"a container": launcher.open("/dev/vfio/vfio", O_RDWR),
		"an IOMMU group": launcher.open(`/dev/vfio/${group}`, O_RDWR),
		"a device": launcher.open(cdevOf(NVME), O_RDWR),
		"an iommufd": launcher.open("/dev/iommu", O_RDWR),
	});
	const takers: Readonly<Record<string, (fd: number) => unknown>> = {
		"a container": (fd) => Container.fromFd(launcher, fd),
		"an IOMMU group": (fd) => Group.fromFd(launcher, fd),
		"a device": (fd) => VfioDevice.open(launcher, { fd }, {}),
		"an iommufd": (fd) => Iommufd.fromFd(launcher, fd),
	};

	it("F-03 that is something else is refused with what it is, and left open", () => {
		const files = nodes();
		for (const [wanted, take] of Object.entries(takers))
			for (const [is, fd] of Object.entries(files)) {
				// An iommufd serves as a container, for programs that know no better.
				if (is === wanted || (wanted === "a container" && is === "an iommufd")) continue;
				const error = vfioError(() => take(fd));
				expect([wanted, is, error.code]).toEqual([wanted, is, "invalid-argument"]);
				expect(error.message).toContain(`Cannot use descriptor ${fd} as ${wanted}`);
				expect(launcher.file(fd)).toBeDefined();
			}
		const closed = vfioError(() => Iommufd.fromFd(launcher, 99));
		expect(closed.message).toBe("Cannot use descriptor 99 as an iommufd: it is not open, or not that");
		for (const fd of Object.values(files)) launcher.close(fd);
		expect(leaks()).toEqual([]);
	});

	it("F-03 of a device stays the caller's until it is bound, and is closed afterwards, even when a later step fails", () => {
		const iommufd = Iommufd.open(launcher);
		const fd = launcher.open(cdevOf(NVME), O_RDWR);
		const busy = VfioDevice.open(launcher, NVME, { iommufd });
		vfioError(() => VfioDevice.open(launcher, { fd, name: "again" }, { iommufd }));
		expect(launcher.file(fd)).toBeDefined();
		busy[Symbol.dispose]();
		const error = vfioError(() => VfioDevice.open(launcher, { fd }, { iommufd, kind: "platform" }));
		expect([error.code, launcher.file(fd)]).toEqual(["unassignable-device", undefined]);
		iommufd[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("F-03 of a device that has been opened through its group is no character device", () => {
		const device = VfioDevice.open(launcher, NVME);
		const error = vfioError(() => VfioDevice.open(launcher, { fd: device.fd }));
		expect(error.message).toContain("it is bound, or opened through its group");
		device[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("F-03 of a device whose place nobody can see is opened all the same", () => {
		const iommufd = Iommufd.open(launcher);
		const fd = launcher.open(cdevOf(NVME), O_RDWR);
		const kernel = blind(launcher);
		const device = VfioDevice.open(kernel, { fd }, { iommufd });
		expect([device.name, device.groupId, device.readRegion(7, 0, 2)]).toEqual([`descriptor ${fd}`, undefined, 0x1b36]);
		device[Symbol.dispose]();
		iommufd[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it.each([
		[VFIO_TYPE1_IOMMU, 1],
		[VFIO_TYPE1v2_IOMMU, 2],
	])("F-03 of a container that has its group and IOMMU type %i already is used as it is", (type, version) => {
		const [groupFd, fd] = [`/dev/vfio/${group}`, "/dev/vfio/vfio"].map((node) => launcher.open(node, O_RDWR));
		launcher.ioctl(groupFd as number, VFIO_GROUP_SET_CONTAINER, new Uint8Array(Int32Array.of(fd as number).buffer));
		launcher.ioctl(fd as number, VFIO_SET_IOMMU, type);
		const passed = Group.fromFd(launcher, groupFd as number);
		const container = Container.fromFd(launcher, fd as number);
		const device = VfioDevice.open(launcher, EDU, { group: passed, container });
		expect(device.iommu).toMatchObject({ backend: "type1", version });
		for (const thing of [passed, container, device]) thing[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("F-03 of a group needs its number where procfs does not show it", () => {
		const fd = launcher.open(`/dev/vfio/${group}`, O_RDWR);
		const kernel = blind(launcher);
		expect(vfioError(() => Group.fromFd(kernel, fd)).message).toContain("its number is not known");
		const passed = Group.fromFd(kernel, fd, group);
		expect(vfioError(() => Group.fromFd(kernel, fd, group)).code).toBe("already-attached");
		passed[Symbol.dispose]();
		passed[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});
});
