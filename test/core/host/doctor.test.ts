import { describe, expect, it } from "vitest";
import { type DoctorOptions, examineHost, type Finding } from "../../../core/host/doctor.ts";
import { EACCES, EBUSY, EIO, ENOENT } from "../../../core/uapi/errno.ts";
import { type FakeFunction, FakeHost } from "../support/fake-host.ts";
import { FakeKernel } from "../support/fake-kernel.ts";

const NVME = "0000:05:00.0";
const NIC: readonly FakeFunction[] = [
	{ name: "0000:06:00.0", group: 7, driver: "vfio-pci", override: "vfio-pci" },
	{ name: "0000:06:00.1", group: 7 },
];
const LIMITS = "Limit                     Soft Limit           Hard Limit           Units\n";
const UNITS = "/sys/class/iommu/dmar0/intel-iommu";

/** A PC on which everything is as it should be: VT-d, VFIO loaded, nodes that open. */
function healthy(functions: readonly FakeFunction[] = [{ name: NVME, group: 5, driver: "vfio-pci" }]): FakeHost {
	const host = new FakeHost(functions);
	const { kernel } = host;
	kernel.files.set(`${UNITS}/cap`, "d2008c222f0686\n");
	kernel.files.set(`${UNITS}/ecap`, "f00f4a\n");
	for (const module of ["vfio", "vfio_pci"]) kernel.directories.add(`/sys/module/${module}`);
	kernel.files.set("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n");
	kernel.nodes.set("/dev/vfio/vfio", () => ({}));
	for (const { group } of functions) if (group !== undefined) kernel.nodes.set(`/dev/vfio/${group}`, () => ({}));
	memlock(kernel, "8388608");
	for (const { name } of functions) {
		kernel.links.set(`/sys/bus/pci/devices/${name}`, `../../../devices/pci0000:00/${name}`);
		kernel.files.set(`/sys/bus/pci/devices/${name}/reset_method`, "flr bus\n");
	}
	return host;
}

function memlock(kernel: FakeKernel, limit: string, capabilities = "0"): void {
	kernel.files.set("/proc/self/limits", `${LIMITS}Max locked memory         ${limit}    ${limit}    bytes\n`);
	kernel.files.set("/proc/self/status", `Uid:\t1000\t1000\t1000\t1000\nVmLck:\t 4096 kB\nCapEff:\t${capabilities}\n`);
}

function find(kernel: FakeKernel, item: string, options: DoctorOptions = { memory: 1n << 20n }): Finding {
	const finding = examineHost(kernel, options).find((one) => one.item === item);
	if (!finding) throw new Error(`nothing is said about ${item}`);
	return finding;
}

function findOf(kernel: FakeKernel, device: string, item: string): Finding {
	return find(kernel, item, { devices: [device], memory: 1n << 20n });
}

