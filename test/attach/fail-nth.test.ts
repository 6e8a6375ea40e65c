import { describe, expect, it } from "vitest";
import { KernelError, VfioError } from "../../core/errors.ts";
import { FailingKernel } from "../../core/failing-kernel.ts";
import type { Kernel } from "../../core/kernel.ts";
import { EBUSY, EFAULT, EINVAL, EIO, ENOMEM, errnoName } from "../../core/uapi/errno.ts";
import { Host, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { attach, driverStarts, driverStops } from "./scripted-guest.ts";

/** The whole way, and back. */
function attachRunDetach(kernel: Kernel, address: string, clock: VirtualClock): void {
	const attached = attach(kernel, address);
	try {
		driverStarts(attached.fn);
		clock.settle();
		driverStops(attached.fn);
	} finally {
		attached[Symbol.dispose]();
	}
}

function isClean(error: unknown): boolean {
	if (error instanceof AggregateError) return error.errors.every(isClean);
	return error instanceof VfioError || error instanceof KernelError;
}

describe("any kernel call of attach, run and detach fails", () => {
	for (const [what, address] of [
		["NVMe", "0000:05:00.0"],
		["edu", "0000:01:00.0"],
	] as const)
		it.each([EINVAL, EIO, ENOMEM, EBUSY, EFAULT].map((errno) => [errnoName(errno), errno] as const))(
			`${what} with %s at every n: a clean error or none, and nothing leaks`,
			(_name, errno) => {
				let calls = 0;
				for (let n = 1; ; n++) {
					const clock = new VirtualClock();
					const linux = new SimulatedLinux({ host: Host.reference(), clock });
					const process = linux.process();
					const kernel = new FailingKernel(process, n, errno);
					let failure: unknown;
					try {
						attachRunDetach(kernel, address, clock);
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
				}
				// Fewer would mean that the way is not walked at all.
				expect(calls).toBeGreaterThan(100);
			},
		);
});
