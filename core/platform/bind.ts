/**
 * Giving a platform device to vfio-platform, and giving it back.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { BindStep, SysfsWrite } from "../host/bind-plan.ts";
import { locate } from "../host/location.ts";
import { latin1, readingIfThere, readNames } from "../host/sysfs.ts";
import { perform } from "../host/sysfs-write.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno } from "../retry.ts";
import { ENOENT } from "../uapi/errno.ts";

const DRIVER = "vfio-platform";
const DRIVERS = "/sys/bus/platform/drivers";
/** What an override is cleared with: an empty write(2) never reaches the kernel's handler, a newline does. */
const CLEAR = "\n";

/** How a platform device comes to a VFIO driver. */
export interface PlatformBindPlan {
	readonly name: string;
	/** The driver it has before. */
	readonly from: string | undefined;
	/** In this order; undone in reverse. Empty when the device is with the driver already. */
	readonly steps: readonly BindStep[];
}

/**
 * Which sysfs writes bring a platform device to a driver. It changes nothing.
 *
 * @param name as below `/sys/bus/platform/devices`, such as `fff51000.ethernet`
 * @throws VfioError `invalid-argument`, `no-such-device`, `kernel`
 */
export function planPlatformBind(kernel: Kernel, name: string, driver = DRIVER): PlatformBindPlan {
	const { path } = locate({ platform: name });
	if (readNames(kernel, path) === undefined)
		throw new VfioError("no-such-device", `Cannot find platform device ${name}: there is no ${path}`, {
			device: name,
			remedy: ["ls /sys/bus/platform/devices shows what there is."],
		});
	const from = driverOf(kernel, path);
	if (from === driver) return { name, from, steps: [] };
	const override = readingIfThere(path, () => latin1(kernel.readFile(`${path}/driver_override`)).trim());
	const write = (file: string, text: string): SysfsWrite => ({ path: file, text, tolerate: [] });
	const before = override === undefined || override === "(null)" ? CLEAR : override;
	return {
		name,
		from,
		steps: [
			...(from === undefined
				? []
				: [{ ...write(`${DRIVERS}/${from}/unbind`, name), undo: write(`${DRIVERS}/${from}/bind`, name) }]),
			{ ...write(`${path}/driver_override`, driver), undo: write(`${path}/driver_override`, before) },
			{ ...write(`${DRIVERS}/${driver}/bind`, name), undo: write(`${DRIVERS}/${driver}/unbind`, name) },
		],
	};
}

/**
 * Brings a platform device to a driver. When a step fails, the device goes back.
 *
 * @param name as below `/sys/bus/platform/devices`, such as `fff51000.ethernet`
 * @returns dispose it, after the device was closed, to give the device back to the driver it had
 * @throws VfioError `invalid-argument`, `no-such-device`, `no-vfio`, `no-permission`, `device-in-use`, `unassignable-device`
 *   when the kernel has no reset for it, `kernel`
 * @example
 * ```ts
 * const bound = bindPlatformDevice(kernel, "fff51000.ethernet");
 * const device = VfioDevice.open(kernel, { platform: "fff51000.ethernet" }, { kind: "platform" });
 * device[Symbol.dispose]();
 * bound[Symbol.dispose]();
 * ```
 */
export function bindPlatformDevice(kernel: Kernel, name: string, driver = DRIVER): Disposable {
	const plan = planPlatformBind(kernel, name, driver);
	if (plan.steps.length > 0 && readNames(kernel, `${DRIVERS}/${driver}`) === undefined)
		throw new VfioError("no-vfio", `Cannot bind ${name}: this kernel has no driver ${driver} loaded`, {
			device: name,
			remedy: [`sudo modprobe ${driver}`, "A kernel built without it needs CONFIG_VFIO_PLATFORM, which is for Arm."],
		});
	const releases = new Releases();
	try {
		for (const step of plan.steps) {
			perform(kernel, step, name, "bind");
			const { undo } = step;
			if (undo) releases.defer(() => perform(kernel, undo, name, "give back"));
		}
		return releases.move();
	} catch (error) {
		throw explain(error, name, `${DRIVERS}/${driver}/bind`);
	} finally {
		releases[Symbol.dispose]();
	}
}

function driverOf(kernel: Kernel, path: string): string | undefined {
	return readingIfThere(`${path}/driver`, () => kernel.readLink(`${path}/driver`))
		?.split("/")
		.at(-1);
}

/** The driver refuses what it cannot reset, unless it was loaded otherwise. @param bind the file that the driver binds by */
function explain(error: unknown, name: string, bind: string): unknown {
	if (!(error instanceof VfioError) || !isErrno(error.cause, ENOENT) || error.cause.target !== bind) return error;
	return new VfioError("unassignable-device", `Cannot bind ${name}: vfio-platform has no reset for it`, {
		device: name,
		cause: error.cause,
		remedy: [
			"Linux has a module for some devices: grep vfio-reset: /lib/modules/$(uname -r)/modules.alias shows which.",
			"sudo modprobe vfio-platform reset_required=0 takes devices without: the next user finds it as the last one left it.",
		],
	});
}
