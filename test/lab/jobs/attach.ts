/**
 * Every endpoint of the lab's host through the core, as a VMM would have it: bound, opened, guest memory mapped, plugged in;
 * its config space read, its BARs sized and placed, its interrupts enabled and fired; reset and given back, with nothing
 * left. edu interrupts and moves data by itself; the interrupts of the others are fired by VFIO's self-test.
 */
import { execFileSync } from "node:child_process";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import { groupMembers, groupOf } from "../../../core/host/groups.ts";
import { PciSysfs } from "../../../core/host/sysfs.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { Releases } from "../../../core/release.ts";
import { VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX } from "../../../core/uapi/vfio.ts";
import { LinuxKernel } from "../../../kernel-linux/mod.ts";
import { type Attached, attach, FixedMemory } from "../../attach/scripted-guest.ts";
import { EDU_ID, EduRegisters } from "./edu.ts";
import { GuestDriver } from "./guest-driver.ts";
import { openedAgain } from "./opened-again.ts";
import { notGivenBack, processState } from "./process-state.ts";
import { Tally } from "./tally.ts";

/** The endpoints of the lab's topology, but for the two that carry its own file systems. */
const ENDPOINTS = [
	...["01", "02", "03", "04", "05", "06", "07", "08", "09", "0a", "0b", "0c", "0d"].map((bus) => `0000:${bus}:00.0`),
	...["0000:0f:01.0", "0000:0f:02.0", "0000:00:10.0", "0000:00:11.0", "0000:00:12.0", "0000:00:12.1"],
];
const MEMORY_SIZE = 4 << 20;
/** Nothing is mapped there, and edu reaches it: its DMA has 28 address bits. */
const UNMAPPED = 0x0a00_0000;
/** The first two bytes of an expansion ROM (PCI Firmware Specification). */
const ROM_SIGNATURE = 0xaa55;
/** Milliseconds for anything to happen under emulation. */
const PATIENCE = 10_000;

const kernel = new LinuxKernel();
const pci = new PciSysfs(kernel);

async function until(happened: () => boolean): Promise<boolean> {
	for (const end = Date.now() + PATIENCE; !happened(); await delay(1)) if (Date.now() > end) return false;
	return true;
}

/** What is seen of a device, and what is wrong with it. */
class Findings {
	readonly problems: string[] = [];
	readonly seen: string[] = [];

	expect(right: boolean, problem: string): void {
		if (!right) this.problems.push(problem);
	}
}

function checkConfig({ fn }: Attached, address: string, findings: Findings): number {
	const id = fn.configRead(0, 4);
	const { vendor, device } = pci.ids(address);
	findings.expect(id === ((device << 16) | vendor) >>> 0, `config space says ${id.toString(16)}, sysfs something else`);
	for (let offset = 0; offset < 4096; offset += 4) fn.configRead(offset, 4);
	return id;
}

function checkBars({ fn, device }: Attached, guest: GuestDriver, findings: Findings): void {
	const bars = guest.placeBars();
	for (const { index, size, kind } of bars) {
		const region = device.region(index);
		findings.expect(size === region.size, `BAR ${index} has ${region.size} bytes, the guest sized ${size}`);
		findings.expect(fn.bar(index)?.kind === kind, `BAR ${index} is ${fn.bar(index)?.kind}, the guest found ${kind}`);
		const areas = fn.plan.bars.find((bar) => bar.index === index)?.areas ?? [];
		const planned = areas.filter(({ access }) => access === "mmap").length;
		const mapped = fn.directAreas(index).length;
		findings.expect(mapped === planned, `BAR ${index} has ${planned} areas to map, and ${mapped} are`);
		// A table that leaves no page of its BAR free is why nothing of a mappable region is mapped.
		const table = areas.some(({ reason }) => reason === "MSI-X table");
		findings.expect(mapped > 0 === region.mappable || table, `BAR ${index} is ${mapped ? "" : "not "}mapped`);
		fn.barRead(index, 0, 4);
	}
	if (fn.bar(6)) {
		findings.expect(fn.barRead(6, 0, 2) === ROM_SIGNATURE, "its ROM does not begin with the signature");
		findings.seen.push("ROM");
	}
	const all = device.regionCount > 0 ? [0, 1, 2, 3, 4, 5].filter((index) => device.region(index).size > 0) : [];
	findings.expect(all.length === bars.length, `it has BARs ${all}, the guest found ${bars.map(({ index }) => index)}`);
	findings.seen.push(bars.length === 1 ? "1 BAR" : `${bars.length} BARs`);
}

