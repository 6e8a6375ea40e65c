import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import * as uapi from "../../../core/uapi/vfio.ts";
import { Host } from "../../../kernel-sim/host.ts";
import { SimulatedLinux } from "../../../kernel-sim/linux/linux.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";
import {
	bind,
	deviceFd,
	driverFile,
	driverOf,
	groupOf,
	openContainer,
	openGroup,
	outcome,
	setContainer,
	setIommu,
	sysfs,
	text,
} from "./support.ts";

// What is expected here was asked of a real Linux 6.12 and 7.2 on the host that host.txt describes: an 82576 (SR-IOV, eight
// virtual functions) at 0000:04:00.0, an NVMe controller (two) at 0000:05:00.0.

interface Fact {
	readonly cat: string;
	readonly name: string;
	readonly args: string | number;
	readonly "6.12": {
		ret?: number;
		errno?: string;
		data?: string;
		value?: unknown;
		flags?: string;
		size?: number;
		count?: number;
	};
}
const fixture = (name: string) => readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), "utf8");
const HOST = fixture("lspci/host.txt");
const FACTS: readonly Fact[] = JSON.parse(fixture("linux-facts.json")).facts;
const fact = (name: string) => {
	const found = FACTS.find((each) => each.cat === "sriov" && each.name === name);
	if (!found) throw new Error(`no fact "${name}"`);
	return found["6.12"];
};

const PF = "0000:04:00.0";
const VF = "0000:04:10.0";
const SECOND_VF = "0000:04:10.2";
const NVME_PF = "0000:05:00.0";
const TOKEN = "11111111-2222-3333-4444-555555555555";
const OTHER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
const CONFIG = 7 * 2 ** 40;
const ENABLE_SRIOV = "/sys/module/vfio_pci/parameters/enable_sriov";

let linux: SimulatedLinux;
let kernel: SimProcess;

function start(version: "6.12" | "7.2" = "6.12"): void {
	linux = new SimulatedLinux({ host: Host.fromLspci(HOST), version });
	kernel = linux.process();
}

const write = (path: string, value: string) => outcome(() => kernel.writeFile(path, value)) ?? "ok";
const numvfs = (count: number | string, address = PF) => write(sysfs(address, "sriov_numvfs"), String(count));
const read = (address: string, file: string) => text(kernel, sysfs(address, file)).trim();
const functions = (bus: string) => kernel.readDirectory("/sys/bus/pci/devices").filter((name) => name.startsWith(bus));
const open = (group: number, name: string) => outcome(() => deviceFd(kernel, group, name));
const withToken = (name: string, token: string) => `${name} vf_token=${token}`;

/** The physical function at vfio-pci, which may make virtual ones. */
function vfioPhysical(count: number): void {
	bind(kernel, PF);
	kernel.writeFile(ENABLE_SRIOV, "Y");
	expect(numvfs(count)).toBe("ok");
}

/** A container, and the groups of functions in it. */
function groups(...addresses: string[]): number[] {
	const container = openContainer(kernel);
	const opened = addresses.map((address) => openGroup(kernel, address));
	for (const group of opened) setContainer(kernel, group, container);
	setIommu(kernel, container);
	return opened;
}

