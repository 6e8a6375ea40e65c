import { randomUUID } from "node:crypto";
import { Mdev, type MdevOptions, mdevDevices, mdevTypes, removeMdev } from "../../core/host/mdev.ts";
import type { Command } from "../cli/command.ts";
import type { OptionSpec, ParsedArguments } from "../cli/options.ts";
import type { Terminal } from "../cli/terminal.ts";
import { table } from "../cli/text.ts";
import { UsageError } from "../cli/usage-error.ts";
import { HOST_OPTIONS, type OpenedHost, openHost } from "./host-options.ts";

/** The option that makes mediated devices for as long as a command takes. */
export const MDEV_OPTION: OptionSpec = {
	name: "mdev",
	value: "TYPE=UUID",
	repeatable: true,
	help: "makes a mediated device meanwhile, for sysfsdev=/sys/bus/mdev/devices/UUID",
};

/** What the option asks for. @throws UsageError */
export function mdevOptions(parsed: ParsedArguments): MdevOptions[] {
	return (parsed.values.get(MDEV_OPTION.name) ?? []).map((text) => {
		const [type, uuid, ...more] = text.split("=");
		if (!type || !uuid || more.length > 0)
			throw new UsageError(`Option "--mdev" takes TYPE=UUID, such as teaching-edu=${randomUUID()}, not "${text}"`);
		return { type, uuid };
	});
}

const ACTIONS: Readonly<Record<string, (opened: OpenedHost, words: readonly string[], terminal: Terminal) => void>> = {
	create({ kernel }, [type, uuid = randomUUID(), ...more], terminal) {
		if (type === undefined || more.length > 0)
			throw new UsageError("mdev create takes a type: mdev create mtty-2 [UUID]");
		terminal.print(`  ${Mdev.create(kernel, { type, uuid }).path}`);
	},
	remove({ kernel }, [uuid, ...more], terminal) {
		if (uuid === undefined || more.length > 0) throw new UsageError("mdev remove takes one device: mdev remove UUID");
		removeMdev(kernel, uuid);
		terminal.print(`  ${uuid} is removed`);
	},
};

/** `vfio-ts mdev`. */
export const mdev: Command = {
	name: "mdev",
	usage: "list | create TYPE [UUID] | remove UUID  [OPTIONS]",
	summary: "shows, makes and removes mediated devices",
	details: [
		"A mediated device is made by a driver of the host, and assigned by its path: -device vfio-pci,sysfsdev=PATH.",
		"A simulated host forgets its devices when the command ends; run --mdev makes one for a run.",
	],
	takesWords: true,
	options: [...HOST_OPTIONS, { name: "json", help: "list: print data instead of a table" }],
	examples: ["vfio-ts mdev list", "sudo vfio-ts mdev create mtty-2 --kernel linux"],
	async run(parsed, terminal) {
		const [word = "list", ...words] = parsed.words;
		const action = ACTIONS[word];
		if (!action && (word !== "list" || words.length > 0))
			throw new UsageError(`mdev takes list, create TYPE [UUID] or remove UUID, not "${parsed.words.join(" ")}"`);
		const opened = await openHost(parsed, terminal);
		try {
			if (!action && parsed.values.has("json")) {
				const { kernel, description: host } = opened;
				terminal.print(JSON.stringify({ host, types: mdevTypes(kernel), devices: mdevDevices(kernel) }));
				return 0;
			}
			terminal.print(`On ${opened.description}:`);
			if (action) action(opened, words, terminal);
			else list(opened, terminal);
			return 0;
		} finally {
			opened.close();
		}
	},
};

function list({ kernel }: OpenedHost, terminal: Terminal): void {
	const types = mdevTypes(kernel);
	if (types.length === 0) {
		terminal.print("  nothing that mediated devices are made of: no driver for them is loaded");
		return;
	}
	const rows = types.map(({ id, parent, available, api, name, description }) => [
		id,
		parent,
		String(available),
		api,
		description ?? name,
	]);
	terminal.print(table([["type", "parent", "left", "api", ""], ...rows], "  "));
	for (const { path, type, group } of mdevDevices(kernel)) terminal.print(`  ${path}  ${type}  group ${group ?? "-"}`);
}