async function checkIntx(attached: Attached, edu: EduRegisters | undefined, findings: Findings): Promise<void> {
	const { device, fn, pins } = attached;
	if (device.irq(VFIO_PCI_INTX_IRQ_INDEX).count === 0 || fn.interruptMode !== "intx") return;
	for (let round = 0; round < 3; round++) {
		pins.length = 0;
		if (edu) edu.raise();
		else device.triggerIrq(VFIO_PCI_INTX_IRQ_INDEX);
		findings.expect(await until(() => pins.at(-1) === true), `INTx ${round} did not arrive`);
		// The guest serves it, and with that access ends it.
		if (edu) edu.acknowledge();
		else touchRegister(attached);
		findings.expect(pins.at(-1) === false, `INTx ${round} did not end`);
	}
	findings.seen.push(edu ? "INTx" : "INTx (self-test)");
}

/** Any access to the device's own registers; the MSI-X table is not among them. */
function touchRegister({ fn }: Attached): void {
	for (const { index, areas } of fn.plan.bars) {
		const area = areas.find(({ reason }) => !reason.startsWith("MSI-X"));
		if (index < 6 && area) {
			fn.barRead(index, area.start, 4);
			return;
		}
	}
}

async function checkMsi(
	attached: Attached,
	guest: GuestDriver,
	edu: EduRegisters | undefined,
	findings: Findings,
): Promise<void> {
	const { device, messages } = attached;
	const message = guest.enableMsi(0x4321);
	if (!message) return;
	for (let round = 0; round < 3; round++) {
		messages.length = 0;
		if (edu) edu.raise();
		else device.triggerIrq(VFIO_PCI_MSI_IRQ_INDEX);
		findings.expect(await until(() => messages.length > 0), `MSI ${round} did not arrive`);
		edu?.acknowledge();
		const [got] = messages;
		findings.expect(
			messages.length === 1 && got?.address === message.address && got.data === message.data,
			`MSI ${round} was ${messages.length} messages, the first of data ${got?.data}`,
		);
	}
	guest.disableMsi();
	findings.seen.push(edu ? "MSI" : "MSI (self-test)");
}

async function checkMsix({ device, messages }: Attached, guest: GuestDriver, findings: Findings): Promise<void> {
	const vectors = guest.enableMsix();
	if (vectors === 0) return;
	for (const vector of new Set([0, vectors - 1])) {
		messages.length = 0;
		device.triggerIrq(VFIO_PCI_MSIX_IRQ_INDEX, vector);
		findings.expect(await until(() => messages.length > 0), `MSI-X vector ${vector} did not arrive`);
		findings.expect(messages[0]?.data === vector, `MSI-X vector ${vector} sent data ${messages[0]?.data}`);
	}
	guest.disableMsix();
	findings.seen.push(`MSI-X of ${vectors} (self-test)`);
}

/** edu takes memory to itself and brings it back elsewhere. */
async function checkDma({ memory }: Attached, edu: EduRegisters, findings: Findings): Promise<void> {
	const from = 0x10000;
	const to = memory.length - 4096;
	for (let n = 0; n < 4096; n++) memory.bytes[from + n] = (n * 7 + (n >> 8)) & 0xff;
	edu.startDma(from, 4096, "from-memory");
	findings.expect(await until(() => !edu.dmaRunning), "DMA from memory did not end");
	edu.startDma(to, 4096, "to-memory");
	findings.expect(await until(() => !edu.dmaRunning), "DMA to memory did not end");
	const wrong = memory.bytes.subarray(to, to + 4096).findIndex((byte, n) => byte !== memory.bytes[from + n]);
	findings.expect(wrong < 0, `DMA brought something else from byte ${wrong} on`);
	findings.seen.push("DMA");
}

