import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { answer, bytesOf, cString } from "../calls.ts";
import type { Case } from "../case.ts";
import { driven, edu, needs, nvme, of, siblings } from "../roles.ts";
import { CONFIG, PAGE } from "../trial.ts";

const { VFIO_GROUP_FLAGS_VIABLE: VIABLE } = vfio;
const ATTACHED = vfio.VFIO_GROUP_FLAGS_CONTAINER_SET | VIABLE;
const UUID = "00112233-4455-6677-8899-aabbccddeeff";
const NOBODY = 65534;

/** I.2: the group. */
export const groupCases: readonly Case[] = [
	{
		id: "I.2/21",
		name: "a group without a device on vfio-pci has no node",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			t.bind(device);
			t.lend(device.name, undefined);
			t.is(t.open(`/dev/vfio/${device.group}`), "ENOENT");
			t.is(t.open("/dev/vfio/9999"), "ENOENT");
		},
	},
	{
		id: "I.2/22",
		name: "a group is opened once, by whichever process",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			const g = t.group(device);
			t.is(t.open(`/dev/vfio/${device.group}`), "EBUSY");
			const other = await t.spawn();
			t.is(await other.open(`/dev/vfio/${device.group}`, O_RDWR), "EBUSY", "open in another process");
			t.close(g);
			const fd = await other.open(`/dev/vfio/${device.group}`, O_RDWR);
			t.holds(typeof fd === "number", "the other process cannot open it either");
			t.is(t.open(`/dev/vfio/${device.group}`), "EBUSY");
		},
	},
	{
		id: "I.2/23",
		name: "GET_STATUS wants 8 bytes and says viable",
		needs: needs(edu),
		run(t) {
			const g = t.group(of(edu, t.host));
			for (const argsz of [0, 4, 7]) t.is(t.status(g, argsz), "EINVAL");
			for (const argsz of [8, 9, 4096]) t.is(t.status(g, argsz), VIABLE);
		},
	},
	{
		id: "I.2/24",
		name: "GET_STATUS of a null pointer is EFAULT",
		needs: needs(edu),
		run(t) {
			t.is(t.ioctl(t.group(of(edu, t.host)), vfio.VFIO_GROUP_GET_STATUS, 0), "EFAULT");
		},
	},
	{
		id: "I.2/25",
		name: "GET_STATUS says when there is a container",
		needs: needs(edu),
		run(t) {
			const g = t.group(of(edu, t.host));
			t.is(t.setContainer(g, t.container()), 0);
			t.is(t.status(g), ATTACHED);
		},
	},
	{
		id: "I.2/26",
		name: "a sibling on a driver of the kernel's makes the group not viable",
		needs: needs(driven),
		run(t) {
			const { device, driver, sibling } = of(driven, t.host);
			const g = t.group(sibling);
			t.lend(device.name, driver);
			t.is(t.driver(device.name), driver);
			t.is(t.status(g), 0);
			t.is(t.setContainer(g, t.container()), "EPERM");
			t.is(t.unsetContainer(g), "EINVAL");
			t.is(t.deviceFd(g, sibling.name), "EINVAL");
		},
	},
	{
		id: "I.2/27",
		name: "a sibling without a driver does not matter",
		needs: needs(siblings),
		run(t) {
			const [first, second] = of(siblings, t.host);
			t.bind(first);
			t.lend(second.name, undefined);
			const g = t.group(first);
			t.is(t.status(g), VIABLE);
			t.is(t.setContainer(g, t.container()), 0);
		},
	},
	{
		id: "I.2/28",
		name: "a sibling on pci-stub does not matter",
		needs: (host) =>
			needs(siblings)(host) ?? (host.drivers.includes("pci-stub") ? undefined : "there is no driver pci-stub"),
		run(t) {
			const [first, second] = of(siblings, t.host);
			t.bind(first);
			t.lend(second.name, "pci-stub");
			const g = t.group(first);
			t.is(t.status(g), VIABLE);
			t.is(t.setContainer(g, t.container()), 0);
		},
	},
	{
		id: "I.2/29",
		name: "no driver of the kernel's gets a sibling while VFIO owns the group",
		needs: needs(driven),
		run(t) {
			const { device, driver, sibling } = of(driven, t.host);
			t.bind(sibling);
			t.lend(device.name, undefined);
			t.attach(sibling);
			const path = `/sys/bus/pci/devices/${device.name}`;
			t.releases.defer(() => t.target.kernel.writeFile(`${path}/driver_override`, "\n"));
			t.is(t.echo(driver, `${path}/driver_override`), 0);
			t.is(t.echo(device.name, `/sys/bus/pci/drivers/${driver}/bind`), "EBUSY");
			t.is(t.echo(device.name, "/sys/bus/pci/drivers_probe"), "EINVAL");
			t.is(t.driver(device.name), undefined);
		},
	},
	{
		id: "I.2/30",
		name: "SET_CONTAINER with a descriptor that is none is EBADF",
		needs: needs(edu),
		run(t) {
			const g = t.group(of(edu, t.host));
			const c = t.container();
			t.close(c);
			for (const fd of [-1, c, 100000, -2]) t.is(t.setContainer(g, fd), "EBADF");
		},
	},
	{
		id: "I.2/31",
		name: "SET_CONTAINER with another kind of file is EBADFD",
		needs: needs(edu),
		run(t) {
			const g = t.group(of(edu, t.host));
			t.is(t.setContainer(g, t.eventfd()), "EBADFD");
			t.is(t.setContainer(g, t.open("/dev/null") as number), "EBADFD");
			t.is(t.setContainer(g, g), "EBADFD");
			t.is(t.setContainer(g, t.container()), 0);
		},
	},
	{
		id: "I.2/32",
		name: "SET_CONTAINER of a null pointer is EFAULT",
		needs: needs(edu),
		run(t) {
			t.is(t.ioctl(t.group(of(edu, t.host)), vfio.VFIO_GROUP_SET_CONTAINER, 0), "EFAULT");
		},
	},
	{
		id: "I.2/33",
		name: "a group is in one container",
		needs: needs(edu),
		run(t) {
			const g = t.group(of(edu, t.host));
			const c = t.container();
			t.is(t.setContainer(g, c), 0);
			t.is(t.setContainer(g, c), "EINVAL");
			t.is(t.setContainer(g, t.container()), "EINVAL");
			t.is(t.setContainer(g, t.eventfd()), "EINVAL");
			t.is(t.setContainer(g, -1), "EBADF");
		},
	},
	{
		id: "I.2/34",
		name: "UNSET_CONTAINER needs one",
		needs: needs(edu),
		run(t) {
			const g = t.group(of(edu, t.host));
			t.is(t.unsetContainer(g), "EINVAL");
			t.is(t.setContainer(g, t.container()), 0);
			t.is(t.unsetContainer(g), 0);
			t.is(t.unsetContainer(g), "EINVAL");
		},
	},
	{
		id: "I.2/35",
		name: "UNSET_CONTAINER is EBUSY while a device is open",
		needs: needs(edu),
		run(t) {
			const { group, fd } = t.device(of(edu, t.host));
			t.is(t.unsetContainer(group), "EBUSY");
			t.close(fd);
			t.is(t.unsetContainer(group), 0);
			t.is(t.status(group), VIABLE);
		},
	},
	{
		id: "I.2/36",
		name: "a container without its last group starts anew",
		needs: needs(edu),
		run(t) {
			const { container, group } = t.attach(of(edu, t.host));
			const { address } = t.buffer();
			t.is(t.map(container, { vaddr: address }), 0);
			t.is(t.unsetContainer(group), 0);
			t.is(t.map(container, { vaddr: address }), "EINVAL");
			t.is(t.setIommu(container), "EINVAL");
			t.is(t.extension(container, 3), 1);
			t.is(t.setContainer(group, container), 0);
			t.is(t.setIommu(container, vfio.VFIO_TYPE1_IOMMU), 0);
			t.unmaps(container, {}, 0);
		},
	},
	{
		id: "I.2/37",
		name: "GET_DEVICE_FD looks at the name before the container",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const g = t.group(device);
			t.is(t.deviceFd(g, device.name), "EINVAL");
			t.is(t.deviceFd(g, "0000:ff:1f.7"), "ENODEV");
		},
	},
	{
		id: "I.2/38",
		name: "GET_DEVICE_FD needs SET_IOMMU",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const g = t.group(device);
			t.is(t.setContainer(g, t.container()), 0);
			t.is(t.deviceFd(g, device.name), "EINVAL");
		},
	},
	{
		id: "I.2/39",
		name: "GET_DEVICE_FD of a name the group does not have is ENODEV",
		needs: needs(edu, nvme),
		run(t) {
			const { group } = t.attach(of(edu, t.host));
			const other = of(nvme, t.host).name;
			for (const name of ["", "0000:ff:1f.7", other, "edu", of(edu, t.host).name.slice(5)])
				t.is(t.deviceFd(group, name), "ENODEV");
		},
	},
	{
		id: "I.2/40",
		name: "GET_DEVICE_FD takes blanks behind the name, and nothing else",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { group } = t.attach(device);
			for (const name of [`${device.name}x`, ` ${device.name}`, `${device.name}\t`, device.name.slice(0, -1)])
				t.is(t.deviceFd(group, name), "ENODEV");
			for (const name of [`${device.name} `, `${device.name}   `])
				t.holds(typeof t.deviceFd(group, name) === "number", `"${name}" is refused`);
		},
	},
	{
		id: "I.2/41",
		name: "GET_DEVICE_FD knows one option",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { group } = t.attach(device);
			for (const option of ["foo=1", "foo", "vf_token", "=", "vf_token ="])
				t.is(t.deviceFd(group, `${device.name} ${option}`), "EINVAL");
		},
	},
	{
		id: "I.2/42",
		name: "a token is a whole UUID",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { group } = t.attach(device);
			for (const token of ["short", "", "x".repeat(36), UUID.slice(1), `${UUID.slice(0, 35)}g`])
				t.is(t.deviceFd(group, `${device.name} vf_token=${token}`), "EINVAL");
		},
	},
	{
		id: "I.2/43",
		name: "a device without virtual functions takes no token",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { group } = t.attach(device);
			for (const tail of ["", " ", ` vf_token=${UUID}`, " foo=1", "x"])
				t.is(t.deviceFd(group, `${device.name} vf_token=${UUID}${tail}`), "EINVAL");
		},
	},
	{
		id: "I.2/44",
		name: "GET_DEVICE_FD takes a page of name at most, and no null pointer",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { group } = t.attach(device);
			t.is(t.deviceFd(group, "x".repeat(PAGE)), "EINVAL");
			t.is(t.deviceFd(group, "x".repeat(PAGE - 1)), "ENODEV");
			t.holds(typeof t.deviceFd(group, device.name.padEnd(PAGE - 1)) === "number", "blanks up to a page are refused");
			t.is(t.ioctl(group, vfio.VFIO_GROUP_GET_DEVICE_FD, 0), "EFAULT");
		},
	},
	{
		id: "I.2/45",
		name: "a device opened twice is the same, and either descriptor can be closed",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { group, fd } = t.device(device);
			const second = t.deviceFd(group, device.name) as number;
			t.holds(second !== fd, "there is one descriptor");
			t.is(t.write(fd, CONFIG, 0x3c, 1, 0x5a), 1);
			t.is(t.pread(second, CONFIG, 0x3c, 1), "5a");
			t.close(fd);
			t.is(t.pread(second, CONFIG, 0x3c, 1), "5a");
			t.is(t.unsetContainer(group), "EBUSY");
		},
	},
	{
		id: "I.2/46",
		name: "a device's descriptor is closed on exec",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const flags = /^flags:\s*([0-7]+)/m.exec(t.text(`/proc/self/fdinfo/${fd}`))?.[1] ?? "0";
			t.is(Number.parseInt(flags, 8) & 0o2000003, 0o2000002);
		},
	},
	{
		id: "I.2/47",
		name: "an unknown request on a group is ENOTTY",
		needs: needs(edu),
		run(t) {
			const g = t.group(of(edu, t.host));
			for (const request of [0x3b64, 0x3b65, 0x3b66, 0x3b6b, 0x3b70, 0x3b7f, 0x5401])
				t.is(t.ioctl(g, request), "ENOTTY");
			const { kernel } = t.target;
			t.is(
				answer(() => kernel.read(g, new Uint8Array(8))),
				"EINVAL",
			);
			t.is(
				answer(() => kernel.write(g, new Uint8Array(8))),
				"EINVAL",
			);
			t.is(t.mmap(g, 0, 0, PAGE), "ENODEV");
		},
	},
	{
		id: "I.2/48",
		name: "an open device keeps its group open",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { group, fd } = t.device(device);
			t.close(group);
			t.is(t.open(`/dev/vfio/${device.group}`), "EBUSY");
			t.is(t.pread(fd, CONFIG, 0, 4), "3412e811");
			t.close(fd);
			t.holds(typeof t.open(`/dev/vfio/${device.group}`) === "number", "the group stays busy");
		},
	},
	{
		id: "I.2/49",
		name: "whoever owns the node can use the device, without any capability",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			t.bind(device);
			const node = `/dev/vfio/${device.group}`;
			const user = await t.spawn({ uid: NOBODY });
			t.is(await user.open(node, O_RDWR), "EACCES", "open as another user");
			t.target.chown(node, NOBODY);
			t.releases.defer(() => t.target.chown(node, 0));
			const c = (await user.open("/dev/vfio/vfio", O_RDWR)) as number;
			const g = (await user.open(node, O_RDWR)) as number;
			t.is([typeof c, typeof g], ["number", "number"], "open as the owner");
			t.is(await user.ioctl(g, vfio.VFIO_GROUP_SET_CONTAINER, bytesOf(c, 4)), 0, "SET_CONTAINER as the owner");
			t.is(await user.ioctl(c, vfio.VFIO_SET_IOMMU, vfio.VFIO_TYPE1v2_IOMMU), 0, "SET_IOMMU as the owner");
			const fd = await user.ioctl(g, vfio.VFIO_GROUP_GET_DEVICE_FD, cString(device.name));
			t.is(typeof fd, "number", "GET_DEVICE_FD as the owner");
			t.is(
				await user.pread(fd as number, 4, CONFIG * 2 ** 40),
				Uint8Array.of(0x34, 0x12, 0xe8, 0x11),
				"config space as the owner",
			);
		},
	},
];
