import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import * as uapi from "../../../core/uapi/iommufd.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { type Answer, bytesOf, hex } from "../calls.ts";
import type { Case } from "../case.ts";
import { eduDma, enableDma } from "../edu-registers.ts";
import {
	ALL,
	attach,
	attached,
	bind,
	bound,
	command,
	destroy,
	detach,
	FIXED,
	ioas,
	iommufd,
	map,
	openCdev,
	openIommu,
	RW,
	ranges,
	unmap,
} from "../iommufd-calls.ts";
import { driven, edu, needs, nvme, of, siblings } from "../roles.ts";
import { CONFIG, PAGE, type Trial } from "../trial.ts";
import { hotReset, hotResetInfo } from "./reset.ts";

const WINDOW = 0xfee00000n;
const pg = BigInt(PAGE);

/** VFIO_DEVICE_GET_INFO's answer. */
function deviceInfo(t: Trial, fd: number) {
	return t.deviceInfo(fd).answer;
}

/** I.8: character devices and iommufd. */
export const iommufdCases: readonly Case[] = [
	{
		id: "I.7/180",
		name: "a bound character device is reset with no descriptors",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, id, iommu } = bound(t, of(edu, t.host));
			const { answer, info, devices } = hotResetInfo(t, cdev, 20);
			t.is([answer, info.flags, info.count], [0, 3, 1]);
			t.is(Number.parseInt(devices.slice(0, 2), 16), id, "the device's number");
			t.is(hotReset(t, cdev, [iommu]), "EINVAL");
			t.is(hotReset(t, cdev, [-1]), "EINVAL");
			t.is(hotReset(t, cdev, [], { flags: 1 }), "EINVAL");
			t.is(hotReset(t, cdev, []), 0);
		},
	},
	{
		id: "I.7/180b",
		name: "a device of the bus that nobody has bound is owned through its group, one without a VFIO driver is not",
		needs: needs(iommufd, driven),
		run(t) {
			const { device, sibling } = of(driven, t.host);
			t.bind(device);
			t.bind(sibling);
			t.give(device.name, "vfio-pci");
			t.give(sibling.name, "vfio-pci");
			const { cdev } = bound(t, sibling);
			const full = hotResetInfo(t, cdev, 12 + 8 * 4);
			t.is([full.answer, full.info.flags], [0, 3]);
			t.is(hotReset(t, cdev, []), 0);
			t.lend(device.name, undefined);
			const partial = hotResetInfo(t, cdev, 12 + 8 * 4);
			t.is([partial.answer, partial.info.flags], [0, 1]);
			t.is(hotReset(t, cdev, []), "EINVAL");
		},
	},
	{
		id: "I.8/182",
		name: "before BIND a character device answers EINVAL to all else",
		needs: needs(iommufd, edu),
		run(t) {
			const cdev = openCdev(t, of(edu, t.host));
			t.is(deviceInfo(t, cdev), "EINVAL");
			t.is(t.pread(cdev, CONFIG, 0, 4), "EINVAL");
			t.is(t.pwrite(cdev, CONFIG, 0x3c, "11"), "EINVAL");
			t.is(t.mmap(cdev, 0, 0, PAGE), "EINVAL");
			t.is(t.ioctl(cdev, vfio.VFIO_DEVICE_RESET), "EINVAL");
			t.is(t.ioctl(cdev, 0x5401), "EINVAL");
			t.is(attach(t, cdev, 1).answer, "EINVAL");
			t.is(detach(t, cdev), "EINVAL");
		},
	},
	{
		id: "I.8/183",
		name: "BIND checks its structure first",
		needs: needs(iommufd, edu),
		run(t) {
			const cdev = openCdev(t, of(edu, t.host));
			const iommu = openIommu(t);
			t.is(t.ioctl(cdev, vfio.VFIO_DEVICE_BIND_IOMMUFD, 0), "EFAULT");
			t.is(bind(t, cdev, iommu, { argsz: 15 }).answer, "EINVAL");
			t.is(bind(t, cdev, -1).answer, "EINVAL");
			t.is(bind(t, cdev, iommu, { flags: 2 }).answer, "EINVAL");
			const tail = { argsz: 32, tail: [1, 0, 0, 0, 0, 0, 0, 0] };
			t.is(bind(t, cdev, iommu, tail).answer, t.by<Answer>({ "6.12": 0, "7.2": "E2BIG" }));
		},
	},
	{
		id: "I.8/184",
		name: "BIND wants an open /dev/iommu",
		needs: needs(iommufd, edu),
		run(t) {
			const cdev = openCdev(t, of(edu, t.host));
			t.is(bind(t, cdev, 9999).answer, "EBADF");
			t.is(bind(t, cdev, t.eventfd()).answer, "EBADFD");
			t.is(bind(t, cdev, cdev).answer, "EBADFD");
			t.is(bind(t, cdev, t.container()).answer, "EBADFD");
		},
	},
	{
		id: "I.8/185",
		name: "a device is bound once",
		needs: needs(iommufd, edu),
		run(t) {
			const device = of(edu, t.host);
			const { cdev, iommu, id } = bound(t, device);
			t.holds(id >= 1, `out_devid ${id}`);
			t.is(bind(t, cdev, iommu).answer, "EINVAL");
			const second = openCdev(t, device);
			t.is(bind(t, second, iommu).answer, "EINVAL");
			t.is(deviceInfo(t, second), "EINVAL");
			t.close(cdev);
			t.is(bind(t, second, iommu).answer, 0);
		},
	},
	{
		id: "I.8/186",
		name: "group and character device exclude each other",
		needs: needs(iommufd, edu),
		run(t) {
			const device = of(edu, t.host);
			const group = t.group(device);
			const cdev = openCdev(t, device);
			const iommu = openIommu(t);
			t.is(bind(t, cdev, iommu).answer, "EBUSY");
			t.close(group);
			t.is(bind(t, cdev, iommu).answer, 0);
			t.is(t.open(`/dev/vfio/${device.group}`), "EBUSY");
			t.close(cdev);
			t.holds(typeof t.open(`/dev/vfio/${device.group}`) === "number", "the group cannot be opened");
		},
	},
	{
		id: "I.8/187",
		name: "BIND takes no token where there is none",
		needs: needs(iommufd, edu),
		run(t) {
			const cdev = openCdev(t, of(edu, t.host));
			const iommu = openIommu(t);
			const token = t.buffer();
			t.is(bind(t, cdev, iommu, { argsz: 24, flags: 1, token: token.address }).answer, "EINVAL");
			const bad = t.by({ "6.12": "EINVAL", "7.2": "EFAULT" });
			t.is(bind(t, cdev, iommu, { argsz: 24, flags: 1 }).answer, bad);
		},
	},
	{
		id: "I.8/187b",
		name: "a device that was opened through its group has no requests of character devices",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const refused = t.host.iommufd ? "EINVAL" : "ENOTTY";
			t.is(bind(t, fd, -1, { argsz: 15 }).answer, refused);
			t.is(bind(t, fd, 9999).answer, refused);
			t.is(attach(t, fd, 1).answer, "ENOTTY");
			t.is(detach(t, fd), "ENOTTY");
		},
	},
	{
		id: "I.8/188",
		name: "the devices of a group go to one /dev/iommu",
		needs: needs(iommufd, siblings),
		run(t) {
			const [first, second] = of(siblings, t.host);
			t.bind(first);
			t.bind(second);
			t.give(first.name, "vfio-pci");
			const { iommu } = bound(t, first);
			const cdev = openCdev(t, second);
			t.is(bind(t, cdev, openIommu(t)).answer, "EPERM");
			t.is(bind(t, cdev, iommu).answer, 0);
		},
	},
	{
		id: "I.8/188b",
		name: "the devices of a group share one page table",
		needs: needs(iommufd, siblings),
		run(t) {
			const [first, second] = of(siblings, t.host);
			t.bind(first);
			t.bind(second);
			t.give(first.name, "vfio-pci");
			const { iommu, cdev, space, hwpt } = attached(t, first);
			const sibling = openCdev(t, second);
			t.is(bind(t, sibling, iommu).answer, 0);
			const other = ioas(t, iommu);
			t.is(attach(t, sibling, other).answer, "EINVAL");
			t.is(attach(t, sibling, space), { answer: 0, id: hwpt });
			// Both go together.
			t.is(attach(t, sibling, other).answer, 0);
			t.is(destroy(t, iommu, space), 0);
			t.is(detach(t, sibling), 0);
			t.is(destroy(t, iommu, other), "EBUSY");
			t.is(detach(t, cdev), 0);
			t.is(destroy(t, iommu, other), 0);
		},
	},
	{
		id: "I.8/189",
		name: "ATTACH wants an address space or a page table",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu, id } = bound(t, of(edu, t.host));
			t.is(attach(t, cdev, 0xffffffff).answer, "ENOENT");
			t.is(attach(t, cdev, 0).answer, "ENOENT");
			t.is(attach(t, cdev, id).answer, "EINVAL");
			const space = ioas(t, iommu);
			t.is(attach(t, cdev, space, { argsz: 11 }).answer, "EINVAL");
			t.is(attach(t, cdev, space, { flags: 2 }).answer, "EINVAL");
			t.is(attach(t, cdev, space, { argsz: 16, flags: 1 }).answer, "EINVAL");
			t.is(t.ioctl(cdev, vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, 0), "EFAULT");
		},
	},
	{
		id: "I.8/190",
		name: "ATTACH names the page table, and takes the message window out of the address space",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu, id } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			t.is(ranges(t, iommu, space).list, [["0", ALL.toString(16)]]);
			const { answer, id: hwpt } = attach(t, cdev, space);
			t.is(answer, 0);
			t.holds(hwpt !== space && hwpt !== id, `pt_id ${hwpt}`);
			const { list, alignment } = ranges(t, iommu, space);
			t.is(list[0], ["0", "fedfffff"]);
			t.is(list[1]?.[0], "fef00000");
			t.is(alignment, pg);
			t.is(attach(t, cdev, hwpt), { answer: 0, id: hwpt });
			t.is(attach(t, cdev, space), { answer: 0, id: hwpt });
			t.is(destroy(t, iommu, hwpt), "EBUSY");
			t.is(detach(t, cdev), 0);
			t.is(destroy(t, iommu, hwpt), "ENOENT");
			t.is(ranges(t, iommu, space).list, [["0", ALL.toString(16)]]);
			t.is(ranges(t, iommu, space).alignment, 1n);
		},
	},
	{
		id: "I.8/191",
		name: "ATTACH to a second address space replaces the first",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu, space } = attached(t, of(edu, t.host));
			const second = ioas(t, iommu);
			t.is(attach(t, cdev, second).answer, 0);
			t.is(destroy(t, iommu, space), 0);
		},
	},
	{
		id: "I.8/191b",
		name: "a device's DMA goes through the address space that it is attached to",
		needs: needs(iommufd, edu),
		async run(t) {
			const { cdev, iommu, space } = attached(t, of(edu, t.host));
			enableDma(t, cdev);
			const second = ioas(t, iommu);
			const [one, other] = [t.buffer(), t.buffer()];
			t.is(map(t, iommu, space, { user_va: one.address, iova: 0x10000n }).answer, 0);
			t.is(map(t, iommu, second, { user_va: other.address, iova: 0x10000n }).answer, 0);
			one.bytes.fill(0x5a, 0, 64);
			await eduDma(t, cdev, 0x10000, 64, "to device");
			await eduDma(t, cdev, 0x10800, 64, "to memory");
			t.is(hex(one.bytes.subarray(0x800, 0x844)), `${"5a".repeat(64)}00000000`, "what came back");
			t.is(attach(t, cdev, second).answer, 0);
			await eduDma(t, cdev, 0x10000, 64, "to memory");
			t.is(hex(other.bytes.subarray(0, 68)), `${"5a".repeat(64)}00000000`, "in the second address space");
			t.is(detach(t, cdev), 0);
			await eduDma(t, cdev, 0x10400, 64, "to memory");
			t.is([one.bytes[0x400], other.bytes[0x400]], [0, 0], "nothing comes after DETACH");
		},
	},
	{
		id: "I.8/192",
		name: "what is in use cannot be destroyed",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu, id, space, hwpt } = attached(t, of(edu, t.host));
			for (const object of [id, space, hwpt]) t.is(destroy(t, iommu, object), "EBUSY");
			t.close(cdev);
			t.is(destroy(t, iommu, id), "ENOENT");
			t.is(destroy(t, iommu, space), 0);
		},
	},
	{
		id: "I.8/193",
		name: "DETACH always works",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev } = attached(t, of(edu, t.host));
			t.is(detach(t, cdev, { argsz: 7 }), "EINVAL");
			t.is(detach(t, cdev, { flags: 2 }), "EINVAL");
			t.is(detach(t, cdev), 0);
			t.is(detach(t, cdev), 0);
			t.is(t.ioctl(cdev, vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT, 0), "EFAULT");
		},
	},
	{
		id: "I.8/194",
		name: "a mapping in the message window keeps the device out",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			const { address } = t.buffer();
			t.is(map(t, iommu, space, { user_va: address, iova: WINDOW }).answer, 0);
			t.is(attach(t, cdev, space).answer, "EADDRINUSE");
			t.is(unmap(t, iommu, space, WINDOW), { answer: 0, length: pg });
			t.is(attach(t, cdev, space).answer, 0);
			// What is attached already stays attached.
			const second = ioas(t, iommu);
			t.is(map(t, iommu, second, { user_va: address, iova: WINDOW }).answer, 0);
			t.is(attach(t, cdev, second).answer, "EADDRINUSE");
			t.is(destroy(t, iommu, second), 0);
			t.is(map(t, iommu, space, { user_va: address, iova: WINDOW }).answer, "EINVAL");
		},
	},
	{
		id: "I.8/194b",
		name: "so does one beyond what the IOMMU translates, and one that is no whole page",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			const { address } = t.buffer();
			t.is(map(t, iommu, space, { user_va: address, iova: 1n << 60n }).answer, 0);
			t.is(attach(t, cdev, space).answer, "EADDRINUSE");
			t.is(unmap(t, iommu, space, 1n << 60n).answer, 0);
			for (const odd of [{ length: 100 }, { iova: 0x10010n }, { user_va: address + 8n, length: 8 }]) {
				const mapping = { user_va: address, iova: 0x10000n, ...odd };
				t.is(map(t, iommu, space, mapping).answer, 0);
				t.is(attach(t, cdev, space).answer, "EADDRINUSE");
				t.is(unmap(t, iommu, space, mapping.iova, mapping.length ?? PAGE).answer, 0);
			}
			t.is(attach(t, cdev, space).answer, 0);
		},
	},
	{
		id: "I.8/195",
		name: "memory that is not there is noticed by ATTACH",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			t.is(map(t, iommu, space, { user_va: 0x1000n, iova: 0n }).answer, 0);
			t.is(attach(t, cdev, space).answer, "EFAULT");
			t.is(ranges(t, iommu, space).list, [["0", ALL.toString(16)]]);
			t.is(unmap(t, iommu, space, 0n).answer, 0);
			t.is(attach(t, cdev, space).answer, 0);
		},
	},
	{
		id: "I.8/196",
		name: "with a page table memory has to be there",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, space } = attached(t, of(edu, t.host));
			t.is(map(t, iommu, space, { user_va: 0x1000n, iova: 0n }).answer, "EFAULT");
			const { address } = t.buffer(PAGE, 1);
			t.is(map(t, iommu, space, { user_va: address, iova: 0n }).answer, "EFAULT");
			const flags = FIXED | uapi.IOMMU_IOAS_MAP_READABLE;
			t.is(map(t, iommu, space, { user_va: address, iova: 0n, flags }).answer, 0);
			t.is(map(t, iommu, space, { user_va: t.buffer().address, length: 3 * PAGE, iova: 0x100000n }).answer, "EFAULT");
			t.is(unmap(t, iommu, space, 0x100000n, 3 * PAGE).answer, "ENOENT");
		},
	},
	{
		id: "I.8/197",
		name: "regions of devices are no memory",
		needs: needs(iommufd, edu, nvme),
		run(t) {
			const { iommu, space, cdev } = attached(t, of(edu, t.host));
			t.write(cdev, CONFIG, 4, 2, 6);
			const mapping = t.mmap(cdev, 0, 0, PAGE);
			if (typeof mapping === "string") throw new Error(`mmap: ${mapping}`);
			t.observations.remember(mapping);
			t.is(map(t, iommu, space, { user_va: mapping.address, iova: 0n }).answer, "EFAULT");
		},
	},
	{
		id: "I.8/198",
		name: "IOAS_MAP checks its structure first",
		needs: needs(iommufd),
		run(t) {
			const iommu = openIommu(t);
			const space = ioas(t, iommu);
			const { address } = t.buffer();
			const mapping = { user_va: address, iova: 0n };
			t.is(map(t, iommu, space, { ...mapping, flags: 8 | RW }).answer, "EOPNOTSUPP");
			t.is(map(t, iommu, space, { ...mapping, __reserved: 1 }).answer, "EOPNOTSUPP");
			t.is(map(t, iommu, space, { ...mapping, flags: 0 }).answer, "EINVAL");
			t.is(map(t, iommu, space, { ...mapping, flags: FIXED }).answer, "EINVAL");
			t.is(map(t, iommu, space, { ...mapping, length: 0 }).answer, "EINVAL");
			t.is(map(t, iommu, space, { user_va: address, length: 0 }).answer, "EINVAL");
			t.is(map(t, iommu, space, { ...mapping, iova: ALL }).answer, "EOVERFLOW");
			t.is(map(t, iommu, space, { ...mapping, length: ALL }).answer, "EOVERFLOW");
			t.is(map(t, iommu, space, { ...mapping, user_va: ALL }).answer, "EOVERFLOW");
			t.is(map(t, iommu, space, { ...mapping, iova: ALL - 4094n }).answer, "EOVERFLOW");
			t.is(map(t, iommu, 77, mapping).answer, "ENOENT");
			t.is(map(t, iommu, 77, { ...mapping, flags: 0 }).answer, "EINVAL");
		},
	},
	{
		id: "I.8/199",
		name: "a fixed mapping has to fit",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, space } = attached(t, of(edu, t.host));
			const { address } = t.buffer(4 * PAGE);
			t.is(map(t, iommu, space, { user_va: address, iova: 0x10000n, length: 2 * PAGE }).answer, 0);
			for (const iova of [0x10000n, 0x11000n, 0xf000n])
				t.is(map(t, iommu, space, { user_va: address, iova, length: 2 * PAGE }).answer, "EEXIST");
			for (const iova of [WINDOW, WINDOW - pg, 1n << 60n])
				t.is(map(t, iommu, space, { user_va: address, iova, length: 2 * PAGE }).answer, "EINVAL");
			t.is(map(t, iommu, space, { user_va: address, iova: pg - 1n }).answer, "EINVAL");
			t.is(map(t, iommu, space, { user_va: address + 1n, iova: 0n }).answer, "EINVAL");
			t.is(map(t, iommu, space, { user_va: address, iova: 0n, length: 100 }).answer, "EINVAL");
			t.is(map(t, iommu, space, { user_va: address + 1n, iova: 0x10000n }).answer, "EEXIST");
		},
	},
	{
		id: "I.8/200",
		name: "a free place is found from the second page on",
		needs: needs(iommufd),
		run(t) {
			const iommu = openIommu(t);
			const space = ioas(t, iommu);
			const { address } = t.buffer(4 * PAGE);
			const first = map(t, iommu, space, { user_va: address });
			t.is([first.answer, first.iova % pg], [0, 0n]);
			t.holds(first.iova >= pg, `iova 0x${first.iova.toString(16)}`);
			const second = map(t, iommu, space, { user_va: address });
			t.is(second.answer, 0);
			t.holds(second.iova !== first.iova, "two mappings at one place");
			const odd = map(t, iommu, space, { user_va: address + 0x123n, length: 16 });
			t.is([odd.answer, odd.iova % pg], [0, 0x123n]);
			t.is(map(t, iommu, space, { user_va: address, length: 1n << 62n }).answer, 0);
			t.is(map(t, iommu, space, { user_va: 0n, length: 1n << 63n }).answer, "EOVERFLOW");
		},
	},
	{
		id: "I.8/201",
		name: "IOAS_UNMAP takes whole mappings, and wants one",
		needs: needs(iommufd),
		run(t) {
			const iommu = openIommu(t);
			const space = ioas(t, iommu);
			const { address } = t.buffer(4 * PAGE);
			t.is(unmap(t, iommu, space, 0n, ALL), { answer: 0, length: 0n });
			t.is(map(t, iommu, space, { user_va: address, iova: 0x10000n, length: 4 * PAGE }).answer, 0);
			t.is(map(t, iommu, space, { user_va: address, iova: 0x20000n, length: PAGE }).answer, 0);
			for (const iova of [0x10000n, 0x11000n, 0x13000n, 0xf000n])
				t.is(unmap(t, iommu, space, iova, 2 * PAGE).answer, "ENOENT");
			t.is(unmap(t, iommu, space, 0x80000n).answer, "ENOENT");
			t.is(unmap(t, iommu, space, 0x10000n, 0).answer, "EINVAL");
			t.is(unmap(t, iommu, space, ALL, PAGE).answer, "EOVERFLOW");
			t.is(unmap(t, iommu, space, pg, ALL).answer, "EOVERFLOW");
			t.is(unmap(t, iommu, space, ALL - 1n, PAGE).answer, "EOVERFLOW");
			t.is(unmap(t, iommu, 77, 0x10000n).answer, "ENOENT");
			t.is(unmap(t, iommu, space, 0x8000n, 0x100000n), { answer: 0, length: 5n * pg });
			t.is(map(t, iommu, space, { user_va: address, iova: 0n }).answer, 0);
			t.is(unmap(t, iommu, space, 0n, ALL), { answer: 0, length: pg });
		},
	},
	{
		id: "I.8/202",
		name: "IOAS_COPY takes what is mapped without a gap",
		needs: needs(iommufd),
		run(t) {
			const iommu = openIommu(t);
			const [source, target] = [ioas(t, iommu), ioas(t, iommu)];
			const { address } = t.buffer(4 * PAGE);
			const readable = FIXED | uapi.IOMMU_IOAS_MAP_READABLE;
			t.is(map(t, iommu, source, { user_va: address, iova: 0n, length: 2 * PAGE }).answer, 0);
			t.is(map(t, iommu, source, { user_va: address, iova: 0x2000n, flags: readable }).answer, 0);
			const copy = (fields: Partial<Record<keyof typeof uapi.iommu_ioas_copy.offsets, number | bigint>>) =>
				command(t, iommu, uapi.IOMMU_IOAS_COPY, uapi.iommu_ioas_copy, {
					flags: FIXED | RW,
					dst_ioas_id: target,
					src_ioas_id: source,
					length: pg,
					dst_iova: 0n,
					src_iova: 0n,
					...fields,
				} as never).answer;
			t.is(copy({ src_iova: 0x10000n }), "ENOENT");
			t.is(copy({ src_iova: 0x2000n, length: 2n * pg }), "ENOENT");
			t.is(copy({ src_iova: 0x2000n }), "EPERM");
			t.is(copy({ src_iova: 0x2000n, flags: readable, dst_iova: 0x5000n }), 0);
			t.is(copy({ src_iova: 0x1000n, length: 2n * pg, flags: readable }), 0);
			t.is(copy({}), "EEXIST");
			t.is(copy({ flags: 8 | RW }), "EOPNOTSUPP");
			t.is(copy({ flags: FIXED }), "EINVAL");
			t.is(copy({ length: ALL }), "EOVERFLOW");
			t.is(copy({ dst_iova: ALL }), "EOVERFLOW");
			t.is(copy({ length: 0n }), "EINVAL");
			t.is(copy({ src_ioas_id: 77 }), "ENOENT");
			t.is(copy({ dst_ioas_id: 77 }), "ENOENT");
			t.is(copy({ dst_iova: 0x8000n }), 0);
			t.is(unmap(t, iommu, target, 0n, ALL), { answer: 0, length: 4n * pg });
			t.is(destroy(t, iommu, source), 0);
		},
	},
	{
		id: "I.8/203",
		name: "IOVA_RANGES says how many there are when there is no room",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			const none = ranges(t, iommu, space, 0);
			t.is([none.answer, none.count, none.alignment], ["EMSGSIZE", 1, 1n]);
			t.is(attach(t, cdev, space).answer, 0);
			const one = ranges(t, iommu, space, 1);
			t.is([one.answer, one.count, one.alignment, one.list], ["EMSGSIZE", 2, pg, [["0", "fedfffff"]]]);
			t.is(ranges(t, iommu, 77).answer, "ENOENT");
			const layout = uapi.iommu_ioas_iova_ranges;
			const fields = { ioas_id: space, num_iovas: 2, allowed_iovas: 0x1000n };
			t.is(command(t, iommu, uapi.IOMMU_IOAS_IOVA_RANGES, layout, fields).answer, "EFAULT");
			const reserved = { ...fields, __reserved: 1 };
			t.is(command(t, iommu, uapi.IOMMU_IOAS_IOVA_RANGES, layout, reserved).answer, "EOPNOTSUPP");
		},
	},
	{
		id: "I.8/204",
		name: "ALLOW_IOVAS promises addresses",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			const list = t.buffer();
			const allow = (...spans: (readonly [bigint, bigint])[]) => {
				for (const [index, [start, last]] of spans.entries()) {
					list.bytes.set(bytesOf(start, 8), 16 * index);
					list.bytes.set(bytesOf(last, 8), 16 * index + 8);
				}
				const words = spans.map(([start, last]) => `${start.toString(16)}-${last.toString(16)}`).join(" ");
				const fields = { ioas_id: space, num_iovas: spans.length, allowed_iovas: list.address };
				return command(t, iommu, uapi.IOMMU_IOAS_ALLOW_IOVAS, uapi.iommu_ioas_allow_iovas, fields, { words }).answer;
			};
			t.is(allow([0x1000n, 0x1000n]), "EINVAL");
			t.is(allow([0x2000n, 0x1000n]), "EINVAL");
			t.is(allow([0x1000n, 0x2fffn], [0x2000n, 0x3fffn]), "EINVAL");
			t.is(allow([WINDOW, WINDOW + 0xfffn]), 0);
			t.is(attach(t, cdev, space).answer, "EADDRINUSE");
			t.is(allow([0x40000n, 0x40fffn]), 0);
			t.is(attach(t, cdev, space).answer, 0);
			t.is(allow([WINDOW - pg, WINDOW + 0xfffn]), "EADDRINUSE");
			const { address } = t.buffer(2 * PAGE);
			t.is(map(t, iommu, space, { user_va: address }), { answer: 0, iova: 0x40000n });
			t.is(map(t, iommu, space, { user_va: address }).answer, "ENOSPC");
			// A fixed place may be anywhere.
			t.is(map(t, iommu, space, { user_va: address, iova: 0x80000n }).answer, 0);
			t.is(allow(), 0);
			t.is(map(t, iommu, space, { user_va: address }).answer, 0);
		},
	},
	{
		id: "I.8/205",
		name: "structures may be longer, when the rest is 0",
		needs: needs(iommufd),
		run(t) {
			const iommu = openIommu(t);
			const call = (size: number, tail: readonly number[] = [], id = 0) =>
				command(t, iommu, uapi.IOMMU_DESTROY, uapi.iommu_destroy, { id }, { size, tail }).answer;
			t.is(call(8), "ENOENT");
			for (const size of [0, 4, 7]) t.is(call(size), "EINVAL");
			t.is(call(16, [0, 0, 0, 0, 0, 0, 0, 1]), "E2BIG");
			t.is(call(16, Array(8).fill(0), ioas(t, iommu)), 0);
			t.is(t.ioctl(iommu, uapi.IOMMU_DESTROY, 0), "EFAULT");
			for (const number of [0x3bff, 0x3b7f, 0x5401]) t.is(t.ioctl(iommu, number), "ENOTTY");
			const newer = t.ioctl(iommu, uapi.IOMMU_IOAS_CHANGE_PROCESS, bytesOf(8, 8), "iommufd", "size 8");
			t.is(newer, t.by<Answer>({ "6.12": "ENOTTY", "7.2": 0 }));
			const flags = { flags: 1 };
			t.is(command(t, iommu, uapi.IOMMU_IOAS_ALLOC, uapi.iommu_ioas_alloc, flags).answer, "EOPNOTSUPP");
		},
	},
	{
		id: "I.8/206",
		name: "options",
		needs: needs(iommufd, edu),
		run(t) {
			const iommu = openIommu(t);
			const set = (fields: object) =>
				command(t, iommu, uapi.IOMMU_OPTION, uapi.iommu_option, { op: uapi.IOMMU_OPTION_OP_SET, ...fields }).answer;
			const get = (fields: object) =>
				command(
					t,
					iommu,
					uapi.IOMMU_OPTION,
					uapi.iommu_option,
					{ op: uapi.IOMMU_OPTION_OP_GET, ...fields },
					{ shows: ["val64"] },
				);
			t.is(set({ val64: 2n }), "EINVAL");
			t.is(set({ val64: 1n }), 0);
			t.is(get({}).view.val64, 1n);
			t.is(set({ val64: 0n, object_id: 1 }), "EOPNOTSUPP");
			t.is(set({ __reserved: 1 }), "EOPNOTSUPP");
			t.is(set({ option_id: 7 }), "EOPNOTSUPP");
			t.is(set({ op: 7 }), "EOPNOTSUPP");
			const space = ioas(t, iommu);
			t.is(set({ val64: 0n }), "EBUSY");
			t.is(set({ val64: 2n }), "EBUSY");
			const huge = { option_id: uapi.IOMMU_OPTION_HUGE_PAGES, object_id: space };
			t.is(get(huge).view.val64, 1n);
			t.is(set({ ...huge, val64: 2n }), "EINVAL");
			t.is(set({ ...huge, object_id: 77 }), "ENOENT");
			t.is(set({ ...huge, val64: 0n }), 0);
			t.is(get(huge).view.val64, 0n);
			t.is(ranges(t, iommu, space).alignment, pg);
			t.is(set({ ...huge, val64: 1n }), 0);
			t.is(ranges(t, iommu, space).alignment, 1n);
			t.is(map(t, iommu, space, { user_va: t.buffer().address, iova: 0n, length: 100 }).answer, 0);
			t.is(set({ ...huge, val64: 0n }), "EADDRINUSE");
			t.is(unmap(t, iommu, space, 0n, 100).answer, 0);
		},
	},
	{
		id: "I.8/206b",
		name: "huge pages stay when something is mapped",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, space } = attached(t, of(edu, t.host));
			t.is(map(t, iommu, space, { user_va: t.buffer().address, iova: 0n }).answer, 0);
			const fields = { option_id: uapi.IOMMU_OPTION_HUGE_PAGES, op: uapi.IOMMU_OPTION_OP_SET, object_id: space };
			t.is(command(t, iommu, uapi.IOMMU_OPTION, uapi.iommu_option, fields).answer, "EINVAL");
		},
	},
	{
		id: "I.8/207",
		name: "HWPT_ALLOC makes a page table that stays",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu, id } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			const alloc = (fields: object) =>
				command(t, iommu, uapi.IOMMU_HWPT_ALLOC, uapi.iommu_hwpt_alloc, { dev_id: id, pt_id: space, ...fields });
			t.is(alloc({ pt_id: 77 }).answer, "EINVAL");
			t.is(alloc({ pt_id: id }).answer, "EINVAL");
			t.is(alloc({ dev_id: 77 }).answer, "ENOENT");
			t.is(alloc({ dev_id: space }).answer, "ENOENT");
			for (const flags of [0x10, 1, 2, 5, 6]) t.is(alloc({ flags }).answer, "EOPNOTSUPP");
			t.is(alloc({ __reserved: 1 }).answer, "EOPNOTSUPP");
			t.is(alloc({ data_len: 8 }).answer, "EINVAL");
			t.is(alloc({ data_type: 1 }).answer, "EINVAL");
			t.is(alloc({ data_type: 1, data_len: 8, data_uptr: t.buffer().address }).answer, "EOPNOTSUPP");
			t.is(alloc({ flags: 4, fault_id: 77 }).answer, t.by({ "6.12": "EOPNOTSUPP", "7.2": "ENOENT" }));
			const { answer, view } = alloc({});
			t.is(answer, 0);
			const hwpt = view.out_hwpt_id;
			t.is(destroy(t, iommu, space), "EBUSY");
			t.is(alloc({ pt_id: hwpt }).answer, "EOPNOTSUPP");
			t.is(attach(t, cdev, hwpt), { answer: 0, id: hwpt });
			t.is(destroy(t, iommu, hwpt), "EBUSY");
			// Who attaches to the address space gets one of their own.
			const automatic = attach(t, cdev, space);
			t.is(automatic.answer, 0);
			t.holds(automatic.id !== hwpt, "the page table that was asked for is used for others");
			t.is(attach(t, cdev, hwpt).answer, 0);
			t.is(detach(t, cdev), 0);
			t.is(destroy(t, iommu, hwpt), 0);
			t.is(destroy(t, iommu, space), 0);
		},
	},
	{
		id: "I.8/207b",
		name: "a page table is filled when it is made",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, id } = bound(t, of(edu, t.host));
			const space = ioas(t, iommu);
			t.is(map(t, iommu, space, { user_va: 0x1000n, iova: 0n }).answer, 0);
			const alloc = () =>
				command(t, iommu, uapi.IOMMU_HWPT_ALLOC, uapi.iommu_hwpt_alloc, { dev_id: id, pt_id: space }).answer;
			t.is(alloc(), "EFAULT");
			t.is(unmap(t, iommu, space, 0n).answer, 0);
			t.is(alloc(), 0);
			t.is(map(t, iommu, space, { user_va: 0x1000n, iova: 0n }).answer, "EFAULT");
			t.is(ranges(t, iommu, space).list.length, 1);
		},
	},
	{
		id: "I.8/207c",
		name: "dirty tracking wants a page table that was made for it",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, hwpt, space } = attached(t, of(edu, t.host));
			const set = (fields: object) =>
				command(t, iommu, uapi.IOMMU_HWPT_SET_DIRTY_TRACKING, uapi.iommu_hwpt_set_dirty_tracking, {
					hwpt_id: hwpt,
					...fields,
				}).answer;
			t.is(set({ flags: 2 }), "EOPNOTSUPP");
			t.is(set({ hwpt_id: space }), "ENOENT");
			t.is(set({ flags: 1 }), "EOPNOTSUPP");
			t.is(set({ __reserved: 1, hwpt_id: 77 }), "ENOENT");
			const bitmap = t.buffer();
			const get = (fields: object) =>
				command(t, iommu, uapi.IOMMU_HWPT_GET_DIRTY_BITMAP, uapi.iommu_hwpt_get_dirty_bitmap, {
					hwpt_id: hwpt,
					length: pg,
					page_size: pg,
					data: bitmap.address,
					...fields,
				}).answer;
			t.is(get({ flags: 2 }), "EOPNOTSUPP");
			t.is(get({ __reserved: 1 }), "EOPNOTSUPP");
			t.is(get({ hwpt_id: 77 }), "ENOENT");
			t.is(get({ length: ALL, iova: pg }), "EOVERFLOW");
			t.is(get({ length: 100n }), "EINVAL");
			t.is(get({ page_size: 2n * pg }), "EINVAL");
			t.is(get({ page_size: 0n }), "EINVAL");
			t.is(get({}), "EOPNOTSUPP");
		},
	},
	{
		id: "I.8/207d",
		name: "only nested page tables are invalidated",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, hwpt, space } = attached(t, of(edu, t.host));
			const invalidate = (fields: object) => {
				const usual = { hwpt_id: hwpt, data_uptr: t.buffer().address, data_type: 1, entry_len: 16, entry_num: 1 };
				const { answer, view } = command(
					t,
					iommu,
					uapi.IOMMU_HWPT_INVALIDATE,
					uapi.iommu_hwpt_invalidate,
					{ ...usual, ...fields },
					{ shows: ["entry_num"] },
				);
				return [answer, view.entry_num];
			};
			const other = t.by({ "6.12": "ENOENT", "7.2": "EINVAL" });
			t.is(invalidate({}), [other, 0]);
			t.is(invalidate({ __reserved: 1 }), ["EOPNOTSUPP", 0]);
			t.is(invalidate({ hwpt_id: 77 }), ["ENOENT", 0]);
			t.is(invalidate({ hwpt_id: space }), [other, 0]);
			t.is(invalidate({ data_uptr: 0n }), ["EINVAL", 0]);
			t.is(invalidate({ entry_len: 0 }), ["EINVAL", 0]);
		},
	},
	{
		id: "I.8/207e",
		name: "a fault queue is in use while its descriptor is open",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, id } = bound(t, of(edu, t.host));
			const alloc = (fields: object) =>
				command(t, iommu, uapi.IOMMU_FAULT_QUEUE_ALLOC, uapi.iommu_fault_alloc, fields, { words: "" });
			t.is(alloc({ flags: 1 }).answer, "EOPNOTSUPP");
			const { answer, view } = alloc({});
			t.is(answer, 0);
			const { out_fault_id: queue, out_fault_fd: fd } = view;
			t.observations.named(fd, "faults");
			t.is(destroy(t, iommu, queue), "EBUSY");
			const { kernel } = t.target;
			const transfer = (call: "read" | "write", length: number) =>
				t.attempt(call, `${length} bytes`, () => kernel[call](fd, new Uint8Array(length)));
			t.is(transfer("read", 40), 0);
			t.is(transfer("read", 80), 0);
			t.is(transfer("read", 39), "ESPIPE");
			t.is(transfer("write", 8), "EINVAL");
			t.is(transfer("write", 7), "ESPIPE");
			const fields = { flags: 4, dev_id: id, pt_id: ioas(t, iommu), fault_id: queue };
			const hwpt = command(t, iommu, uapi.IOMMU_HWPT_ALLOC, uapi.iommu_hwpt_alloc, fields);
			t.is(hwpt.answer, t.by<Answer>({ "6.12": "EOPNOTSUPP", "7.2": 0 }));
			t.close(fd);
			t.is(destroy(t, iommu, queue), t.by<Answer>({ "6.12": 0, "7.2": "EBUSY" }));
		},
	},
	{
		id: "I.8/208",
		name: "GET_HW_INFO gives the registers of VT-d",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu, id } = bound(t, of(edu, t.host));
			const memory = t.buffer();
			const info = (fields: object) =>
				command(
					t,
					iommu,
					uapi.IOMMU_GET_HW_INFO,
					uapi.iommu_hw_info,
					{ dev_id: id, data_len: 24, data_uptr: memory.address, ...fields },
					{ shows: ["data_len", "out_data_type"] },
				);
			const { answer, view } = info({});
			t.is([answer, view.out_data_type, view.data_len], [0, uapi.IOMMU_HW_INFO_TYPE_INTEL_VTD, 24]);
			const file = `/sys/bus/pci/devices/${of(edu, t.host).name}/iommu/intel-iommu`;
			const registers = uapi.iommu_hw_info_vtd.view(memory.bytes);
			t.is(registers.cap_reg.toString(16), t.text(`${file}/cap`), "CAP");
			t.is(registers.ecap_reg.toString(16), t.text(`${file}/ecap`), "ECAP");
			memory.bytes.fill(0xa5);
			t.is(info({ data_len: 32 }).view.data_len, 24);
			t.is([...memory.bytes.subarray(24, 33)], [0, 0, 0, 0, 0, 0, 0, 0, 0xa5]);
			memory.bytes.fill(0xa5);
			t.is(info({ data_len: 8 }).view.data_len, 24);
			t.is(memory.bytes[8], 0xa5, "the byte behind a short buffer");
			t.is(info({ data_len: 0, data_uptr: 0n }).answer, 0);
			t.is(info({ data_uptr: 0x1000n }).answer, "EFAULT");
			t.is(info({ flags: 2 }).answer, "EOPNOTSUPP");
			t.is(info({ dev_id: 77 }).answer, "ENOENT");
			const odd = uapi.iommu_hw_info.create();
			Object.assign(odd, { size: odd.bytes.length, dev_id: id });
			odd.bytes[30] = 1;
			t.is(t.ioctl(iommu, uapi.IOMMU_GET_HW_INFO, odd.bytes, "iommufd", "reserved"), "EOPNOTSUPP");
		},
	},
	{
		id: "I.8/209",
		name: "VFIO_IOAS names the address space of VFIO's own requests",
		needs: needs(iommufd),
		run(t) {
			const iommu = openIommu(t);
			const call = (op: number, fields: object = {}) =>
				command(t, iommu, uapi.IOMMU_VFIO_IOAS, uapi.iommu_vfio_ioas, { op, ...fields });
			const { IOMMU_VFIO_IOAS_GET: GET, IOMMU_VFIO_IOAS_SET: SET, IOMMU_VFIO_IOAS_CLEAR: CLEAR } = uapi;
			t.is(call(GET).answer, "ENODEV");
			t.is(call(SET, { ioas_id: 77 }).answer, "ENOENT");
			t.is(call(9).answer, "EOPNOTSUPP");
			t.is(call(GET, { __reserved: 1 }).answer, "EOPNOTSUPP");
			const space = ioas(t, iommu);
			t.is(call(SET, { ioas_id: space }).answer, 0);
			t.is(call(GET).view.ioas_id, space);
			t.is(call(CLEAR).answer, 0);
			t.is(call(CLEAR).answer, 0);
			t.is(call(GET).answer, "ENODEV");
			t.is(call(SET, { ioas_id: space }).answer, 0);
			t.is(destroy(t, iommu, space), 0);
			t.is(call(GET).answer, "ENODEV");
		},
	},
	{
		id: "I.8/210",
		name: "a bound device outlives /dev/iommu's descriptor",
		needs: needs(iommufd, edu),
		run(t) {
			const device = of(edu, t.host);
			const { cdev, iommu, space } = attached(t, device);
			t.close(iommu);
			t.is(deviceInfo(t, cdev), 0);
			t.is(detach(t, cdev), 0);
			t.is(attach(t, cdev, space).answer, 0);
			t.is(t.ioctl(cdev, vfio.VFIO_DEVICE_RESET), 0);
			t.close(cdev);
			t.is(bind(t, openCdev(t, device), openIommu(t)).answer, 0);
		},
	},
	{
		id: "I.8/210b",
		name: "memory stays pinned until it is unmapped, and is counted",
		needs: needs(iommufd, edu),
		run(t) {
			const { cdev, iommu, space } = attached(t, of(edu, t.host));
			const pinned = () => Number(/^VmPin:\s*(\d+)/m.exec(t.text("/proc/self/status"))?.[1]);
			const before = pinned();
			const { address } = t.buffer(4 * PAGE);
			t.is(map(t, iommu, space, { user_va: address, iova: 0n, length: 4 * PAGE }).answer, 0);
			t.is(pinned() - before, 16, "VmPin");
			t.is(map(t, iommu, space, { user_va: address, iova: 0x10000n, length: 4 * PAGE }).answer, 0);
			t.is(pinned() - before, 32, "VmPin of the same memory mapped twice");
			const second = ioas(t, iommu);
			const copy = { flags: FIXED | RW, dst_ioas_id: second, src_ioas_id: space, length: 4n * pg, dst_iova: 0n };
			t.is(command(t, iommu, uapi.IOMMU_IOAS_COPY, uapi.iommu_ioas_copy, copy).answer, 0);
			t.is(pinned() - before, 32, "VmPin after a copy");
			t.is(unmap(t, iommu, space, 0x10000n, 4 * PAGE).answer, 0);
			t.is(pinned() - before, 16, "VmPin after unmap");
			t.is(detach(t, cdev), 0);
			t.is(pinned() - before, 0, "VmPin after detach");
		},
	},
	{
		id: "I.8/210c",
		name: "who may not lock memory without limit is held to it",
		needs: needs(iommufd, edu),
		async run(t) {
			const device = of(edu, t.host);
			t.bind(device);
			const cdevPath = t.cdevPath(device);
			for (const path of [cdevPath, "/dev/iommu"]) {
				t.target.chown(path, NOBODY);
				t.releases.defer(() => t.target.chown(path, 0));
			}
			const other = await t.spawn({ uid: NOBODY, memlock: 16 * PAGE });
			const cdev = (await other.open(cdevPath, O_RDWR)) as number;
			const iommu = (await other.open("/dev/iommu", O_RDWR)) as number;
			const view = vfio.vfio_device_bind_iommufd.create();
			Object.assign(view, { argsz: 16, iommufd: iommu });
			t.is(await other.ioctl(cdev, vfio.VFIO_DEVICE_BIND_IOMMUFD, view.bytes), 0, "BIND");
			const space = uapi.iommu_ioas_alloc.create();
			space.size = space.bytes.length;
			t.is(await other.ioctl(iommu, uapi.IOMMU_IOAS_ALLOC, space.bytes), 0, "IOAS_ALLOC");
			const attaching = vfio.vfio_device_attach_iommufd_pt.create();
			Object.assign(attaching, { argsz: 12, pt_id: space.out_ioas_id });
			t.is(await other.ioctl(cdev, vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attaching.bytes), 0, "ATTACH");
			const address = await other.allocate(32 * PAGE);
			const mapping = async (pages: number, iova: bigint) => {
				const request = uapi.iommu_ioas_map.create();
				Object.assign(request, {
					size: request.bytes.length,
					flags: FIXED | RW,
					ioas_id: space.out_ioas_id,
					user_va: address,
					length: BigInt(pages * PAGE),
					iova,
				});
				return other.ioctl(iommu, uapi.IOMMU_IOAS_MAP, request.bytes);
			};
			t.is(await mapping(17, 0n), "ENOMEM", "17 pages of 16");
			t.is(await mapping(16, 0n), 0, "16 pages");
			t.is(await mapping(1, 0x100000n), "ENOMEM", "one page more");
		},
	},
];

const NOBODY = 65534;
