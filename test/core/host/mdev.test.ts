import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { KernelError } from "../../../core/errors.ts";
import { isMediated, Mdev, mdevDevices, mdevTypes, removeMdev } from "../../../core/host/mdev.ts";
import type { Kernel } from "../../../core/kernel.ts";
import { Releases } from "../../../core/release.ts";
import { EACCES, EAGAIN, EINVAL, EIO, ENODEV } from "../../../core/uapi/errno.ts";
import { Host, Machine, type MediatedDriver, mtty, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { vfioError as thrown } from "../support/error.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002";

function boot(mediated: readonly MediatedDriver[] = [mtty()]) {
	const linux = new SimulatedLinux({ host: new Host(new Machine()), mediated });
	return { linux, kernel: linux.process() };
}

/** A kernel whose writes of files fail. */
function refusing(kernel: Kernel, errno: number): Kernel {
	return Object.create(kernel, {
		readDirectory: { value: (path: string) => kernel.readDirectory(path) },
		readFile: { value: (path: string) => kernel.readFile(path) },
		writeFile: {
			value: (path: string) => {
				throw new KernelError(errno, "write", path);
			},
		},
	}) as Kernel;
}

describe("mdevTypes()", () => {
	it("lists what the host can make and what of it there is", () => {
		const { kernel } = boot();
		using mdev = Mdev.create(kernel, { uuid: UUID, type: "mtty-2" });
		expect(mdevTypes(kernel)).toEqual([
			{
				id: "mtty-1",
				parent: "mtty",
				name: "Single port serial",
				description: undefined,
				api: "vfio-pci",
				available: 22,
				devices: [],
			},
			{
				id: "mtty-2",
				parent: "mtty",
				name: "Dual port serial",
				description: undefined,
				api: "vfio-pci",
				available: 11,
				devices: [mdev.uuid],
			},
		]);
	});

	it("finds nothing on a host without mediated devices", () => {
		const { kernel } = boot([]);
		expect([mdevTypes(kernel), mdevDevices(kernel)]).toEqual([[], []]);
	});
});

describe("Mdev", () => {
	it("makes a device that is assigned by its path, and removes it", () => {
		const { linux, kernel } = boot();
		const mdev = Mdev.create(kernel, { uuid: UUID.toUpperCase(), type: "mtty-1" });
		expect(mdevDevices(kernel)).toEqual([{ uuid: UUID, path: mdev.path, parent: "mtty", type: "mtty-1", group: 0 }]);
		expect([isMediated(kernel, mdev.path), isMediated(kernel, "/sys/bus/mdev/drivers/mtty")]).toEqual([true, false]);
		VfioDevice.open(kernel, { sysfsdev: mdev.path })[Symbol.dispose]();
		mdev[Symbol.dispose]();
		mdev[Symbol.dispose]();
		expect(mdevDevices(kernel)).toEqual([]);
		expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	});

	it("says what is wrong and what to do when the device cannot be made", () => {
		const { kernel } = boot();
		using _first = Mdev.create(kernel, { uuid: UUID, type: "mtty-1" });
		const create = (options: Parameters<typeof Mdev.create>[1], on: Kernel = kernel) =>
			thrown(() => Mdev.create(on, options));
		expect(create({ uuid: "4", type: "mtty-1" })).toMatchObject({ code: "invalid-argument" });
		expect(create({ uuid: UUID, type: "mtty-1" })).toMatchObject({ code: "already-exists", device: UUID });
		expect(create({ uuid: OTHER, type: "mtty-3" })).toMatchObject({
			code: "no-such-device",
			remedy: ["There are mtty-1, mtty-2; did you mean mtty-1?"],
		});
		expect(create({ uuid: OTHER, type: "mtty-1", parent: "gpu" })).toMatchObject({
			code: "no-such-device",
			remedy: ["There is mtty."],
		});
		expect(create({ uuid: OTHER, type: "mtty-1" }, boot([]).kernel)).toMatchObject({ code: "no-such-device" });
		for (const [errno, code] of [
			[EACCES, "no-permission"],
			[EINVAL, "invalid-argument"],
			[ENODEV, "no-such-device"],
			[EIO, "kernel"],
		] as const)
			expect(create({ uuid: OTHER, type: "mtty-1" }, refusing(kernel, errno))).toMatchObject({ code, errno });
	});

	it("says that a parent has none left, whoever counts", () => {
		const one: MediatedDriver = { name: "one", instances: 1, types: [{ ...mtty().types[0], name: "x" } as never] };
		const { kernel } = boot([mtty(), one]);
		using releases = new Releases();
		for (let n = 0; n < 12; n++)
			releases.use(Mdev.create(kernel, { uuid: UUID.replace("1001", `${2000 + n}`), type: "mtty-2" }));
		expect(thrown(() => Mdev.create(kernel, { uuid: UUID, type: "mtty-1" }))).toMatchObject({ code: "none-available" });
		releases.use(Mdev.create(kernel, { uuid: UUID, type: "one-x" }));
		expect(thrown(() => Mdev.create(kernel, { uuid: OTHER, type: "one-x" }))).toMatchObject({
			code: "none-available",
			message: `Cannot create ${OTHER}: one has none of type one-x left`,
		});
	});
});

describe("removeMdev()", () => {
	it("says what is wrong when the device cannot be removed", () => {
		const { kernel } = boot();
		expect(thrown(() => removeMdev(kernel, UUID))).toMatchObject({ code: "no-such-device" });
		expect(thrown(() => removeMdev(kernel, "mtty"))).toMatchObject({ code: "invalid-argument" });
		Mdev.create(kernel, { uuid: UUID, type: "mtty-1" });
		expect(thrown(() => removeMdev(refusing(kernel, EAGAIN), UUID))).toMatchObject({ code: "device-in-use" });
		expect(thrown(() => removeMdev(refusing(kernel, EACCES), UUID))).toMatchObject({ code: "no-permission" });
		const device = VfioDevice.open(kernel, { sysfsdev: `/sys/bus/mdev/devices/${UUID}` });
		expect(thrown(() => removeMdev(kernel, UUID))).toMatchObject({ code: "device-in-use" });
		device[Symbol.dispose]();
		expect(mdevDevices(kernel)).toEqual([]);
	});
});