describe("examineHost()", () => {
	it("finds nothing to do on a host that is ready", () => {
		const { kernel } = healthy();
		const findings = examineHost(kernel, { devices: ["05:00.0"], memory: 4n << 20n });
		expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
		expect(findings.map(({ item, device }) => `${device ?? "host"} ${item}`)).toEqual([
			"host IOMMU",
			"host interrupt remapping",
			"host module vfio",
			"host module vfio_iommu_type1",
			"host driver vfio-pci",
			"host /dev/vfio/vfio",
			"host locked memory",
			`${NVME} device`,
			`${NVME} IOMMU group`,
			`${NVME} ACS`,
			`${NVME} driver`,
			`${NVME} group node`,
			`${NVME} reset`,
			`${NVME} BARs`,
		]);
	});

	it("changes nothing, and closes what it opens", () => {
		const { kernel } = healthy();
		examineHost(kernel, { devices: [NVME] });
		expect(kernel.openFiles.size).toBe(0);
		expect(kernel.log).toEqual([
			"open /dev/vfio/vfio",
			"close /dev/vfio/vfio",
			"open /dev/vfio/5",
			"close /dev/vfio/5",
		]);
	});

	it("reports on a kernel that has none of it", () => {
		const findings = examineHost(new FakeKernel());
		expect(findings.map(({ level, item }) => `${level} ${item}`)).toEqual([
			"problem IOMMU",
			"unknown interrupt remapping",
			"problem module vfio",
			"problem module vfio_iommu_type1",
			"problem driver vfio-pci",
			"problem /dev/vfio/vfio",
			"unknown locked memory",
		]);
		for (const { item, remedy, level } of findings)
			if (level === "problem" && item !== "driver vfio-pci") expect(remedy).not.toEqual([]);
	});

	it("looks at every endpoint, and no bridge, when no device is named", () => {
		const { kernel } = healthy([
			{ name: "0000:00:00.0", group: 1, class: 0x060000 },
			{ name: "0000:00:01.0", group: 2, bridge: true, driver: "pcieport" },
			{ name: NVME, group: 5, driver: "nvme" },
		]);
		const findings = examineHost(kernel, { memory: 1n });
		expect([...new Set(findings.map(({ device }) => device))]).toEqual([undefined, NVME]);
		expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
	});

	it("names the nearest address when a device does not exist", () => {
		const finding = findOf(healthy().kernel, "0000:05:00.1", "device");
		expect(finding).toMatchObject({ level: "problem", device: "0000:05:00.1" });
		expect(finding.remedy[0]).toContain(NVME);
	});

	it("refuses a bridge", () => {
		const { kernel } = healthy([{ name: "0000:00:01.0", group: 2, bridge: true }]);
		expect(findOf(kernel, "00:01.0", "device")).toMatchObject({
			level: "problem",
			text: expect.stringMatching(/bridge or a port/),
		});
	});

	it("throws malformed-address when a device is no address", () => {
		expect(() => examineHost(healthy().kernel, { devices: ["nvme0"] })).toThrow('Cannot use "nvme0"');
	});

	it("says that it cannot tell when a check is refused", () => {
		const { kernel } = healthy();
		kernel.files.set(`/sys/bus/pci/devices/${NVME}/resource`, { read: () => kernel.fail(EIO, "read", "resource") });
		expect(findOf(kernel, NVME, "BARs")).toMatchObject({ level: "unknown", text: expect.stringMatching(/EIO/) });
	});
});

describe("IOMMU check", () => {
	it("names the units, and how wide their addresses are", () => {
		expect(find(healthy().kernel, "IOMMU").text).toBe("On: dmar0 (Intel VT-d, 48-bit addresses); 1 IOMMU group");
	});

	it.each([
		["the command line", ["/proc/cmdline", "ro iommu=pt,off quiet\n"], /says "iommu=pt,off"/, /Take "iommu=pt,off"/],
		["a VT-d that is not used", ["/sys/firmware/acpi/tables/DMAR", ""], /table DMAR/, /intel_iommu=on/],
		["an AMD-Vi that is not used", ["/sys/firmware/acpi/tables/IVRS", ""], /table IVRS/, /AMD-Vi/],
		["firmware without one", ["/sys/firmware/acpi/tables/FACP", ""], /no table DMAR or IVRS/, /firmware setup/],
	] as const)("is a problem without groups, and blames %s", (_what, [path, text], why, remedy) => {
		const kernel = new FakeKernel();
		kernel.directories.add("/sys/kernel/iommu_groups");
		kernel.files.set(path, text);
		const finding = find(kernel, "IOMMU");
		expect(finding).toMatchObject({ level: "problem", text: expect.stringMatching(why) });
		expect(finding.remedy[0]).toMatch(remedy);
	});
});

