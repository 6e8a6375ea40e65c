/**
 * Other kinds of devices and other ways to them: mediated devices by their path in sysfs, devices whose descriptors were
 * passed to a process without privileges, iommufd. What a kernel does not have is skipped, with the reason.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { Mdev, mdevDevices, mdevTypes } from "../../../core/host/mdev.ts";
import { Iommufd } from "../../../core/iommu/iommufd.ts";
import { Releases } from "../../../core/release.ts";
import { MAP_SHARED, PROT_READ } from "../../../core/uapi/fcntl.ts";
import { VFIO_PCI_MSI_IRQ_INDEX } from "../../../core/uapi/vfio.ts";
import { LinuxKernel } from "../../../kernel-linux/mod.ts";
import { main } from "../../../runner/cli/main.ts";
import { type Attached, attachOpened, BACKENDS, type Backend } from "../../attach/scripted-guest.ts";
import { notGivenBack, processState } from "./process-state.ts";
import { Tally } from "./tally.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const EDU = "0000:01:00.0";
const NVME = "0000:06:00.0";
const RAM = 1 << 20;
/** Milliseconds for anything to happen under emulation. */
const PATIENCE = 10_000;

const kernel = new LinuxKernel();
const tally = new Tally();

/** Why a way to map memory cannot be taken here. */
function missing(backend: Backend): string | undefined {
	const node = backend === "type1" ? "/dev/vfio/vfio" : "/dev/iommu";
	return existsSync(node) ? undefined : `this kernel has no ${node}`;
}

/** Creates a device of a type, gives it to a guest, lets that use it, takes it away and removes it. */
async function mediated(
	type: string,
	backend: Backend,
	use: (attached: Attached, problems: string[]) => Promise<string>,
): Promise<void> {
	const name = `${type} by sysfsdev, ${backend}`;
	const parent = type.slice(0, type.indexOf("-"));
	if (!mdevTypes(kernel).some(({ id }) => id === type)) return tally.skip(name, `this kernel has no ${parent}`);
	const reason = missing(backend);
	if (reason !== undefined) return tally.skip(name, reason);
	const before = processState();
	const problems: string[] = [];
	let details = "";
	const releases = new Releases();
	try {
		const mdev = releases.use(Mdev.create(kernel, { uuid: UUID, type }));
		const iommufd = backend === "iommufd" ? releases.use(Iommufd.open(kernel)) : undefined;
		const attached = releases.use(
			attachOpened(kernel, RAM, (memory) =>
				VfioDevice.open(
					kernel,
					{ sysfsdev: mdev.path },
					{ addressSpace: new IoAddressSpace(kernel, { memory, ...(iommufd ? { iommufd } : {}) }) },
				),
			),
		);
		if (attached.device.name !== UUID) problems.push(`it is called ${attached.device.name}`);
		details = await use(attached, problems);
	} catch (error) {
		problems.push((error as Error).message);
	}
	try {
		releases[Symbol.dispose]();
	} catch (error) {
		problems.push(`giving back: ${(error as Error).message}`);
	}
	if (mdevDevices(kernel).length > 0) problems.push("the device was not removed");
	problems.push(...notGivenBack(before, processState()).map((what) => `not given back: ${what}`));
	tally.add(name, problems, details);
}

/** A driver of the UART, through the ports that a guest sees. */
async function useSerialPort({ fn, device, pins }: Attached, problems: string[]): Promise<string> {
	const until = async (happened: () => boolean, problem: string) => {
		for (const end = Date.now() + PATIENCE; !happened(); await delay(1))
			if (Date.now() > end) return void problems.push(problem);
	};
	const receive = () => {
		const bytes: number[] = [];
		while ((fn.barRead(0, 5, 1) & 1) !== 0 && bytes.length < 16) bytes.push(fn.barRead(0, 0, 1));
		return String.fromCharCode(...bytes);
	};
	const send = (text: string) => {
		for (const character of text) fn.barWrite(0, 0, 1, character.charCodeAt(0));
	};
	const expectText = (text: string) => {
		const arrived = receive();
		if (arrived !== text) problems.push(`"${arrived}" came back instead of "${text}"`);
	};
	fn.configWrite(0x10, 4, 0xc000);
	fn.configWrite(4, 2, 1);
	send("hello");
	expectText("hello");
	// Without its FIFO the port never says that something has arrived.
	fn.barWrite(0, 2, 1, 1);
	fn.barWrite(0, 1, 1, 1);
	for (let round = 1; round <= 2; round++) {
		send(`INTx ${round}`);
		await until(() => pins.length === 2 * round - 1, `INTx ${round} did not arrive`);
		expectText(`INTx ${round}`);
		fn.endOfInterrupt(1);
	}
	if (String(pins) !== "true,false,true,false") problems.push(`the pin went ${pins}`);
	// MSI, which its configuration space does not show, is there for a driver in user space.
	fn.unplug();
	const event = kernel.eventfd();
	let signals = 0;
	const watch = kernel.watch(event, (count) => {
		signals += count;
	});
	device.setEventfd(VFIO_PCI_MSI_IRQ_INDEX, 0, event);
	device.writeRegion(0, 0, 1, 0x4d);
	await until(() => signals === 1, "MSI did not arrive");
	if (device.readRegion(0, 0, 1) !== 0x4d) problems.push("the byte of the MSI did not come back");
	device.disableIrq(VFIO_PCI_MSI_IRQ_INDEX);
	watch[Symbol.dispose]();
	kernel.close(event);
	return "UART loopback, 2 INTx, 1 MSI";
}

