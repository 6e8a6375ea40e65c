/**
 * A process with no privileges at all works with what a privileged one has opened for it: an IOMMU group and a container,
 * and where the kernel has them a character device and iommufd. It may open none of these itself. With each it moves data
 * by edu's DMA and gets its interrupt.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Container } from "../../../core/device/container.ts";
import { VfioDevice } from "../../../core/device/device.ts";
import { Group } from "../../../core/device/group.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { KernelError } from "../../../core/errors.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import { groupOf } from "../../../core/host/groups.ts";
import { readText } from "../../../core/host/sysfs.ts";
import { Iommufd } from "../../../core/iommu/iommufd.ts";
import type { GuestMemory } from "../../../core/machine/machine.ts";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import { LinuxKernel } from "../../../kernel-linux/mod.ts";
import { type Attached, attachOpened } from "../../attach/scripted-guest.ts";
import { EduRegisters } from "./edu.ts";
import { GuestDriver } from "./guest-driver.ts";
import { Tally } from "./tally.ts";

const EDU = "0000:01:00.0";
/** Less than any default of RLIMIT_MEMLOCK. */
const MEMORY_SIZE = 32 << 10;
const NOBODY = 65534;
/** Where a child finds what it was given. */
const FIRST_FD = 3;
/** Milliseconds for anything to happen under emulation. */
const PATIENCE = 10_000;

const kernel = new LinuxKernel();

/** Ways to be given a device: what the parent opens, and what the child makes of it. */
const WAYS: Readonly<
	Record<string, { nodes(group: number): string[]; open(memory: GuestMemory): VfioDevice; applies(): boolean }>
> = {
	"a group and a container": {
		applies: () => existsSync("/dev/vfio/vfio"),
		nodes: (group) => [`/dev/vfio/${group}`, "/dev/vfio/vfio"],
		open(memory) {
			const group = Group.fromFd(kernel, FIRST_FD);
			const container = Container.fromFd(kernel, FIRST_FD + 1);
			const device = VfioDevice.open(kernel, EDU, {
				group,
				addressSpace: new IoAddressSpace(kernel, { memory, container }),
			});
			group[Symbol.dispose]();
			container[Symbol.dispose]();
			return device;
		},
	},
	"a character device and iommufd": {
		applies: () => existsSync("/dev/iommu"),
		nodes: () => [`/dev/vfio/devices/${kernel.readDirectory(`/sys/bus/pci/devices/${EDU}/vfio-dev`)[0]}`, "/dev/iommu"],
		open(memory) {
			const iommufd = Iommufd.fromFd(kernel, FIRST_FD + 1);
			const addressSpace = new IoAddressSpace(kernel, { memory, iommufd });
			const device = VfioDevice.open(kernel, { fd: FIRST_FD }, { addressSpace });
			iommufd[Symbol.dispose]();
			return device;
		},
	},
};

/** @returns what is wrong with it */
async function work({ device, fn, memory, messages }: Attached): Promise<string[]> {
	const problems: string[] = [];
	const until = async (happened: () => boolean, problem: string) => {
		for (const end = Date.now() + PATIENCE; !happened(); await delay(1))
			if (Date.now() > end) return void problems.push(problem);
	};
	if (device.name !== EDU) problems.push(`it is called ${device.name}`);
	const guest = new GuestDriver(fn);
	guest.placeBars();
	const message = guest.enableMsi(0x4321);
	const edu = new EduRegisters(fn);
	if (!edu.alive()) problems.push("its registers do not answer");
	for (let n = 0; n < 4096; n++) memory.bytes[n] = (n * 7 + (n >> 8)) & 0xff;
	edu.startDma(0, 4096, "from-memory");
	await until(() => !edu.dmaRunning, "DMA from memory did not end");
	edu.startDma(0x4000, 4096, "to-memory");
	await until(() => !edu.dmaRunning, "DMA to memory did not end");
	if (memory.bytes.subarray(0x4000, 0x5000).some((byte, n) => byte !== memory.bytes[n]))
		problems.push("DMA brought something else");
	edu.raise();
	await until(() => messages.length > 0, "no interrupt arrived");
	edu.acknowledge();
	if (messages[0]?.data !== message?.data) problems.push(`the interrupt was ${messages[0]?.data}`);
	return problems;
}

/** The child: once it is loaded, for which it finds what root has compiled, it is nobody for ever. */
async function child(way: string): Promise<number> {
	const { open, nodes } = WAYS[way] as (typeof WAYS)[string];
	const problems: string[] = [];
	process.setgroups?.([NOBODY]);
	process.setgid?.(NOBODY);
	process.setuid?.(NOBODY);
	const status = readText(kernel, "/proc/self/status");
	if (!/^Uid:\t65534\t65534/m.test(status) || !/^CapEff:\t0+$/m.test(status))
		problems.push(`it is somebody: ${status}`);
	for (const node of nodes(groupOf(kernel, EDU)).filter((one) => one !== "/dev/vfio/vfio")) {
		try {
			kernel.close(kernel.open(node, O_RDWR));
			problems.push(`it may open ${node} itself`);
		} catch (error) {
			if (!(error instanceof KernelError)) throw error;
		}
	}
	const attached = attachOpened(kernel, MEMORY_SIZE, open);
	try {
		problems.push(...(await work(attached)));
	} finally {
		attached[Symbol.dispose]();
	}
	for (const problem of problems) console.log(problem);
	return problems.length === 0 ? 0 : 1;
}

/** The parent, which opens and hands over, and looks what became of it. */
function parent(): number {
	const tally = new Tally();
	for (const [way, { applies, nodes }] of Object.entries(WAYS)) {
		if (!applies()) {
			console.log(
				`skip  ${way}: this kernel has no ${way === "a group and a container" ? "/dev/vfio/vfio" : "/dev/iommu"}`,
			);
			continue;
		}
		const bound = bindGroup(kernel, EDU);
		try {
			const fds = nodes(groupOf(kernel, EDU)).map((node) => kernel.open(node, O_RDWR));
			const { status, stdout, stderr, error } = spawnSync(
				process.execPath,
				[...process.execArgv, fileURLToPath(import.meta.url), way],
				{ stdio: ["ignore", "pipe", "pipe", ...fds], encoding: "utf8" },
			);
			for (const fd of fds) kernel.close(fd);
			const problems = status === 0 ? [] : [...stdout.split("\n"), ...stderr.split("\n"), String(error ?? "")];
			tally.add(
				`as nobody with ${way}`,
				problems.filter((line) => line !== ""),
				"DMA and MSI",
			);
		} finally {
			bound[Symbol.dispose]();
		}
	}
	return tally.finish();
}

const [way] = process.argv.slice(2);
process.exitCode = way === undefined ? parent() : await child(way);