describe("interrupt remapping check", () => {
	const UNSAFE = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
	const remapped = " 24: 0 0  DMAR-MSI   0-edge      dmar0\n 25: 0 0  IR-PCI-MSIX-0000:00:08.0   0-edge  aerdrv\n";
	const plain = " 24: 0 0  DMAR-MSI   0-edge      dmar0\n 25: 0 0  PCI-MSIX-0000:00:08.0   0-edge  aerdrv\n";

	it.each([
		["the interrupts go through it", remapped, "f00f42", "N", "ok"],
		["they do, and it is overridden needlessly", remapped, "f00f4a", "Y", "warning"],
		["the interrupts do not, though the unit could", plain, "f00f4a", "N", "problem"],
		["they do not, and that is allowed", plain, "f00f4a", "Y", "warning"],
		["only the unit says that it can", "", "f00f4a", "N", "ok"],
		["only the unit says that it cannot", "", "f00f42", "N", "problem"],
		["a GICv3 has it", " 30: 0  ITS-PCI-MSIX-0000:01:00.0 0 Edge nvme0q0\n", "f00f42", "N", "ok"],
	] as const)("tells when %s", (_what, interrupts, ecap, unsafe, level) => {
		const { kernel } = healthy();
		kernel.files.set("/proc/interrupts", interrupts);
		kernel.files.set(`${UNITS}/ecap`, `${ecap}\n`);
		kernel.files.set(UNSAFE, `${unsafe}\n`);
		expect(find(kernel, "interrupt remapping").level).toBe(level);
	});

	it("names the word of the command line that switches it off", () => {
		const { kernel } = healthy();
		kernel.files.set("/proc/cmdline", "intel_iommu=on intremap=off\n");
		const finding = find(kernel, "interrupt remapping");
		expect(finding).toMatchObject({ level: "problem", text: expect.stringMatching(/"intremap=off"/) });
		expect(finding.remedy[0]).toContain('Take "intremap=off"');
	});

	it("does not know of an AMD-Vi when no interrupt says", () => {
		const { kernel } = healthy();
		for (const file of ["cap", "ecap"]) kernel.files.delete(`${UNITS}/${file}`);
		kernel.files.set("/sys/class/iommu/ivhd0/amd-iommu/features", "246577efa2254afa\n");
		expect(find(kernel, "IOMMU").text).toContain("ivhd0 (AMD-Vi)");
		expect(find(kernel, "interrupt remapping").level).toBe("unknown");
	});
});

