import { describe, expect, it } from "vitest";
import { KernelError, VfioError } from "../../core/errors.ts";
import { FailingKernel } from "../../core/failing-kernel.ts";
import { PciSysfs } from "../../core/host/sysfs.ts";
import type { Kernel } from "../../core/kernel.ts";
import { EBUSY, EFAULT, EINVAL, EIO, ENOMEM, errnoName } from "../../core/uapi/errno.ts";
import { Host, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { attach, type Backend, driverStarts, driverStops } from "./scripted-guest.ts";

/** The whole way, and back. */
function attachRunDetach(kernel: Kernel, address: string, backend: Backend, clock: VirtualClock): void {
	const attached = attach(kernel, address, { backend });
	try {
		driverStarts(attached.fn);
		clock.settle();
		driverStops(attached.fn);
	} finally {
		attached[Symbol.dispose]();
	}
}

function bootHost() {
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({ host: Host.reference(), clock });
	return { linux, clock, kernel: linux.process() };
}

/** Who has the device, and who may have it. */
function driverState(kernel: Kernel, address: string): string {
	const pci = new PciSysfs(kernel);
	return `${pci.driver(address)} ${pci.driverOverride(address)}`;
}

function isClean(error: unknown): boolean {
	if (error instanceof AggregateError) return error.errors.every(isClean);
	return error instanceof VfioError || error instanceof KernelError;
}

const ERRNOS = [EINVAL, EIO, ENOMEM, EBUSY, EFAULT];

describe("any kernel call of attach, run and detach fails", () => {
	for (const [what, address, backend, errnos] of [
		["NVMe", "0000:05:00.0", "type1", ERRNOS],
		["edu", "0000:01:00.0", "iommufd", ERRNOS],
		// What is another way of the device's with either has been seen by now.
		["NVMe", "0000:05:00.0", "iommufd", [EINVAL]],
		["edu", "0000:01:00.0", "type1", [EINVAL]],
	] as const)
		it.each(errnos.map((errno) => [errnoName(errno), errno] as const))(
			`${what} by ${backend} with %s at every n: a clean error or none, and nothing leaks`,
			(_name, errno) => {
				let calls = 0;
				let host = bootHost();
				const drivers = driverState(host.kernel, address);
				for (let n = 1; ; n++) {
					const { linux, clock } = host;
					const kernel = new FailingKernel(linux.process(), n, errno);
					let failure: unknown;
					try {
						attachRunDetach(kernel, address, backend, clock);
					} catch (error) {
						failure = error;
					}
					const where = `${kernel.failed} (call ${n}): ${failure}`;
					if (failure !== undefined) expect(isClean(failure), where).toBe(true);
					clock.settle();
					const leaks = Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
					expect(leaks, where).toEqual([]);
					calls = n;
					if (kernel.failed === undefined) break;
					// Where giving the device back was what failed, the next turn needs a host as it was.
					if (driverState(host.kernel, address) !== drivers) host = bootHost();
				}
				// Fewer would mean that the way is not walked at all.
				expect(calls).toBeGreaterThan(100);
			},
		);
});
