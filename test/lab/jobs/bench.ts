/**
 * How fast the library is on the real kernel, as a ratio to a C program that does the same in the same boot. Both take
 * turns, round by round, on the same container and device; each number is the median of the rounds.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import type { Container } from "../../../core/device/container.ts";
import { VfioDevice } from "../../../core/device/device.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { Releases } from "../../../core/release.ts";
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import { PCI_REVISION_ID } from "../../../core/uapi/pci_regs.ts";
import {
	VFIO_CHECK_EXTENSION,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_PCI_CONFIG_REGION_INDEX,
	VFIO_PCI_MSI_IRQ_INDEX,
	VFIO_TYPE1v2_IOMMU,
	vfio_region_info,
} from "../../../core/uapi/vfio.ts";
import { LinuxKernel } from "../../../kernel-linux/mod.ts";
import { table } from "../../../runner/cli/text.ts";
import { CProgram, compileBench, openInC } from "./c-program.ts";

const EDU = "0000:01:00.0";
const EDU_SCRATCH = 0x40000;
const IOVA = 0x1000_0000n;
const LARGE = 64 << 20;
const PAGE = "/dev/shm/vfio-bench";
const ROUNDS = 31;
/** Nanoseconds. */
const SETTLED = 2e9;
const WARM_UP_LIMIT = 10e9;
const OUTPUT = "/job/output.json";

/** One line of the table. */
interface Row {
	readonly name: string;
	readonly c: number;
	readonly ours: number;
	readonly ratio: number;
	/** The ratio that we want; undefined where none is set. */
	readonly goal: number | undefined;
}

/** What both sides do in a loop. */
interface Operation {
	readonly name: string;
	/** What bench.c calls it. */
	readonly inC: string;
	readonly goal: number;
	/** How often it is done in a round. */
	readonly count: number;
	readonly loop: (count: number) => void;
}

const kernel = new LinuxKernel();
const now = () => Number(process.hrtime.bigint());
let sink = 0;

function median(samples: readonly number[]): number {
	return [...samples].sort((a, b) => a - b)[samples.length >> 1] ?? Number.NaN;
}

/** Both sides in turn. The first round of each only warms up: caches there, compiled code here. */
async function compare(
	name: string,
	goal: number | undefined,
	inC: () => Promise<number> | number,
	inOurs: () => Promise<number> | number,
	rounds = ROUNDS,
): Promise<Row> {
	const c: number[] = [];
	const ours: number[] = [];
	await inC();
	await inOurs();
	for (let round = 0; round < rounds; round++) {
		if (round % 2 === 0) c.push(await inC());
		ours.push(await inOurs());
		if (round % 2 === 1) c.push(await inC());
	}
	const row = { name, c: median(c), ours: median(ours), ratio: median(ours) / median(c), goal };
	console.log(`  ${name}: ${row.ratio.toFixed(2)}`);
	return row;
}

/** Nanoseconds each of `count` operations takes. */
function time(count: number, loop: (count: number) => void): number {
	const start = now();
	loop(count);
	return (now() - start) / count;
}

/**
 * A VMM runs for days: what it does often is compiled code. Under emulation the compiler takes seconds for that, so this
 * waits until the operation has become no faster for a while.
 */
function warmUp(loop: (count: number) => void, count: number): void {
	let best = Number.POSITIVE_INFINITY;
	let improved = now();
	for (const end = improved + WARM_UP_LIMIT; now() < Math.min(end, improved + SETTLED); ) {
		const each = time(Math.ceil(count / 5), loop);
		if (each > 0.9 * best) continue;
		best = each;
		improved = now();
	}
}

/** Opening has the device reset by Linux, twice with the closing, which is most of the time. */
function openRow(program: string, group: number): Promise<Row> {
	const ours = () => {
		const start = now();
		const device = VfioDevice.open(kernel, EDU);
		const fn = AssignedFunction.attach(device);
		const duration = now() - start;
		fn[Symbol.dispose]();
		device[Symbol.dispose]();
		return duration;
	};
	return compare("device open to ready", undefined, () => openInC(program, EDU, group), ours, 5);
}

