import * as vfio from "../../../core/uapi/vfio.ts";
import { unhex } from "../calls.ts";
import type { Case } from "../case.ts";
import { bridge, edu, igb, needs, of } from "../roles.ts";
import { CONFIG, NONE, TRIGGER, type Trial } from "../trial.ts";

const DRIVERS = "/sys/bus/pci/drivers";
const VFIO_PCI = `${DRIVERS}/vfio-pci`;
const ENABLE_SRIOV = "/sys/module/vfio_pci/parameters/enable_sriov";
const NOBODY = 65534;
const TOKEN = "00112233-4455-6677-8899-aabbccddeeff";
const OTHER_TOKEN = "ffeeddcc-bbaa-9988-7766-554433221100";

const directory = (name: string) => `/sys/bus/pci/devices/${name}`;

/** A device without a driver and without an override, as the cases find it that bind by themselves. */
function bare(t: Trial): string {
	const { name } = of(edu, t.host);
	t.bind(of(edu, t.host));
	t.lend(name, undefined);
	return name;
}

/** The physical function with virtual functions, as many as are asked for, and their addresses. */
function virtualFunctions(t: Trial, count: number): string[] {
	const pf = of(igb, t.host);
	t.bind(pf);
	t.setting(ENABLE_SRIOV, "Y");
	t.releases.defer(() => t.target.kernel.writeFile(`${directory(pf.name)}/sriov_numvfs`, "0"));
	t.is(t.echo(String(count), `${directory(pf.name)}/sriov_numvfs`), 0);
	return Array.from({ length: count }, (_, index) => t.link(`${directory(pf.name)}/virtfn${index}`));
}

