import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Host, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { DEVICE_KEYS, parseDeviceOption } from "../../../runner/cli/device-option.ts";
import { ROOT_PORT_KEYS } from "../../../runner/cli/root-port-option.ts";
import { HostClock } from "../../../runner/host-clock.ts";
import { runMainJob } from "../../../runner/main-job.ts";
import { cli, paste } from "./cli.ts";

const HOST = { "host.txt": paste("host.txt") };

async function runData(args: readonly string[], files = HOST) {
	const ended = await cli(["run", "--json", ...args], { files });
	return { ...ended, data: JSON.parse(ended.out) };
}

describe("vfio-ts run", () => {
	it.each([
		["msix", ["msix"], 3],
		["msi", ["msi"], 1],
		["intx", ["intx"], 1],
	])("lets the guest use NVMe with --interrupt %s", async (kind, [mode], vectors) => {
		const { code, data } = await runData(["--interrupt", kind]);
		expect(code).toBe(0);
		expect(data.passed).toBe(true);
		expect(data.leaked).toEqual([]);
		expect(data.faults).toEqual([]);
		const [device] = data.devices;
		expect(device.interruptMode).toBe(mode);
		expect(device.interrupts).toHaveLength(vectors);
		for (const count of device.interrupts) expect(count).toBeGreaterThan(0);
		// The guest counted as many as were delivered.
		expect(device.interrupts.reduce((sum: number, count: number) => sum + count, 0)).toBe(
			Number(data.results["nvme0.interrupts"]),
		);
		// 256 blocks of 512 bytes, read in four ways.
		expect(data.dma[0].written).toBeGreaterThan(4 * 256 * 512);
		expect(data.calls.VFIO_IOMMU_MAP_DMA).toBe(data.mappings.length);
		expect(data.calls.VFIO_IOMMU_UNMAP_DMA).toBe(data.mappings.length);
	});

	it("says what it does, and ends with one line", async () => {
		const { code, out } = await cli(["run"]);
		expect(code).toBe(0);
		for (const expected of [
			"group 10: 0000:05:00.0 goes from nvme to vfio-pci",
			"BAR 0: 16 KiB, 64-bit memory",
			"0x02000-0x02fff trapped MSI-X table",
			"DMA: IOVA 0x0",
			"guest| NVMe controller 0",
			"interrupts by MSI-X (vector 0:",
			"not given back: nothing",
			"VFIO_DEVICE_SET_IRQS",
		])
			expect(out).toContain(expected);
		expect(out.split("\n").at(-1)).toMatch(/^PASS: the guest used 1 device with \d+ interrupts in \d+\.\d\d s$/);
	});

	it("--quiet prints the last line only", async () => {
		const { out } = await cli(["run", "--quiet"]);
		expect(out).toMatch(/^PASS: [^\n]*$/);
	});

	it("--trace decodes the calls it names, and only those", async () => {
		const { out } = await cli(["run", "--trace", "VFIO_IOMMU_*"]);
		expect(out).toMatch(
			/VFIO_IOMMU_MAP_DMA\(\/dev\/vfio\/vfio, \{argsz: 32, flags: READ\|WRITE, vaddr: 0x\w+, iova: 0x0, size: 0xa0000\}\) = 0/,
		);
		expect(out).not.toMatch(/VFIO_DEVICE_GET_INFO\(/);
	});

	it.each(["0000:05:00.0", "06:00.0"])("T-01 works with the NVMe controller %s of a pasted host", async (address) => {
		const { code, data } = await runData(["--host-file", "host.txt", "-device", `vfio-pci,host=${address}`]);
		expect(code).toBe(0);
		expect(data.results["nvme0.interrupt"]).toBe("msix");
		expect(data.leaked).toEqual([]);
	});

	it.each(["msi", "intx"])("drives a pasted host's edu with --interrupt %s", async (kind) => {
		const { code, data } = await runData([
			"--host-file",
			"host.txt",
			"-device",
			"vfio-pci,host=01:00.0",
			"--interrupt",
			kind,
		]);
		expect(code).toBe(0);
		expect(data.devices[0].interruptMode).toBe(kind);
	});

	it("assigns several devices, in one container and at the places they were given", async () => {
		const { code, data } = await runData([
			...["-device", "vfio-pci,host=05:00.0,id=disk,addr=0x4"],
			...["-device", "vfio-pci,host=06:00.0,addr=5"],
			...["-device", "vfio-pci,host=01:00.0"],
		]);
		expect(code).toBe(0);
		expect(data.results.driven).toBe("3");
		expect(data.devices.map((device: { guestSlot: string }) => device.guestSlot)).toEqual(["04.0", "05.0", "02.0"]);
		expect(data.devices[0].id).toBe("disk");
		expect(data.calls.VFIO_SET_IOMMU).toBe(1);
		expect(data.leaked).toEqual([]);
	});

	it("reads the blocks of a disk in a file, and leaves the file as it was", async () => {
		const folder = mkdtempSync(join(tmpdir(), "vfio-ts-"));
		try {
			const file = join(folder, "disk.img");
			const content = Uint8Array.from({ length: 1 << 20 }, (_, at) => (at * 7 + (at >> 9)) & 0xff);
			writeFileSync(file, content);
			const { code, data } = await runData(["--disk", file, "--blocks", "300"]);
			expect(code).toBe(0);
			expect(data.results["nvme0.read.blocks"]).toBe("300");
			expect(Buffer.compare(readFileSync(file), content)).toBe(0);
		} finally {
			rmSync(folder, { recursive: true });
		}
	});

	it("gives everything back when it is interrupted in the middle", async () => {
		const interrupt = new AbortController();
		const { code, out, err } = await cli(["run", "--blocks", "20000"], {
			interrupted: interrupt.signal,
			onLine: (line) => line.includes("guest| NVMe controller") && interrupt.abort(),
		});
		expect(err).toBe("");
		expect(code).toBe(130);
		expect(out).toContain("not given back: nothing");
		expect(out.split("\n").at(-1)).toMatch(/^STOPPED: /);
	});

	it("fails when the guest does not end in time, and gives everything back", async () => {
		const clock = new HostClock();
		const linux = new SimulatedLinux({ host: Host.reference(), clock });
		try {
			const report = await runMainJob({
				kernel: linux.process(),
				devices: [parseDeviceOption("vfio-pci,host=05:00.0")],
				commandLine: "interrupt=intx blocks=100000",
				timeLimit: 1, // no machine reads 100000 blocks in four ways within that
			});
			expect([report.passed, report.outcome.kind]).toEqual([false, "timeout"]);
			expect(report.outcome.reason).toBe("it was still running after 1 ms");
		} finally {
			clock.stop();
		}
		expect(Object.values(linux.leaks()).filter((count) => count !== 0)).toEqual([]);
	});
});

describe("vfio-ts run refuses", () => {
	it.each([
		["an address that does not exist", ["-device", "vfio-pci,host=77:00.0"], 1, "Cannot find device 0000:77:00.0"],
		["a malformed address", ["-device", "vfio-pci,host=banana"], 2, 'Cannot use "banana" as a PCI address'],
		["a bridge", ["-device", "vfio-pci,host=00:08.0"], 1, "it is a bridge or a port"],
		["the same device twice", ["-device", "vfio-pci,host=05:00.0", "-device", "vfio-pci,host=05:00.0"], 1, "already"],
		["a slot of the PC's own", ["-device", "vfio-pci,host=05:00.0,addr=1"], 1, "ISA bridge"],
		["a bus that does not exist", ["-device", "vfio-pci,host=05:00.0,bus=pcie.9"], 2, 'Cannot use bus "pcie.9"'],
		["an unknown option", ["--interupt", "msi"], 2, 'did you mean "--interrupt"?'],
		["an unknown kind of interrupt", ["--interrupt", "nmi"], 2, 'takes msix, msi, intx, not "nmi"'],
		["no blocks", ["--blocks", "0"], 2, "takes a whole number from 1"],
		["a disk that is not there", ["--disk", "/nonexistent/disk.img"], 1, 'Cannot open disk "/nonexistent/disk.img"'],
		["a host file that is not there", ["--host-file", "/nonexistent"], 1, 'Cannot read host file "/nonexistent"'],
		["a host file with a real kernel", ["--host-file", "x", "--kernel", "linux"], 2, "does not go with --kernel linux"],
		["words", ["05:00.0"], 2, 'takes no words, such as "05:00.0"'],
		["to choose a device of a real host", ["--kernel", "linux"], 2, "With --kernel, run needs a device"],
		["to choose a device of a board", ["--board"], 2, "With --board, run needs a device"],
		["a property's wrong value", ["-device", "vfio-pci,host=05:00.0,x-msix-relocation=bar9"], 2, 'Cannot use "bar9"'],
		["an address that is no slot", ["-device", "vfio-pci,host=05:00.0,addr=0x40"], 2, "slot.function, such as 5"],
		["a trace of nonsense", ["--trace", "a b"], 2, 'Option "--trace" takes names'],
	])("%s", async (_what, args, code, message) => {
		const ended = await cli(["run", ...args]);
		expect(ended.err).toContain(message);
		expect(ended.err).not.toContain("not given back");
		expect(ended.code).toBe(code);
	});

	it("a truncated paste, naming the line", async () => {
		const whole = paste("nvme.txt").split("\n");
		const row = whole.findIndex((line) => line.startsWith("20: "));
		const files = { "cut.txt": [...whole.slice(0, row), (whole[row] ?? "").slice(0, 20)].join("\n") };
		const ended = await cli(["run", "--host-file", "cut.txt"], { files });
		expect(ended.code).toBe(1);
		expect(ended.err).toContain(`line ${row + 1}`);
	});
});

describe("vfio-ts", () => {
	it.each([[[]], [["--help"]], [["-h"]], [["help"]]])("prints the help for %j", async (args) => {
		const { code, out } = await cli(args);
		expect(code).toBe(0);
		for (const command of ["run", "plan", "list", "bind", "unbind"]) expect(out).toContain(`  ${command}`);
	});

	it("describes a command", async () => {
		for (const args of [
			["run", "--help"],
			["help", "run"],
			["run", "-h"],
		])
			expect((await cli(args)).out).toContain("--interrupt msix|msi|intx");
	});

	it.each(["run", "plan", "qtest"])("help of %s names each property of -device, in lines that fit", async (command) => {
		const { out } = await cli([command, "--help"]);
		const names = [...Object.values(DEVICE_KEYS).flat(), ...ROOT_PORT_KEYS];
		expect(names.filter((name) => !new RegExp(`[ ,]${name}[=, ]`).test(out.replaceAll("\n", " ")))).toEqual([]);
		const [options = ""] = out.split("\n\n").filter((section) => section.startsWith("Options:"));
		expect(Math.max(...options.split("\n").map((line) => line.length))).toBeLessThanOrEqual(120);
	});

	it("help of what is no command names the nearest one", async () => {
		const { code, err } = await cli(["help", "dcotor"]);
		expect([code, err]).toEqual([2, expect.stringContaining('did you mean "doctor"?')]);
	});

	it("names the nearest command", async () => {
		const { code, err } = await cli(["plna"]);
		expect(code).toBe(2);
		expect(err).toContain('did you mean "plan"?');
	});
});
