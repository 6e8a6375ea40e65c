import { describe, expect, it } from "vitest";
import * as uapi from "../../../core/uapi/vfio.ts";
import { Host, type ReferenceHostOptions } from "../../../kernel-sim/host.ts";
import { SimulatedLinux } from "../../../kernel-sim/linux/linux.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";
import { attach, boot, deviceFd, NVME, sysfs, text } from "./support.ts";

// Names and columns are those of a real Linux 6.12, where there are more lines and two processors.

const UNIT = "/sys/class/iommu/dmar0";

function setIrqs(kernel: SimProcess, fd: number, index: number, events: readonly number[], none = false): void {
	const set = uapi.vfio_irq_set.create(4 * events.length);
	Object.assign(set, { argsz: set.bytes.length, index, start: 0, count: events.length });
	set.flags = (none ? uapi.VFIO_IRQ_SET_DATA_NONE : uapi.VFIO_IRQ_SET_DATA_EVENTFD) | uapi.VFIO_IRQ_SET_ACTION_TRIGGER;
	new Uint8Array(set.bytes.buffer).set(new Uint8Array(Int32Array.from(events).buffer), uapi.vfio_irq_set.size);
	kernel.ioctl(fd, uapi.VFIO_DEVICE_SET_IRQS, set.bytes);
}

function lines(kernel: SimProcess, pattern: RegExp): string[] {
	return text(kernel, "/proc/interrupts")
		.split("\n")
		.filter((line) => pattern.test(line));
}

/** The reference host's NVMe controller, opened. */
function opened(machine: ReferenceHostOptions = {}, parameters = {}) {
	const linux = boot({ machine, parameters });
	const kernel = linux.process();
	const { group } = attach(kernel);
	return { linux, kernel, fd: deviceFd(kernel, group, NVME) };
}

describe("/proc/interrupts", () => {
	it("has the ports and the IOMMU, and the names of vfio's MSI-X vectors that lead somewhere", () => {
		const { kernel, fd } = opened();
		expect(text(kernel, "/proc/interrupts").split("\n")[0]).toBe("           CPU0       ");
		expect(lines(kernel, /dmar0/)).toEqual([" 24:          0  DMAR-MSI   0-edge      dmar0"]);
		expect(lines(kernel, /08\.4/)).toEqual([
			expect.stringMatching(/^ 29: {10}0 {2}IR-PCI-MSIX?-0000:00:08\.4 {3}0-edge {6}PCIe PME/),
		]);
		expect(lines(kernel, /vfio/)).toEqual([]);
		setIrqs(kernel, fd, uapi.VFIO_PCI_MSIX_IRQ_INDEX, [kernel.eventfd(), -1, kernel.eventfd()]);
		expect(lines(kernel, /vfio/)).toEqual([
			` 31:          0  IR-PCI-MSIX-${NVME}   0-edge      vfio-msix[0](${NVME})`,
			` 33:          0  IR-PCI-MSIX-${NVME}   2-edge      vfio-msix[2](${NVME})`,
		]);
		setIrqs(kernel, fd, uapi.VFIO_PCI_MSIX_IRQ_INDEX, [], true);
		expect(lines(kernel, /vfio/)).toEqual([]);
	});

	it("counts what came, and sysfs irq is the message of MSI and the line otherwise", () => {
		const { linux, kernel, fd } = opened({ interrupts: "msi" });
		const line = text(kernel, sysfs(NVME, "irq"));
		setIrqs(kernel, fd, uapi.VFIO_PCI_INTX_IRQ_INDEX, [kernel.eventfd()]);
		expect(lines(kernel, /vfio/)).toEqual([
			` ${line.trim()}:          0  IR-IO-APIC  ${line.trim()}-fasteoi   vfio-intx(${NVME})`,
		]);
		expect(text(kernel, sysfs(NVME, "irq"))).toBe(line);
		setIrqs(kernel, fd, uapi.VFIO_PCI_INTX_IRQ_INDEX, [], true);
		setIrqs(kernel, fd, uapi.VFIO_PCI_MSI_IRQ_INDEX, [kernel.eventfd()]);
		// COMMAND: memory and bus master, or nothing leaves the device.
		kernel.pwrite(fd, Uint8Array.of(6, 0), 7 * 2 ** 40 + 4);
		linux.machine.function(NVME)?.signal(0);
		expect(lines(kernel, /vfio/)).toEqual([` 31:          1  IR-PCI-MSI-${NVME}   0-edge      vfio-msi[0](${NVME})`]);
		expect(text(kernel, sysfs(NVME, "irq"))).toBe("31\n");
	});

	it("names the chips without IR- where interrupts are not remapped, and ECAP.IR is 0", () => {
		const unsafe = { vfio_iommu_type1: { allow_unsafe_interrupts: true } };
		const { kernel, fd } = opened({ interruptRemapping: false }, unsafe);
		setIrqs(kernel, fd, uapi.VFIO_PCI_MSIX_IRQ_INDEX, [kernel.eventfd()]);
		expect(lines(kernel, /vfio/)).toEqual([` 31:          0  PCI-MSIX-${NVME}   0-edge      vfio-msix[0](${NVME})`]);
		expect(lines(kernel, /IR-/)).toEqual([]);
		expect(text(kernel, `${UNIT}/intel-iommu/ecap`)).toBe("f00f42\n");
	});

	it("has no IOMMU's line without one", () => {
		const kernel = new SimulatedLinux({ host: Host.reference({ iommu: false }) }).process();
		expect(lines(kernel, /dmar/)).toEqual([]);
		expect(kernel.readDirectory("/sys/class/iommu")).toEqual([]);
	});
});

describe("/sys/class/iommu/dmar0", () => {
	it("has the registers of the lab's IOMMU, and its devices", () => {
		const kernel = boot().process();
		const files = ["version", "address", "cap", "ecap", "domains_supported"];
		const values = files.map((file) => text(kernel, `${UNIT}/intel-iommu/${file}`).trim());
		expect(values).toEqual(["1:0", "fed90000", "d2008c222f0686", "f00f4a", "65536"]);
		expect(kernel.readDirectory(`${UNIT}/devices`)).toContain(NVME);
		expect(kernel.readLink(`${UNIT}/subsystem`)).toBe("../../../../class/iommu");
		expect(kernel.readLink(UNIT)).toBe("../../devices/virtual/iommu/dmar0");
	});

	it("counts a domain for each group, and one for all groups of a container", () => {
		const kernel = boot().process();
		const used = () => Number(text(kernel, `${UNIT}/intel-iommu/domains_used`));
		const before = used();
		expect(before).toBe(kernel.readDirectory("/sys/kernel/iommu_groups").length + 2);
		attach(kernel);
		expect(used()).toBe(before);
	});

	it.each([
		[39, "d2008c22260286"],
		[57, "d2008c22380e86"],
	])("CAP says how wide addresses are: %i bits", (addressWidth, cap) => {
		const kernel = boot({ machine: { addressWidth } }).process();
		expect(text(kernel, `${UNIT}/intel-iommu/cap`)).toBe(`${cap}\n`);
	});
});

it("/proc/self/uid_map is that of the first user namespace", () => {
	const kernel = boot().process({ uid: 1000 });
	expect(text(kernel, "/proc/self/uid_map")).toBe("         0          0 4294967295\n");
	expect(kernel.readDirectory("/proc/self")).toContain("uid_map");
});
