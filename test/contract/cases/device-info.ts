import { MAP_PRIVATE, MAP_SHARED, PROT_READ } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { hex, numberOf, unhex } from "../calls.ts";
import type { Case } from "../case.ts";
import { EDU, EDU_ID } from "../edu-registers.ts";
import { capability } from "../host.ts";
import { e1000e, edu, express, needs, nvme, of } from "../roles.ts";
import { CONFIG, capabilities, PAGE } from "../trial.ts";

const { VFIO_REGION_INFO_FLAG_MMAP: MAPPABLE, VFIO_REGION_INFO_FLAG_CAPS: CAPS } = vfio;
const READ_WRITE = vfio.VFIO_REGION_INFO_FLAG_READ | vfio.VFIO_REGION_INFO_FLAG_WRITE;
const ROM = vfio.VFIO_PCI_ROM_REGION_INDEX;
const VGA = vfio.VFIO_PCI_VGA_REGION_INDEX;
const MSIX = 0x11;
const MEMORY = 2;

/** I.4: what a device says of itself, and its regions. */
export const deviceInfoCases: readonly Case[] = [
	{
		id: "I.4/99",
		name: "GET_INFO wants 16 bytes and says PCI, nine regions and five interrupts",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const argsz of [0, 8, 15]) t.is(t.deviceInfo(fd, argsz).answer, "EINVAL");
			for (const argsz of [16, 20, 24, 100]) {
				const { answer, bytes } = t.deviceInfo(fd, argsz);
				t.is(answer, 0);
				const info = vfio.vfio_device_info.view(bytes);
				t.is(info.flags & vfio.VFIO_DEVICE_FLAGS_PCI, vfio.VFIO_DEVICE_FLAGS_PCI);
				t.is([info.num_regions, info.num_irqs], [9, 5]);
			}
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_GET_INFO, 0), "EFAULT");
		},
	},
	{
		id: "I.4/100",
		name: "GET_REGION_INFO wants 32 bytes and a region there is",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const argsz of [0, 24, 31]) t.is(t.regionInfo(fd, 0, argsz).answer, "EINVAL");
			for (const index of [VGA, 9, 10, 40, 0xffffffff]) t.is(t.regionInfo(fd, index).answer, "EINVAL");
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_GET_REGION_INFO, 0), "EFAULT");
		},
	},
	{
		id: "I.4/101",
		name: "the config region is 256 or 4096 bytes, read and written",
		needs: needs(edu, express),
		run(t) {
			for (const [device, size] of [
				[of(edu, t.host), 256],
				[of(express, t.host), 4096],
			] as const) {
				const { fd } = t.device(device);
				const { answer, info } = t.regionInfo(fd, CONFIG);
				t.is([answer, info.flags, Number(info.size), Number(info.offset)], [0, READ_WRITE, size, 7 * 2 ** 40]);
			}
		},
	},
	{
		id: "I.4/102",
		name: "a BAR that is not there is a region of no size",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (let index = 1; index < 6; index++) {
				const { answer, info } = t.regionInfo(fd, index);
				t.is([answer, info.flags, Number(info.size), Number(info.offset)], [0, 0, 0, index * 2 ** 40]);
			}
		},
	},
	{
		id: "I.4/103",
		name: "a BAR with the MSI-X table says that it can be mapped all the same",
		needs: needs(nvme),
		run(t) {
			const device = of(nvme, t.host);
			const { fd } = t.device(device);
			const bar = numberOf(device.config.subarray(capability(device, MSIX) + 4, capability(device, MSIX) + 8)) & 7;
			const small = t.regionInfo(fd, bar, 32);
			t.is([small.answer, small.info.argsz, small.info.cap_offset], [0, 40, 0]);
			t.is(small.flags, READ_WRITE | MAPPABLE | CAPS);
			for (const argsz of [33, 39])
				t.is([t.regionInfo(fd, bar, argsz).info.argsz, t.regionInfo(fd, bar, argsz).info.cap_offset], [40, 0]);
			const whole = t.regionInfo(fd, bar, 40);
			t.is([whole.answer, whole.info.argsz, whole.info.cap_offset], [0, 40, 32]);
			const chain = capabilities(whole.info.bytes, vfio.vfio_region_info.offsets.cap_offset);
			t.is(
				chain.map((one) => [one.id, one.version, one.next]),
				[[vfio.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 0]],
			);
		},
	},
	{
		id: "I.4/104",
		name: "without capabilities cap_offset stays what it was",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const index of [0, 1, ROM, CONFIG]) t.is(t.regionInfo(fd, index, 32, 0x1234).info.cap_offset, 0x1234);
		},
	},
	{
		id: "I.4/105",
		name: "an I/O BAR is read and written, not mapped",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			t.is(t.regionInfo(fd, 2).flags, READ_WRITE);
			t.is(t.mmap(fd, 2, 0, PAGE), "EINVAL");
			t.is(t.pread(fd, 2, 0, 4), "00000000");
			t.is(t.pwrite(fd, 2, 0, "00000000"), 4);
			t.is(t.pread(fd, 2, 32, 4), "EINVAL");
			t.is(t.pread(fd, 2, 30, 4).length, 4);
		},
	},
	{
		id: "I.4/106",
		name: "a ROM that is not there cannot be read, and none can be written",
		needs: needs(edu, e1000e),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is([t.regionInfo(fd, ROM).size, t.regionInfo(fd, ROM).flags], [0, 0]);
			t.is(t.pread(fd, ROM, 0, 4), "EINVAL");
			t.is(t.pwrite(fd, ROM, 0, "00000000"), "EINVAL");
			const other = t.device(of(e1000e, t.host)).fd;
			t.is(t.regionInfo(other, ROM).flags, vfio.VFIO_REGION_INFO_FLAG_READ);
			t.is(t.pread(other, ROM, 0, 2), "55aa");
			t.is(t.pwrite(other, ROM, 0, "00000000"), "EINVAL");
			const { size } = t.regionInfo(other, ROM);
			t.is(t.pread(other, ROM, size, 1), "EINVAL");
			t.is(t.pread(other, ROM, size - 2, 4).length, 4);
		},
	},
	{
		id: "I.4/107",
		name: "a region ends where it ends",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const { size } = t.regionInfo(fd, 0);
			t.is(t.pread(fd, 0, size, 4), "EINVAL");
			t.is(t.pwrite(fd, 0, size, "00000000"), "EINVAL");
			t.is(t.pread(fd, 0, size - 2, 8).length, 4);
			t.is(t.pwrite(fd, 0, size - 4, "0000000000000000"), 4);
			t.is(t.pread(fd, 0, 2 ** 39, 4), "EINVAL");
		},
	},
	{
		id: "I.4/108",
		name: "there is no region 9, but nothing can be read of it",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const region of [VGA, 9, 10, 100]) {
				t.is(t.pread(fd, region, 0, 4), "EINVAL");
				t.is(t.pwrite(fd, region, 0, "00"), "EINVAL");
			}
			for (const region of [0, 6, 7, 8, 9, 100]) {
				t.is(t.pread(fd, region, 0, 0), "");
				t.is(t.pwrite(fd, region, 0, ""), 0);
			}
		},
	},
	{
		id: "I.4/109",
		name: "a BAR that is not there cannot be read",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (let index = 1; index < 6; index++) {
				t.is(t.pread(fd, index, 0, 4), "EINVAL");
				t.is(t.pwrite(fd, index, 0, "00000000"), "EINVAL");
				t.is(t.mmap(fd, index, 0, PAGE), "EINVAL");
			}
		},
	},
	{
		id: "I.4/110",
		name: "read and write go on from BAR 0's beginning",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const buffer = new Uint8Array(4);
			t.is(t.target.kernel.read(fd, buffer), 4, "read");
			t.is(hex(buffer), EDU_ID, "the first register");
			t.is(t.target.kernel.write(fd, Uint8Array.of(1, 2, 3, 4)), 4, "write");
			t.is(t.pread(fd, 0, EDU.LIVENESS, 4), "fefdfcfb");
			t.is(t.target.kernel.read(fd, buffer), 4, "read");
			t.is(hex(buffer), t.pread(fd, 0, EDU.FACTORIAL, 4), "the third register");
		},
	},
	{
		id: "I.4/111",
		name: "unknown requests on a device",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const request of [0x3b7f, 0x3b64, 0x3b65, 0x3b6a, 0x5401, 0x3b72, 0x3b73])
				t.is(t.ioctl(fd, request), "ENOTTY");
			const attach = new Uint8Array(16).fill(0).fill(16, 0, 1);
			for (const request of [vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT])
				t.is(t.ioctl(fd, request, attach.slice()), "ENOTTY");
		},
	},
	{
		id: "I.4/112",
		name: "a BAR is mapped shared, and shows what can be read",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const mapping = t.mmap(fd, 0, 0, PAGE);
			if (typeof mapping === "string") throw new Error(`mmap: ${mapping}`);
			t.is(mapping.read(EDU.ID, 4), numberOf(unhex(EDU_ID)), "ID through the mapping");
			mapping.write(EDU.LIVENESS, 4, 0x12345678);
			t.is(t.pread(fd, 0, EDU.LIVENESS, 4), "87a9cbed");
			t.is(t.mmap(fd, 0, 0, PAGE, 3, MAP_PRIVATE), "EINVAL");
			t.is(typeof t.mmap(fd, 0, 0, PAGE, PROT_READ), "object");
			const executable = t.mmap(fd, 0, 0, PAGE, 7);
			t.is(typeof executable === "string" ? executable : "mapped", t.by({ "6.12": "mapped", "7.2": "EPERM" }));
		},
	},
	{
		id: "I.4/113",
		name: "a mapping lies inside its BAR",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const { size } = t.regionInfo(fd, 0);
			t.is(t.mmap(fd, 0, 0, size + PAGE), "EINVAL");
			t.is(t.mmap(fd, 0, size, PAGE), "EINVAL");
			t.is(t.mmap(fd, 0, size - PAGE, 2 * PAGE), "EINVAL");
			t.is(t.mmap(fd, 0, 0, 0), "EINVAL");
			t.is(t.mmap(fd, 0, 1, PAGE), "EINVAL");
			for (const region of [ROM, CONFIG, VGA, 9, 40]) t.is(t.mmap(fd, region, 0, PAGE), "EINVAL");
			t.is(typeof t.mmap(fd, 0, size - PAGE, PAGE), "object");
			t.is(typeof t.mmap(fd, 0, 0, 1), "object");
		},
	},
	{
		id: "I.4/114",
		name: "touching a mapped BAR with memory decoding off is SIGBUS, and works again afterwards",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const mine = t.mmap(fd, 0, 0, PAGE, 3, MAP_SHARED);
			const child = await t.spawn({ inherit: [fd] });
			const mapping = (await child.map(child.inherited[0] as number, PAGE, 0)) as number;
			t.is(await child.touch(mapping, EDU.ID), numberOf(unhex(EDU_ID)), "touched in a child");
			const command = t.read(fd, CONFIG, 4, 2);
			t.is(t.write(fd, CONFIG, 4, 2, command & ~MEMORY), 2);
			t.is(await child.touch(mapping, EDU.ID), "SIGBUS", "touched with memory decoding off");
			t.is(t.write(fd, CONFIG, 4, 2, command | MEMORY), 2);
			if (typeof mine !== "string")
				t.is(mine.read(EDU.ID, 4), numberOf(unhex(EDU_ID)), "touched with memory decoding on");
		},
	},
	{
		id: "I.4/115",
		name: "a BAR is EIO with memory decoding off",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const command = t.read(fd, CONFIG, 4, 2);
			t.write(fd, CONFIG, 4, 2, command & ~MEMORY);
			t.is(t.pread(fd, 0, 0, 4), "EIO");
			t.is(t.pwrite(fd, 0, EDU.LIVENESS, "01020304"), "EIO");
			t.is(t.pread(fd, 0, 2 ** 20, 4), "EINVAL");
			t.is(typeof t.mmap(fd, 0, 0, PAGE), "object");
			t.write(fd, CONFIG, 4, 2, command);
			t.is(t.pread(fd, 0, 0, 4), EDU_ID);
		},
	},
	{
		id: "I.4/116",
		name: "the MSI-X table is not read and not written through the file, but lies in the mapping",
		needs: needs(nvme),
		run(t) {
			const device = of(nvme, t.host);
			const { fd } = t.device(device);
			const at = capability(device, MSIX);
			const [table, vectors] = [
				numberOf(device.config.subarray(at + 4, at + 8)),
				(numberOf(device.config.subarray(at + 2, at + 4)) & 0x7ff) + 1,
			];
			const [bar, offset] = [table & 7, table & ~7];
			t.is(t.pread(fd, bar, offset, 16), "f".repeat(32));
			t.is(t.pwrite(fd, bar, offset, "01020304"), 4);
			t.is(t.pread(fd, bar, offset + 16 * vectors - 4, 8), "ffffffff00000000");
			t.is(t.pread(fd, bar, offset - 4, 8).slice(8), "ffffffff");
			const mapping = t.mmap(fd, bar, offset & ~(PAGE - 1), PAGE);
			if (typeof mapping === "string") throw new Error(`mmap: ${mapping}`);
			t.is(mapping.read((offset & (PAGE - 1)) + 12, 4) & 1, 1, "the vector's mask bit");
			t.is(mapping.read(offset & (PAGE - 1), 4), 0, "the vector's address");
		},
	},
	{
		id: "I.4/117",
		name: "a device sees accesses of the width they have, where they are aligned",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.write(fd, 0, EDU.LIVENESS, 4, 0);
			t.is(t.pwrite(fd, 0, EDU.DMA_SOURCE, "0807060504030201"), 8);
			t.is(t.pread(fd, 0, EDU.DMA_SOURCE, 8), "0807060504030201");
			t.is(t.pread(fd, 0, EDU.ID, 2), "0000");
			for (const [offset, length] of [
				[0, 8],
				[0, 1],
				[1, 3],
				[4, 4],
				[2, 6],
				[0x80, 4],
				[0x84, 4],
				[0x20, 16],
			] as const)
				t.pread(fd, 0, offset, length);
		},
	},
	{
		id: "I.4/118",
		name: "fdinfo names the device",
		needs: (host) => needs(edu)(host) ?? (host.version === "6.12" ? "6.12 says nothing there" : undefined),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			t.is(
				/^vfio-device-syspath: (.*)$/m
					.exec(t.text(`/proc/self/fdinfo/${fd}`))?.[1]
					?.split("/")
					.pop(),
				device.name,
			);
			t.is(t.link(`/proc/self/fd/${fd}`), "anon_inode:[vfio-device]");
		},
	},
];
