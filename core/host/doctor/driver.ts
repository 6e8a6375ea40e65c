/**
 * Which driver has a device, and how it comes to vfio-pci.
 *
 * @module
 */
import { isVfioDriver, planDevice, shellCommand } from "../bind-plan.ts";
import { type Check, type DeviceSubject, evidence, obstacle } from "./check.ts";

/** Does a VFIO driver have the device? */
export const DRIVER: Check<DeviceSubject> = {
	item: "driver",
	examine(subject) {
		const { kernel, pci, name, members, asked } = subject;
		const driver = pci.driver(name);
		if (driver !== undefined && isVfioDriver(driver)) return { level: "ok", text: `${driver} has it` };
		const owner = driver === undefined ? "No driver has it" : `${driver} has it`;
		const self = members.find((member) => member.name === name);
		if (!self) return { level: obstacle(subject), text: `${owner}; vfio-pci takes no device without an IOMMU group` };
		// That the host uses its devices is no fault of it.
		const level = asked ? "problem" : "ok";
		const virtual = Number(evidence(kernel, `${pci.path(name)}/sriov_numvfs`) ?? "0");
		const commands = planDevice(self, "vfio-pci").steps.map(shellCommand);
		if (virtual > 0)
			return {
				level,
				text: `${owner}; vfio-pci takes it only without its ${virtual} virtual functions`,
				remedy: [`echo 0 | sudo tee ${pci.path(name)}/sriov_numvfs`, ...commands],
			};
		return { level, text: `${owner}; to be assigned, it has to be with vfio-pci`, remedy: commands };
	},
};

/** Does driver_override fit the driver? */
export const DRIVER_OVERRIDE: Check<DeviceSubject> = {
	item: "driver override",
	examine({ pci, name }) {
		const override = pci.driverOverride(name);
		const driver = pci.driver(name);
		if (override === undefined)
			return { level: "ok", text: "This kernel has none (Linux before 3.16): new_id names the model instead" };
		if (override === "") return undefined;
		if (override === driver || isVfioDriver(override)) return { level: "ok", text: `Only ${override} may take it` };
		return {
			level: "warning",
			text: `Only ${override} may take it, so vfio-pci cannot until it is named there`,
			remedy: [`echo vfio-pci | sudo tee ${pci.path(name)}/driver_override`],
		};
	},
};
