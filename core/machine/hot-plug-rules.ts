/**
 * Where a function can be plugged while the guest runs, in words.
 *
 * @module
 */
import { VfioError } from "../errors.ts";

/** The error for a place that cannot be plugged or unplugged while the guest runs. */
export function notHotPluggable(action: string, object: string, reason: string, remedy: readonly string[]): VfioError {
	return new VfioError("not-hot-pluggable", `Cannot hot ${action} ${object}: ${reason}`, { remedy });
}

/** A bridge, as far as the bus below it can be plugged. */
interface PluggableBridge {
	readonly secondary: { readonly name: string; checkHotPlug(): unknown };
}

/** What to do instead of plugging into a bus that has no hot-plug controller. @param bridges the bridges on that bus */
export function otherBuses(bridges: readonly PluggableBridge[]): string[] {
	const free = bridges.filter(({ secondary }) => {
		try {
			secondary.checkHotPlug();
			return true;
		} catch {
			return false;
		}
	});
	return free.length > 0
		? [`Use a free root port: bus=${free.map(({ secondary }) => secondary.name).join(" or bus=")}`]
		: ["Add a root port before the guest starts, such as -device pcie-root-port,id=rp1, and use bus=rp1"];
}
