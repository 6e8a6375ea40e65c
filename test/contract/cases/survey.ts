import { MAP_PRIVATE, PROT_READ } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { hex, unhex } from "../calls.ts";
import type { Case } from "../case.ts";
import { capability, type HostDescription, type HostDevice } from "../host.ts";
import { e1000e, edu, igb, needs, nvme, of } from "../roles.ts";
import { BOOL, CONFIG, EVENTFD, MASK, NONE, PAGE, TRIGGER, type Trial, UNMASK } from "../trial.ts";

/*
 * Cases that promise nothing of their own: they ask every device everything of one kind, and what counts is that both
 * kernels answer the same, which the recordings decide.
 */

/** The `index`th device that can be assigned: the survey has one case for each, however many a host has. */
const DEVICES = 21;

function surveyed(host: HostDescription, index: number): HostDevice | undefined {
	return host.assignable[index];
}

/** One case for each device of the host. */
function each(id: string, name: string, run: (t: Trial, device: HostDevice) => void | Promise<void>): Case[] {
	return Array.from({ length: DEVICES }, (_, index) => ({
		id: `survey/${id} ${index}`,
		name: `${name} of device ${index}`,
		needs: (host) => (surveyed(host, index) ? undefined : `the host has no more than ${index} devices to assign`),
		run(t) {
			const device = surveyed(t.host, index);
			return device && run(t, device);
		},
	}));
}

/** Asks a register what it makes of ones and zeros, and puts it back. @returns what it read as each time */
function exercise(t: Trial, fd: number, offset: number): string {
	const { kernel } = t.target;
	const at = CONFIG * 2 ** 40 + offset;
	const read = () => {
		const bytes = new Uint8Array(4);
		kernel.pread(fd, bytes, at);
		return hex(bytes);
	};
	const before = read();
	const seen = [before];
	for (const pattern of ["ffffffff", "00000000", "5a5a5a5a", before]) {
		kernel.pwrite(fd, unhex(pattern), at);
		seen.push(read());
	}
	// Most registers are storage, or cannot be written: their runs make one line.
	if (seen.slice(1, 4).join(" ") === "ffffffff 00000000 5a5a5a5a" && before === "00000000") return "storage";
	return new Set(seen).size === 1 ? `fixed ${before}` : seen.join(" ");
}

/** Runs of registers that behave alike. */
function exerciseAll(t: Trial, fd: number, end: number): void {
	let start = 0;
	let kind = exercise(t, fd, 0);
	for (let offset = 4; offset <= end; offset += 4) {
		const next = offset < end ? exercise(t, fd, offset) : "";
		if (next === kind) continue;
		t.observations.add("config", `+0x${start.toString(16)}-0x${(offset - 1).toString(16)}`, kind);
		start = offset;
		kind = next;
	}
}

/** Where the registers end that somebody may care about. */
function interesting(device: HostDevice): number {
	let last = 0xff;
	for (const [offset, byte] of device.config.entries()) if (byte !== 0) last = Math.max(last, offset);
	return Math.min(device.config.length, (last | 0x3f) + 1 + 0x40);
}

/** All data types, all actions, in all counts. */
const FLAGS = [NONE, BOOL, EVENTFD].flatMap((data) => [MASK, UNMASK, TRIGGER].map((action) => data | action));

