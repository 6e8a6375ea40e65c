/**
 * Can this process open the device nodes? Only open(2) knows, with all that permissions are made of.
 *
 * @module
 */
import { KernelError, VfioError } from "../../errors.ts";
import type { Kernel } from "../../kernel.ts";
import { retry } from "../../retry.ts";
import { O_CLOEXEC, O_RDWR } from "../../uapi/fcntl.ts";
import { isVfioDriver } from "../bind-plan.ts";
import { explainContainerNode, explainGroupNode } from "../node-errors.ts";
import { type Check, type DeviceSubject, evidence, type HostSubject, obstacle, outcomeOf } from "./check.ts";

const CONTAINER = "/dev/vfio/vfio";

/** Does the container's node open? */
export const CONTAINER_NODE: Check<HostSubject> = {
	item: CONTAINER,
	examine({ kernel }) {
		const refusal = tryOpen(kernel, CONTAINER);
		return refusal
			? outcomeOf(explainContainerNode(CONTAINER, refusal), "problem")
			: { level: "ok", text: "This process may open it" };
	},
};

/** Does the node of a device's group open? A group that somebody has open says EBUSY. */
export const GROUP_NODE: Check<DeviceSubject> = {
	item: "group node",
	examine(subject) {
		const { kernel, group, members, name, asked } = subject;
		if (group === undefined) return undefined;
		const path = `/dev/vfio/${group}`;
		if (!members.some((member) => member.driver !== undefined && isVfioDriver(member.driver))) {
			if (!asked) return undefined;
			return {
				level: "unknown",
				text: `${path} appears once a device of the group is with vfio-pci`,
				remedy: isRoot(kernel) ? [] : [`Only root may open it then, unless you get it: sudo chown "$USER" ${path}`],
			};
		}
		const refusal = tryOpen(kernel, path);
		if (!refusal) return { level: "ok", text: `This process may open ${path}, and nobody has it open` };
		const error = explainGroupNode(kernel, path, group, name, refusal);
		if (error instanceof VfioError && error.code === "device-in-use") return outcomeOf(error, obstacle(subject));
		if (error instanceof VfioError && (error.code === "not-bound" || error.code === "no-vfio"))
			return {
				level: "problem",
				text: `${path} is not there, though a device of the group is with VFIO`,
				remedy: [`In a container, pass the nodes in: --device ${CONTAINER} --device ${path}`],
			};
		return outcomeOf(error, "problem");
	},
};

/** Opens and closes at once: a group's node has one opener in the whole system. @returns the kernel's refusal */
function tryOpen(kernel: Kernel, path: string): KernelError | undefined {
	try {
		kernel.close(retry(() => kernel.open(path, O_RDWR | O_CLOEXEC)));
		return undefined;
	} catch (error) {
		if (error instanceof KernelError) return error;
		throw error;
	}
}

function isRoot(kernel: Kernel): boolean {
	return /^Uid:\s*\d+\s+0\b/m.test(evidence(kernel, "/proc/self/status") ?? "");
}
