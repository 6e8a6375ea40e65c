import * as uapi from "../../../core/uapi/iommufd.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { must } from "../calls.ts";
import type { Case } from "../case.ts";
import type { HostDevice } from "../host.ts";
import { attach, command, destroy, ioas, iommufd, map, openCdev, openIommu, ranges } from "../iommufd-calls.ts";
import { edu, needs, nvme, of } from "../roles.ts";
import { CONFIG, capabilities, PAGE, type Trial } from "../trial.ts";

const pg = BigInt(PAGE);
const { VFIO_TYPE1_IOMMU: V1, VFIO_TYPE1v2_IOMMU: V2 } = vfio;
const CAP_OFFSET = vfio.vfio_iommu_type1_info.offsets.cap_offset;

/** A group whose container is a /dev/iommu. */
function joined(t: Trial, device: HostDevice): { iommu: number; group: number } {
	const iommu = openIommu(t);
	const group = t.group(device);
	must(t.setContainer(group, iommu), "SET_CONTAINER");
	return { iommu, group };
}

/** The same with the device opened: its DMA goes through the address space then. */
function opened(t: Trial, device: HostDevice, type = V2) {
	const { iommu, group } = joined(t, device);
	must(t.setIommu(iommu, type), "SET_IOMMU");
	return { iommu, group, fd: must(t.deviceFd(group, device.name), "GET_DEVICE_FD") };
}

