import { PciSysfs, unlessGone } from "../../core/host/sysfs.ts";
import type { Command } from "../cli/command.ts";
import { hexDigits, table } from "../cli/text.ts";
import { HOST_OPTIONS, openHost } from "./host-options.ts";

/** One function of the host, as `list --json` prints it. */
export interface ListedDevice {
	readonly address: string;
	readonly vendor: string;
	readonly device: string;
	readonly class: string;
	readonly iommuGroup: number | null;
	readonly driver: string | null;
	readonly bridge: boolean;
}

/** `vfio-ts list`. */
export const list: Command = {
	name: "list",
	usage: "[OPTIONS]",
	summary: "shows the host's PCI functions, their IOMMU groups and drivers",
	options: [...HOST_OPTIONS, { name: "json", help: "print data instead of a table" }],
	examples: ["vfio-ts list", "vfio-ts list --host-file host.txt --json"],
	async run(parsed, terminal) {
		const opened = await openHost(parsed, terminal);
		try {
			const pci = new PciSysfs(opened.kernel);
			const devices = pci.devices().flatMap((address) => unlessGone(() => listed(pci, address)) ?? []);
			if (parsed.values.has("json")) {
				terminal.print(JSON.stringify({ host: opened.description, devices }));
				return 0;
			}
			terminal.print(`On ${opened.description}:`);
			if (devices.length === 0) {
				terminal.print(
					`  no PCI function${parsed.values.has("board") ? "; plan --board shows its platform devices" : ""}`,
				);
				return 0;
			}
			const rows = devices.map((device) => [
				device.address,
				`${device.vendor}:${device.device}`,
				device.class,
				device.iommuGroup === null ? "-" : String(device.iommuGroup),
				device.driver ?? "-",
				device.bridge ? "bridge or port" : "",
			]);
			terminal.print(table([["address", "ids", "class", "group", "driver", ""], ...rows], "  "));
			return 0;
		} finally {
			opened.close();
		}
	},
};

function listed(pci: PciSysfs, address: string): ListedDevice {
	const ids = pci.ids(address);
	return {
		address,
		vendor: hexDigits(ids.vendor, 4),
		device: hexDigits(ids.device, 4),
		class: hexDigits(ids.class, 6),
		iommuGroup: pci.group(address) ?? null,
		driver: pci.driver(address) ?? null,
		bridge: pci.isBridge(address),
	};
}
