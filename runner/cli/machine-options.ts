/**
 * Everything on a command line that a guest machine is made of.
 *
 * @module
 */
import { DEVICE_KEYS, type DeviceOption, parseDeviceOption } from "./device-option.ts";
import { type IommufdOption, parseIommufdOption } from "./iommufd-option.ts";
import type { OptionSpec, ParsedArguments } from "./options.ts";
import { isRootPort, parseRootPortOption, ROOT_PORT_KEYS, type RootPortOption } from "./root-port-option.ts";
import { UsageError, understanding } from "./usage-error.ts";

/** What the machine is made of, in the order of the command line. */
export interface MachineOptions {
	readonly devices: readonly DeviceOption[];
	readonly rootPorts: readonly RootPortOption[];
	readonly iommufds: readonly IommufdOption[];
}

/** How the value of a property is written, where its name does not say it. */
const PROPERTY_FORMS: Readonly<Record<string, string>> = {
	id: "id=ID",
	bus: "bus=BUS",
	addr: "addr=SLOT[.FUNCTION]",
	multifunction: "multifunction=on",
	iommufd: "iommufd=ID",
	"vf-token": "vf-token=UUID",
	hotplug: "hotplug=off",
};

/** @param first shows the properties in `except`, of which one at least is needed */
function deviceHelp(first: string, names: readonly string[], except: readonly string[]): string {
	const rest = names.filter((name) => !except.includes(name)).map((name) => PROPERTY_FORMS[name] ?? name);
	return `${first}, then any of ${rest.join(", ")}`;
}

const SOURCES = ["host", "sysfsdev", "fd"];
const DEVICE_HELP = [
	deviceHelp("vfio-pci,host=ADDRESS or sysfsdev=PATH or fd=DESCRIPTOR", DEVICE_KEYS["vfio-pci"], SOURCES),
	deviceHelp("vfio-platform,host=NAME or sysfsdev=PATH or fd=DESCRIPTOR", DEVICE_KEYS["vfio-platform"], SOURCES),
	deviceHelp("pcie-root-port,id=BUS", ROOT_PORT_KEYS, ["id"]),
].join("\n");

/** The options that {@link machineOptions} reads. */
export const MACHINE_OPTIONS: readonly OptionSpec[] = [
	{
		name: "device",
		value: "SPEC",
		repeatable: true,
		help: DEVICE_HELP,
	},
	{ name: "object", value: "SPEC", repeatable: true, help: "iommufd,id=ID[,fd=DESCRIPTOR]: maps DMA by iommufd" },
];

/**
 * Reads them, and checks that what refers to each other is there.
 *
 * @throws UsageError naming the part that is wrong
 */
export function machineOptions(parsed: ParsedArguments): MachineOptions {
	const specs = parsed.values.get("device") ?? [];
	const made = understanding(() => ({
		devices: specs.filter((text) => !isRootPort(text)).map(parseDeviceOption),
		rootPorts: specs.filter(isRootPort).map(parseRootPortOption),
		iommufds: (parsed.values.get("object") ?? []).map(parseIommufdOption),
	}));
	requireOnce(
		"device",
		[...made.rootPorts, ...made.devices].map(({ id }) => id),
	);
	requireOnce(
		"object",
		made.iommufds.map(({ id }) => id),
	);
	for (const device of made.devices) checkDevice(device, made);
	return made;
}

/**
 * Whether a device's bus and iommufd are there.
 *
 * @throws UsageError naming what there is
 */
export function checkDevice({ bus, iommufd }: DeviceOption, { rootPorts, iommufds }: MachineOptions): void {
	const buses = ["pcie.0", ...rootPorts.map(({ id }) => id)];
	if (bus !== undefined && !buses.includes(bus))
		throw new UsageError(
			`Cannot use bus "${bus}": there is no such bus; use one of ${buses.join(", ")}, or add -device pcie-root-port,id=${bus}`,
		);
	if (iommufd !== undefined && !iommufds.some(({ id }) => id === iommufd))
		throw new UsageError(`Cannot use iommufd "${iommufd}": there is no such object; add -object iommufd,id=${iommufd}`);
}

function requireOnce(what: string, ids: readonly (string | undefined)[]): void {
	const given = ids.filter((id) => id !== undefined);
	const twice = given.find((id, at) => given.indexOf(id) !== at);
	if (twice !== undefined) throw new UsageError(`The ${what} id "${twice}" is given twice: each needs one of its own`);
}