/** I.8/211: /dev/iommu as a container. */
export const iommufdCompatibilityCases: readonly Case[] = [
	{
		id: "I.8/211a",
		name: "without a group /dev/iommu has no address space for a container's requests",
		needs: needs(iommufd),
		run(t) {
			const iommu = openIommu(t);
			t.is(t.ioctl(iommu, vfio.VFIO_GET_API_VERSION), 0);
			for (const extension of [V1, V2, vfio.VFIO_UNMAP_ALL]) t.is(t.extension(iommu, extension), 1);
			for (const extension of [0, 2, 5, 6, 7, 10, 99]) t.is(t.extension(iommu, extension), 0);
			t.is(t.extension(iommu, vfio.VFIO_NOIOMMU_IOMMU), 1);
			t.is(t.extension(iommu, vfio.VFIO_DMA_CC_IOMMU), "ENODEV");
			t.is(t.setIommu(iommu, V2), "ENODEV");
			for (const type of [0, 6, 8, 99]) t.is(t.setIommu(iommu, type), "EINVAL");
			t.is(t.iommuInfo(iommu, 24).answer, "ENODEV");
			t.is(t.iommuInfo(iommu, 15, 24).answer, "EINVAL");
			const { address } = t.buffer();
			t.is(t.map(iommu, { vaddr: address }), "ENODEV");
			t.is(t.map(iommu, { vaddr: address, argsz: 31 }), "EINVAL");
			t.is(t.map(iommu, { vaddr: address, flags: 4 }), "EINVAL");
			t.is(t.unmap(iommu, {}).answer, "ENODEV");
			t.is(t.unmap(iommu, { flags: vfio.VFIO_DMA_UNMAP_FLAG_VADDR }).answer, "EINVAL");
			t.is(t.dirty(iommu, 1), "ENOTTY");
			for (const request of [0x3b73, 0x3b7f]) t.is(t.ioctl(iommu, request), "ENOTTY");
		},
	},
	{
		id: "I.8/211b",
		name: "a group takes /dev/iommu for a container",
		needs: needs(iommufd, edu),
		run(t) {
			const device = of(edu, t.host);
			const { iommu, group } = joined(t, device);
			t.is(t.status(group), vfio.VFIO_GROUP_FLAGS_VIABLE | vfio.VFIO_GROUP_FLAGS_CONTAINER_SET);
			t.is(t.setContainer(group, iommu), "EINVAL");
			t.is(t.setContainer(group, t.container()), "EINVAL");
			t.is(t.setIommu(iommu, V2), 0);
			t.is(t.setIommu(iommu, V2), 0);
			t.is(t.setIommu(iommu, V1), 0);
			t.is(t.setIommu(iommu, V2), 0);
			t.is(t.setIommu(iommu, 99), "EINVAL");
			t.is(t.extension(iommu, vfio.VFIO_DMA_CC_IOMMU), 1);
			const fd = must(t.deviceFd(group, device.name), "GET_DEVICE_FD");
			t.is(t.deviceInfo(fd).answer, 0);
			t.extension(iommu, vfio.VFIO_DMA_CC_IOMMU);
			t.is(t.unsetContainer(group), 0);
			t.is(t.unsetContainer(group), "EINVAL");
			t.is(t.deviceInfo(fd).answer, 0);
			t.close(group);
			t.holds(typeof t.open(`/dev/vfio/${device.group}`) === "number", "the group cannot be opened again");
		},
	},
	{
		id: "I.8/211c",
		name: "a device can be opened before SET_IOMMU, and gets the address space",
		needs: needs(iommufd, edu),
		run(t) {
			const device = of(edu, t.host);
			const { iommu, group } = joined(t, device);
			const get = () =>
				command(t, iommu, uapi.IOMMU_VFIO_IOAS, uapi.iommu_vfio_ioas, { op: uapi.IOMMU_VFIO_IOAS_GET }).view.ioas_id;
			const space = get();
			t.is(ranges(t, iommu, space).list.length, 1);
			t.is(t.map(iommu, { vaddr: t.buffer().address }), 0);
			const fd = must(t.deviceFd(group, device.name), "GET_DEVICE_FD");
			t.is(ranges(t, iommu, space).list.length, 2);
			t.is(destroy(t, iommu, space), "EBUSY");
			t.is(attach(t, fd, space).answer, "ENOTTY");
			t.close(fd);
			t.is(ranges(t, iommu, space).list.length, 1);
			// It outlives device and group.
			t.is(t.unsetContainer(group), 0);
			t.is(get(), space);
			t.is(t.unmap(iommu, {}), { answer: 0, size: PAGE });
			t.is(destroy(t, iommu, space), 0);
			t.is(t.map(iommu, { vaddr: t.buffer().address }), "ENODEV");
		},
	},
	{
		id: "I.8/211d",
		name: "what is mapped before the device is opened is looked at then",
		needs: needs(iommufd, edu),
		run(t) {
			const device = of(edu, t.host);
			const { iommu, group } = joined(t, device);
			t.is(t.setIommu(iommu), 0);
			t.is(t.map(iommu, { vaddr: 0x1000n }), 0);
			t.is(t.deviceFd(group, device.name), "EFAULT");
			t.is(t.unmap(iommu, {}), { answer: 0, size: PAGE });
			t.is(t.map(iommu, { vaddr: t.buffer().address, iova: 0xfee00000n }), 0);
			t.is(t.deviceFd(group, device.name), "EADDRINUSE");
			t.is(t.unmap(iommu, { iova: 0xfee00000n }), { answer: 0, size: PAGE });
			const fd = t.deviceFd(group, device.name);
			t.holds(typeof fd === "number", `the device cannot be opened: ${fd}`);
		},
	},
	{
		id: "I.8/211e",
		name: "mappings of a /dev/iommu that stands for a container",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu } = opened(t, of(edu, t.host));
			const { address } = t.buffer(4 * PAGE);
			t.is(t.map(iommu, { vaddr: address, iova: 0x10000n, size: 4 * PAGE }), 0);
			t.is(t.map(iommu, { vaddr: address, iova: 0x11000n }), "EEXIST");
			t.is(t.map(iommu, { vaddr: address, iova: 0xfee00000n }), "EINVAL");
			t.is(t.map(iommu, { vaddr: address, iova: 0n, size: 0 }), "EINVAL");
			t.is(t.map(iommu, { vaddr: address, iova: 0n, size: 100 }), "EINVAL");
			t.is(t.map(iommu, { vaddr: 0x1000n, iova: 0n }), "EFAULT");
			t.is(t.map(iommu, { vaddr: address, iova: 0xfffffffffffff000n, size: 2 * PAGE }), "EOVERFLOW");
			for (const iova of [0x10000n, 0x11000n, 0x12000n])
				t.is(t.unmap(iommu, { iova, size: 2 * PAGE }), { answer: "ENOENT", size: 0 });
			t.is(t.unmap(iommu, { iova: 0x10000n, size: 0 }), { answer: "EINVAL", size: 0 });
			t.is(t.unmap(iommu, { iova: 0x80000n }), { answer: 0, size: 0 });
			t.is(t.unmap(iommu, { iova: 0xfffffffffffff000n, size: 2 * PAGE }).answer, "EOVERFLOW");
			t.is(t.unmap(iommu, { iova: 0n, size: 0x20000 }), { answer: 0, size: 4 * PAGE });
			t.is(t.map(iommu, { vaddr: address, iova: 0n }), 0);
			t.is(t.unmap(iommu, { iova: pg, size: 0, flags: vfio.VFIO_DMA_UNMAP_FLAG_ALL }).answer, "EINVAL");
			t.is(t.unmap(iommu, { size: 0, flags: vfio.VFIO_DMA_UNMAP_FLAG_ALL }), { answer: 0, size: PAGE });
			t.is(t.unmap(iommu, { flags: vfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP }).answer, "EINVAL");
		},
	},
	{
		id: "I.8/211f",
		name: "type 1 cuts mappings",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu } = opened(t, of(edu, t.host), V1);
			const { address } = t.buffer(8 * PAGE);
			t.is(t.map(iommu, { vaddr: address, iova: 0x10000n, size: 8 * PAGE }), 0);
			t.is(t.unmap(iommu, { iova: 0x12000n, size: 2 * PAGE }), { answer: 0, size: 2 * PAGE });
			t.is(t.unmap(iommu, { iova: 0x10000n, size: PAGE }), { answer: 0, size: PAGE });
			t.is(t.unmap(iommu, { iova: 0n, size: 0x40000 }), { answer: 0, size: 5 * PAGE });
			t.is(t.map(iommu, { vaddr: address, iova: 0n }), 0);
			t.is(t.setIommu(iommu, V2), 0);
			t.is(t.setIommu(iommu, V1), 0);
		},
	},
	{
		id: "I.8/211g",
		name: "type 1 has to be asked for before anything is in a page table",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu } = opened(t, of(edu, t.host));
			t.is(t.map(iommu, { vaddr: t.buffer().address }), 0);
			t.is(t.setIommu(iommu, V1), "EINVAL");
			t.is(t.setIommu(iommu, V2), 0);
		},
	},
	{
		id: "I.8/211h",
		name: "GET_INFO tells of unlimited mappings and of ranges, in that order",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu } = opened(t, of(edu, t.host));
			for (const argsz of [0, 15]) t.is(t.iommuInfo(iommu, argsz, 24).answer, "EINVAL");
			const { answer, bytes } = t.iommuInfo(iommu, 256);
			t.is(answer, 0);
			const chain = capabilities(bytes, CAP_OFFSET);
			t.is(
				chain.map(({ id }) => id),
				[vfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, vfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE],
			);
			t.is(t.available(iommu), 0xffffffff);
			const [first, second] = t.iovaRanges(iommu);
			t.is([first, second?.[0]], [[0n, 0xfedfffffn], 0xfef00000n]);
			const total = vfio.vfio_iommu_type1_info.view(bytes).argsz;
			for (const argsz of [16, 20, 24, 36, 40, total - 1, total]) {
				const info = t.iommuInfo(iommu, argsz, 256);
				t.is([info.answer, vfio.vfio_iommu_type1_info.view(info.bytes).argsz], [0, total]);
			}
		},
	},
	{
		id: "I.8/211i",
		name: "GET_INFO without a page table",
		needs: needs(iommufd, edu),
		run(t) {
			const { iommu } = joined(t, of(edu, t.host));
			const { answer, bytes } = t.iommuInfo(iommu, 256);
			t.is(answer, 0);
			t.is(vfio.vfio_iommu_type1_info.view(bytes).iova_pgsizes, 0xfffffffffffff000n);
			t.is(t.iovaRanges(iommu), [[0n, 0xffffffffffffffffn]]);
		},
	},
	{
		id: "I.8/211j",
		name: "regions of devices cannot be mapped",
		needs: needs(iommufd, edu, nvme),
		run(t) {
			const { iommu, fd } = opened(t, of(edu, t.host));
			t.write(fd, CONFIG, 4, 2, 6);
			const mapping = t.mmap(fd, 0, 0, PAGE);
			if (typeof mapping === "string") throw new Error(`mmap: ${mapping}`);
			t.observations.remember(mapping);
			t.is(t.map(iommu, { vaddr: mapping.address }), "EFAULT");
		},
	},
	{
		id: "I.8/211k",
		name: "an address space of the program's own can stand for a container's",
		needs: needs(iommufd, edu),
		run(t) {
			const device = of(edu, t.host);
			const iommu = openIommu(t);
			const space = ioas(t, iommu);
			const set = { op: uapi.IOMMU_VFIO_IOAS_SET, ioas_id: space };
			t.is(command(t, iommu, uapi.IOMMU_VFIO_IOAS, uapi.iommu_vfio_ioas, set).answer, 0);
			const group = t.group(device);
			t.is(t.setContainer(group, iommu), 0);
			t.is(t.setIommu(iommu), 0);
			t.is(t.map(iommu, { vaddr: t.buffer().address, iova: 0n }), 0);
			t.is(map(t, iommu, space, { user_va: t.buffer().address, iova: 0n }).answer, "EEXIST");
			const fd = must(t.deviceFd(group, device.name), "GET_DEVICE_FD");
			t.is(destroy(t, iommu, space), "EBUSY");
			// A device that is open through its group is not to be had through its character device.
			t.is(t.deviceInfo(openCdev(t, device)).answer, "EINVAL");
			t.close(fd);
			t.is(destroy(t, iommu, space), 0);
			t.is(t.deviceFd(group, device.name), "ENODEV");
		},
	},
];
