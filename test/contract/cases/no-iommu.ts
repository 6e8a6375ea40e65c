import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { must } from "../calls.ts";
import type { Case } from "../case.ts";
import type { HostDescription, HostDevice } from "../host.ts";
import { openIommu } from "../iommufd-calls.ts";
import { needs, of } from "../roles.ts";
import { CONFIG, PAGE, type Trial } from "../trial.ts";
import { hotReset, hotResetInfo } from "./reset.ts";

const MODE = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
const NO_IOMMU = vfio.VFIO_NOIOMMU_IOMMU;
const NOBODY = 65534;
const EDU = { vendor: 0x1234, device: 0x11e8 };

/** The role of an edu below a port of its own on a host without an IOMMU, whose kernel has the mode for it. */
export function deviceWithoutIommu(host: HostDescription): HostDevice | undefined {
	if (!host.noIommuMode) return undefined;
	return host.devices.find(
		({ vendor, device, group, name }) =>
			vendor === EDU.vendor && device === EDU.device && group === undefined && name.slice(5, 7) !== "00",
	);
}

/** Switches the mode on, gives the device to vfio-pci until the end, and says which node its group has. */
function given(t: Trial): { device: HostDevice; path: string } {
	const device = of(deviceWithoutIommu, t.host);
	t.setting(MODE, "Y");
	t.lend(device.name, "vfio-pci");
	return { device, path: `/dev/vfio/noiommu-${t.link(`/sys/bus/pci/devices/${device.name}/iommu_group`)}` };
}

/** Container and group of it. */
function joined(t: Trial) {
	const { device, path } = given(t);
	const container = t.container();
	const group = must(t.open(path), `open ${path}`);
	must(t.setContainer(group, container), "SET_CONTAINER");
	return { device, container, group };
}

