// Devices by their character devices, and address spaces of iommufd, on a simulated Linux.
import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { KernelError } from "../../core/errors.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Mdev } from "../../core/host/mdev.ts";
import { Ioas } from "../../core/iommu/ioas.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import { GuestMemoryMapper, type MapReport } from "../../core/iommu/memory-map.ts";
import type { Kernel } from "../../core/kernel.ts";
import {
	EACCES,
	EADDRINUSE,
	EBUSY,
	EFAULT,
	EINVAL,
	EIO,
	ENOENT,
	ENOMEM,
	ENOTTY,
	EOPNOTSUPP,
	EPERM,
} from "../../core/uapi/errno.ts";
import { O_RDWR } from "../../core/uapi/fcntl.ts";
import {
	IOMMU_DESTROY,
	IOMMU_HWPT_ALLOC,
	IOMMU_IOAS_ALLOC,
	IOMMU_IOAS_MAP,
	IOMMU_IOAS_UNMAP,
	iommu_ioas_unmap,
} from "../../core/uapi/iommufd.ts";
import { VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_BIND_IOMMUFD } from "../../core/uapi/vfio.ts";
import { Host, Igb, type LinuxOptions, mtty, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";
import { FakeKvm } from "../core/support/fake-kvm.ts";
import { region, TestMemory } from "../core/support/guest-memory.ts";
import { withCalls } from "../core/support/with-calls.ts";
import { hostWith } from "../kernel-sim/vfio-pci/bench.ts";

const NVME = "0000:05:00.0";
const OTHER = "0000:06:00.0";
/** Two functions of one slot, in one group. */
const EDU = "0000:00:12.0";
const SIBLING = "0000:00:12.1";
const MIB = 1 << 20;

let linux: SimulatedLinux;
let kernel: SimProcess;
let iommufd: Iommufd;
function boot(options: Partial<LinuxOptions> = {}): void {
	linux = new SimulatedLinux({ host: Host.reference(), ...options });
	kernel = linux.process();
	for (const address of [NVME, OTHER, EDU]) bindGroup(kernel, address);
	if (options.iommufd !== false) iommufd = Iommufd.open(kernel);
}
beforeEach(() => boot());
const leaks = () => Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
/** Closes everything, and looks whether that was everything. */
function close(...things: Disposable[]): void {
	for (const thing of things) thing[Symbol.dispose]();
	iommufd[Symbol.dispose]();
	expect(leaks()).toEqual([]);
}
const open = (address: string, options = {}) => VfioDevice.open(kernel, address, options);
const refusal = (address: string, options = {}) => vfioError(() => open(address, options));
const cdevOf = (address: string) =>
	`/dev/vfio/devices/${kernel.readDirectory(`/sys/bus/pci/devices/${address}/vfio-dev`)[0]}`;
/** The kernel, one of whose files is missing. */
const without = (...paths: string[]): Kernel =>
	withCalls(kernel, {
		open: (path, flags) => {
			if (paths.includes(path)) throw new KernelError(ENOENT, "open", path);
			return kernel.open(path, flags);
		},
	});
/** The kernel, with something done to the number of each request. */
const requesting = (change: (request: number) => number): Kernel =>
	withCalls(kernel, { ioctl: (fd, request, argument) => kernel.ioctl(fd, change(request), argument) });

describe("VfioDevice.open() with iommufd", () => {
	it("opens the character device, says so, and gives everything back", () => {
		const device = open(NVME, { iommufd });
		expect(device.opened).toEqual({
			way: "character-device",
			node: cdevOf(NVME),
			reason: "iommufd was asked for",
		});
		expect([device.group, device.container, device.iommu.backend]).toEqual([undefined, undefined, "iommufd"]);
		expect(device.readRegion(7, 0, 4)).toBe(0x00101b36);
		const memory = kernel.allocate(MIB);
		device.iommu.map(0n, memory.address, BigInt(MIB));
		expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 256 });
		close(device, memory);
	});

	it("takes the group's way when nothing is asked for, and says why", () => {
		const device = open(NVME);
		expect(device.opened).toMatchObject({ way: "group", reason: "nothing else was asked for" });
		close(device);
	});

	it.each([
		["/dev/vfio/vfio", "there is no /dev/vfio/vfio"],
		["the group's node", "its IOMMU group has no node in /dev/vfio"],
	])("goes the character device's way by itself when %s is missing, and reports it", (missing, reason) => {
		const reports: string[] = [];
		const group = kernel.readLink(`/sys/bus/pci/devices/${NVME}/iommu_group`).split("/").at(-1);
		const blind = without(missing.startsWith("/") ? missing : `/dev/vfio/${group}`);
		const device = VfioDevice.open(blind, NVME, { onReport: (message) => reports.push(message) });
		expect(device.opened).toEqual({ way: "character-device", node: cdevOf(NVME), reason });
		expect(reports).toEqual([
			`${NVME} is opened by its character device ${cdevOf(NVME)} with iommufd, since ${reason}`,
		]);
		close(device);
	});

	it("a device that cannot be opened either way is refused for what is wrong with its group", () => {
		boot({ iommufd: false });
		const error = vfioError(() => VfioDevice.open(without("/dev/vfio/vfio"), NVME));
		expect(error.message).toContain("/dev/vfio/vfio");
	});

	it("devices of one address space share it, and each its own way of closing leaves the other at work", () => {
		for (const first of [0, 1]) {
			const memory = kernel.allocate(MIB);
			const guest = new TestMemory([region(0n, MIB, { memory })]);
			const addressSpace = new IoAddressSpace(kernel, { memory: guest, iommufd });
			const devices = [NVME, OTHER].map((address) => open(address, { addressSpace }));
			expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 256 });
			expect([addressSpace.ioases.length, addressSpace.iommus[0] === devices[1]?.iommu]).toEqual([1, true]);
			devices[first]?.[Symbol.dispose]();
			expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 256 });
			devices[1 - first]?.[Symbol.dispose]();
			expect([linux.leaks().dmaMappings, guest.listeners.size, addressSpace.ioases]).toEqual([0, 0, []]);
			memory[Symbol.dispose]();
		}
		close();
	});

	it("the devices of a group go into one address space, with one iommufd, which need not be given twice", () => {
		const first = open(EDU, { iommufd });
		const second = open(SIBLING, { iommufd });
		expect(second.iommu).toBe(first.iommu);
		close(first, second);
	});

	it("QMP-05 a group in two address spaces is refused, and says that it is that", () => {
		const first = open(EDU, { iommufd });
		const other = Iommufd.open(kernel);
		const ioas = Ioas.allocate(iommufd);
		const cases = [
			{ iommufd: other },
			{ ioas },
			{ addressSpace: new IoAddressSpace(kernel, { iommufd }) },
			{ addressSpace: new IoAddressSpace(kernel, { iommufd: other }) },
		];
		for (const options of cases) {
			const error = refusal(SIBLING, options);
			expect([error.code, error.message]).toEqual([
				"device-in-use",
				`Cannot open ${SIBLING}: ${EDU} of its IOMMU group ${first.groupId} is open in another address space of this process`,
			]);
		}
		const legacy = refusal(SIBLING);
		expect([legacy.code, legacy.message.includes(`${EDU} of its IOMMU group`)]).toEqual(["device-in-use", true]);
		first[Symbol.dispose]();
		const byGroup = open(EDU);
		expect(refusal(SIBLING, { iommufd }).message).toContain("is open through the group");
		close(ioas, byGroup, other);
	});

	it("a device is opened once, whichever way", () => {
		const device = open(NVME, { iommufd });
		expect(refusal(NVME, { iommufd }).code).toBe("already-attached");
		expect(refusal(NVME).code).toBe("device-in-use");
		close(device);
	});

	it("options of both ways are refused", () => {
		const device = open(OTHER);
		expect(refusal(NVME, { iommufd, container: device.container }).code).toBe("invalid-argument");
		const other = Iommufd.open(kernel);
		const ioas = Ioas.allocate(other);
		expect(refusal(NVME, { iommufd, ioas }).code).toBe("invalid-argument");
		close(device, ioas, other);
	});

	it("says that another process has the device, by either way", () => {
		const user = linux.process({ name: "qemu" });
		const theirs = VfioDevice.open(user, NVME);
		const byGroup = refusal(NVME, { iommufd });
		expect([byGroup.code, byGroup.remedy.join()]).toEqual(["device-in-use", expect.stringContaining("fuser")]);
		theirs[Symbol.dispose]();
		const other = Iommufd.open(user);
		const bound = VfioDevice.open(user, NVME, { iommufd: other });
		expect(refusal(NVME, { iommufd }).code).toBe("device-in-use");
		close(bound, other);
	});

	it("says that nobody has bound the device, and which commands do", () => {
		kernel.writeFile("/sys/bus/pci/drivers/vfio-pci/unbind", NVME);
		const error = refusal(NVME, { iommufd });
		expect([error.code, error.remedy.length > 0]).toEqual(["not-bound", true]);
		close();
	});

	it("says that this kernel has no iommufd, or no character devices", () => {
		const spare = iommufd;
		boot({ iommufd: false });
		const none = vfioError(() => Iommufd.open(kernel));
		expect([none.code, none.errno]).toEqual(["no-vfio", ENOENT]);
		const error = refusal(NVME, { iommufd: spare });
		expect([error.code, error.message]).toEqual([
			"no-vfio",
			`Cannot open ${NVME}: this kernel has no character devices for VFIO`,
		]);
		expect(leaks()).toEqual([]);
	});

	it("a user is told which node to ask for", () => {
		const user = linux.process({ uid: 1000 });
		const error = vfioError(() => Iommufd.open(user));
		expect([error.code, error.remedy.length]).toEqual(["no-permission", 2]);
		close();
	});

	it.each([
		["/dev/vfio/devices/vfio0", "no-vfio"],
		["/dev/iommu", "no-vfio"],
	])("says that %s is not in this container of processes", (node, code) => {
		const blind = without(node);
		const attempt = () => {
			const own = Iommufd.open(blind);
			try {
				VfioDevice.open(blind, NVME, { iommufd: own });
			} finally {
				own[Symbol.dispose]();
			}
		};
		expect(vfioError(attempt)).toMatchObject({ code, errno: ENOENT });
		close();
	});

	it("SRV-03 a token for a device without SR-IOV is not used, which is reported once", () => {
		for (const options of [{ iommufd }, {}]) {
			const reports: string[] = [];
			const device = open(NVME, {
				...options,
				vfToken: "00112233-4455-6677-8899-aabbccddeeff",
				onReport: (message: string) => reports.push(message),
			});
			expect(reports).toEqual([
				`The VF token is not used for ${NVME}, which shares no SR-IOV device with another process`,
			]);
			device[Symbol.dispose]();
		}
		close();
	});
});

