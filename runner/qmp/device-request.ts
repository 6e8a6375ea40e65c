import { type DeviceRequest, QmpError } from "../../core/qmp/mod.ts";
import { DEVICE_KEYS, type DeviceOption, deviceOption, isAssignedKind } from "../cli/device-option.ts";
import { parseSwitch } from "../cli/properties.ts";
import { UsageError } from "../cli/usage-error.ts";

/** Of `device_add` only: the device is refused when the windows that the guest gave the port have no room for its BARs. */
export const REQUIRE_ROOM = "x-require-room";
const OWN_KEYS = [REQUIRE_ROOM];

/**
 * What `device_add` asks for, as if it had been on the command line.
 *
 * @param oneReference `host` and `sysfsdev` together are refused
 * @throws QmpError for a driver or a property that is unknown; UsageError and VfioError as `parseDeviceOption`
 */
export function deviceRequestOption(request: DeviceRequest, oneReference: boolean): DeviceOption {
	const { driver, id, properties } = request;
	if (!isAssignedKind(driver)) throw new QmpError({ type: "unknown-driver", driver, known: Object.keys(DEVICE_KEYS) });
	const known = [...DEVICE_KEYS[driver], ...OWN_KEYS].filter((key) => key !== "id");
	const words = new Map<string, string>();
	for (const [name, value] of Object.entries(properties)) {
		if (!known.includes(name)) throw new QmpError({ type: "unknown-property", driver, name, known });
		if (!OWN_KEYS.includes(name)) words.set(name, word(name, value));
	}
	const where = `device_add of ${driver}${id === undefined ? "" : ` ${id}`}`;
	if (oneReference && words.has("host") && words.has("sysfsdev"))
		throw new UsageError(`${where} names its device twice: by host and by sysfsdev`);
	if (id !== undefined) words.set("id", id);
	return deviceOption(driver, words, where);
}

/** JSON's values as the command line writes them. QEMU reads a number as `addr` as slot times 8 plus function. */
function word(name: string, value: string | number | boolean): string {
	if (typeof value === "boolean") return value ? "on" : "off";
	if (name === "addr" && typeof value === "number") return `${value >> 3}.${value & 7}`;
	return String(value);
}

/** Whether a property that is a switch is on. @throws UsageError */
export function isOn(value: string | number | boolean | undefined): boolean {
	return value !== undefined && parseSwitch(REQUIRE_ROOM, word(REQUIRE_ROOM, value));
}