async function deviceRows(c: CProgram, device: VfioDevice): Promise<Row[]> {
	const { iommu } = device;
	const container = device.container as Container;
	const info = vfio_region_info.create();
	info.argsz = vfio_region_info.size;
	const bar = device.mapRegion(0);
	const memory = kernel.allocate(LARGE);
	memory.bytes.fill(1);
	const mapAndUnmap = (size: bigint) => (count: number) => {
		for (let n = 0; n < count; n++) iommu.map(IOVA, memory.address, size)[Symbol.dispose]();
	};
	// Each has a loop of its own, as in C: one that is shared would call its body anew each time.
	const operations: readonly Operation[] = [
		{
			name: "ioctl VFIO_CHECK_EXTENSION",
			inC: "check extension",
			goal: 1.3,
			count: 5_000,
			loop: (count) => {
				let sum = 0;
				for (let n = 0; n < count; n++) sum += kernel.ioctl(container.fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
				sink ^= sum;
			},
		},
		{
			name: "ioctl VFIO_DEVICE_GET_REGION_INFO",
			inC: "region info",
			goal: 1.3,
			count: 5_000,
			loop: (count) => {
				let sum = 0;
				for (let n = 0; n < count; n++) sum += kernel.ioctl(device.fd, VFIO_DEVICE_GET_REGION_INFO, info.bytes);
				sink ^= sum;
			},
		},
		{
			name: "config space read, 4 bytes",
			inC: "config read",
			goal: 1.3,
			count: 3_000,
			loop: (count) => {
				let sum = 0;
				for (let n = 0; n < count; n++) sum ^= device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, PCI_REVISION_ID, 4);
				sink ^= sum;
			},
		},
		{
			name: "BAR read, 32 bits",
			inC: "BAR read",
			goal: 1.2,
			count: 5_000,
			loop: (count) => {
				let sum = 0;
				for (let n = 0; n < count; n++) sum ^= bar.read(0, 4);
				sink ^= sum;
			},
		},
		{
			name: "BAR write, 32 bits",
			inC: "BAR write",
			goal: 1.2,
			count: 5_000,
			loop: (count) => {
				for (let n = 0; n < count; n++) bar.write(EDU_SCRATCH, 4, n);
			},
		},
		{ name: "MAP_DMA and UNMAP_DMA, 4 KiB", inC: "map 4 KiB", goal: 1.1, count: 200, loop: mapAndUnmap(4096n) },
		{
			name: "MAP_DMA and UNMAP_DMA, 64 MiB",
			inC: "map 64 MiB",
			goal: 1.1,
			count: 2,
			loop: mapAndUnmap(BigInt(LARGE)),
		},
	];
	const rows: Row[] = [];
	for (const { name, inC, goal, count, loop } of operations) {
		warmUp(loop, count);
		rows.push(
			await compare(
				name,
				goal,
				() => c.measure(inC, count),
				() => time(count, loop),
			),
		);
	}
	memory[Symbol.dispose]();
	return rows;
}

/** Another process has the device send MSI while the receiver sleeps: from just before that call to the receiver's code. */
async function interruptRow(signaller: CProgram, receiver: CProgram, device: VfioDevice): Promise<Row> {
	const count = 50;
	const fd = kernel.open(PAGE, O_RDWR);
	const page = kernel.mmap(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	const inC = async () => {
		receiver.start("receive", count);
		await receiver.line();
		await signaller.measure("signal", count);
		return Number(await receiver.line());
	};
	const ours = async () => {
		const samples: number[] = [];
		const eventfd = kernel.eventfd();
		const watch = kernel.watch(eventfd, () => {
			samples.push(Number(process.hrtime.bigint() - page.read64(0)));
			page.write(8, 4, samples.length);
		});
		page.write(8, 4, 0);
		device.setEventfd(VFIO_PCI_MSI_IRQ_INDEX, 0, eventfd);
		await signaller.measure("signal", count);
		while (samples.length < count) await new Promise((resolve) => setImmediate(resolve));
		device.disableIrq(VFIO_PCI_MSI_IRQ_INDEX);
		watch[Symbol.dispose]();
		kernel.close(eventfd);
		return median(samples);
	};
	const row = await compare("interrupt: eventfd to callback", 4, inC, ours, 9);
	page[Symbol.dispose]();
	kernel.close(fd);
	return row;
}

function print(rows: readonly Row[]): void {
	const ns = (value: number) => Math.round(value).toLocaleString("en").padStart(13);
	console.log(
		table([
			["", "         C, ns", "      ours, ns", "ratio", "goal", ""],
			...rows.map(({ name, c, ours, ratio, goal }) => [
				name,
				ns(c),
				ns(ours),
				ratio.toFixed(2).padStart(5),
				goal?.toFixed(1).padStart(4) ?? "   -",
				goal === undefined || ratio <= goal ? "" : "missed",
			]),
		]),
	);
}

async function bench(): Promise<void> {
	const program = compileBench();
	writeFileSync(PAGE, new Uint8Array(4096));
	const releases = new Releases();
	const rows: Row[] = [];
	const group = releases.use(bindGroup(kernel, EDU));
	try {
		const open = await openRow(program, group.plan.group);
		const device = releases.use(VfioDevice.open(kernel, EDU));
		const programs = [1, 2].map(() => new CProgram(program, (device.container as Container).fd, device.fd, PAGE));
		const [first, second] = programs as [CProgram, CProgram];
		try {
			rows.push(...(await deviceRows(first, device)), await interruptRow(first, second, device), open);
		} finally {
			for (const one of programs) await one.end();
		}
	} finally {
		releases[Symbol.dispose]();
	}
	print(rows);
	writeFileSync(OUTPUT, `${JSON.stringify({ kernel: kernel.name, node: process.version, rows }, undefined, "\t")}\n`);
}

try {
	await bench();
} catch (error) {
	console.error(`bench: ${(error as Error).message}`);
	process.exitCode = 1;
}
// Nothing the loops computed may look unused to the compiler.
if (sink === 0.5) console.log(sink);