/** Binds, attaches and drives one endpoint, and lets it go again. */
async function examine(address: string): Promise<Findings> {
	const findings = new Findings();
	const driver = pci.driver(address);
	const before = processState();
	try {
		const attached = attach(kernel, address, { memorySize: MEMORY_SIZE });
		try {
			const { fn } = attached;
			fn.onEvent((event) => {
				if (event.type === "report") findings.problems.push(`reported: ${event.message}`);
			});
			const locked = processState().locked - before.locked;
			findings.expect(locked === MEMORY_SIZE, `${locked} bytes are locked instead of the guest's ${MEMORY_SIZE}`);
			const id = checkConfig(attached, address, findings);
			const guest = new GuestDriver(fn);
			checkBars(attached, guest, findings);
			const edu = id === EDU_ID ? new EduRegisters(fn) : undefined;
			if (edu) findings.expect(edu.alive(), "its registers do not answer");
			await checkIntx(attached, edu, findings);
			await checkMsi(attached, guest, edu, findings);
			await checkMsix(attached, guest, findings);
			if (edu) await checkDma(attached, edu, findings);
			// What cannot be reset says so in a report, which is right.
			const reports = findings.problems.length;
			const { method } = fn.reset();
			if (method === undefined && !attached.device.resettable) findings.problems.length = reports;
			findings.seen.push(method ? `reset by ${method}` : "no reset");
			findings.expect(id === fn.configRead(0, 4), "it does not answer after its reset");
		} finally {
			attached[Symbol.dispose]();
		}
	} catch (error) {
		findings.problems.push((error as Error).stack ?? String(error));
	}
	findings.problems.push(...notGivenBack(before, processState()).map((what) => `not given back: ${what}`));
	findings.problems.push(...openedAgain(kernel, address));
	if (pci.driver(address) !== driver) findings.problems.push(`its driver was ${driver} and is ${pci.driver(address)}`);
	return findings;
}

/** Both functions of a group share a container; both get their memory and interrupts. */
function examineGroup(addresses: readonly string[]): Findings {
	const findings = new Findings();
	const before = processState();
	const releases = new Releases();
	try {
		for (const address of addresses) releases.use(bindGroup(kernel, address));
		const memory = releases.use(kernel.allocate(MEMORY_SIZE));
		const addressSpace = new IoAddressSpace(kernel, { memory: new FixedMemory(memory) });
		for (const address of addresses) {
			const device = releases.use(VfioDevice.open(kernel, address, { addressSpace }));
			const fn = releases.use(AssignedFunction.attach(device));
			findings.expect(fn.configRead(0, 4) !== 0xffff_ffff, `${address} does not answer`);
		}
		findings.expect(addressSpace.containers.length === 1, `they are in ${addressSpace.containers.length} containers`);
		const locked = processState().locked - before.locked;
		findings.expect(locked === MEMORY_SIZE, `${locked} bytes are locked instead of ${MEMORY_SIZE}`);
		findings.seen.push("one container, memory pinned once");
	} catch (error) {
		findings.problems.push((error as Error).stack ?? String(error));
	} finally {
		releases[Symbol.dispose]();
	}
	findings.problems.push(...notGivenBack(before, processState()).map((what) => `not given back: ${what}`));
	return findings;
}

/** DMA outside the guest's memory stops at the IOMMU, and the kernel says whose it was and where. */
async function examineFault(address: string): Promise<Findings> {
	const findings = new Findings();
	const attached = attach(kernel, address, { memorySize: MEMORY_SIZE });
	try {
		new GuestDriver(attached.fn).placeBars();
		const edu = new EduRegisters(attached.fn);
		const short = address.slice(5);
		const fault = () =>
			execFileSync("dmesg", { encoding: "utf8" })
				.split("\n")
				.find(
					(line) =>
						line.includes("DMAR") && line.includes(short) && line.includes(`fault addr 0x${UNMAPPED.toString(16)}`),
				);
		findings.expect(fault() === undefined, "the kernel has seen such a fault before");
		edu.startDma(UNMAPPED, 4096, "from-memory");
		findings.expect(await until(() => !edu.dmaRunning), "DMA did not end");
		findings.expect(await until(() => fault() !== undefined), "the kernel has seen no fault");
		findings.seen.push(fault()?.replace(/^\[ *[\d.]+\] /, "") ?? "no fault");
	} finally {
		attached[Symbol.dispose]();
	}
	return findings;
}

function sharedGroups(): string[][] {
	const byGroup = new Map<number, string[]>();
	for (const address of ENDPOINTS) {
		const group = groupOf(kernel, address);
		byGroup.set(group, [...(byGroup.get(group) ?? []), address]);
	}
	return [...byGroup.values()].filter((addresses) => addresses.length > 1);
}

const tally = new Tally();
for (const address of ENDPOINTS) {
	const { problems, seen } = await examine(address);
	const group = groupOf(kernel, address);
	const members = groupMembers(kernel, group).length;
	tally.add(`${address} group ${group}${members > 1 ? ` of ${members}` : ""}`, problems, seen.join(", "));
}
for (const addresses of sharedGroups()) {
	const { problems, seen } = examineGroup(addresses);
	tally.add(addresses.join(" and "), problems, seen.join(", "));
}
const { problems, seen } = await examineFault(ENDPOINTS[0] as string);
tally.add("DMA outside the mapping", problems, seen.join(", "));
process.exitCode = tally.finish();