describe("what the kernel answers", () => {
	const answering = (request: number, errno: number) =>
		withCalls(kernel, {
			ioctl(fd, asked, argument) {
				if (asked === request) throw new KernelError(errno, "scripted", "fake");
				return kernel.ioctl(fd, asked, argument);
			},
		});
	it.each([
		["BIND", VFIO_DEVICE_BIND_IOMMUFD, EACCES, "no-permission", "needs the token"],
		["BIND", VFIO_DEVICE_BIND_IOMMUFD, EPERM, "device-in-use", "does not isolate interrupts"],
		["BIND", VFIO_DEVICE_BIND_IOMMUFD, EBUSY, "device-in-use", "in use through its IOMMU group"],
		["BIND", VFIO_DEVICE_BIND_IOMMUFD, EINVAL, "device-in-use", "another process has bound it"],
		["BIND", VFIO_DEVICE_BIND_IOMMUFD, EIO, "kernel", "iommufd does not take it"],
		["ATTACH", VFIO_DEVICE_ATTACH_IOMMUFD_PT, EINVAL, "device-in-use", "a device of its IOMMU group is in another one"],
		["ATTACH", VFIO_DEVICE_ATTACH_IOMMUFD_PT, EBUSY, "device-in-use", "a reset of its IOMMU group"],
		["ATTACH", VFIO_DEVICE_ATTACH_IOMMUFD_PT, EADDRINUSE, "iova-out-of-range", "has no addresses"],
		["ATTACH", VFIO_DEVICE_ATTACH_IOMMUFD_PT, EIO, "kernel", "does not take it"],
		["IOAS_ALLOC", IOMMU_IOAS_ALLOC, ENOMEM, "kernel", "allocate an address space"],
	])("to %s (0x%i) with errno %i becomes %s, and nothing stays open", (_what, request, errno, code, text) => {
		const scripted = answering(request, errno);
		const own = Iommufd.open(scripted);
		const error = vfioError(() => VfioDevice.open(scripted, NVME, { iommufd: own }));
		expect([error.code, error.errno]).toEqual([code, errno]);
		expect(error.message).toContain(text);
		close(own);
	});

	it("a device whose IOMMU has no page tables that record after all goes into the address space as it is", () => {
		boot({ dirtyTracking: true });
		const scripted = answering(IOMMU_HWPT_ALLOC, EOPNOTSUPP);
		const own = Iommufd.open(scripted);
		const device = VfioDevice.open(scripted, NVME, { iommufd: own });
		expect(device.iommu.info().dirtyTracking).toBeUndefined();
		close(device, own);
	});
});

