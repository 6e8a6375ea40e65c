import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { bindGroup } from "../../core/host/bind.ts";
import { examineHost, type Finding } from "../../core/host/doctor.ts";
import { O_RDWR } from "../../core/uapi/fcntl.ts";
import { Host, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { main } from "../../runner/cli/main.ts";
import { parseSize } from "../../runner/cli/size.ts";
import type { DoctorReport } from "../../runner/commands/doctor.ts";

const PASTE = fileURLToPath(new URL("../fixtures/lspci/host.txt", import.meta.url));

async function doctor(...args: string[]): Promise<{ code: number; out: string; err: string }> {
	const out: string[] = [];
	const err: string[] = [];
	const code = await main(
		["doctor", ...args],
		{
			print: (line) => out.push(line),
			complain: (line) => err.push(line),
			interrupted: new AbortController().signal,
			readFile: (path) => readFileSync(path, "utf8"),
		},
		"0",
	);
	return { code, out: out.join("\n"), err: err.join("\n") };
}

const about = (findings: readonly Finding[], device: string, item: string) =>
	findings.find((finding) => finding.device === device && finding.item === item);

describe("doctor", () => {
	it("finds no problem on the host that comes with the program", async () => {
		const { code, out } = await doctor();
		expect(code).toBe(0);
		expect(out).toMatch(/^On the simulated host that comes with vfio-ts/);
		expect(out).toMatch(/\n {2}ok {7}IOMMU {2,}On: dmar0/);
		expect(out).toMatch(/\n0000:05:00\.0:\n/);
		expect(out).not.toMatch(/\n0000:00:08\.0:\n/);
		expect(out).toMatch(/\n0 problems, \d+ warnings?, \d+ unknown\.$/);
	});

	it("exits with 1 when a device that is asked for is with another driver", async () => {
		const { code, out } = await doctor("-device", "05:00.0");
		expect(code).toBe(1);
		expect(out).toMatch(/problem {2}driver +nvme has it/);
		expect(out).toContain("\n             echo 0000:05:00.0 | sudo tee /sys/bus/pci/drivers/nvme/unbind\n");
	});

	it("takes the device as other commands do, and prints data", async () => {
		const { code, out } = await doctor("-device", "vfio-pci,host=00:12.0", "--memory", "4G", "--json");
		const report = JSON.parse(out) as DoctorReport;
		expect(code).toBe(1);
		expect(report.memory).toBe(2 ** 32);
		expect(report.kernel).toContain("simulated Linux");
		expect(report.counts.problem).toBe(1);
		expect(about(report.findings, "0000:00:12.0", "ACS")).toMatchObject({ level: "warning" });
		expect(about(report.findings, "0000:00:12.0", "reset")).toMatchObject({ level: "warning" });
	});

	it("explains the groups of a pasted host", async () => {
		const { out } = await doctor("--host-file", PASTE, "--json");
		const { findings } = JSON.parse(out) as DoctorReport;
		expect(about(findings, "0000:05:00.0", "IOMMU group")?.text).toBe("Group 25, alone in it");
		expect(about(findings, "0000:0f:01.0", "ACS")?.text).toContain("bridge 0000:0e:00.0 leads to conventional PCI");
		expect(about(findings, "0000:00:12.0", "ACS")?.text).toContain("(0000:00:12.0, 0000:00:12.1)");
		expect(findings.some(({ device }) => device === "0000:00:08.0")).toBe(false);
	});

	it("names a device that does not exist", async () => {
		const { code, out } = await doctor("-device", "05:00.7");
		expect(code).toBe(1);
		expect(out).toContain("The nearest address on this host is 0000:05:00.0.");
	});

	it.each([
		[["--memory", "lots"], 2, '--memory" takes a size such as 16M or 4G, not "lots"'],
		[["-device", "vfio-usb,host=05:00.0"], 2, 'Cannot use device "vfio-usb"'],
		[["-device", "nvme0"], 2, 'Cannot use "nvme0" as a PCI address'],
		[["05:00.0"], 2, 'takes no words, such as "05:00.0": a device is named by -device'],
	])("refuses %j", async (args, code, text) => {
		const result = await doctor(...args);
		expect(result.code).toBe(code);
		expect(result.err).toContain(text);
	});

	it("runs on this machine's kernel, whatever it has", async () => {
		const { code, out } = await doctor("--kernel", "linux", "--json");
		const { findings } = JSON.parse(out) as DoctorReport;
		expect(findings.find(({ item }) => item === "IOMMU")).toBeDefined();
		expect(code).toBe(findings.some(({ level }) => level === "problem") ? 1 : 0);
	});
});

describe("examineHost() on the simulated Linux", () => {
	const NVME = "0000:05:00.0";

	it("is satisfied once the group is with vfio-pci, and leaves nothing open", () => {
		const linux = new SimulatedLinux({ host: Host.reference() });
		const kernel = linux.process();
		const group = bindGroup(kernel, NVME);
		const findings = examineHost(kernel, { devices: [NVME] });
		expect(findings.filter(({ level, device }) => level !== "ok" && device)).toEqual([]);
		expect(about(findings, NVME, "group node")?.text).toContain(`/dev/vfio/${group.group}`);
		expect(linux.leaks().openFiles).toBe(0);
	});

	it("tells what an ordinary user may not", () => {
		const linux = new SimulatedLinux({ host: Host.reference() });
		const group = bindGroup(linux.process(), NVME);
		const user = linux.process({ uid: 1000, memlock: 8 << 20 });
		const findings = examineHost(user, { devices: [NVME, "00:12.0"] });
		expect(findings.find(({ item }) => item === "locked memory")).toMatchObject({ level: "problem" });
		expect(about(findings, NVME, "group node")).toMatchObject({
			level: "problem",
			remedy: [expect.stringMatching(/chown/), expect.stringMatching(/udev/)],
		});
		expect(about(findings, "0000:00:12.0", "ACS")?.level).toBe("unknown");
		linux.chown(`/dev/vfio/${group.group}`, 1000);
		expect(about(examineHost(user, { devices: [NVME] }), NVME, "group node")?.level).toBe("ok");
	});

	it("tells a group that another process has open", () => {
		const linux = new SimulatedLinux({ host: Host.reference() });
		const kernel = linux.process();
		const group = bindGroup(kernel, NVME);
		const other = linux.process();
		const fd = other.open(`/dev/vfio/${group.group}`, O_RDWR);
		expect(about(examineHost(kernel, { devices: [NVME] }), NVME, "group node")).toMatchObject({
			level: "problem",
			text: expect.stringMatching(/another process has/),
		});
		other.close(fd);
	});
});

describe("parseSize()", () => {
	it.each([
		["4096", 4096],
		["16M", 2 ** 24],
		["4g", 2 ** 32],
		["2GiB", 2 ** 31],
	])("reads %s", (text, bytes) => {
		expect(parseSize("memory", text)).toBe(bytes);
	});

	it.each(["", "0", "-1", "4X", "1.5G", "9999999T"])("refuses %j", (text) => {
		expect(() => parseSize("memory", text)).toThrow("takes a size");
	});
});
