// Whatever a kernel answers, what comes out of it is an error that can be caught, and all is given back.
import { describe, expect, it } from "vitest";
import { KernelError, VfioError } from "../../core/errors.ts";
import { examineHost } from "../../core/host/doctor.ts";
import { PciSysfs } from "../../core/host/sysfs.ts";
import type { AccessWidth } from "../../core/kernel.ts";
import { Host, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { LyingKernel, random } from "./lying-kernel.ts";
import { type Attached, attach, driverStarts, driverStops } from "./scripted-guest.ts";

function isClean(error: unknown): boolean {
	if (error instanceof AggregateError) return error.errors.every(isClean);
	return error instanceof VfioError || error instanceof KernelError;
}

function traffic({ fn }: Attached, next: (end: number) => number, clock: VirtualClock): void {
	for (let n = 0; n < 60; n++) {
		const width = [1, 2, 4][next(3)] as AccessWidth;
		const value = next(2) === 0 ? next(0xffffffff) : ([0, 1, 2, 6, 0x8000, 0xc000, 0xffffffff][next(7)] as number);
		switch (next(12)) {
			case 0:
			case 1:
			case 2:
				fn.configWrite(next(0x100), width, value);
				break;
			case 3:
				fn.configRead(next(0x1000), width);
				break;
			case 4:
			case 5:
				fn.barWrite(next(7), next(0x4000), width, value);
				break;
			case 6:
				fn.barWrite64(next(7), next(0x4000), BigInt(value));
				break;
			case 7:
				fn.barRead(next(7), next(0x4000), width);
				break;
			case 8:
				fn.barRead64(next(7), next(0x4000));
				break;
			case 9:
				fn.endOfInterrupt(1);
				break;
			case 10:
				if (next(6) === 0) fn.reset();
				break;
			default:
				clock.settle();
		}
	}
}

/** Each is another kernel; thousands were tried. */
const SEEDS = 16;

function boot() {
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({ host: Host.reference(), clock });
	return { clock, linux, truth: linux.process() };
}

/** Runs it, and says what else than an error of ours came out of it. */
function unclean(action: () => void): unknown {
	try {
		action();
	} catch (error) {
		if (!isClean(error)) return (error as Error).stack;
	}
	return undefined;
}

describe("a kernel that answers nonsense", () => {
	it.each(["0000:05:00.0", "0000:01:00.0"])("%s: a clean error or none, and nothing leaks", (address) => {
		let attached = 0;
		let { clock, linux, truth } = boot();
		for (let seed = 1; seed <= SEEDS; seed++) {
			const next = random(seed * 7919);
			const kernel = new LyingKernel(truth, seed, [4, 10, 30, 100][seed % 4] as number);
			kernel.lying = next(2) === 0;
			let one: Attached | undefined;
			const wrong: unknown[] = [];
			const run = (action: () => void) => wrong.push(unclean(action));
			run(() => {
				one = attach(kernel, address);
			});
			const made = one as Attached | undefined;
			kernel.lying = true;
			if (made) {
				attached++;
				run(() => driverStarts(made.fn));
				run(() => clock.settle());
				run(() => traffic(made, next, clock));
				run(() => made.device.hotResetInfo());
				run(() => made.device.hotReset());
				for (let index = 0; index < 12; index++) run(() => made.device.region(index));
				for (let index = 0; index < 6; index++) run(() => made.device.irq(index));
				run(() => made.device.container?.iommu.info());
				run(() => made.device.container?.iommu.dirty.start());
				run(() => made.device.container?.iommu.dirty.bitmap(0n, 0x100000n));
				run(() => made.device.container?.iommu.dirty.stop());
				run(() => driverStops(made.fn));
			}
			run(() => void examineHost(kernel, { devices: [address] }));
			kernel.lying = false;
			if (made) run(() => made[Symbol.dispose]());
			clock.settle();
			const where = `seed ${seed} after ${kernel.lies.slice(-6).join("; ")}`;
			expect(
				wrong.filter((stack) => stack !== undefined),
				where,
			).toEqual([]);
			expect(
				Object.entries(linux.leaks()).filter(([, count]) => count !== 0),
				where,
			).toEqual([]);
			if (new PciSysfs(truth).driver(address) !== undefined) ({ clock, linux, truth } = boot());
		}
		expect(attached).toBeGreaterThan(SEEDS / 4);
	});
});
