import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { bytesOf, cString } from "../calls.ts";
import type { Case } from "../case.ts";
import { EDU } from "../edu-registers.ts";
import { edu, needs, of } from "../roles.ts";
import { CONFIG, type Opened, PAGE, type Trial } from "../trial.ts";

const UNBIND = "/sys/bus/pci/drivers/vfio-pci/unbind";
const MASTER = 4;

/** The device can be opened anew, with nothing left of what was before. */
function clean(t: Trial): void {
	const device = of(edu, t.host);
	const { fd, group, container } = t.device(device);
	t.is(t.read(fd, CONFIG, 4, 2) & MASTER, 0);
	t.is(t.available(container), 65535);
	for (const each of [fd, group, container]) t.close(each);
}

/** I.12: who keeps what alive. */
export const lifetimeCases: readonly Case[] = [
	{
		id: "I.12/241",
		name: "a mapped BAR keeps the device open after its descriptors are closed",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			const { fd, group, container } = t.device(device);
			const mapping = t.mmap(fd, 0, 0, PAGE);
			if (typeof mapping === "string") throw new Error(`mmap: ${mapping}`);
			t.close(fd);
			t.is(t.unsetContainer(group), "EBUSY");
			t.close(group);
			t.close(container);
			t.is(t.open(`/dev/vfio/${device.group}`), "EBUSY");
			const other = await t.spawn();
			let returned = false;
			const unbinding = other.writeFile(UNBIND, device.name).then((result) => {
				returned = true;
				return result;
			});
			await t.sleep(100);
			t.is(returned, false, "unbind returns while the BAR is mapped");
			t.is(mapping.read(EDU.ID, 4), 0x010000ed, "ID through the mapping");
			mapping[Symbol.dispose]();
			await t.until(() => returned, "unbind returns");
			t.is(await unbinding, 0, "unbind");
			t.is(t.driver(device.name), undefined);
		},
	},
	{
		id: "I.12/242",
		name: "a program that is killed leaves nothing behind",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			t.bind(device);
			const other = await t.spawn();
			const c = (await other.open("/dev/vfio/vfio", O_RDWR)) as number;
			const g = (await other.open(`/dev/vfio/${device.group}`, O_RDWR)) as number;
			t.is(await other.ioctl(g, vfio.VFIO_GROUP_SET_CONTAINER, bytesOf(c, 4)), 0, "SET_CONTAINER");
			t.is(await other.ioctl(c, vfio.VFIO_SET_IOMMU, vfio.VFIO_TYPE1v2_IOMMU), 0, "SET_IOMMU");
			const fd = (await other.ioctl(g, vfio.VFIO_GROUP_GET_DEVICE_FD, cString(device.name))) as number;
			const map = vfio.vfio_iommu_type1_dma_map.create();
			Object.assign(map, { argsz: 32, flags: 3, vaddr: await other.allocate(PAGE), iova: 0n, size: 4096n });
			t.is(await other.ioctl(c, vfio.VFIO_IOMMU_MAP_DMA, map.bytes), 0, "MAP_DMA");
			t.is(typeof (await other.map(fd, PAGE, 0)), "number", "mmap");
			t.is(t.open(`/dev/vfio/${device.group}`), "EBUSY");
			await other.kill();
			await t.until(() => {
				const fd = t.open(`/dev/vfio/${device.group}`);
				t.observations.list.splice(-1);
				if (typeof fd === "number") t.close(fd);
				return typeof fd === "number";
			}, "the group is free");
			t.observations.list.splice(-1);
			t.is(Number.parseInt(t.hardware(device.name, 4, 1), 16) & MASTER, 0);
			clean(t);
		},
	},
	{
		id: "I.12/243",
		name: "a child that inherits the device keeps it open",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			const { fd, group, container } = t.device(device);
			const child = await t.spawn({ inherit: [fd] });
			for (const each of [fd, group, container]) t.close(each);
			t.is(t.open(`/dev/vfio/${device.group}`), "EBUSY");
			t.is(
				await child.pread(child.inherited[0] as number, 4, CONFIG * 2 ** 40),
				Uint8Array.of(0x34, 0x12, 0xe8, 0x11),
				"read in the child",
			);
			t.is(await child.close(child.inherited[0] as number), 0, "close in the child");
			clean(t);
		},
	},
	...(
		[
			["container", "group", "fd"],
			["container", "fd", "group"],
			["group", "container", "fd"],
			["group", "fd", "container"],
			["fd", "group", "container"],
			["fd", "container", "group"],
		] as const
	).map(
		(order, index): Case => ({
			id: `I.12/244${"abcdef"[index]}`,
			name: `everything closed in the order ${order.map((one) => (one === "fd" ? "device" : one)).join(", ")}`,
			needs: needs(edu),
			run(t) {
				const opened: Opened = t.device(of(edu, t.host));
				const before = t.locked;
				t.is(t.map(opened.container, { vaddr: t.buffer().address }), 0);
				t.write(opened.fd, CONFIG, 4, 2, 6);
				t.is(t.trigger(opened.fd, vfio.VFIO_PCI_MSI_IRQ_INDEX, [t.eventfd()]), 0);
				for (const part of order) t.is(t.close(opened[part]), 0);
				t.is(t.locked, before, "VmLck");
				clean(t);
			},
		}),
	),
	{
		id: "I.12/245",
		name: "a device that is being unbound works for whoever has it open, and opens for nobody else",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			const { fd, group } = t.device(device);
			const other = await t.spawn();
			let returned = false;
			const unbinding = other.writeFile(UNBIND, device.name).then((result) => {
				returned = true;
				return result;
			});
			await t.until(() => !t.exists(`/sys/bus/pci/devices/${device.name}/vfio-dev`) || returned, "unbind begins");
			await t.sleep(50);
			t.is(t.deviceFd(group, device.name), "ENODEV");
			t.is(t.pread(fd, CONFIG, 0, 4), "3412e811");
			t.is(t.pread(fd, 0, 0, 4), "ed000001");
			t.is(returned, false, "unbind returns before the device is closed");
			t.close(fd);
			await t.until(() => returned, "unbind returns");
			t.is(await unbinding, 0, "unbind");
		},
	},
];