describe("module checks", () => {
	it("say which module to load", () => {
		const { kernel } = healthy();
		kernel.files.delete("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
		expect(find(kernel, "module vfio_iommu_type1")).toMatchObject({
			level: "problem",
			remedy: ["sudo modprobe vfio_iommu_type1"],
		});
	});

	it("do not insist on type 1 where iommufd may stand in", () => {
		const { kernel } = healthy();
		kernel.files.delete("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
		kernel.directories.add("/sys/module/iommufd").add("/sys/class/misc/vfio");
		expect(find(kernel, "module vfio_iommu_type1").level).toBe("unknown");
	});
});

describe("node checks", () => {
	it("tell a container's node that may not be opened", () => {
		const { kernel } = healthy();
		kernel.nodes.set("/dev/vfio/vfio", () => kernel.fail(EACCES, "open", "/dev/vfio/vfio"));
		expect(find(kernel, "/dev/vfio/vfio")).toMatchObject({
			level: "problem",
			remedy: ["sudo chmod 0666 /dev/vfio/vfio"],
		});
	});

	it.each([
		[EACCES, /no permission/, /chown/],
		[EBUSY, /another process has/, /fuser/],
		[ENOENT, /is not there/, /--device \/dev\/vfio\/5/],
	])("tell a group's node that answers %i", (errno, text, remedy) => {
		const { kernel } = healthy();
		kernel.nodes.set("/dev/vfio/5", () => kernel.fail(errno, "open", "/dev/vfio/5"));
		const finding = findOf(kernel, NVME, "group node");
		expect(finding).toMatchObject({ level: "problem", text: expect.stringMatching(text) });
		expect(finding.remedy.join("\n")).toMatch(remedy);
	});

	it("do not mind a group that is in use when nobody asked for it", () => {
		const { kernel } = healthy();
		kernel.nodes.set("/dev/vfio/5", () => kernel.fail(EBUSY, "open", "/dev/vfio/5"));
		expect(find(kernel, "group node").level).toBe("warning");
	});

	it("say what another user than root needs, before the node is there", () => {
		const { kernel } = healthy([{ name: NVME, group: 5, driver: "nvme" }]);
		expect(findOf(kernel, NVME, "group node")).toMatchObject({
			level: "unknown",
			remedy: [expect.stringMatching(/chown "\$USER"/)],
		});
		kernel.files.set("/proc/self/status", "Uid:\t0\t0\t0\t0\n");
		expect(findOf(kernel, NVME, "group node").remedy).toEqual([]);
	});
});

describe("locked memory check", () => {
	const need = (kernel: FakeKernel, memory: bigint) => find(kernel, "locked memory", { memory, devices: [] });

	it("counts what is locked already", () => {
		const { kernel } = healthy();
		expect(need(kernel, 4n << 20n).level).toBe("ok");
		expect(need(kernel, (4n << 20n) + 4096n)).toMatchObject({
			level: "problem",
			text: "Too little for 4100 KiB of guest memory: RLIMIT_MEMLOCK is 8 MiB, of which 4 MiB are locked",
		});
	});

	it("is satisfied by CAP_IPC_LOCK", () => {
		const { kernel } = healthy();
		memlock(kernel, "8388608", "0000000000004000");
		expect(need(kernel, 4n << 30n)).toMatchObject({ level: "ok", text: expect.stringMatching(/CAP_IPC_LOCK/) });
	});

	it("does not trust CAP_IPC_LOCK in a user namespace", () => {
		const { kernel } = healthy();
		memlock(kernel, "8388608", "0000000000004000");
		kernel.files.set("/proc/self/uid_map", "         0       1000          1\n");
		expect(need(kernel, 4n << 30n).level).toBe("warning");
		kernel.files.set("/proc/self/uid_map", "         0          0 4294967295\n");
		expect(need(kernel, 4n << 30n).level).toBe("ok");
	});

	it("is satisfied by no limit", () => {
		const { kernel } = healthy();
		memlock(kernel, "unlimited");
		expect(need(kernel, 1n << 40n)).toMatchObject({ level: "ok", text: expect.stringMatching(/unlimited/) });
	});
});

describe("driver checks", () => {
	it("give the commands that bring a device to vfio-pci", () => {
		const { kernel } = healthy([{ name: NVME, group: 5, driver: "nvme" }]);
		expect(findOf(kernel, NVME, "driver")).toMatchObject({
			level: "problem",
			remedy: [
				`echo ${NVME} | sudo tee /sys/bus/pci/drivers/nvme/unbind`,
				`echo vfio-pci | sudo tee /sys/bus/pci/devices/${NVME}/driver_override`,
				`echo ${NVME} | sudo tee /sys/bus/pci/drivers/vfio-pci/bind`,
			],
		});
	});

	it("have the virtual functions removed first", () => {
		const { kernel } = healthy([{ name: NVME, group: 5, driver: "nvme" }]);
		kernel.files.set(`/sys/bus/pci/devices/${NVME}/sriov_numvfs`, "4\n");
		const finding = findOf(kernel, NVME, "driver");
		expect(finding.text).toContain("4 virtual functions");
		expect(finding.remedy[0]).toBe(`echo 0 | sudo tee /sys/bus/pci/devices/${NVME}/sriov_numvfs`);
	});

	it("tell an override that keeps vfio-pci away", () => {
		const { kernel } = healthy([{ name: NVME, group: 5, override: "pci-stub" }]);
		expect(findOf(kernel, NVME, "driver override")).toMatchObject({
			level: "warning",
			text: expect.stringMatching(/^Only pci-stub/),
		});
	});

	it("take a device without a group as it is", () => {
		const { kernel } = healthy([{ name: NVME, driver: "nvme" }]);
		expect(findOf(kernel, NVME, "IOMMU group")).toMatchObject({
			level: "problem",
			text: expect.stringMatching(/no IOMMU is on/),
		});
		expect(findOf(kernel, NVME, "driver")).toMatchObject({ level: "problem", remedy: [] });
	});
});

describe("IOMMU group check", () => {
	it("lists who is in the group", () => {
		const { kernel } = healthy([...NIC, { name: "0000:00:1c.0", group: 7, bridge: true, driver: "pcieport" }]);
		expect(findOf(kernel, "06:00.0", "IOMMU group")).toMatchObject({
			level: "ok",
			text: "Group 7, with 0000:00:1c.0 (bridge or port), 0000:06:00.1 (no driver)",
		});
	});

	it("names who is in the way, with the commands that mend it", () => {
		const { kernel } = healthy([...NIC, { name: "0000:06:00.2", group: 7, driver: "snd_hda_intel" }]);
		const finding = findOf(kernel, "06:00.0", "IOMMU group");
		expect(finding).toMatchObject({ level: "problem", text: expect.stringMatching(/: 0000:06:00\.2 must leave/) });
		expect(finding.remedy[0]).toBe("echo 0000:06:00.2 | sudo tee /sys/bus/pci/drivers/snd_hda_intel/unbind");
		expect(find(kernel, "IOMMU group").level).toBe("warning");
	});

	it("tells a group that VFIO made for want of an IOMMU", () => {
		const { kernel } = healthy();
		kernel.files.set("/sys/kernel/iommu_groups/5/name", "vfio-noiommu\n");
		expect(findOf(kernel, NVME, "IOMMU group").level).toBe("problem");
	});

	it("tells a device that the firmware keeps for itself", () => {
		const { kernel } = healthy();
		const regions = "/sys/kernel/iommu_groups/5/reserved_regions";
		const line = (start: string, end: string, kind: string) =>
			`0x${start.padStart(16, "0")} 0x${end.padStart(16, "0")} ${kind}\n`;
		const messages = line("fee00000", "feefffff", "msi");
		kernel.files.set(regions, messages);
		expect(examineHost(kernel).some(({ item }) => item === "reserved addresses")).toBe(false);
		kernel.files.set(regions, line("0", "ffffff", "direct-relaxable") + messages);
		expect(findOf(kernel, NVME, "reserved addresses")).toMatchObject({
			level: "ok",
			text: expect.stringMatching(/0x0-0xffffff/),
		});
		kernel.files.set(regions, line("bf7e4000", "bf7e7fff", "direct") + messages);
		expect(findOf(kernel, NVME, "reserved addresses")).toMatchObject({
			level: "problem",
			text: expect.stringMatching(/0xbf7e4000-0xbf7e7fff/),
		});
	});
});

describe("device checks", () => {
	const file = (name: string) => `/sys/bus/pci/devices/${NVME}/${name}`;

	it("tell a device that does not answer", () => {
		const { kernel } = healthy();
		kernel.files.set(file("config"), new Uint8Array(64).fill(0xff));
		expect(findOf(kernel, NVME, "device")).toMatchObject({
			level: "problem",
			text: expect.stringMatching(/does not answer/),
		});
	});

	it("tell a device that cannot be reset", () => {
		const { kernel } = healthy();
		kernel.files.set(file("reset_method"), "\n");
		expect(findOf(kernel, NVME, "reset")).toMatchObject({
			level: "warning",
			remedy: [expect.stringMatching(/echo default/)],
		});
		kernel.files.delete(file("reset_method"));
		expect(findOf(kernel, NVME, "reset")).toMatchObject({
			level: "warning",
			text: expect.stringMatching(/no way to reset/),
		});
		kernel.files.set(file("reset"), { write: () => {} });
		expect(findOf(kernel, NVME, "reset").level).toBe("ok");
	});

	it("do not believe in a bus reset that would hit others", () => {
		const { kernel } = healthy(NIC);
		kernel.files.set("/sys/bus/pci/devices/0000:06:00.0/reset_method", "bus\n");
		expect(findOf(kernel, "06:00.0", "reset")).toMatchObject({
			level: "warning",
			text: expect.stringMatching(/0000:06:00\.1 would be reset/),
		});
	});

	it("list the BARs, and those without an address", () => {
		const { kernel } = healthy();
		expect(findOf(kernel, NVME, "BARs")).toMatchObject({ level: "ok", text: "0: 16 KiB 64-bit memory" });
		kernel.files.set(file("resource"), "0x0000000000000000 0x00000003ffffffff 0x000000002014220c\n");
		expect(findOf(kernel, NVME, "BARs")).toMatchObject({
			level: "problem",
			text: expect.stringMatching(/no address was left for BAR 0/),
		});
		kernel.files.set(file("resource"), "0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
		expect(findOf(kernel, NVME, "BARs").level).toBe("warning");
	});
});
