import * as vfio from "../../../core/uapi/vfio.ts";
import { type Answer, must } from "../calls.ts";
import type { Case } from "../case.ts";
import { attach, attached, bind, destroy, detach, ioas, iommufd } from "../iommufd-calls.ts";
import { mttyDevice, openMtty, openMttyCdev, uuidOf } from "../mediated.ts";
import { edu, mtty, needs, of } from "../roles.ts";
import { capabilities, PAGE } from "../trial.ts";

const needsMtty = needs(mtty);

/** I.13: groups, containers and address spaces of a device that has no DMA of its own. */
export const mediatedIommuCases: readonly Case[] = [
	{
		id: "I.13/246",
		name: "a mediated device has a group of its own, which VFIO has made",
		needs: needsMtty,
		run(t) {
			const { group } = mttyDevice(t);
			t.is(t.show(`/sys/kernel/iommu_groups/${group}/name`), "vfio-noiommu");
			t.is(t.show(`/sys/kernel/iommu_groups/${group}/type`), "unknown");
			t.is(t.show(`/sys/kernel/iommu_groups/${group}/reserved_regions`), "");
			const g = must(t.open(`/dev/vfio/${group}`), "open the group");
			t.is(t.status(g), 1);
			const c = t.container();
			t.is(t.setContainer(g, c), 0);
			t.is(t.status(g), 3);
			t.is(t.setIommu(c), 0);
			t.is(t.deviceFd(g, uuidOf(1).toUpperCase()), "ENODEV");
			t.is(t.deviceFd(g, `${uuidOf(1)} vf_token=${uuidOf(2)}`), "ENODEV");
			t.holds(typeof t.deviceFd(g, uuidOf(1)) === "number", "the device opens by its UUID");
		},
	},
	{
		id: "I.13/247",
		name: "addresses of memory do not change while a driver may use them",
		needs: needsMtty,
		run(t) {
			const { container } = openMtty(t);
			t.is(t.extension(container, vfio.VFIO_UPDATE_VADDR), 0);
			t.is(t.extension(container, vfio.VFIO_DMA_CC_IOMMU), 1);
			t.is(t.extension(container, vfio.VFIO_UNMAP_ALL), 1);
			const memory = t.buffer();
			t.is(t.map(container, { vaddr: memory.address }), 0);
			t.unmapFails(container, { flags: vfio.VFIO_DMA_UNMAP_FLAG_VADDR }, "EBUSY");
			t.unmapFails(container, { flags: vfio.VFIO_DMA_UNMAP_FLAG_VADDR, size: 1 }, "EBUSY");
		},
	},
	{
		id: "I.13/248",
		name: "without an IOMMU any page size does, and there are no ranges",
		needs: needsMtty,
		run(t) {
			const { container } = openMtty(t);
			const { bytes } = t.iommuInfo(container, 1024);
			const info = vfio.vfio_iommu_type1_info.view(bytes);
			t.is(info.iova_pgsizes, 0xffff_ffff_ffff_f000n);
			t.is(
				capabilities(bytes, vfio.vfio_iommu_type1_info.offsets.cap_offset).map(({ id }) => id),
				[2, 3],
			);
		},
	},
	{
		id: "I.13/249",
		name: "every aligned address can be mapped, and nothing is pinned",
		needs: needsMtty,
		run(t) {
			const { container } = openMtty(t);
			const memory = t.buffer(2 * PAGE);
			const before = t.locked;
			for (const iova of [0n, 0xfee00000n, 1n << 52n, (1n << 64n) - 4096n])
				t.is(t.map(container, { vaddr: memory.address, iova }), 0);
			t.is(t.map(container, { vaddr: 0x10000n, iova: 0x100000n }), 0);
			t.is(t.map(container, { vaddr: memory.address, iova: 0x200001n }), "EINVAL");
			t.is(t.map(container, { vaddr: memory.address, iova: 0xfee00000n }), "EEXIST");
			t.is(t.locked, before, "locked memory");
			t.unmaps(container, { flags: vfio.VFIO_DMA_UNMAP_FLAG_ALL, size: 0 }, 5 * PAGE);
		},
	},
	{
		id: "I.13/249b",
		name: "a group with an IOMMU that joins has everything pinned, and limits what may be mapped",
		needs: needs(mtty, edu),
		run(t) {
			const { container } = openMtty(t);
			const device = of(edu, t.host);
			const memory = t.buffer(2 * PAGE);
			const before = t.locked;
			t.is(t.map(container, { vaddr: memory.address, iova: 0xfee00000n }), 0);
			const group = t.group(device);
			t.is(t.setContainer(group, container), "EINVAL");
			t.unmaps(container, { iova: 0xfee00000n }, PAGE);
			t.is(t.map(container, { vaddr: 0x10000n, iova: 0x100000n }), 0);
			t.is(t.setContainer(group, container), "EFAULT");
			t.is(t.locked, before, "locked memory after an address that is none");
			t.unmaps(container, { iova: 0x100000n }, PAGE);
			t.is(t.map(container, { vaddr: memory.address, iova: 0n, size: 2 * PAGE }), 0);
			t.is(t.setContainer(group, container), 0);
			t.is(t.locked, before + 8, "locked memory with the IOMMU");
			t.is(t.extension(container, vfio.VFIO_UPDATE_VADDR), 0);
			t.is(t.map(container, { vaddr: memory.address, iova: 0xfee00000n }), "EINVAL");
			t.holds(t.iovaRanges(container).length > 0, "there are ranges with the IOMMU");
			t.is(t.unsetContainer(group), 0);
			t.is(t.locked, before, "locked memory without the IOMMU");
			t.is(t.iovaRanges(container).map(String), [`0,${(1n << 64n) - 1n}`], "ranges");
			t.is(t.map(container, { vaddr: memory.address, iova: 0xfee00000n }), 0);
		},
	},
	{
		id: "I.13/268",
		name: "its character device is attached to address spaces alone, and keeps their number",
		needs: needs(iommufd, mtty, edu),
		run(t) {
			const cdev = openMttyCdev(t);
			const { iommu, space, hwpt } = attached(t, of(edu, t.host));
			t.is(t.deviceInfo(cdev).answer, "EINVAL");
			const { answer, id } = bind(t, cdev, iommu);
			t.is(answer, 0);
			t.holds(id > 0 && id !== hwpt && id !== space, `out_devid ${id}`);
			for (const other of [hwpt, id, 9999]) t.is(attach(t, cdev, other).answer, "ENOENT");
			t.is(attach(t, cdev, space), { answer: 0, id: space });
			t.is(attach(t, cdev, space), { answer: 0, id: space });
			const second = ioas(t, iommu);
			t.is(attach(t, cdev, second), { answer: 0, id: second });
			t.is(destroy(t, iommu, second), "EBUSY");
			const unknown = t.by<Answer>({ "6.12": "EINVAL", "7.2": "EOPNOTSUPP" });
			t.is(attach(t, cdev, space, { argsz: 16, flags: 1 }).answer, unknown);
			t.is(detach(t, cdev, { argsz: 12, flags: 1 }), unknown);
			t.is([detach(t, cdev), detach(t, cdev)], [0, 0], "detached twice");
			t.is(destroy(t, iommu, second), 0);
			t.is(destroy(t, iommu, id), "EBUSY");
		},
	},
	{
		id: "I.13/268b",
		name: "a descriptor from its group is bound already; a kernel without iommufd does not know the request",
		needs: needsMtty,
		run(t) {
			const { fd } = openMtty(t);
			const refused = t.host.iommufd ? "EINVAL" : "ENOTTY";
			t.is(bind(t, fd, -1).answer, refused);
			t.is(bind(t, fd, t.container(), { argsz: 15 }).answer, refused);
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_BIND_IOMMUFD, 0), t.host.iommufd ? "EFAULT" : "ENOTTY");
			t.is(attach(t, fd, 1).answer, "ENOTTY");
		},
	},
];
