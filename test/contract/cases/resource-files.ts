import { PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import type { Case } from "../case.ts";
import type { HostDevice } from "../host.ts";
import { memoryDevice, needs, of } from "../roles.ts";
import { PAGE } from "../trial.ts";

const IO = 0x100n;
const PREFETCH = 0x2000n;
/** Bytes of the device's second memory BAR. */
const SIZE = 0x10000;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;

const path = (device: HostDevice, file: string) => `/sys/bus/pci/devices/${device.name}/${file}`;

/** The BARs that a device has files for. */
function expected(device: HostDevice): string[] {
	return device.resources.slice(0, 6).flatMap(([, end, flags], bar) => {
		if (end === 0n) return [];
		return flags & PREFETCH && !(flags & IO) ? [`resource${bar}`, `resource${bar}_wc`] : [`resource${bar}`];
	});
}

/** A.2: BARs in sysfs, past VFIO. */
export const resourceFileCases: readonly Case[] = [
	{
		id: "A.2/1",
		name: "every BAR has a file, and prefetchable memory one for write combining",
		run(t) {
			for (const device of t.host.assignable) {
				const names = t.target.kernel.readDirectory(path(device, "")).filter((name) => /^resource\d/.test(name));
				t.is(names.sort(), expected(device), device.name);
			}
		},
	},
	{
		id: "A.2/2",
		name: "the files of memory are mapped within the BAR, and not read",
		needs: needs(memoryDevice),
		run(t) {
			const device = of(memoryDevice, t.host);
			t.give(device.name, undefined);
			for (const file of ["resource2", "resource2_wc"]) {
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
		name: "what VFIO has cannot be mapped past it: from the open on, or from the first use on before 7",
		needs: needs(memoryDevice),
		run(t) {
			const device = of(memoryDevice, t.host);
			t.bind(device);
			const [plain, combining] = [t.open(path(device, "resource2")), t.open(path(device, "resource2_wc"))].map(Number);
			const tries = () =>
				[plain, combining].map((fd) => (typeof t.mmap(Number(fd), 0, 0, PAGE) === "string" ? "EINVAL" : 0));
			t.is(tries(), [0, 0], "bound");
			const opened = t.device(device);
			t.is(tries(), t.by({ "6.12": [0, 0], "7.2": ["EINVAL", "EINVAL"] }), "open");
			t.read(opened.fd, 2, 0, 4);
			t.is(tries(), ["EINVAL", "EINVAL"], "used");
			t.close(opened.fd);
			t.is(tries(), [0, 0], "closed");
		},
	},
];