describe("an address space of iommufd", () => {
	const ram = (memory: ReturnType<SimProcess["allocate"]>, at = 0n) => region(at, memory.length, { memory });

	it("knows where mappings may lie once a device is in it, and refuses others before the kernel is asked", () => {
		const device = open(NVME, { iommufd });
		const ranges = device.iommu.info().iovaRanges;
		expect(ranges?.[0]).toEqual({ start: 0n, end: 0xfedf_ffffn });
		expect(ranges?.[1]?.start).toBe(0xfef0_0000n);
		const memory = kernel.allocate(2 * MIB);
		const attach = (at: bigint) => GuestMemoryMapper.attach(device.iommu, new TestMemory([ram(memory, at)]));
		expect(vfioError(() => attach(0xfed0_0000n)).code).toBe("iova-out-of-range");
		const asked = vfioError(() => device.iommu.map(0xfee0_0000n, memory.address, 0x1000n));
		expect([asked.code, asked.message.includes("0x0-0xfedfffff, 0xfef00000-")]).toEqual(["iova-out-of-range", true]);
		expect(vfioError(() => device.iommu.map(0x800n, memory.address, 0x1000n)).message).toContain(
			"whole number of pages",
		);
		expect(vfioError(() => device.iommu.map(0n, 0x1000n, 0x1000n)).errno).toBe(EFAULT);
		close(device, memory);
	});

	it("keeps its own book: mappings that cover others replace them, none is cut, disposing unmaps once", () => {
		const device = open(NVME, { iommufd });
		const { iommu } = device;
		const memory = kernel.allocate(MIB);
		const first = iommu.map(0x1000n, memory.address, 0x1000n);
		expect(vfioError(() => iommu.map(0n, memory.address, 0x1800n)).code).toBe("overlapping-memory");
		iommu.map(0n, memory.address, 0x4000n);
		first[Symbol.dispose]();
		expect([iommu.mappingCount, linux.leaks().dmaMappings]).toEqual([1, 1]);
		expect(vfioError(() => iommu.unmap(0x1000n, 0x1000n)).code).toBe("invalid-argument");
		expect(iommu.unmap(0n, 1n << 64n)).toBe(0x4000n);
		expect(iommu.unmapAll()).toBe(0n);
		close(device, memory);
	});

	it("a mapping that somebody else made through the same iommufd gives way, once, and is not missed when it is gone", () => {
		const device = open(NVME, { iommufd });
		const memory = kernel.allocate(MIB);
		const ioas = device.iommu as Ioas;
		const mapping = ioas.map(0n, memory.address, 0x1000n);
		ioas.lost(); // the book has it no more, the kernel has
		ioas.map(0n, memory.address, 0x1000n);
		expect(linux.leaks().dmaMappings).toBe(1);
		mapping[Symbol.dispose]();
		const unmap = iommu_ioas_unmap.create();
		unmap.size = iommu_ioas_unmap.size;
		unmap.ioas_id = ioas.id;
		unmap.length = 0x1000n;
		kernel.ioctl(iommufd.fd, IOMMU_IOAS_UNMAP, unmap.bytes); // the kernel has it no more, the book has
		expect([ioas.unmap(0n, 0x1000n), ioas.mappingCount]).toEqual([0n, 0]);
		close(device, memory);
	});

	it("what was mapped before the first device is checked as that comes, and the reason is named", () => {
		const memory = kernel.allocate(MIB);
		const cases = [
			[
				0xfee0_0000n,
				memory.address,
				"iova-out-of-range",
				EADDRINUSE,
				"0xfee00000-0xfeefffff, which the host keeps (msi)",
			],
			[0n, 0x1000n, "mapping-failed", EFAULT, "does not exist any more"],
		] as const;
		for (const [iova, vaddr, code, errno, text] of cases) {
			const ioas = Ioas.allocate(iommufd);
			ioas.map(iova, vaddr, 0x1000n);
			expect(linux.leaks().pinnedPages).toBe(0);
			const error = refusal(NVME, { ioas });
			expect([error.code, error.errno, error.device]).toEqual([code, errno, NVME]);
			expect(error.message).toContain(text);
			ioas[Symbol.dispose]();
		}
		close(memory);
	});

	it("locked memory is counted for the user, before anything is pinned and when the kernel refuses", () => {
		const user = linux.process({ uid: 1000, capabilities: ["CAP_DAC_OVERRIDE"], memlock: MIB });
		const own = Iommufd.open(user);
		const memory = user.allocate(4 * MIB);
		const device = VfioDevice.open(user, NVME, { iommufd: own });
		const guest = new TestMemory([ram(memory)]);
		const before = vfioError(() => GuestMemoryMapper.attach(device.iommu, guest));
		expect([before.code, before.errno]).toEqual(["memlock-too-low", undefined]);
		expect(before.message).toContain("for all processes of its user together");
		const after = vfioError(() => device.iommu.map(0n, memory.address, BigInt(4 * MIB)));
		expect([after.code, after.errno, linux.leaks().pinnedPages]).toEqual(["memlock-too-low", ENOMEM, 0]);
		device[Symbol.dispose]();
		const ioas = Ioas.allocate(own);
		ioas.map(0n, memory.address, BigInt(4 * MIB));
		const lazily = vfioError(() => VfioDevice.open(user, NVME, { ioas }));
		expect([lazily.code, lazily.errno]).toEqual(["memlock-too-low", ENOMEM]);
		close(ioas, memory, own);
	});

	it("IFD-01 does not map BARs, warns of that once and goes on; RAM that cannot be mapped stays fatal", () => {
		const device = open(NVME, { iommufd });
		const bar = device.mapRegion(0, 0, 0x2000);
		const memory = kernel.allocate(MIB);
		const reports: MapReport[] = [];
		const peer = (at: bigint) => region(at, 0x2000, { kind: "device", memory: bar });
		const guest = new TestMemory([ram(memory), peer(0xe000_0000n), peer(0xe100_0000n)]);
		const mapper = GuestMemoryMapper.attach(device.iommu, guest, { onReport: (report) => reports.push(report) });
		guest.add(peer(0xe200_0000n));
		expect(reports.map(({ severity, error }) => [severity, error.code, error.errno])).toEqual([
			["warning", "mapping-failed", EFAULT],
		]);
		expect(device.iommu.mappingCount).toBe(1);
		mapper[Symbol.dispose]();
		const nowhere = new TestMemory([region(0n, 0x1000, { memory: { ...memory, address: 0x1000n } })]);
		expect(vfioError(() => GuestMemoryMapper.attach(device.iommu, nowhere)).errno).toBe(EFAULT);
		close(device, bar, memory);
	});

	it("IFD-01 is not asked for BARs at all when devices need not reach each other", () => {
		const calls: number[] = [];
		const counting = requesting((request) => {
			calls.push(request);
			return request;
		});
		const own = Iommufd.open(counting);
		const memory = kernel.allocate(MIB);
		const guest = new TestMemory([ram(memory), region(0xe000_0000n, 0x2000, { kind: "device" })]);
		const addressSpace = new IoAddressSpace(counting, { memory: guest, iommufd: own, peerToPeer: false });
		const device = VfioDevice.open(counting, NVME, { addressSpace });
		expect(calls.filter((request) => request === IOMMU_IOAS_MAP).length).toBe(1);
		close(device, own, memory);
	});

	it("takes a mediated device, which has no IOMMU and pins nothing", () => {
		boot({ mediated: [mtty()] });
		const mdev = Mdev.create(kernel, { uuid: "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", type: "mtty-2" });
		const memory = kernel.allocate(MIB);
		const addressSpace = new IoAddressSpace(kernel, { memory: new TestMemory([ram(memory)]), iommufd });
		const device = VfioDevice.open(kernel, { sysfsdev: mdev.path }, { addressSpace });
		expect([device.opened.way, device.iommu.mappingCount, linux.leaks().pinnedPages]).toEqual([
			"character-device",
			1,
			0,
		]);
		expect(iommufd.hardware(1)).toBeUndefined();
		device[Symbol.dispose]();
		mdev[Symbol.dispose]();
		close(memory);
	});

	it("has no dirty page tracking where the IOMMU records nothing, and says so", () => {
		const device = open(NVME, { iommufd });
		expect(device.iommu.info().dirtyTracking).toBeUndefined();
		expect(vfioError(() => device.iommu.dirty.start()).code).toBe("unsupported-iommu");
		close(device);
	});

	it.each([true, false])(
		"F-06 tells whether DMA snoops the caches, %s, as the IOMMU's registers and a container say",
		(snoopControl) => {
			boot({ snoopControl });
			const [bound, byGroup] = [open(NVME, { iommufd }), open(OTHER)];
			expect([bound.coherent, byGroup.coherent]).toEqual([snoopControl, snoopControl]);
			close(bound, byGroup);
		},
	);

	it("F-06 announces each character device to KVM before it is bound, and takes it back before it is closed", () => {
		const kvm = new FakeKvm();
		const addressSpace = new IoAddressSpace(kernel, { iommufd, kvm });
		const devices = [NVME, OTHER].map((address) => open(address, { addressSpace }));
		expect(kvm.files).toEqual(devices.map(({ fd }) => fd));
		devices[0]?.[Symbol.dispose]();
		expect(kvm.files).toEqual([devices[1]?.fd]);
		kvm.failing = ["add"];
		expect(refusal(NVME, { addressSpace }).message).toContain("KVM does not take it");
		close(...devices);
		expect(kvm.files).toEqual([]);
	});

	it("that the kernel does not free ends with the iommufd", () => {
		const own = Iommufd.open(kernel);
		const failing = requesting((request) => (request === IOMMU_DESTROY ? 0xdead : request));
		const fd = failing.open("/dev/iommu", O_RDWR);
		const theirs = vfioError(() => Iommufd.fromFd(failing, fd));
		expect([theirs.code, (theirs.cause as { errno?: number }).errno]).toEqual(["invalid-argument", ENOTTY]);
		kernel.close(fd);
		const unfree = Iommufd.open(failing);
		const device = VfioDevice.open(failing, NVME, { iommufd: unfree });
		unfree[Symbol.dispose]();
		expect(() => device[Symbol.dispose]()).toThrow(/free an address space/);
		close(own);
	});
});