export const surveyCases: readonly Case[] = [
	...each("info", "information", (t, device) => {
		const { fd, group, container } = t.device(device);
		t.observations.add("device", device.name, t.status(group));
		for (const argsz of [16, 24, 32]) t.deviceInfo(fd, argsz);
		for (let index = 0; index <= 9; index++) for (const argsz of [32, 40]) t.regionInfo(fd, index, argsz);
		for (let index = 0; index <= 5; index++) t.irqInfo(fd, index);
		for (let feature = 0; feature <= 13; feature++)
			for (const flags of [
				vfio.VFIO_DEVICE_FEATURE_PROBE,
				vfio.VFIO_DEVICE_FEATURE_PROBE | vfio.VFIO_DEVICE_FEATURE_GET,
				vfio.VFIO_DEVICE_FEATURE_PROBE | vfio.VFIO_DEVICE_FEATURE_SET,
			])
				t.feature(fd, flags | feature);
		t.iovaRanges(container);
		t.show(`/sys/bus/pci/devices/${device.name}/reset_method`);
		t.show(`/sys/kernel/iommu_groups/${device.group}/type`);
		t.show(`/sys/kernel/iommu_groups/${device.group}/reserved_regions`);
		t.ioctl(
			fd,
			vfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
			Uint8Array.of(12, ...new Uint8Array(11)),
			"device",
			"argsz 12",
			true,
		);
		t.ioctl(
			fd,
			vfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
			Uint8Array.of(60, ...new Uint8Array(59)),
			"device",
			"argsz 60",
			true,
		);
		t.ioctl(fd, vfio.VFIO_DEVICE_RESET);
	}),
	...each("config", "config space", (t, device) => {
		const { fd } = t.device(device);
		t.pread(fd, CONFIG, 0, 256);
		if (device.config.length > 256) for (let at = 0x100; at < 0x400; at += 0x100) t.pread(fd, CONFIG, at, 0x100);
		exerciseAll(t, fd, interesting(device));
		t.pread(fd, CONFIG, 0, 64);
		t.hardware(device.name, 0, 64);
	}),
	...each("regions", "regions", (t, device) => {
		const { fd } = t.device(device);
		// Registers of most devices are not the kernel's matter: how much is read is.
		const counted = (region: number, offset: number, length: number) => {
			const buffer = new Uint8Array(length);
			let answer: number | string;
			try {
				answer = t.target.kernel.pread(fd, buffer, region * 2 ** 40 + offset);
			} catch (error) {
				answer = (error as Error).message.replace(/.*\(/, "").replace(")", "");
			}
			t.observations.add("pread count", `region ${region} +0x${offset.toString(16)} len ${length}`, answer);
		};
		for (let region = 0; region <= 9; region++) {
			const { size, flags } = t.regionInfo(fd, region, 40);
			for (const length of [0, 1, 2, 4, 8]) counted(region, 0, length);
			if (size === 0) continue;
			for (const [offset, length] of [
				[1, 3],
				[size - 1, 4],
				[size - 4, 8],
				[size, 1],
				[size + 4, 0],
			] as const)
				counted(region, offset, length);
			if ((flags & vfio.VFIO_REGION_INFO_FLAG_WRITE) === 0) t.pwrite(fd, region, 0, "00");
		}
		for (let region = 0; region <= 9; region++) {
			const size = t.regionInfo(fd, region).size;
			for (const length of [1, PAGE, size || PAGE, (size || PAGE) + PAGE]) t.mmap(fd, region, 0, length);
			t.mmap(fd, region, 0, PAGE, PROT_READ);
			t.mmap(fd, region, 0, PAGE, 3, MAP_PRIVATE);
			t.mmap(fd, region, Math.ceil(size / PAGE) * PAGE, PAGE);
		}
	}),
	...[edu, e1000e, nvme].flatMap((role): Case[] =>
		[-1, 0, 1, 2].map((active) => ({
			id: `survey/irqs ${role.name} ${active}`,
			name: `every SET_IRQS of ${role.name} with ${active < 0 ? "no index" : `index ${active}`} on`,
			needs: needs(role),
			run(t) {
				const { fd } = t.device(of(role, t.host));
				const eventfds = [t.eventfd(), t.eventfd(), t.eventfd()];
				const arm = () => {
					if (active >= 0) t.trigger(fd, active, eventfds.slice(0, active === 2 ? 2 : 1));
				};
				const off = (index: number) => {
					for (const each of new Set([active, index])) if (each >= 0) t.disable(fd, each);
				};
				for (let index = 0; index <= 4; index++) {
					for (const flags of FLAGS) {
						const answers: string[] = [];
						for (const start of [0, 1])
							for (const count of [0, 1, 2])
								t.quietly(() => {
									arm();
									const data = flags & EVENTFD ? eventfds.slice(0, count) : flags & BOOL ? [1, 0].slice(0, count) : [];
									const answer = t.setIrqs(fd, { index, flags, start, count, data });
									answers.push(`${start}+${count} ${answer} (${eventfds.map((each) => t.count(each)).join("")})`);
									off(index);
								});
						t.observations.add("SET_IRQS", `index ${index} flags 0x${flags.toString(16)}`, answers.join(", "));
					}
					const wrong = t.quietly(() =>
						[-1, -2, 9999].map((bad) => {
							arm();
							const answer = t.trigger(fd, index, [bad]);
							off(index);
							return answer;
						}),
					);
					t.observations.add("SET_IRQS", `index ${index} eventfds -1, -2, 9999`, wrong.join(", "));
				}
			},
		})),
	),
	{
		id: "survey/command",
		name: "the command register, value by value",
		needs: needs(edu, e1000e),
		run(t) {
			for (const device of [of(edu, t.host), of(e1000e, t.host)]) {
				const { fd } = t.device(device);
				for (let bit = 0; bit < 16; bit++) {
					t.write(fd, CONFIG, 4, 2, 1 << bit);
					t.pread(fd, CONFIG, 4, 4);
					t.hardware(device.name, 4, 2);
				}
				for (const [offset, value] of [
					[4, "02"],
					[5, "04"],
					[5, "00"],
					[4, "06"],
					[4, "07040000"],
					[4, "0700"],
				] as const) {
					t.pwrite(fd, CONFIG, offset, value);
					t.pread(fd, CONFIG, 4, 4);
					t.hardware(device.name, 4, 2);
				}
			}
		},
	},
	{
		id: "survey/bars",
		name: "BARs, byte by byte and pattern by pattern",
		needs: needs(e1000e, nvme),
		run(t) {
			for (const device of [of(e1000e, t.host), of(nvme, t.host)]) {
				const { fd } = t.device(device);
				for (const offset of [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30]) {
					for (const digits of ["ffffffff", "00000000", "12345678", "00f0ffff", "01000000", "fe", "ffff"]) {
						t.pwrite(fd, CONFIG, offset, digits);
						t.pread(fd, CONFIG, offset, 4);
					}
					for (let byte = 0; byte < 4; byte++) {
						t.pwrite(fd, CONFIG, offset + byte, "a5");
						t.pread(fd, CONFIG, offset, 4);
					}
				}
				t.pread(fd, CONFIG, 0x10, 0x28);
			}
		},
	},
	{
		id: "survey/virtual function",
		name: "a virtual function's information, config space and registers of both sides",
		needs: needs(igb),
		run(t) {
			const pf = of(igb, t.host);
			t.bind(pf);
			const directory = `/sys/bus/pci/devices/${pf.name}`;
			t.setting("/sys/module/vfio_pci/parameters/enable_sriov", "Y");
			t.releases.defer(() => t.target.kernel.writeFile(`${directory}/sriov_numvfs`, "0"));
			for (const file of [
				"sriov_totalvfs",
				"sriov_offset",
				"sriov_stride",
				"sriov_vf_device",
				"sriov_drivers_autoprobe",
				"resource",
			])
				t.show(`${directory}/${file}`);
			t.is(t.echo("2", `${directory}/sriov_numvfs`), 0);
			t.show(`${directory}/sriov_numvfs`);
			const parent = t.device(pf);
			t.regionInfo(parent.fd, CONFIG);
			t.pread(parent.fd, CONFIG, 0x160, 0x40);
			t.feature(
				parent.fd,
				vfio.VFIO_DEVICE_FEATURE_SET | vfio.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
				unhex("00112233445566778899aabbccddeeff"),
			);
			for (const index of [0, 1]) {
				const name = t.link(`${directory}/virtfn${index}`);
				const path = `/sys/bus/pci/devices/${name}`;
				for (const file of [
					"vendor",
					"device",
					"class",
					"resource",
					"driver_override",
					"reset_method",
					"sriov_totalvfs",
					"irq",
				])
					t.show(`${path}/${file}`);
				const group = t.quietly(() => t.open(`/dev/vfio/${t.link(`${path}/iommu_group`)}`) as number);
				const container = t.container();
				t.setContainer(group, container);
				t.setIommu(container);
				const fd = t.deviceFd(group, `${name} vf_token=00112233-4455-6677-8899-aabbccddeeff`);
				if (typeof fd !== "number") continue;
				t.deviceInfo(fd);
				for (let region = 0; region <= 9; region++) for (const argsz of [32, 40]) t.regionInfo(fd, region, argsz);
				for (let irq = 0; irq <= 5; irq++) t.irqInfo(fd, irq);
				// Emulated virtual functions come back with what was written to them when they were gone: all ones.
				for (const [offset, value] of [
					[4, "0200"],
					[0x0c, "00"],
					[0x3c, "00"],
				] as const)
					t.pwrite(fd, CONFIG, offset, value);
				t.pread(fd, CONFIG, 0, 0xa8);
				exerciseAll(t, fd, 0xa0);
				t.hardware(name, 0, 0x3c);
				for (const index of [0, 1, 2, 3, 4]) {
					t.trigger(fd, index, [t.eventfd()]);
					t.disable(fd, index);
				}
				t.ioctl(fd, vfio.VFIO_DEVICE_RESET);
				t.ioctl(
					fd,
					vfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
					Uint8Array.of(12, ...new Uint8Array(11)),
					"device",
					"argsz 12",
					true,
				);
				for (const feature of [0, 1, 3, 11, 12])
					t.feature(fd, vfio.VFIO_DEVICE_FEATURE_PROBE | vfio.VFIO_DEVICE_FEATURE_SET | feature);
				for (const value of ["0000", "0700", "0400", "0600"]) {
					t.pwrite(fd, CONFIG, 4, value);
					t.pread(fd, CONFIG, 4, 4);
					t.hardware(name, 4, 4);
				}
				t.close(fd);
			}
		},
	},
	{
		id: "survey/vpd",
		name: "vital product data",
		needs: (host) =>
			host.assignable.some((one) => capability(one, 3)) ? undefined : "no device has vital product data",
		run(t) {
			for (const device of t.host.assignable) {
				const at = capability(device, 3);
				if (at === 0) continue;
				const { fd } = t.device(device);
				for (const value of ["0000", "0400", "0080"]) {
					t.pwrite(fd, CONFIG, at + 2, value);
					t.pread(fd, CONFIG, at, 8);
				}
			}
		},
	},
	{
		id: "survey/power",
		name: "power states",
		needs: needs(e1000e, igb),
		run(t) {
			for (const device of [of(e1000e, t.host), of(igb, t.host)]) {
				const { fd } = t.device(device);
				const at = capability(device, 1) + 4;
				t.pwrite(fd, CONFIG, 0x10, "000000e0");
				t.pwrite(fd, CONFIG, 4, "0700");
				for (const state of ["01", "02", "03", "00", "0300", "00", "03000000", "0000", "ffff", "0000"]) {
					t.pwrite(fd, CONFIG, at, state);
					t.pread(fd, CONFIG, at, 4);
					t.pread(fd, CONFIG, 4, 2);
					t.pread(fd, CONFIG, 0x10, 4);
					t.observations.add("BAR", "", t.pread(fd, 0, 8, 4).startsWith("E") ? "EIO" : "read");
					t.observations.list.splice(-2, 1);
				}
			}
		},
	},
	{
		id: "survey/ioeventfd",
		name: "ioeventfds of every BAR",
		needs: needs(edu, e1000e, nvme),
		run(t) {
			for (const device of [of(edu, t.host), of(e1000e, t.host), of(nvme, t.host)]) {
				const { fd } = t.device(device);
				const eventfd = t.eventfd();
				for (let region = 0; region < 6; region++)
					for (const flags of [1, 2, 4, 8])
						for (const offset of [0, 1, 2, 4, 0x2000, 0x3ffc]) {
							t.ioeventfd(fd, { flags, region, offset, eventfd });
							t.ioeventfd(fd, { flags, region, offset, eventfd: -1 });
						}
			}
		},
	},
	{
		id: "survey/argsz",
		name: "argument sizes of every request",
		needs: needs(edu),
		run(t) {
			const { fd, container, group } = t.device(of(edu, t.host));
			for (let argsz = 0; argsz <= 48; argsz += 4) {
				t.iommuInfo(container, argsz, 48);
				t.map(container, { argsz, vaddr: 0n });
				t.unmap(container, { argsz, iova: 0x7f000000n });
				t.dirty(container, 2, argsz);
				t.status(group, argsz);
				t.deviceInfo(fd, argsz);
				t.regionInfo(fd, 0, argsz);
				t.irqInfo(fd, 1, argsz);
				t.setIrqs(fd, { index: 1, flags: NONE | TRIGGER, count: 0, argsz });
				t.feature(fd, vfio.VFIO_DEVICE_FEATURE_PROBE | vfio.VFIO_DEVICE_FEATURE_SET | 3, new Uint8Array(40), argsz);
				t.ioeventfd(fd, { argsz, flags: 4, eventfd: -1 });
				const info = Uint8Array.of(argsz, ...new Uint8Array(47));
				t.ioctl(fd, vfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info, "device", `argsz ${argsz}`, true);
				t.ioctl(
					fd,
					vfio.VFIO_DEVICE_PCI_HOT_RESET,
					Uint8Array.of(argsz, ...new Uint8Array(47)),
					"device",
					`argsz ${argsz}`,
				);
			}
		},
	},
	{
		id: "survey/edu registers",
		name: "edu's registers, width by width",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.write(fd, 0, 4, 4, 0x12345678);
			for (let offset = 0; offset < 0x80; offset += 4) for (const width of [1, 2, 4, 8]) t.pread(fd, 0, offset, width);
			for (const offset of [0x04, 0x20]) {
				for (const value of ["ffffffff", "00000000", "80000000", "0102", "01"]) {
					t.pwrite(fd, 0, offset, value);
					t.pread(fd, 0, offset, 4);
				}
			}
			const mapping = t.mmap(fd, 0, 0, PAGE);
			if (typeof mapping === "string") return;
			for (const width of [1, 2, 4] as const)
				for (const offset of [0, 4])
					t.observations.add("mapped read", `+${offset} ${width}`, mapping.read(offset, width));
		},
	},
];
