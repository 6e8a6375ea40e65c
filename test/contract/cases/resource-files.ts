import { PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import type { Case } from "../case.ts";
import type { HostDevice } from "../host.ts";
import { memoryDevice, needs, of } from "../roles.ts";
import { PAGE, type Trial } from "../trial.ts";

const IO = 0x100n;
const PREFETCH = 0x2000n;
/** Bytes of the device's second memory BAR. */
const SIZE = 0x10000;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;

const path = (device: HostDevice, file: string) => `/sys/bus/pci/devices/${device.name}/${file}`;

/** The files that a device has for its BARs. */
function files(t: Trial, device: HostDevice): string[] {
	return t.target.kernel
		.readDirectory(path(device, ""))
		.filter((name) => /^resource\d/.test(name))
		.sort();
}

/** Those that it should have. @param combining the kernel offers write combining, which x86 without CONFIG_X86_PAT does not */
function expected(device: HostDevice, combining: boolean): string[] {
	return device.resources.slice(0, 6).flatMap(([, end, flags], bar) => {
		if (end === 0n) return [];
		const prefetchable = combining && flags & PREFETCH && !(flags & IO);
		return prefetchable ? [`resource${bar}`, `resource${bar}_wc`] : [`resource${bar}`];
	});
}

/** A.2: BARs in sysfs, past VFIO. */
export const resourceFileCases: readonly Case[] = [
	{
		id: "A.2/1",
		name: "every BAR has a file, and prefetchable memory one for write combining where the kernel can do that",
		run(t) {
			const found = t.host.assignable.map((device) => [device, files(t, device)] as const);
			const combining = found.some(([, names]) => names.some((name) => name.endsWith("_wc")));
			for (const [device, names] of found) t.is(names, expected(device, combining), device.name);
		},
	},
	{
		id: "A.2/2",
		name: "the files of memory are mapped within the BAR, and not read",
		needs: needs(memoryDevice),
		run(t) {
			const device = of(memoryDevice, t.host);
			t.give(device.name, undefined);
			for (const file of files(t, device).filter((name) => name.startsWith("resource2"))) {
				const fd = Number(t.open(path(device, file)));
				t.holds(typeof t.mmap(fd, 0, 0, PAGE) !== "string", `${file} can be mapped`);
				t.holds(typeof t.mmap(fd, 0, SIZE - PAGE, PAGE) !== "string", `the end of ${file} can be mapped`);
				t.holds(typeof t.mmap(fd, 0, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE) !== "string", "privately, too");
				t.is(t.mmap(fd, 0, 0, SIZE + PAGE), "EINVAL");
				t.is(t.mmap(fd, 0, SIZE, PAGE), "EINVAL");
				t.is(t.pread(fd, 0, 0, 4), "EIO");
			}
			t.is(
				t.mmap(Number(t.open(path(device, "resource1"))), 0, 0, PAGE, PROT_READ, MAP_SHARED),
				t.by({ "6.12": "ENODEV", "7.2": "EINVAL" }),
			);
		},
	},
	{
		id: "A.2/3",
		name: "what VFIO has cannot be mapped past it (CONFIG_IO_STRICT_DEVMEM): from the open on, or from the first use on before 7",
		needs: needs(memoryDevice),
		run(t) {
			const device = of(memoryDevice, t.host);
			t.bind(device);
			const names = files(t, device).filter((name) => name.startsWith("resource2"));
			const opened = names.map((name) => Number(t.open(path(device, name))));
			/** Whether each of the files can be mapped. */
			const tries = () => opened.map((fd) => typeof t.mmap(fd, 0, 0, PAGE) !== "string");
			const all = (can: boolean) => names.map(() => can);
			t.is(tries(), all(true), "bound");
			const { fd } = t.device(device);
			const open = tries();
			t.read(fd, 2, 0, 4);
			const used = tries();
			// A kernel without the option lets everybody.
			const strict = used[0] === false;
			t.is(open, all(!strict || t.by({ "6.12": true, "7.2": false })), "open");
			t.is(used, all(!strict), "used");
			t.close(fd);
			t.is(tries(), all(true), "closed");
		},
	},
];