/** A frame buffer: mapped into the guest, and the same bytes through the device's file. */
async function useDisplay({ fn, device }: Attached, problems: string[]): Promise<string> {
	fn.configWrite(0x10, 4, 0xe0000000);
	fn.configWrite(4, 2, 2);
	const [area] = fn.directAreas(0);
	if (!area) {
		problems.push("its frame buffer is not mapped");
		return "";
	}
	const size = area.end - area.start;
	for (let offset = 0; offset < size; offset += 4096) area.mapping.write(area.mappingOffset + offset, 4, offset + 1);
	// Through its file, mdpy answers every access with the first bytes of its memory; a second mapping sees all of it.
	const again = kernel.mmap(device.fd, size, PROT_READ, MAP_SHARED, device.region(0).offset);
	let wrong = 0;
	for (let offset = 0; offset < size; offset += 4096) if (again.read(offset, 4) !== offset + 1) wrong++;
	again[Symbol.dispose]();
	if (wrong > 0) problems.push(`${wrong} of ${size / 4096} pages read something else`);
	if (device.readRegion(0, 0, 4) !== 1) problems.push("the first bytes are not in the file");
	fn.barWrite(0, 8, 4, 0xdeadbeef);
	if (fn.barRead(0, 8, 4) !== 0xdeadbeef) problems.push("the guest reads something else than it has written");
	return `${size >> 10} KiB of frame buffer mapped, written and read`;
}

/** What has a process of its own: its lines, and what it found. */
function job(name: string): void {
	const script = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
	const { status, stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, script], { encoding: "utf8" });
	const lines = stdout.split("\n").filter((line) => line !== "");
	tally.include(lines.slice(0, -1));
	const summary = /^(\d+) passed, (\d+) failed$/.exec(lines.at(-1) ?? "");
	if (!summary || status !== Number(Number(summary[2]) > 0))
		tally.add(name, [`it ended with ${status}`, ...stderr.split("\n").slice(0, 10)]);
}

/** `vfio-ts run` on a device, its memory mapped by iommufd. */
async function mainJobByIommufd(address: string): Promise<void> {
	const name = `the main job on ${address}, iommufd`;
	const reason = missing("iommufd");
	if (reason !== undefined) return tally.skip(name, reason);
	const before = processState();
	const lines: string[] = [];
	const words = ["-object", "iommufd,id=dma", "-device", `vfio-pci,host=${address},iommufd=dma`, "--json"];
	const code = await main(
		["run", "--kernel", "linux", ...words],
		{
			print: (line) => lines.push(line),
			complain: (line) => console.error(line),
			interrupted: new AbortController().signal,
			readFile: () => "",
		},
		"lab",
	);
	const problems = notGivenBack(before, processState()).map((what) => `not given back: ${what}`);
	const printed = lines.join("\n");
	const report = printed.startsWith("{") ? JSON.parse(printed) : undefined;
	if (code !== 0 || !report?.passed)
		problems.push(`vfio-ts run ended with ${code}`, report?.outcome?.reason ?? printed);
	const calls = Object.keys(report?.calls ?? {});
	if (!calls.includes("IOMMU_IOAS_MAP")) problems.push(`no memory was mapped by iommufd: ${calls.join(", ")}`);
	tally.add(name, problems, JSON.stringify(report?.results ?? {}));
}

for (const backend of BACKENDS) await mediated("mtty-2", backend, useSerialPort);
for (const backend of BACKENDS) await mediated("mdpy-xga", backend, useDisplay);
job("passed-descriptors");
for (const address of [EDU, NVME]) await mainJobByIommufd(address);
tally.skip("no-IOMMU mode", "every device of the lab's host has an IOMMU above it");
process.exitCode = tally.finish();
