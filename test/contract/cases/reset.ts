import * as vfio from "../../../core/uapi/vfio.ts";
import { bytesOf, hex } from "../calls.ts";
import type { Case } from "../case.ts";
import { EDU } from "../edu-registers.ts";
import type { HostDevice } from "../host.ts";
import { driven, e1000e, edu, igb, needs, nvme, of, rootEdu } from "../roles.ts";
import { CONFIG, PAGE, type Trial } from "../trial.ts";

const MEMORY_AND_MASTER = 6;

/** VFIO_DEVICE_GET_PCI_HOT_RESET_INFO with that much room. */
export function hotResetInfo(t: Trial, fd: number, argsz: number) {
	const info = vfio.vfio_pci_hot_reset_info.create(Math.max(0, argsz - 12));
	info.argsz = argsz;
	const answer = t.ioctl(fd, vfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info.bytes, "device", `argsz ${argsz}`);
	// Group numbers and the like differ from host to host.
	return { answer, info, devices: hex(info.bytes.subarray(12)) };
}

/** VFIO_DEVICE_PCI_HOT_RESET. */
export function hotReset(
	t: Trial,
	fd: number,
	fds: readonly number[],
	options: { argsz?: number; flags?: number; count?: number } = {},
) {
	const reset = vfio.vfio_pci_hot_reset.create(4 * fds.length);
	reset.argsz = options.argsz ?? reset.bytes.length;
	reset.flags = options.flags ?? 0;
	reset.count = options.count ?? fds.length;
	for (const [index, each] of fds.entries())
		reset.bytes.set(bytesOf(BigInt.asUintN(32, BigInt(each)), 4), 12 + 4 * index);
	const words = `argsz ${reset.argsz} flags ${reset.flags} count ${reset.count} fds [${fds.map((each) => t.observations.fd(each))}]`;
	return t.ioctl(fd, vfio.VFIO_DEVICE_PCI_HOT_RESET, reset.bytes, "device", words);
}

/** Devices of a group as the hot reset lists them. */
export function entries(devices: readonly HostDevice[]): string {
	return devices
		.map(({ group, name }) => {
			const [domain = "", bus = "", slot = ""] = name.split(":");
			const [device = "", fn = ""] = slot.split(".");
			const devfn = (Number.parseInt(device, 16) << 3) | Number.parseInt(fn, 16);
			return hex(
				Uint8Array.of(
					...bytesOf(group ?? 0, 4),
					...bytesOf(Number.parseInt(domain, 16), 2),
					Number.parseInt(bus, 16),
					devfn,
				),
			);
		})
		.join("");
}

