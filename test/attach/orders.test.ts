// Whatever a program does with devices, in whatever order: an error of ours at most, and nothing is left of it.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Container } from "../../core/device/container.ts";
import { VfioDevice } from "../../core/device/device.ts";
import { VfioError } from "../../core/errors.ts";
import { Ioas } from "../../core/iommu/ioas.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import { PciTopology } from "../../core/machine/topology.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { Host, type SimProcess, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { driverStarts } from "./scripted-guest.ts";

const NAMES = ["0000:01:00.0", "0000:05:00.0", "0000:00:12.0", "0000:00:12.1"] as const;

/** What a program holds, each in as many pieces as it has got. */
class Program {
	readonly devices: VfioDevice[] = [];
	readonly containers: Container[] = [];
	readonly iommufds: Iommufd[] = [];
	readonly spaces: Ioas[] = [];
	readonly functions: AssignedFunction[] = [];
	readonly memory;
	readonly pci = new PciTopology({ pin: () => {}, message: () => {} });
	readonly kernel: SimProcess;

	constructor(kernel: SimProcess) {
		this.kernel = kernel;
		this.memory = kernel.allocate(0x10000);
	}

	do([kind, which, other]: Step): void {
		const name = NAMES[which % NAMES.length] as string;
		const device = this.devices[which % Math.max(1, this.devices.length)];
		const fn = this.functions[which % Math.max(1, this.functions.length)];
		const container = this.containers[other % Math.max(1, this.containers.length)];
		const iommufd = this.iommufds[other % Math.max(1, this.iommufds.length)];
		const ioas = this.spaces[which % Math.max(1, this.spaces.length)];
		switch (kind) {
			case 0:
			case 1:
				this.devices.push(VfioDevice.open(this.kernel, name, container && other & 1 ? { container } : {}));
				break;
			case 2:
				this.containers.push(Container.open(this.kernel));
				break;
			case 3:
				if (device) this.functions.push(AssignedFunction.attach(device));
				break;
			case 4:
				if (fn) this.pci.plug(fn, { bus: "pcie.0" });
				break;
			case 5:
				if (fn) driverStarts(fn);
				break;
			case 6:
				if (fn) this.pci.unplug(fn);
				break;
			case 7:
				fn?.reset();
				break;
			case 8:
				fn?.[Symbol.dispose]();
				break;
			case 9:
				device?.[Symbol.dispose]();
				break;
			case 10:
				container?.[Symbol.dispose]();
				break;
			case 11:
				device?.iommu.map(BigInt(other) * 0x4000n, this.memory.address, 0x4000n);
				break;
			case 12:
				device?.iommu.unmap(BigInt(other) * 0x4000n, 0x4000n);
				break;
			case 13:
				device?.hotReset();
				break;
			case 14:
				device?.reset();
				break;
			case 15:
				this.iommufds.push(Iommufd.open(this.kernel));
				break;
			case 16:
				if (iommufd) this.spaces.push(Ioas.allocate(iommufd));
				break;
			case 17:
				if (iommufd) this.devices.push(VfioDevice.open(this.kernel, name, { iommufd, ...(ioas ? { ioas } : {}) }));
				break;
			case 18:
				ioas?.[Symbol.dispose]();
				break;
			case 19:
				iommufd?.[Symbol.dispose]();
				break;
			case 20:
				ioas?.map(BigInt(other) * 0x4000n, this.memory.address, 0x4000n);
				break;
			default:
				device?.mapRegion(0);
		}
	}
}

type Step = readonly [kind: number, which: number, other: number];
const step: fc.Arbitrary<Step> = fc.tuple(fc.nat(21), fc.nat(3), fc.nat(3));

function clean(action: () => void): void {
	try {
		action();
	} catch (error) {
		for (const one of error instanceof AggregateError ? error.errors : [error])
			if (!(one instanceof VfioError)) throw one;
	}
}

describe("a program that opens, uses and closes in any order", () => {
	it("gets an error of ours at most, and leaves nothing", () => {
		const clock = new VirtualClock();
		const linux = new SimulatedLinux({ host: Host.reference(), clock });
		const root = linux.process();
		for (const name of NAMES) {
			if (name === "0000:05:00.0") root.writeFile("/sys/bus/pci/drivers/nvme/unbind", name);
			root.writeFile(`/sys/bus/pci/devices/${name}/driver_override`, "vfio-pci");
			root.writeFile("/sys/bus/pci/drivers/vfio-pci/bind", name);
		}
		let opened = 0;
		fc.assert(
			fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), fc.infiniteStream(fc.nat(99)), (steps, orders) => {
				const program = new Program(root);
				for (const one of steps) {
					clean(() => program.do(one));
					clock.settle();
				}
				opened += program.devices.length;
				const { devices, functions, containers, iommufds, spaces, memory } = program;
				const held: Disposable[] = [...devices, ...functions, ...containers, ...iommufds, ...spaces, memory];
				while (held.length > 0) {
					const next = (orders.next().value as number) % held.length;
					clean(() => held.splice(next, 1)[0]?.[Symbol.dispose]());
				}
				clock.settle();
				expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
			}),
			{ numRuns: 40 },
		);
		expect(opened).toBeGreaterThan(10);
	});
});
