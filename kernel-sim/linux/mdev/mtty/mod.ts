/**
 * mtty: the serial controller that comes with Linux as a sample of a mediated device (samples/vfio-mdev/mtty.c). It needs
 * no hardware and no IOMMU, and has all that VFIO knows of migration.
 *
 * @module
 */
import { ENOSPC } from "../../../../core/uapi/errno.ts";
import type { MediatedDriver, MediatedType } from "../driver.ts";
import { MttyDevice } from "./device.ts";

/** How many ports there are, over all devices. */
const PORTS = 24;
const TITLES = ["Single port serial", "Dual port serial"];

/**
 * The driver mtty, with its types `mtty-1` and `mtty-2` of one and two ports.
 *
 * @returns a driver of its own for each kernel, since it counts what is left
 * @example
 * ```ts
 * const linux = new SimulatedLinux({ host: Host.reference(), mediated: [mtty()] });
 * const kernel = linux.process();
 * const uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
 * kernel.writeFile("/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create", uuid);
 * const device = VfioDevice.open(kernel, { sysfsdev: `/sys/bus/mdev/devices/${uuid}` });
 * ```
 */
export function mtty(): MediatedDriver {
	let left = PORTS;
	const types = TITLES.map((title, index): MediatedType => {
		const ports = index + 1;
		return {
			name: String(ports),
			title,
			available: () => Math.floor(left / ports),
			create() {
				if (left < ports) return -ENOSPC;
				left -= ports;
				return new MttyDevice(ports, () => {
					left += ports;
				});
			},
		};
	});
	return { name: "mtty", types };
}
