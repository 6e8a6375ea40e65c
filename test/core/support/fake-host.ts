// A sysfs with PCI functions, drivers and IOMMU groups whose bind and unbind files act, as far as core/host sees it.
import { EACCES, EBUSY, EEXIST, EINVAL, ENODEV } from "../../../core/uapi/errno.ts";
import { FakeKernel } from "./fake-kernel.ts";

export interface FakeFunction {
	readonly name: string;
	readonly group?: number;
	readonly driver?: string;
	readonly id?: string;
	readonly class?: number;
	readonly bridge?: boolean;
	/** undefined: a kernel without the file. */
	readonly override?: string | undefined;
}

export interface FakeHostOptions {
	readonly driverOverride?: boolean;
	readonly drivers?: readonly string[];
}

const DEVICES = "/sys/bus/pci/devices";
const DRIVERS = "/sys/bus/pci/drivers";

/** The kernel, and which driver has which function at the moment. */
export class FakeHost {
	readonly kernel = new FakeKernel();
	readonly driverOf = new Map<string, string>();
	/** Bindings that fail: `driver name` to an errno. */
	readonly refuse = new Map<string, number>();
	readonly #overrides = new Map<string, string>();
	readonly #functions: readonly FakeFunction[];

	constructor(functions: readonly FakeFunction[], options: FakeHostOptions = {}) {
		this.#functions = functions;
		const { kernel } = this;
		kernel.directories.add("/sys/kernel/iommu_groups");
		const drivers = new Set(options.drivers ?? ["vfio-pci"]);
		for (const fn of functions) {
			if (fn.driver) drivers.add(fn.driver);
			this.#addFunction(fn, options.driverOverride ?? true);
		}
		for (const driver of drivers) this.#addDriver(driver);
	}

	overrideOf(name: string): string {
		return this.#overrides.get(name) ?? "";
	}

	/** Makes a file of sysfs unwritable, as it is for whoever is not root. */
	forbid(path: string): void {
		this.kernel.files.set(path, { write: () => this.kernel.fail(EACCES, "open", path) });
	}

	#addFunction(fn: FakeFunction, hasOverride: boolean): void {
		const { kernel } = this;
		const path = `${DEVICES}/${fn.name}`;
		const [vendor, device] = (fn.id ?? "8086 1521").split(" ");
		kernel.files.set(`${path}/vendor`, `0x${vendor}\n`);
		kernel.files.set(`${path}/device`, `0x${device}\n`);
		kernel.files.set(`${path}/subsystem_vendor`, "0x1af4\n");
		kernel.files.set(`${path}/subsystem_device`, "0x1100\n");
		kernel.files.set(`${path}/revision`, "0x01\n");
		kernel.files.set(
			`${path}/class`,
			`0x${(fn.class ?? (fn.bridge ? 0x060400 : 0x020000)).toString(16).padStart(6, "0")}\n`,
		);
		kernel.files.set(
			`${path}/resource`,
			"0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n",
		);
		const config = new Uint8Array(64);
		config[0x0e] = fn.bridge ? 0x81 : 0x80;
		kernel.files.set(`${path}/config`, config);
		if (fn.group !== undefined) {
			kernel.links.set(`${path}/iommu_group`, `../../../kernel/iommu_groups/${fn.group}`);
			kernel.links.set(`/sys/kernel/iommu_groups/${fn.group}/devices/${fn.name}`, `../../../../devices/${fn.name}`);
		}
		if (hasOverride) {
			if (fn.override) this.#overrides.set(fn.name, fn.override);
			kernel.files.set(`${path}/driver_override`, {
				read: () => `${this.#overrides.get(fn.name) ?? "(null)"}\n`,
				write: (text) => {
					if (text.trim() === "") this.#overrides.delete(fn.name);
					else this.#overrides.set(fn.name, text);
				},
			});
		}
		if (fn.driver) this.#bind(fn.driver, fn.name);
	}

	#addDriver(driver: string): void {
		const { kernel } = this;
		const path = `${DRIVERS}/${driver}`;
		const ids = new Set<string>();
		kernel.files.set(`${path}/bind`, {
			write: (name) => {
				const errno = this.refuse.get(`${driver} ${name}`);
				if (errno) kernel.fail(errno, "write", `${path}/bind`);
				const fn = this.#functions.find((one) => one.name === name);
				const override = this.#overrides.get(name);
				const takes = driver.includes("vfio")
					? override === driver || (override === undefined && ids.has(fn?.id ?? ""))
					: override === undefined || override === driver;
				if (!fn || !takes) kernel.fail(ENODEV, "write", `${path}/bind`);
				if (this.driverOf.has(name)) kernel.fail(EBUSY, "write", `${path}/bind`);
				this.#bind(driver, name);
			},
		});
		kernel.files.set(`${path}/unbind`, {
			write: (name) => {
				if (this.driverOf.get(name) !== driver) kernel.fail(ENODEV, "write", `${path}/unbind`);
				this.driverOf.delete(name);
				kernel.links.delete(`${DEVICES}/${name}/driver`);
			},
		});
		kernel.files.set(`${path}/new_id`, {
			write: (id) => {
				if (!/^[0-9a-f]{4} [0-9a-f]{4}$/.test(id)) kernel.fail(EINVAL, "write", `${path}/new_id`);
				if (ids.has(id)) kernel.fail(EEXIST, "write", `${path}/new_id`);
				ids.add(id);
				for (const fn of this.#functions) if (fn.id === id && !this.driverOf.has(fn.name)) this.#bind(driver, fn.name);
			},
		});
		kernel.files.set(`${path}/remove_id`, {
			write: (id) => {
				if (!ids.delete(id)) kernel.fail(ENODEV, "write", `${path}/remove_id`);
			},
		});
	}

	#bind(driver: string, name: string): void {
		this.driverOf.set(name, driver);
		this.kernel.links.set(`${DEVICES}/${name}/driver`, `../../../bus/pci/drivers/${driver}`);
	}
}