/** I.10: drivers, and sysfs. */
export const bindingCases: readonly Case[] = [
	{
		id: "I.10/222",
		name: "vfio-pci takes no device that was not meant for it",
		needs: needs(edu),
		run(t) {
			const name = bare(t);
			t.is(t.echo(name, `${VFIO_PCI}/bind`), "ENODEV");
			t.is(t.echo("0000:ff:1f.7", `${VFIO_PCI}/bind`), "ENODEV");
			t.is(t.echo("", `${VFIO_PCI}/bind`), 0);
			t.is(t.echo("nonsense", `${VFIO_PCI}/bind`), "ENODEV");
			t.is(t.driver(name), undefined);
		},
	},
	{
		id: "I.10/223",
		name: "driver_override and bind",
		needs: needs(edu),
		run(t) {
			const name = bare(t);
			const { group } = of(edu, t.host);
			t.is(t.exists(`/dev/vfio/${group}`), false);
			t.is(t.echo("vfio-pci\n", `${directory(name)}/driver_override`), 0);
			t.is(t.show(`${directory(name)}/driver_override`), "vfio-pci");
			t.is(t.echo(name, `${VFIO_PCI}/bind`), 0);
			t.is(t.driver(name), "vfio-pci");
			t.is(t.exists(`/dev/vfio/${group}`), true);
			t.is(t.exists(`${directory(name)}/vfio-dev`), true);
			t.is(t.exists(`${VFIO_PCI}/${name}`), true);
		},
	},
	{
		id: "I.10/224",
		name: "new_id binds at once what fits and has no driver",
		needs: needs(edu),
		run(t) {
			const name = bare(t);
			t.releases.defer(() => {
				for (const id of ["1234 11e8", "1234 11e9"]) t.echo(id, `${VFIO_PCI}/remove_id`);
			});
			t.is(t.echo("8086", `${VFIO_PCI}/new_id`), "EINVAL");
			t.is(t.echo("nonsense", `${VFIO_PCI}/new_id`), "EINVAL");
			t.is(t.echo("1234 11e9", `${VFIO_PCI}/new_id`), 0);
			t.is(t.driver(name), undefined);
			t.is(t.echo("1234 11e8\n", `${VFIO_PCI}/new_id`), 0);
			t.is(t.driver(name), "vfio-pci");
			t.is(t.echo("1234 11e8", `${VFIO_PCI}/new_id`), "EEXIST");
		},
	},
	{
		id: "I.10/225",
		name: "remove_id forgets an id and lets its devices be",
		needs: needs(edu),
		run(t) {
			const name = bare(t);
			t.is(t.echo("1234 11e8", `${VFIO_PCI}/remove_id`), "ENODEV");
			t.is(t.echo("1234", `${VFIO_PCI}/remove_id`), "EINVAL");
			t.is(t.echo("1234 11e8", `${VFIO_PCI}/new_id`), 0);
			t.is(t.driver(name), "vfio-pci");
			t.is(t.echo("1234 11e8", `${VFIO_PCI}/remove_id`), 0);
			t.is(t.driver(name), "vfio-pci");
			t.is(t.echo("1234 11e8", `${VFIO_PCI}/remove_id`), "ENODEV");
			t.is(t.echo(name, `${VFIO_PCI}/unbind`), 0);
			t.is(t.echo(name, `${VFIO_PCI}/bind`), "ENODEV");
		},
	},
	{
		id: "I.10/226",
		name: "vfio-pci takes no bridge",
		needs: needs(bridge),
		run(t) {
			const { name } = of(bridge, t.host);
			const before = t.driver(name);
			if (before === undefined) {
				t.releases.defer(() => t.target.kernel.writeFile(`${directory(name)}/driver_override`, "\n"));
				t.is(t.echo("vfio-pci", `${directory(name)}/driver_override`), 0);
				t.is(t.echo(name, `${VFIO_PCI}/bind`), "EINVAL");
				t.is(t.driver(name), undefined);
			} else {
				t.releases.defer(() => t.give(name, before));
				t.is(t.echo(name, `${DRIVERS}/${before}/unbind`), 0);
				t.is(t.echo("vfio-pci", `${directory(name)}/driver_override`), 0);
				t.is(t.echo(name, `${VFIO_PCI}/bind`), "EINVAL");
			}
		},
	},
	{
		id: "I.10/227",
		name: "a driver is bound once and unbound once",
		needs: needs(edu),
		run(t) {
			const name = bare(t);
			t.is(t.echo(name, `${VFIO_PCI}/unbind`), "ENODEV");
			t.is(t.echo("vfio-pci", `${directory(name)}/driver_override`), 0);
			t.is(t.echo(`${name}\n`, `${VFIO_PCI}/bind`), 0);
			t.is(t.echo(name, `${VFIO_PCI}/bind`), "EBUSY");
			t.is(t.echo(name, `${DRIVERS}/pcieport/unbind`), "ENODEV");
			t.is(t.echo(`${name}\n`, `${directory(name)}/driver/unbind`), 0);
			t.is(t.echo(name, `${VFIO_PCI}/unbind`), "ENODEV");
		},
	},
	{
		id: "I.10/228",
		name: "an override to a driver there is none keeps a device free",
		needs: needs(edu),
		run(t) {
			const name = bare(t);
			const override = `${directory(name)}/driver_override`;
			t.is(t.show(override), "(null)");
			t.is(t.echo("nosuch", override), 0);
			t.is(t.show(override), "nosuch");
			t.is(t.echo(name, "/sys/bus/pci/drivers_probe"), 0);
			t.is(t.driver(name), undefined);
			t.is(t.echo("\n", override), 0);
			t.is(t.show(override), "(null)");
			t.is(t.echo(name, "/sys/bus/pci/drivers_probe"), 0);
			t.is(t.driver(name), undefined);
			t.is(t.echo("0000:ff:1f.7", "/sys/bus/pci/drivers_probe"), "ENODEV");
			t.is(t.echo("vfio-pci", override), 0);
			t.is(t.echo(name, "/sys/bus/pci/drivers_probe"), 0);
			t.is(t.driver(name), "vfio-pci");
			t.is(t.echo(name, "/sys/bus/pci/drivers_probe"), 0);
		},
	},
	{
		id: "I.10/229",
		name: "the message window is a reserved region of every group",
		needs: needs(edu),
		run(t) {
			const { group } = of(edu, t.host);
			const text = t.show(`/sys/kernel/iommu_groups/${group}/reserved_regions`);
			t.holds(text.split("\n").includes("0x00000000fee00000 0x00000000feefffff msi"), text);
		},
	},
	{
		id: "I.10/230",
		name: "the type of a group is not changed while VFIO owns it",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			const path = `/sys/kernel/iommu_groups/${device.group}/type`;
			t.attach(device);
			t.is(t.echo("identity", path), "EPERM");
			t.is(t.echo("nonsense", path), "EINVAL");
			const user = await t.spawn({ uid: NOBODY });
			t.is(await user.writeFile(path, "identity"), "EACCES", "as another user");
		},
	},
	{
		id: "I.10/231",
		name: "vfio-pci makes virtual functions when it may, and takes them",
		needs: needs(igb),
		run(t) {
			const pf = of(igb, t.host);
			t.bind(pf);
			const numvfs = `${directory(pf.name)}/sriov_numvfs`;
			t.setting(ENABLE_SRIOV, "N");
			t.is(t.show(`${directory(pf.name)}/sriov_totalvfs`), String(pf.virtualFunctions));
			t.is(t.echo("1", numvfs), "ENOENT");
			t.is(t.echo("100", numvfs), "ERANGE");
			t.is(t.echo("x", numvfs), "EINVAL");
			t.is(t.echo("0", numvfs), 0);
			const [first = ""] = virtualFunctions(t, 1);
			t.is(t.show(numvfs), "1");
			t.is(t.driver(first), "vfio-pci");
			t.is(t.link(`${directory(first)}/physfn`), pf.name);
			t.is(t.show(`${directory(first)}/driver_override`), "vfio-pci");
			t.is(t.echo("1", numvfs), 0);
		},
	},
	{
		id: "I.10/232",
		name: "a virtual function is opened with the physical function's token",
		needs: needs(igb),
		run(t) {
			const pf = of(igb, t.host);
			const [first = ""] = virtualFunctions(t, 1);
			const parent = t.attach(pf);
			const held = t.deviceFd(parent.group, pf.name) as number;
			const bytes = unhex(TOKEN.replaceAll("-", ""));
			t.is(t.feature(held, vfio.VFIO_DEVICE_FEATURE_SET | vfio.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, bytes), 0);
			const group = t.open(`/dev/vfio/${t.link(`${directory(first)}/iommu_group`)}`) as number;
			t.observations.list.splice(-1); // its number depends on what was made before
			const container = t.container();
			t.is(t.setContainer(group, container), 0);
			t.is(t.setIommu(container), 0);
			t.is(t.deviceFd(group, first), "EACCES");
			t.is(t.deviceFd(group, `${first} vf_token=${OTHER_TOKEN}`), "EACCES");
			const fd = t.deviceFd(group, `${first} vf_token=${TOKEN}`);
			t.is(typeof fd, "number");
			if (typeof fd !== "number") return;
			t.is(t.pread(fd, CONFIG, 0, 4), "8680ca10");
			t.is(t.pread(fd, CONFIG, 0x3c, 2).slice(2), "00");
			t.close(fd);
			// With no user of a virtual function left, the physical function sets whatever token it is given.
			t.close(held);
			t.is(t.deviceFd(group, first), "EACCES");
			t.is(typeof t.deviceFd(group, `${first} vf_token=${TOKEN}`), "number");
			t.is(t.deviceFd(parent.group, pf.name), "EACCES");
			t.is(t.deviceFd(parent.group, `${pf.name} vf_token=${OTHER_TOKEN}`), "EACCES");
			t.is(typeof t.deviceFd(parent.group, `${pf.name} vf_token=${TOKEN}`), "number");
		},
	},
	{
		id: "I.10/233",
		name: "the number of virtual functions changes by way of 0, which waits for their users",
		needs: needs(igb),
		async run(t) {
			const pf = of(igb, t.host);
			const [first = ""] = virtualFunctions(t, 1);
			const numvfs = `${directory(pf.name)}/sriov_numvfs`;
			t.is(t.echo("2", numvfs), "EBUSY");
			const parent = t.attach(pf);
			const held = t.deviceFd(parent.group, pf.name) as number;
			const bytes = unhex(TOKEN.replaceAll("-", ""));
			t.is(t.feature(held, vfio.VFIO_DEVICE_FEATURE_SET | vfio.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, bytes), 0);
			const group = t.open(`/dev/vfio/${t.link(`${directory(first)}/iommu_group`)}`) as number;
			t.observations.list.splice(-1);
			const container = t.container();
			t.is(t.setContainer(group, container), 0);
			t.is(t.setIommu(container), 0);
			const fd = t.deviceFd(group, `${first} vf_token=${TOKEN}`) as number;
			const request = t.eventfd();
			t.is(t.trigger(fd, vfio.VFIO_PCI_REQ_IRQ_INDEX, [request]), 0);
			t.is(t.setIrqs(fd, { index: vfio.VFIO_PCI_REQ_IRQ_INDEX, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(request), 1);
			const other = await t.spawn();
			let returned = false;
			const disabling = other.writeFile(numvfs, "0").then((result) => {
				returned = true;
				return result;
			});
			t.is(await t.signalled(request), 1);
			await t.sleep(50);
			t.is(returned, false, "it returns before the virtual function is closed");
			t.close(fd);
			await t.until(() => returned, "it returns", 5000);
			t.is(await disabling, 0, "the write");
			t.is(t.show(numvfs), "0");
			t.is(t.exists(directory(first)), false);
		},
	},
];