describe("a descriptor that is closed", () => {
	it("is not used again: its number may be a group's by now, which stays open", () => {
		iommufd[Symbol.dispose]();
		const device = open(NVME);
		expect((device.group as { fd: number }).fd).toBe(iommufd.fd);
		expect(refusal(OTHER, { iommufd }).code).toBe("disposed");
		expect(vfioError(() => Ioas.allocate(iommufd)).code).toBe("disposed");
		expect(vfioError(() => iommufd.hardware(1)).code).toBe("disposed");
		expect(device.readRegion(7, 0, 2)).toBe(0x1b36);
		device[Symbol.dispose]();
		expect(vfioError(() => device.coherent).code).toBe("disposed");
		expect(leaks()).toEqual([]);
	});
});

describe("a VF token with a character device", () => {
	const PHYSICAL = "0000:01:00.0";
	const VIRTUAL = "0000:01:10.0";
	const TOKEN = "2ab74924-c335-45f4-9b16-8569e5b08258";
	function virtualized(version: "6.12" | "7.2") {
		const host = hostWith({ [PHYSICAL]: [Igb.description(), new Igb()] });
		linux = new SimulatedLinux({ host, version, parameters: { vfio_pci: { enable_sriov: true } } });
		kernel = linux.process();
		bindGroup(kernel, PHYSICAL);
		iommufd = Iommufd.open(kernel);
	}

	it("SRV-04 opens a virtual function with the token of its physical one, and says when it is missing or wrong", () => {
		virtualized("7.2");
		const physical = open(PHYSICAL, { iommufd, vfToken: TOKEN });
		kernel.writeFile(`/sys/bus/pci/devices/${PHYSICAL}/sriov_numvfs`, "1");
		for (const options of [{}, { vfToken: TOKEN.replace("2", "3") }]) {
			const error = refusal(VIRTUAL, { iommufd, ...options });
			expect([error.code, error.message.includes("needs the token")]).toEqual(["no-permission", true]);
			expect(error.message).not.toContain(TOKEN.slice(1));
		}
		for (const way of [{ iommufd }, {}])
			expect(refusal(VIRTUAL, { ...way, vfToken: "secret" }).message).toBe(
				`Cannot open ${VIRTUAL}: its VF token is no UUID`,
			);
		const virtual = open(VIRTUAL, { iommufd, vfToken: TOKEN });
		expect(virtual.iommu.backend).toBe("iommufd");
		virtual[Symbol.dispose]();
		kernel.writeFile(`/sys/bus/pci/devices/${PHYSICAL}/sriov_numvfs`, "0");
		close(physical);
	});

	it("says that an older kernel takes none with it, and what to do", () => {
		virtualized("6.12");
		const error = refusal(PHYSICAL, { iommufd, vfToken: TOKEN });
		expect([error.code, error.remedy.join()]).toEqual([
			"invalid-argument",
			expect.stringContaining("through its IOMMU group"),
		]);
		close();
	});
});
