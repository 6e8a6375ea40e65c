import type { Case } from "../case.ts";
import { create, createFile, mttyDevice, openMtty, readPort, uuidOf } from "../mediated.ts";
import { mtty, needs } from "../roles.ts";

const needsMtty = needs(mtty);

/** I.10 and I.13: mediated devices come and go. */
export const mdevSysfsCases: readonly Case[] = [
	{
		id: "I.10/234",
		name: "devices are created by UUID, once, and as long as there are ports",
		needs: needsMtty,
		run(t) {
			const type = "/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2";
			for (const file of ["name", "device_api", "available_instances"]) t.show(`${type}/${file}`);
			t.is(t.exists(`${type}/description`), false, "description");
			for (const text of ["", "x", uuidOf(1).slice(1), `${uuidOf(1)}xx`, uuidOf(1).replace("-", "x"), `{${uuidOf(1)}`])
				t.is(t.echo(text, createFile("mtty-2")), text === "" ? 0 : "EINVAL");
			t.is(create(t, "mtty-2", `${uuidOf(1)}\n`), 0);
			for (const type of ["mtty-1", "mtty-2"]) t.is(t.echo(uuidOf(1).toUpperCase(), createFile(type)), "EEXIST");
			t.is(t.link(`/sys/bus/mdev/devices/${uuidOf(1)}/mdev_type`), "mtty-2");
			t.is(t.link(`/sys/bus/mdev/devices/${uuidOf(1)}/driver`), "mtty");
			t.is(t.link(`/sys/bus/mdev/devices/${uuidOf(1)}/subsystem`), "mdev");
			t.is(t.exists(`${type}/devices/${uuidOf(1)}`), true, "devices");
			for (let n = 2; n <= 12; n++) t.is(create(t, "mtty-2", uuidOf(n)), 0);
			t.is(t.show(`${type}/available_instances`), "0");
			t.is(t.echo(uuidOf(13), createFile("mtty-1")), "ENOSPC");
			t.is(t.exists(`/sys/bus/mdev/devices/${uuidOf(13)}`), false, "what could not be made");
			const remove = `/sys/bus/mdev/devices/${uuidOf(12)}/remove`;
			t.is(t.echo("x", remove), "EINVAL");
			t.is(t.echo("0", remove), 0);
			t.is(t.exists(`/sys/bus/mdev/devices/${uuidOf(12)}`), true, "0 removes nothing");
			t.is(t.echo("2\n", remove), 0);
			t.is(t.exists(`/sys/bus/mdev/devices/${uuidOf(12)}`), false, "2 removes it");
			t.is(t.echo("1", remove), "ENOENT");
			t.is(create(t, "mtty-1", uuidOf(13).toUpperCase()), 0);
			t.is(t.exists(`/sys/bus/mdev/devices/${uuidOf(13)}`), true, "small letters");
		},
	},
	{
		id: "I.10/234b",
		name: "no driver is matched on the mdev bus; one that leaves takes the group along",
		needs: needsMtty,
		run(t) {
			const { uuid, group } = mttyDevice(t);
			t.is(t.exists(`/dev/vfio/${group}`), true, "the group's node");
			t.is(t.echo("nothing", "/sys/bus/mdev/drivers/mtty/unbind"), "ENODEV");
			t.is(t.echo(uuid, "/sys/bus/mdev/drivers/mtty/unbind"), 0);
			t.is(t.exists(`/dev/vfio/${group}`), false, "the group's node after unbind");
			t.is(t.exists(`/sys/bus/mdev/devices/${uuid}/iommu_group`), false, "iommu_group after unbind");
			t.is(t.exists(`/sys/bus/mdev/devices/${uuid}/remove`), true, "remove after unbind");
			t.is(t.echo(uuid, "/sys/bus/mdev/drivers/mtty/bind"), "ENODEV");
			t.is(t.echo(uuid, "/sys/bus/mdev/drivers_probe"), 0);
		},
	},
	{
		id: "I.13/269",
		name: "removing it while it is open waits for the last user, whom nobody asks",
		needs: needsMtty,
		async run(t) {
			const { uuid, group, fd, container } = openMtty(t);
			const other = await t.spawn();
			let returned = false;
			const removing = other.writeFile(`/sys/bus/mdev/devices/${uuid}/remove`, "1").then((result) => {
				returned = true;
				return result;
			});
			await t.sleep(100);
			t.is(returned, false, "remove returns while the device is open");
			t.is(t.exists(`/sys/bus/mdev/devices/${uuid}`), false, "the device in its bus");
			t.is(t.exists(createFile("mtty-1").replace("create", `devices/${uuid}`)), false, "the device in its type");
			t.is(t.echo(uuid, createFile("mtty-1")), "EEXIST");
			t.is(readPort(t, fd, 5), 0x60, "its registers still work");
			t.close(fd);
			await t.until(() => returned, "remove returns");
			t.is(await removing, 0, "remove");
			t.is(t.exists(`/sys/kernel/iommu_groups/${group}`), false, "its group");
			t.close(container);
			t.is(create(t, "mtty-1", uuid), 0);
		},
	},
];