/** I.2: groups of devices without an IOMMU. */
export const noIommuCases: readonly Case[] = [
	{
		id: "I.2/no-iommu-a",
		name: "without an IOMMU vfio-pci takes a device when the administrator says so",
		needs: needs(deviceWithoutIommu),
		run(t) {
			const device = of(deviceWithoutIommu, t.host);
			t.is(t.show(MODE), "N");
			const path = `/sys/bus/pci/devices/${device.name}`;
			t.releases.defer(() => t.give(device.name, undefined));
			t.give(device.name, undefined);
			t.target.kernel.writeFile(`${path}/driver_override`, "vfio-pci\n");
			t.is(t.echo(device.name, "/sys/bus/pci/drivers/vfio-pci/bind"), "EINVAL");
			t.setting(MODE, "Y");
			t.is(t.echo(device.name, "/sys/bus/pci/drivers/vfio-pci/bind"), 0);
			const group = t.link(`${path}/iommu_group`);
			t.is(t.show(`/sys/kernel/iommu_groups/${group}/name`), "vfio-noiommu");
			t.holds(t.exists(`/dev/vfio/noiommu-${group}`), "there is no node");
			t.holds(!t.exists(`/dev/vfio/${group}`), "there is a node as for devices with an IOMMU");
			t.holds(!t.exists("/dev/vfio/devices"), "there is a character device");
			t.give(device.name, undefined);
			t.holds(!t.exists(`${path}/iommu_group`), "the group stays");
			t.holds(!t.exists(`/dev/vfio/noiommu-${group}`), "the node stays");
			t.show(`/sys/kernel/iommu_groups/${group}/type`);
		},
	},
	{
		id: "I.2/no-iommu-b",
		name: "the IOMMU of its container is that there is none",
		needs: needs(deviceWithoutIommu),
		run(t) {
			const { device, path } = given(t);
			const container = t.container();
			for (const extension of [vfio.VFIO_TYPE1_IOMMU, vfio.VFIO_TYPE1v2_IOMMU, NO_IOMMU, vfio.VFIO_UNMAP_ALL])
				t.is(t.extension(container, extension), 1);
			const group = must(t.open(path), `open ${path}`);
			t.is(t.open(path), "EBUSY");
			t.is(t.status(group), vfio.VFIO_GROUP_FLAGS_VIABLE);
			t.is(t.deviceFd(group, device.name), "EINVAL");
			t.is(t.setContainer(group, container), 0);
			t.is(t.status(group), vfio.VFIO_GROUP_FLAGS_VIABLE | vfio.VFIO_GROUP_FLAGS_CONTAINER_SET);
			t.is(t.extension(container, NO_IOMMU), 1);
			for (const extension of [0, 1, 3, 4, 6, 9, 10, 99]) t.is(t.extension(container, extension), 0);
			for (const type of [1, 3, 6, 99]) t.is(t.setIommu(container, type), "ENODEV");
			t.is(t.deviceFd(group, device.name), "EINVAL");
			t.is(t.map(container, { vaddr: t.buffer().address }), "EINVAL");
			t.is(t.setIommu(container, NO_IOMMU), 0);
			t.is(t.setIommu(container, NO_IOMMU), "EINVAL");
			for (const extension of [1, 3, 8, 9]) t.extension(container, extension);
			t.is(t.map(container, { vaddr: t.buffer().address }), "ENOTTY");
			t.is(t.unmap(container, {}).answer, "ENOTTY");
			t.is(t.iommuInfo(container, 24).answer, "ENOTTY");
			const fd = must(t.deviceFd(group, device.name), "GET_DEVICE_FD");
			t.is(t.deviceInfo(fd).answer, 0);
			t.pread(fd, CONFIG, 0, 4);
			const mapping = t.mmap(fd, 0, 0, PAGE);
			if (typeof mapping === "string") throw new Error(`mmap: ${mapping}`);
			mapping[Symbol.dispose]();
			t.is(t.unsetContainer(group), "EBUSY");
			t.close(fd);
			t.is(t.unsetContainer(group), 0);
		},
	},
	{
		id: "I.2/no-iommu-c",
		name: "it is for those with CAP_SYS_RAWIO",
		needs: needs(deviceWithoutIommu),
		async run(t) {
			const { path } = given(t);
			t.target.chown(path, NOBODY);
			const other = await t.spawn({ uid: NOBODY });
			t.is(await other.open(path, O_RDWR), "EPERM", "open without the capability");
		},
	},
	{
		id: "I.2/no-iommu-d",
		name: "hot reset goes by the group that VFIO has made",
		needs: needs(deviceWithoutIommu),
		run(t) {
			const { device, container, group } = joined(t);
			must(t.setIommu(container, NO_IOMMU), "SET_IOMMU");
			const fd = must(t.deviceFd(group, device.name), "GET_DEVICE_FD");
			const { answer, info } = hotResetInfo(t, fd, 20);
			t.is([answer, info.count, info.flags], [0, 1, 0]);
			t.is(hotReset(t, fd, [group]), 0);
			t.is(hotReset(t, fd, []), "EINVAL");
		},
	},
	{
		id: "I.2/no-iommu-e",
		name: "/dev/iommu stands for its container as long as it has no address space",
		needs: needs(deviceWithoutIommu),
		run(t) {
			const { device, path } = given(t);
			const iommu = openIommu(t);
			const group = must(t.open(path), `open ${path}`);
			t.is(t.setContainer(group, iommu), 0);
			t.is(t.status(group), vfio.VFIO_GROUP_FLAGS_VIABLE | vfio.VFIO_GROUP_FLAGS_CONTAINER_SET);
			t.is(t.setIommu(iommu, vfio.VFIO_TYPE1v2_IOMMU), "EINVAL");
			t.is(t.setIommu(iommu, NO_IOMMU), 0);
			t.is(t.map(iommu, { vaddr: t.buffer().address }), "ENODEV");
			const fd = must(t.deviceFd(group, device.name), "GET_DEVICE_FD");
			t.is(t.deviceInfo(fd).answer, 0);
		},
	},
];
