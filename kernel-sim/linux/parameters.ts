/**
 * Module parameters: /sys/module/<module>/parameters.
 *
 * @module
 */
import { EINVAL } from "../../core/uapi/errno.ts";
import { parseBoolean, parseNumber } from "./text.ts";

interface Parameter {
	readonly kind: "boolean" | "number" | "text";
	/** Permission bits in sysfs; 0: it is not there. */
	readonly mode: number;
	value: boolean | number | string;
}

/** Values that replace the defaults, such as `{ vfio_iommu_type1: { dma_entry_limit: 2 } }`. */
export type ParameterValues = Readonly<Record<string, Readonly<Record<string, boolean | number | string>>>>;

const DEFAULTS: Readonly<Record<string, Readonly<Record<string, Readonly<Parameter>>>>> = {
	vfio: {
		enable_unsafe_noiommu_mode: { kind: "boolean", mode: 0o644, value: false },
	},
	iommufd: {
		allow_unsafe_interrupts: { kind: "boolean", mode: 0o644, value: false },
	},
	vfio_iommu_type1: {
		allow_unsafe_interrupts: { kind: "boolean", mode: 0o644, value: false },
		disable_hugepages: { kind: "boolean", mode: 0o644, value: false },
		dma_entry_limit: { kind: "number", mode: 0o644, value: 65535 },
	},
	vfio_pci: {
		ids: { kind: "text", mode: 0, value: "" },
		nointxmask: { kind: "boolean", mode: 0o644, value: false },
		disable_idle_d3: { kind: "boolean", mode: 0o644, value: false },
		disable_vga: { kind: "boolean", mode: 0o444, value: false },
		enable_sriov: { kind: "boolean", mode: 0o644, value: false },
		disable_denylist: { kind: "boolean", mode: 0o444, value: false },
	},
	vfio_platform: {
		reset_required: { kind: "boolean", mode: 0o444, value: true },
	},
};

/** The parameters of all modules. */
export class ModuleParameters {
	readonly #modules = new Map<string, Map<string, Parameter>>();

	/**
	 * @param absent modules, and parameters such as `vfio.enable_unsafe_noiommu_mode`, that this kernel does not have
	 * @throws RangeError when a module has no such parameter
	 */
	constructor(values: ParameterValues = {}, absent: readonly string[] = []) {
		for (const [module, parameters] of Object.entries(DEFAULTS).filter(([name]) => !absent.includes(name)))
			this.#modules.set(
				module,
				new Map(
					Object.entries(parameters)
						.filter(([name]) => !absent.includes(`${module}.${name}`))
						.map(([name, parameter]) => [name, { ...parameter }]),
				),
			);
		for (const [module, parameters] of Object.entries(values))
			for (const [name, value] of Object.entries(parameters)) {
				const parameter = this.#find(module, name);
				if (typeof value !== typeof parameter.value && typeof value !== "string")
					throw new RangeError(`Cannot set ${module}.${name} to ${value}: it is a ${parameter.kind}`);
				if (typeof value === "string" && parameter.kind !== "text") this.#parse(parameter, value);
				else parameter.value = value;
			}
	}

	/** Their names. */
	get modules(): readonly string[] {
		return [...this.#modules.keys()];
	}

	/** The parameters of a module that sysfs shows, and their modes. */
	visible(module: string): [name: string, mode: number][] {
		const parameters = [...(this.#modules.get(module) ?? [])];
		return parameters.filter(([, { mode }]) => mode !== 0).map(([name, { mode }]) => [name, mode]);
	}

	/** A parameter that is Y or N. */
	flag(module: string, name: string): boolean {
		return this.#find(module, name).value === true;
	}

	/** A parameter that is a number. */
	number(module: string, name: string): number {
		return Number(this.#find(module, name).value);
	}

	/** A parameter as text, as sysfs shows it. */
	text(module: string, name: string): string {
		const { value } = this.#find(module, name);
		return typeof value === "boolean" ? (value ? "Y" : "N") : String(value);
	}

	/** What a write to the file does. @returns 0 or -EINVAL */
	store(module: string, name: string, text: string): number {
		return this.#parse(this.#find(module, name), text) ? 0 : -EINVAL;
	}

	#parse(parameter: Parameter, text: string): boolean {
		const value = parameter.kind === "boolean" ? parseBoolean(text) : parseNumber(text);
		if (value === undefined || (typeof value === "number" && value > 0xffffffff)) return false;
		parameter.value = value;
		return true;
	}

	#find(module: string, name: string): Parameter {
		const parameter = this.#modules.get(module)?.get(name);
		if (!parameter) throw new RangeError(`Cannot use the parameter ${module}.${name}: there is none`);
		return parameter;
	}
}