/** I.7: reset. */
export const resetCases: readonly Case[] = [
	...[edu, nvme, igb, e1000e].map(
		(role): Case => ({
			id: `I.7/174 ${role.name}`,
			name: `reset of ${role.name} leaves config space as the program set it`,
			needs: needs(role),
			run(t) {
				const { fd } = t.device(of(role, t.host));
				const info = vfio.vfio_device_info.view(t.deviceInfo(fd).bytes);
				t.is(info.flags & vfio.VFIO_DEVICE_FLAGS_RESET, vfio.VFIO_DEVICE_FLAGS_RESET);
				t.write(fd, CONFIG, 4, 2, MEMORY_AND_MASTER);
				t.write(fd, CONFIG, 0x10, 4, 0xe0000000);
				t.write(fd, CONFIG, 0x3c, 1, 0x33);
				const before = t.pread(fd, CONFIG, 0, 64);
				t.is(t.ioctl(fd, vfio.VFIO_DEVICE_RESET), 0);
				t.is(t.pread(fd, CONFIG, 0, 64), before);
				t.is(t.ioctl(fd, vfio.VFIO_DEVICE_RESET), 0);
			},
		}),
	),
	{
		id: "I.7/174b",
		name: "a mapped BAR survives a reset",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const mapping = t.mmap(fd, 0, 0, PAGE);
			if (typeof mapping === "string") throw new Error(`mmap: ${mapping}`);
			// What a reset does to registers is the device's matter: this one keeps them.
			t.write(fd, 0, EDU.LIVENESS, 4, 0x11111111);
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_RESET), 0);
			t.pread(fd, 0, EDU.LIVENESS, 4);
			t.is(mapping.read(EDU.ID, 4), 0x010000ed, "ID through the mapping");
		},
	},
	{
		id: "I.7/175",
		name: "what cannot be reset says so, and refuses",
		needs: needs(rootEdu),
		run(t) {
			const { fd } = t.device(of(rootEdu, t.host));
			t.is(vfio.vfio_device_info.view(t.deviceInfo(fd).bytes).flags, vfio.VFIO_DEVICE_FLAGS_PCI);
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_RESET), "EINVAL");
		},
	},
	{
		id: "I.7/176",
		name: "there is no hot reset on the root bus",
		needs: needs(rootEdu),
		run(t) {
			const { fd, group } = t.device(of(rootEdu, t.host));
			for (const argsz of [12, 20, 100]) t.is(hotResetInfo(t, fd, argsz).answer, "ENODEV");
			t.is(hotResetInfo(t, fd, 11).answer, "EINVAL");
			t.is(hotReset(t, fd, [group]), "ENODEV");
			t.is(hotReset(t, fd, []), "EINVAL");
			t.is(hotReset(t, fd, [-1]), "ENODEV");
		},
	},
	{
		id: "I.7/177",
		name: "hot reset names the devices it would reset",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			const { fd } = t.device(device);
			for (const argsz of [0, 8, 11]) t.is(hotResetInfo(t, fd, argsz).answer, "EINVAL");
			for (const argsz of [12, 19]) {
				const { answer, info } = hotResetInfo(t, fd, argsz);
				t.is([answer, info.count, info.flags, info.argsz], ["ENOSPC", 1, 0, argsz]);
			}
			for (const argsz of [20, 28]) {
				const { answer, info, devices } = hotResetInfo(t, fd, argsz);
				t.is([answer, info.count, info.flags], [0, 1, 0]);
				t.is(devices.slice(0, 16), entries([device]));
			}
		},
	},
	{
		id: "I.7/178",
		name: "hot reset wants the group",
		needs: needs(edu),
		run(t) {
			const { fd, group, container } = t.device(of(edu, t.host));
			t.is(hotReset(t, fd, []), "EINVAL");
			t.is(hotReset(t, fd, [group], { flags: 1 }), "EINVAL");
			for (const argsz of [0, 11]) t.is(hotReset(t, fd, [group], { argsz }), "EINVAL");
			t.is(hotReset(t, fd, [-1]), "EBADF");
			t.is(hotReset(t, fd, [container]), "EINVAL");
			t.is(hotReset(t, fd, [fd]), "EINVAL");
			t.is(hotReset(t, fd, [t.eventfd()]), "EINVAL");
			t.is(hotReset(t, fd, [group, group]), "EINVAL");
			t.write(fd, 0, EDU.LIVENESS, 4, 0x11111111);
			t.write(fd, CONFIG, 4, 2, MEMORY_AND_MASTER);
			t.is(hotReset(t, fd, [group]), 0);
			t.pread(fd, 0, EDU.LIVENESS, 4);
			t.pread(fd, CONFIG, 4, 2);
		},
	},
	{
		id: "I.7/179",
		name: "hot reset of a bus with two devices wants both on vfio-pci",
		needs: needs(driven),
		run(t) {
			const { device, sibling } = of(driven, t.host);
			t.bind(sibling);
			t.lend(device.name, undefined);
			const { fd, group } = t.device(sibling);
			const info = hotResetInfo(t, fd, 12);
			const { answer, devices } = hotResetInfo(t, fd, 12 + 8 * 4);
			t.holds(["ENOSPC", "ENODEV"].includes(String(info.answer)), `${info.answer}`);
			t.holds(answer === 0 || answer === "ENODEV", `${answer}`);
			if (answer === 0)
				t.holds(devices.startsWith(entries([sibling, device].sort((a, b) => (a.name < b.name ? -1 : 1)))), devices);
			t.is(hotReset(t, fd, [group]), "EINVAL");
			t.is(hotReset(t, fd, [group, group, group]), "EINVAL");
			t.target.kernel.writeFile(`/sys/bus/pci/devices/${device.name}/driver_override`, "vfio-pci\n");
			t.target.kernel.writeFile("/sys/bus/pci/drivers/vfio-pci/bind", device.name);
			t.is(hotReset(t, fd, [group]), 0);
		},
	},
	{
		id: "I.7/181",
		name: "a device whose reset methods are taken away cannot be reset",
		needs: needs(edu),
		run(t) {
			const device = of(edu, t.host);
			t.bind(device);
			const path = `/sys/bus/pci/devices/${device.name}/reset_method`;
			t.releases.defer(() => t.target.kernel.writeFile(path, "default\n"));
			t.is(t.show(path), "bus");
			t.is(t.echo("nonsense", path), "EINVAL");
			t.is(t.echo("flr", path), "EINVAL");
			t.is(t.echo("\n", path), 0);
			t.is(t.show(path), "");
			const { fd, group } = t.device(device);
			t.is(vfio.vfio_device_info.view(t.deviceInfo(fd).bytes).flags, vfio.VFIO_DEVICE_FLAGS_PCI);
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_RESET), "EINVAL");
			t.close(fd);
			t.is(t.echo("default", path), 0);
			t.is(t.show(path), "bus");
			const again = t.deviceFd(group, device.name) as number;
			t.is(t.ioctl(again, vfio.VFIO_DEVICE_RESET), 0);
			t.is(t.echo("\n", path), 0);
			t.is(t.ioctl(again, vfio.VFIO_DEVICE_RESET), "ENOTTY");
		},
	},
];
