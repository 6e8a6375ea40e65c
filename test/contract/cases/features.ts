import { MAP_SHARED } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { bytesOf, numberOf, unhex } from "../calls.ts";
import type { Case } from "../case.ts";
import { EDU, EDU_ID } from "../edu-registers.ts";
import { capability } from "../host.ts";
import { edu, igb, needs, nvme, of } from "../roles.ts";
import { PAGE } from "../trial.ts";

const { VFIO_DEVICE_FEATURE_GET: GET, VFIO_DEVICE_FEATURE_SET: SET, VFIO_DEVICE_FEATURE_PROBE: PROBE } = vfio;
const {
	VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY: ENTRY,
	VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: ENTRY_WITH_WAKEUP,
} = vfio;
const { VFIO_DEVICE_FEATURE_LOW_POWER_EXIT: EXIT, VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: VF_TOKEN } = vfio;
const DMA_BUF = vfio.VFIO_DEVICE_FEATURE_DMA_BUF;
const PRECOPY_INFO = vfio.VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2;
/** Directions and whether to probe only. */
const PROBES = [PROBE, PROBE | GET, PROBE | SET, PROBE | GET | SET];

/** I.9: features, and eventfds that write registers. */
export const featureCases: readonly Case[] = [
	{
		id: "I.9/213",
		name: "FEATURE wants 8 bytes, known flags and one direction",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const argsz of [0, 4, 7]) t.is(t.feature(fd, PROBE | SET | ENTRY, undefined, argsz), "EINVAL");
			for (const flags of [1 << 19, 1 << 30, 0x80000000]) t.is(t.feature(fd, (flags | SET | ENTRY) >>> 0), "EINVAL");
			t.is(t.feature(fd, GET | SET | ENTRY), "EINVAL");
			t.is(t.feature(fd, GET | SET | 0xfff), "EINVAL");
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_FEATURE, 0), "EFAULT");
		},
	},
	{
		id: "I.9/214",
		name: "what features a device has",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const feature of [ENTRY, ENTRY_WITH_WAKEUP, EXIT]) {
				t.is(t.feature(fd, PROBE | SET | feature), 0);
				t.is(t.feature(fd, PROBE | feature), 0);
				t.is(t.feature(fd, PROBE | GET | feature), "EINVAL");
				t.is(t.feature(fd, GET | feature), "EINVAL");
				t.is(t.feature(fd, feature), "EINVAL");
			}
			for (const feature of [0, 1, 2, 6, 7, 8, 9, 10, 13, 0xfff, 0xffff])
				for (const flags of [...PROBES, GET, SET, 0]) t.is(t.feature(fd, flags | feature), "ENOTTY");
			for (const flags of [...PROBES, GET, SET, 0]) {
				t.is(t.feature(fd, flags | PRECOPY_INFO), t.by({ "6.12": "ENOTTY", "7.2": "EINVAL" }));
				t.feature(fd, flags | DMA_BUF);
			}
		},
	},
	{
		id: "I.9/215",
		name: "a token is set for virtual functions alone",
		needs: needs(edu, igb),
		run(t) {
			const token = unhex("00112233445566778899aabbccddeeff");
			t.is(t.feature(t.device(of(edu, t.host)).fd, SET | VF_TOKEN, token), "ENOTTY");
			const { fd } = t.device(of(igb, t.host));
			t.is(t.feature(fd, PROBE | SET | VF_TOKEN), 0);
			t.is(t.feature(fd, PROBE | GET | VF_TOKEN), "EINVAL");
			t.is(t.feature(fd, GET | VF_TOKEN, token), "EINVAL");
			t.is(t.feature(fd, VF_TOKEN, token), "EINVAL");
			t.is(t.feature(fd, SET | VF_TOKEN, token, 23), "EINVAL");
			t.is(t.feature(fd, SET | VF_TOKEN, token), 0);
			t.is(t.feature(fd, SET | VF_TOKEN, token), 0);
		},
	},
	{
		id: "I.9/216",
		name: "low power is entered once, and left however often",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is(t.feature(fd, SET | EXIT), 0);
			t.is(t.feature(fd, SET | ENTRY), 0);
			t.is(t.feature(fd, SET | ENTRY), "EINVAL");
			t.is(t.feature(fd, SET | ENTRY_WITH_WAKEUP, new Uint8Array([...bytesOf(t.eventfd(), 4), 0, 0, 0, 0])), "EINVAL");
			t.is(t.feature(fd, SET | EXIT), 0);
			t.is(t.feature(fd, SET | EXIT), 0);
			t.is(t.feature(fd, SET | ENTRY), 0);
		},
	},
	{
		id: "I.9/217",
		name: "low power can end with an eventfd",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const entry = (eventfd: number) => Uint8Array.of(...bytesOf(BigInt.asUintN(32, BigInt(eventfd)), 4), 0, 0, 0, 0);
			for (const bad of [-1, -2]) t.is(t.feature(fd, SET | ENTRY_WITH_WAKEUP, entry(bad)), "EINVAL");
			t.is(t.feature(fd, SET | ENTRY_WITH_WAKEUP, entry(9999)), "EBADF");
			t.is(t.feature(fd, SET | ENTRY_WITH_WAKEUP, entry(t.open("/dev/null") as number)), "EINVAL");
			const one = t.eventfd();
			t.is(t.feature(fd, SET | ENTRY_WITH_WAKEUP, entry(one).subarray(0, 4)), "EINVAL");
			t.is(t.feature(fd, SET | ENTRY_WITH_WAKEUP, entry(one)), 0);
			await t.sleep(200); // it falls asleep in its own time
			t.is(t.pread(fd, 0, EDU.ID, 4), EDU_ID);
			t.is(await t.signalled(one), 1);
			t.is(t.feature(fd, SET | ENTRY), 0);
		},
	},
	{
		id: "I.9/218",
		name: "in low power a mapped BAR is SIGBUS, and the file wakes the device",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const child = await t.spawn({ inherit: [fd] });
			const mapping = (await child.map(child.inherited[0] as number, PAGE, 0)) as number;
			t.is(t.feature(fd, SET | ENTRY), 0);
			t.is(await child.touch(mapping, EDU.ID), "SIGBUS", "touched in low power");
			t.is(t.pread(fd, 0, EDU.ID, 4), EDU_ID);
			t.is(t.feature(fd, SET | EXIT), 0);
			const mine = t.mmap(fd, 0, 0, PAGE, 3, MAP_SHARED);
			if (typeof mine !== "string") t.is(mine.read(EDU.ID, 4), numberOf(unhex(EDU_ID)), "touched afterwards");
		},
	},
	{
		id: "I.9/219",
		name: "an ioeventfd is one register of a BAR",
		needs: needs(edu, nvme),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const eventfd = t.eventfd();
			for (const argsz of [0, 24, 27]) t.is(t.ioeventfd(fd, { flags: 4, eventfd, argsz }), "EINVAL");
			for (const flags of [0, 3, 5, 15, 16, 20, 0x80000004]) t.is(t.ioeventfd(fd, { flags, eventfd }), "EINVAL");
			t.is(
				t.ioeventfd(fd, { flags: 8, offset: EDU.DMA_SOURCE, eventfd }),
				t.by<number | string>({ "6.12": 0, "7.2": "EINVAL" }),
			);
			for (const region of [6, 7, 8, 9]) t.is(t.ioeventfd(fd, { flags: 4, region, eventfd }), "EINVAL");
			for (const offset of [2 ** 20 - 2, 2 ** 20, 2 ** 30])
				t.is(t.ioeventfd(fd, { flags: 4, offset, eventfd }), "EINVAL");
			t.is(t.ioeventfd(fd, { flags: 4, region: 1, eventfd }), "EINVAL");
			t.is(t.ioeventfd(fd, { flags: 4, eventfd: -2 }), "EINVAL");
			t.is(t.ioeventfd(fd, { flags: 4, eventfd: 9999 }), "EBADF");
			t.is(t.ioeventfd(fd, { flags: 4, eventfd: t.open("/dev/null") as number }), "EINVAL");
			t.is(t.ioeventfd(fd, { flags: 4, eventfd: -1 }), "ENODEV");
			const device = of(nvme, t.host);
			const other = t.device(device).fd;
			const table = numberOf(device.config.subarray(capability(device, 0x11) + 4, capability(device, 0x11) + 8));
			t.is(t.ioeventfd(other, { flags: 4, region: table & 7, offset: table & ~7, eventfd }), "EINVAL");
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_IOEVENTFD, 0), "EFAULT");
		},
	},
	{
		id: "I.9/220",
		name: "an ioeventfd writes its register when it is signalled",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const eventfd = t.eventfd();
			const request = { flags: 4, offset: EDU.LIVENESS, data: 0x12345678n, eventfd };
			t.is(t.ioeventfd(fd, request), 0);
			t.is(t.ioeventfd(fd, request), "EEXIST");
			t.is(t.ioeventfd(fd, { ...request, data: 5n }), 0);
			t.is(t.ioeventfd(fd, { ...request, data: 5n, eventfd: -1 }), 0);
			t.signal(eventfd);
			await t.until(() => t.pread(fd, 0, EDU.LIVENESS, 4) === "87a9cbed", "the register is written");
			t.observations.list.splice(-1);
			t.is(t.count(eventfd), 0);
			t.is(t.ioeventfd(fd, { ...request, eventfd: -1 }), 0);
			t.is(t.ioeventfd(fd, { ...request, eventfd: -1 }), "ENODEV");
			t.signal(eventfd);
			t.is(await t.quiet(eventfd), 1);
		},
	},
	{
		id: "I.9/221",
		name: "a BAR is exported as a DMA buffer",
		needs: (host) => needs(edu)(host) ?? (host.version === "6.12" ? "6.12 has no such feature" : undefined),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const request = (region: number, count: number, offset = 0n, length = 4096n, flags = 0) =>
				Uint8Array.of(
					...bytesOf(region, 4),
					...bytesOf(0o2000000, 4),
					...bytesOf(flags, 4),
					...bytesOf(count, 4),
					...bytesOf(offset, 8),
					...bytesOf(length, 8),
				);
			const answers = [
				[request(0, 0), "EINVAL"],
				[request(0, 1, 0n, 4096n, 1), "EINVAL"],
				[request(7, 1), "ENODEV"],
				[request(1, 1), "ENODEV"],
				[request(0, 1, 1n), "EINVAL"],
				[request(0, 1, 0n, 0n), "EINVAL"],
				[request(0, 1, 0n, 1n << 21n), "EINVAL"],
			] as const;
			for (const [data, expected] of answers) t.is(t.feature(fd, GET | DMA_BUF, data), expected);
			t.is(t.feature(fd, SET | DMA_BUF, request(0, 1)), "EINVAL");
			const exported = t.feature(fd, GET | DMA_BUF, request(0, 1));
			t.is(typeof exported, "number");
			t.observations.list.splice(-1);
			if (typeof exported === "number") t.target.kernel.close(exported);
		},
	},
];