/** VFIO_DEVICE_FEATURE of a token. */
function feature(fd: number, flags: number, uuid: string, length = 16): number | string {
	const bytes = Uint8Array.from(uuid.replaceAll("-", "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
	const argument = uapi.vfio_device_feature.create(length);
	argument.argsz = argument.bytes.length;
	argument.flags = flags | uapi.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
	argument.bytes.set(bytes.subarray(0, length), uapi.vfio_device_feature.size);
	return outcome(() => kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, argument.bytes));
}

function config(fd: number, offset: number, length: number): string {
	const bytes = new Uint8Array(length);
	kernel.pread(fd, bytes, CONFIG + offset);
	return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function writeConfig(fd: number, offset: number, ...bytes: number[]): number {
	return kernel.pwrite(fd, Uint8Array.from(bytes), CONFIG + offset);
}

/** An eventfd that is told of an interrupt index. */
function eventOf(fd: number, index: number): number {
	const event = kernel.eventfd();
	const set = uapi.vfio_irq_set.create(4);
	Object.assign(set, { argsz: set.bytes.length, index, start: 0, count: 1 });
	set.flags = uapi.VFIO_IRQ_SET_DATA_EVENTFD | uapi.VFIO_IRQ_SET_ACTION_TRIGGER;
	new DataView(set.bytes.buffer).setInt32(uapi.vfio_irq_set.size, event, true);
	kernel.ioctl(fd, uapi.VFIO_DEVICE_SET_IRQS, set.bytes);
	return event;
}

function signals(event: number): number {
	const bytes = new Uint8Array(8);
	return outcome(() => kernel.read(event, bytes)) === "EAGAIN" ? 0 : (bytes[0] ?? 0);
}

/** A write that waits: whether it has returned, and what. */
function writeLater(path: string, value: string): { result: string | undefined } {
	const state: { result: string | undefined } = { result: undefined };
	linux.writeFileAsync(kernel, path, value).then(
		() => {
			state.result = "ok";
		},
		(error) => {
			state.result = String(error);
		},
	);
	return state;
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

beforeEach(() => start());

describe("sysfs of a physical function", () => {
	it("says what it can have", () => {
		const files = ["totalvfs", "numvfs", "offset", "stride", "vf_device", "drivers_autoprobe", "vf_total_msix"];
		const values = (address: string) => files.map((file) => read(address, `sriov_${file}`));
		expect(values(PF)).toEqual(["8", "0", "128", "2", "10ca", "1", "0"]);
		expect(values(NVME_PF)).toEqual(["2", "0", "1", "1", "10", "1", "0"]);
		expect(kernel.readDirectory(sysfs("0000:03:00.0", "")).filter((name) => name.startsWith("sriov"))).toEqual([]);
	});

	it.each([
		["0", "ok"],
		["1", "ENOENT"],
		["0x1", "ENOENT"],
		["9", "ERANGE"],
		["65535", "ERANGE"],
		["65536", "EINVAL"],
		["-1", "EINVAL"],
		["x", "EINVAL"],
		[" 1", "EINVAL"],
		["", "ok"],
	])("sriov_numvfs without a driver takes %j: %s", (value, expected) => {
		expect(numvfs(value)).toBe(expected);
		expect(read(PF, "sriov_numvfs")).toBe("0");
	});

	it("sriov_numvfs is ENOENT with a driver that makes none", () => {
		bind(kernel, PF, "pci-stub");
		expect([numvfs(0), numvfs(1), numvfs(9)]).toEqual(["ok", "ENOENT", "ERANGE"]);
	});

	it("231, fact 'numvfs with PF on vfio-pci': sriov_numvfs is ENOENT with enable_sriov=N", () => {
		bind(kernel, PF);
		expect(numvfs(2)).toBe(fact("numvfs with PF on vfio-pci").errno);
		expect(numvfs(9)).toBe("ERANGE");
	});

	it("the resource file has the BARs of all virtual functions", () => {
		const lines = read(PF, "resource").split("\n");
		expect(lines).toHaveLength(13);
		expect(lines[7]).toBe("0x000000c100000000 0x000000c10001ffff 0x000000000014220c");
		expect(lines[10]).toBe("0x000000c100020000 0x000000c10003ffff 0x000000000014220c");
	});
});

describe("virtual functions of a vfio-pci physical one", () => {
	it("231, facts 'VFs' and 'bind VF': they appear in groups of their own, bound to vfio-pci", () => {
		vfioPhysical(2);
		expect(read(PF, "sriov_numvfs")).toBe("2");
		const found = functions("0000:04:1").map((name) => [name, `g${groupOf(kernel, name)}`]);
		expect(found).toEqual(fact("VFs").value);
		for (const address of [VF, SECOND_VF]) {
			expect({ driver: driverOf(kernel, address) }).toEqual(fact("bind VF"));
			expect(read(address, "driver_override")).toBe("vfio-pci");
		}
	});

	it("sysfs of a virtual function", () => {
		vfioPhysical(1);
		const names = [
			"vendor",
			"device",
			"subsystem_vendor",
			"subsystem_device",
			"class",
			"irq",
			"reset_method",
			"d3cold_allowed",
		];
		expect(names.map((name) => read(VF, name))).toEqual([
			"0x8086",
			"0x10ca",
			"0x1af4",
			"0x1100",
			"0x020000",
			"0",
			"flr",
			"0",
		]);
		expect(read(VF, "modalias")).toBe("pci:v00008086d000010CAsv00001AF4sd00001100bc02sc00i00");
		expect([read(VF, "ari_enabled"), read(PF, "ari_enabled"), read("0000:03:00.0", "ari_enabled")]).toEqual([
			"1",
			"1",
			"0",
		]);
		const lines = read(VF, "resource").split("\n");
		expect([lines[0], lines[3]]).toEqual([
			"0x000000c100000000 0x000000c100003fff 0x000000000014220c",
			"0x000000c100020000 0x000000c100023fff 0x000000000014220c",
		]);
		expect(kernel.readLink(sysfs(VF, "physfn"))).toBe(`../${PF}`);
		expect(kernel.readLink(sysfs(PF, "virtfn0"))).toBe(`../${VF}`);
		expect(kernel.readFile(sysfs(VF, "config")).slice(0, 4)).toEqual(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
		expect(kernel.readDirectory(sysfs(VF, ""))).not.toContain("remove");
		expect(write(sysfs(VF, "sriov_vf_msix_count"), "2")).toBe("EOPNOTSUPP");
		expect(outcome(() => read(VF, "sriov_vf_msix_count"))).toBe("EACCES");
	});

	it("233: from N to M is EBUSY, to the same number nothing, to 0 all go", () => {
		vfioPhysical(1);
		expect([numvfs(1), numvfs(2), numvfs(9)]).toEqual(["ok", "EBUSY", "ERANGE"]);
		expect(numvfs(0)).toBe("ok");
		expect(functions("0000:04")).toEqual([PF]);
		expect(kernel.readDirectory("/sys/kernel/iommu_groups")).not.toContain("35");
		expect(kernel.readDirectory(sysfs(PF, "")).filter((name) => name.startsWith("virtfn"))).toEqual([]);
		expect(numvfs(8)).toBe("ok");
		expect(functions("0000:04:1")).toHaveLength(8);
		expect(functions("0000:04:1").map((address) => groupOf(kernel, address))).toEqual([
			"35",
			"36",
			"37",
			"38",
			"39",
			"40",
			"41",
			"42",
		]);
	});

	it("unbinding the physical function removes them; binding it while another driver's are there is EBUSY", () => {
		vfioPhysical(2);
		kernel.writeFile(driverFile("vfio-pci", "unbind"), PF);
		expect(functions("0000:04")).toEqual([PF]);
		expect(read(PF, "sriov_numvfs")).toBe("0");
		kernel.writeFile(driverFile("nvme", "bind"), NVME_PF);
		expect(numvfs(2, NVME_PF)).toBe("ok");
		kernel.writeFile(driverFile("nvme", "unbind"), NVME_PF);
		expect(functions("0000:05")).toHaveLength(3);
		expect([numvfs(2, NVME_PF), numvfs(1, NVME_PF), numvfs(0, NVME_PF)]).toEqual(["ok", "ENOENT", "ENOENT"]);
		kernel.writeFile(sysfs(NVME_PF, "driver_override"), "vfio-pci");
		expect(write(driverFile("vfio-pci", "bind"), NVME_PF)).toBe("EBUSY");
		expect(write("/sys/bus/pci/drivers_probe", NVME_PF)).toBe("ok");
	});

	it("sriov_drivers_autoprobe keeps drivers away, but not the one in driver_override", () => {
		bind(kernel, PF);
		kernel.writeFile(ENABLE_SRIOV, "Y");
		expect(write(sysfs(PF, "sriov_drivers_autoprobe"), "2")).toBe("EINVAL");
		kernel.writeFile(sysfs(PF, "sriov_drivers_autoprobe"), "n");
		expect(read(PF, "sriov_drivers_autoprobe")).toBe("0");
		numvfs(1);
		expect(driverOf(kernel, VF)).toBe("vfio-pci");
		kernel.writeFile(sysfs(VF, "driver_override"), "\n");
		kernel.writeFile(driverFile("vfio-pci", "unbind"), VF);
		kernel.writeFile(driverFile("vfio-pci", "new_id"), "8086 10ca");
		kernel.writeFile("/sys/bus/pci/drivers_probe", VF);
		expect(driverOf(kernel, VF)).toBeUndefined();
		expect(write(driverFile("vfio-pci", "bind"), VF)).toBe("ENODEV");
		kernel.writeFile(sysfs(PF, "sriov_drivers_autoprobe"), "1");
		kernel.writeFile("/sys/bus/pci/drivers_probe", VF);
		expect(driverOf(kernel, VF)).toBe("vfio-pci");
	});

	it.each([
		["6.12", "vfio-pci"],
		["7.2", undefined],
	] as const)("drivers_autoprobe=0 of the bus on Linux %s: %s", (version, driver) => {
		start(version);
		bind(kernel, PF);
		kernel.writeFile(ENABLE_SRIOV, "Y");
		kernel.writeFile("/sys/bus/pci/drivers_autoprobe", "0");
		numvfs(1);
		expect(driverOf(kernel, VF)).toBe(driver);
	});

	it("a reset of the physical function brings them back as they were", () => {
		vfioPhysical(2);
		expect(write(sysfs(PF, "reset"), "1")).toBe("ok");
		expect(functions("0000:04:1")).toEqual([VF, SECOND_VF]);
		const [group] = groups(PF) as [number];
		const fd = deviceFd(kernel, group, PF);
		kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET);
		kernel.close(fd);
		for (const address of [VF, SECOND_VF]) expect(linux.machine.function(address)?.present).toBe(true);
		expect(numvfs(0)).toBe("ok");
		expect(linux.machine.function(VF)).toBeUndefined();
	});

	it("what the last close restores does not bring back those that went while it was open", () => {
		vfioPhysical(2);
		const [group] = groups(PF) as [number];
		const fd = deviceFd(kernel, group, PF);
		numvfs(0);
		kernel.close(fd);
		expect(functions("0000:04")).toEqual([PF]);
		expect(linux.machine.function(VF)).toBeUndefined();
	});

	it("a rescan does not find them, and a physical function that is pulled out takes them along", () => {
		vfioPhysical(1);
		kernel.writeFile("/sys/bus/pci/rescan", "1");
		expect(functions("0000:04")).toEqual([PF, VF]);
		linux.machine.unplug(PF);
		expect(functions("0000:04")).toEqual([]);
	});
});

describe("virtual functions of native drivers", () => {
	it("igb is ready for seven, and takes them along when it leaves", () => {
		kernel.writeFile(driverFile("igb", "bind"), PF);
		expect(read(PF, "sriov_totalvfs")).toBe("7");
		expect([numvfs(8), numvfs(7), numvfs(2), numvfs(0), numvfs(1)]).toEqual(["ERANGE", "ok", "EBUSY", "ok", "ok"]);
		expect(driverOf(kernel, VF)).toBeUndefined();
		expect(read(VF, "driver_override")).toBe("(null)");
		kernel.writeFile(driverFile("igb", "unbind"), PF);
		expect([read(PF, "sriov_totalvfs"), read(PF, "sriov_numvfs")]).toEqual(["8", "0"]);
		expect(functions("0000:04")).toEqual([PF]);
	});

	it("the virtual function of an igb physical one takes no token", () => {
		kernel.writeFile(driverFile("igb", "bind"), PF);
		numvfs(1);
		bind(kernel, VF);
		const [group] = groups(VF) as [number];
		expect(open(group, withToken(VF, TOKEN))).toBe("EINVAL");
		const fd = deviceFd(kernel, group, VF);
		expect(config(fd, 0, 4)).toBe("8680ca10");
		expect(feature(fd, uapi.VFIO_DEVICE_FEATURE_SET, TOKEN)).toBe("ENOTTY");
	});
});

describe("the VF token (contract B.2)", () => {
	it("232, facts of 'VF device fd': without it EACCES, with another EACCES, with it a descriptor", () => {
		vfioPhysical(2);
		const [physical, virtual] = groups(PF, VF) as [number, number];
		const pf = deviceFd(kernel, physical, PF);
		expect(open(virtual, VF)).toBe(fact("VF device fd, no token").errno);
		expect(open(virtual, withToken(VF, TOKEN))).toBe("EACCES");
		expect(feature(pf, uapi.VFIO_DEVICE_FEATURE_SET, TOKEN)).toBe(fact("PF set VF token").ret);
		expect(open(virtual, VF)).toBe("EACCES");
		expect(open(virtual, withToken(VF, OTHER))).toBe("EACCES");
		expect(open(virtual, withToken(VF, "xyz"))).toBe("EINVAL");
		expect(open(virtual, `${VF} foo=1`)).toBe("EINVAL");
		expect(open(virtual, `${withToken(VF, TOKEN)} vf_token=${TOKEN}`)).toBe("EINVAL");
		expect(open(virtual, SECOND_VF)).toBe("ENODEV");
		expect(open(virtual, withToken(VF, TOKEN))).toBeTypeOf("number");
		expect(open(virtual, withToken(VF, TOKEN.toUpperCase()))).toBeTypeOf("number");
	});

	it("232: it survives the close of the physical function, not its unbind", () => {
		vfioPhysical(1);
		const [physical, virtual] = groups(PF, VF) as [number, number];
		kernel.close(deviceFd(kernel, physical, withToken(PF, TOKEN)));
		expect(open(virtual, VF)).toBe("EACCES");
		kernel.close(deviceFd(kernel, virtual, withToken(VF, TOKEN)));
		for (const fd of [physical, virtual]) kernel.close(fd);
		kernel.writeFile(driverFile("vfio-pci", "unbind"), PF);
		kernel.writeFile(driverFile("vfio-pci", "bind"), PF);
		numvfs(1);
		const [again] = groups(VF) as [number];
		expect(open(again, withToken(VF, TOKEN))).toBe("EACCES");
	});

	it("while a virtual function is open, opening the physical one takes it; then it may be chosen anew", () => {
		vfioPhysical(1);
		const [physical, virtual] = groups(PF, VF) as [number, number];
		const pf = deviceFd(kernel, physical, withToken(PF, TOKEN));
		const vf = deviceFd(kernel, virtual, withToken(VF, TOKEN));
		expect(open(physical, PF)).toBe("EACCES");
		expect(open(physical, withToken(PF, OTHER))).toBe("EACCES");
		kernel.close(deviceFd(kernel, physical, withToken(PF, TOKEN)));
		kernel.close(pf);
		expect(open(physical, PF)).toBe("EACCES");
		kernel.close(vf);
		kernel.close(deviceFd(kernel, physical, PF));
		kernel.close(deviceFd(kernel, physical, withToken(PF, OTHER)));
		expect(open(virtual, withToken(VF, TOKEN))).toBe("EACCES");
		expect(open(virtual, withToken(VF, OTHER))).toBeTypeOf("number");
	});

	it("215: FEATURE PCI_VF_TOKEN can only be set, with sixteen bytes, on a physical function", () => {
		vfioPhysical(1);
		const [physical, virtual] = groups(PF, VF) as [number, number];
		const pf = deviceFd(kernel, physical, withToken(PF, TOKEN));
		const { VFIO_DEVICE_FEATURE_GET: GET, VFIO_DEVICE_FEATURE_SET: SET, VFIO_DEVICE_FEATURE_PROBE: PROBE } = uapi;
		expect(feature(pf, GET, TOKEN)).toBe("EINVAL");
		expect(feature(pf, SET, TOKEN, 15)).toBe("EINVAL");
		expect([feature(pf, SET | PROBE, TOKEN), feature(pf, PROBE, TOKEN, 0)]).toEqual([0, 0]);
		expect(feature(pf, GET | SET | PROBE, TOKEN)).toBe("EINVAL");
		const vf = deviceFd(kernel, virtual, withToken(VF, TOKEN));
		expect(feature(vf, SET | PROBE, TOKEN)).toBe("ENOTTY");
	});
});

describe("an open virtual function", () => {
	function openVf(): { fd: number; pf: number; group: number; physical: number } {
		vfioPhysical(2);
		const [physical, group] = groups(PF, VF) as [number, number];
		const pf = deviceFd(kernel, physical, withToken(PF, TOKEN));
		return { fd: deviceFd(kernel, group, withToken(VF, TOKEN)), pf, group, physical };
	}

	it.each([
		["BAR0", 0],
		["BAR3", 3],
		["CONFIG", 7],
	])("fact '%s': region %i", (name, index) => {
		const { fd } = openVf();
		const info = uapi.vfio_region_info.view(new Uint8Array(64));
		Object.assign(info, { argsz: 64, index });
		kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_REGION_INFO, info.bytes);
		const { flags, size } = fact(name);
		expect([info.flags, Number(info.size)]).toEqual([Number(flags), size]);
	});

	it.each([
		["MSI", 1],
		["MSIX", 2],
		["ERR", 3],
		["REQ", 4],
	])("fact '%s': interrupt %i", (name, index) => {
		const { fd } = openVf();
		const info = uapi.vfio_irq_info.create();
		Object.assign(info, { argsz: uapi.vfio_irq_info.size, index });
		kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_IRQ_INFO, info.bytes);
		const { flags, count } = fact(name);
		expect([info.flags, info.count]).toEqual([Number(flags), count]);
	});

	it("facts 'VF config', 'VF vendor', 'VF BAR0 ones', 'VF BAR0 readback': real ids, no pin, sized BARs", () => {
		const { fd } = openVf();
		expect(config(fd, 0, 64)).toBe(fact("VF config").data);
		expect(config(fd, 0, 4)).toBe(fact("VF vendor").data);
		expect(writeConfig(fd, 0x10, 0xff, 0xff, 0xff, 0xff)).toBe(fact("VF BAR0 ones").ret);
		expect(config(fd, 0x10, 4)).toBe(fact("VF BAR0 readback").data);
		writeConfig(fd, 0x1c, 0xff, 0xff, 0xff, 0xff);
		expect([config(fd, 0x18, 4), config(fd, 0x1c, 4), config(fd, 0x30, 4)]).toEqual([
			"00000000",
			"0cc0ffff",
			"00000000",
		]);
	});

	it("131: its interrupt pin is 0, whatever is written", () => {
		const { fd } = openVf();
		writeConfig(fd, 0x3d, 1);
		expect(config(fd, 0x3c, 4)).toBe("00000000");
		expect(outcome(() => eventOf(fd, uapi.VFIO_PCI_INTX_IRQ_INDEX))).toBe("EINVAL");
	});

	it("COMMAND's memory bit is only remembered: its BARs work either way", () => {
		const { fd } = openVf();
		const mapping = kernel.mmap(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		for (const value of [0x02, 0x00, 0x06, 0x02]) {
			writeConfig(fd, 4, value, 0);
			expect(config(fd, 4, 2)).toBe(`0${value}00`);
			expect(kernel.pread(fd, new Uint8Array(4), 0)).toBe(4);
			mapping.read(0, 4);
		}
		kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET);
		expect(config(fd, 0, 6)).toBe("8680ca100200");
		mapping[Symbol.dispose]();
	});

	it("a hot reset hits the physical function and all virtual ones", () => {
		const { fd } = openVf();
		const info = uapi.vfio_pci_hot_reset_info.create(3 * 8);
		info.argsz = info.bytes.length;
		kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info.bytes);
		expect(info.count).toBe(3);
		const groupIds = [0, 1, 2].map((at) => uapi.vfio_pci_dependent_device.view(info.bytes, 12 + 8 * at).group_id);
		expect(groupIds).toEqual([24, 35, 36]);
	});

	it("233: sriov_numvfs=0 waits for its close, REQ fires at once and every ten seconds, it cannot be opened again", async () => {
		const { fd, group, pf } = openVf();
		const request = eventOf(fd, uapi.VFIO_PCI_REQ_IRQ_INDEX);
		const physicalRequest = eventOf(pf, uapi.VFIO_PCI_REQ_IRQ_INDEX);
		expect([numvfs(2), numvfs(1), numvfs(3)]).toEqual(["ok", "EBUSY", "EBUSY"]);
		const writing = writeLater(sysfs(PF, "sriov_numvfs"), "0");
		await settled();
		expect([writing.result, signals(request), signals(physicalRequest)]).toEqual([undefined, 1, 0]);
		expect(functions("0000:04:1")).toEqual([VF, SECOND_VF]);
		expect(driverOf(kernel, VF)).toBeUndefined();
		expect(kernel.readDirectory(sysfs(PF, "")).filter((name) => name.startsWith("virtfn"))).toEqual(["virtfn1"]);
		expect(open(group, withToken(VF, TOKEN))).toBe("ENODEV");
		// Whoever wants to know or to change the number waits as well.
		expect(outcome(() => read(PF, "sriov_numvfs"))).toBe("EDEADLK");
		expect(config(fd, 0, 4)).toBe("8680ca10");
		kernel.close(fd);
		await settled();
		expect(writing.result).toBe("ok");
		expect(functions("0000:04")).toEqual([PF]);
		expect(read(PF, "sriov_numvfs")).toBe("0");
		expect(linux.machine.function(VF)).toBeUndefined();
	});

	it("the unbind of the physical function waits for the users of both, the virtual ones first", async () => {
		const { fd, pf, physical } = openVf();
		const request = eventOf(fd, uapi.VFIO_PCI_REQ_IRQ_INDEX);
		const physicalRequest = eventOf(pf, uapi.VFIO_PCI_REQ_IRQ_INDEX);
		const writing = writeLater(driverFile("vfio-pci", "unbind"), PF);
		await settled();
		expect([signals(request), signals(physicalRequest)]).toEqual([1, 0]);
		expect(driverOf(kernel, PF)).toBeUndefined();
		expect(open(physical, PF)).toBe("EACCES");
		kernel.close(fd);
		await settled();
		expect([writing.result, signals(physicalRequest)]).toEqual([undefined, 1]);
		expect(functions("0000:04")).toEqual([PF]);
		kernel.close(pf);
		await settled();
		expect(writing.result).toBe("ok");
	});

	it("gives everything back", () => {
		const { fd, pf, group, physical } = openVf();
		for (const each of [fd, pf, group, physical]) kernel.close(each);
		for (const each of kernel.openFiles.keys()) if (each > 2) kernel.close(each);
		expect(Object.values(linux.leaks()).every((count) => count === 0)).toBe(true);
		expect(numvfs(0)).toBe("ok");
	});
});

it("enable() is ENOMEM when the firmware left no room for the virtual functions' BARs", () => {
	bind(kernel, PF);
	kernel.writeFile(ENABLE_SRIOV, "Y");
	const device = linux.pci.devices.get(PF);
	if (!device) throw new Error("no device");
	device.resources = device.resources.map((line, at) => (at === 7 ? { ...line, start: 0n, end: 0x1ffffn } : line));
	expect(numvfs(1)).toBe("ENOMEM");
	expect(read(PF, "sriov_numvfs")).toBe("0");
});
