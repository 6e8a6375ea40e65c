/**
 * The options of an assigned device under the names that QEMU gives them, such as `x-intx=off`, for programs that take
 * QEMU's syntax.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { AssignOptions } from "./assign-options.ts";
import type { MsixRelocation } from "./msix-relocation.ts";
import { geforce } from "./quirks/nvidia.ts";
import { QUIRKS } from "./quirks/registry.ts";

type Parser = (value: string, name: string) => AssignOptions;

const PROPERTIES: Readonly<Record<string, Parser>> = {
	// Whether the word is a valid one, the attach says, as for any other program.
	"x-intx": (value) => ({ intx: value as "auto" | "off" }),
	"x-intx-mmap-timeout-ms": (value, name) => ({ intxMmapTimeout: number(value, name) }),
	"x-no-mmap": (value, name) => ({ mmap: !flag(value, name) }),
	"x-write-combining": (value, name) => ({
		writeCombining: { bars: value.split("+").map((bar) => number(bar, name)) },
	}),
	rombar: (value, name) => ({ rom: flag(value, name) }),
	"x-msix-relocation": (value) => ({ msixRelocation: value as MsixRelocation }),
	"x-no-kvm-intx": (value, name) => ({ kvm: { intx: !flag(value, name) } }),
	"x-no-kvm-msi": (value, name) => ({ kvm: { msi: !flag(value, name) } }),
	"x-no-kvm-msix": (value, name) => ({ kvm: { msix: !flag(value, name) } }),
	"x-vga": (value, name) => ({ vga: flag(value, name) }),
	"x-no-kvm-ioeventfd": (value, name) => ({ kvm: { writes: !flag(value, name) } }),
	"x-no-vfio-ioeventfd": (value, name) => ({ kvm: { deviceWrites: !flag(value, name) } }),
	"x-no-geforce-quirks": (value, name) =>
		flag(value, name) ? { quirks: QUIRKS.filter((quirk) => quirk !== geforce) } : {},
	"x-req": (value, name) => ({ request: flag(value, name) ? "ask" : "ignore" }),
	"x-pci-vendor-id": (value, name) => ({ ids: { vendor: number(value, name) } }),
	"x-pci-device-id": (value, name) => ({ ids: { device: number(value, name) } }),
	"x-pci-sub-vendor-id": (value, name) => ({ ids: { subsystemVendor: number(value, name) } }),
	"x-pci-sub-device-id": (value, name) => ({ ids: { subsystem: number(value, name) } }),
	"x-pci-class-code": (value, name) => ({ ids: { classCode: number(value, name) } }),
	"x-nv-gpudirect-clique": (value, name) => ({ gpuDirectClique: number(value, name) }),
};

/** The names that {@link assignOptions} takes. */
export const ASSIGN_PROPERTIES: readonly string[] = Object.keys(PROPERTIES);

/**
 * Makes options of properties.
 *
 * @example
 * ```ts
 * assignOptions(new Map([["x-intx", "off"], ["x-pci-vendor-id", "0x8086"]])); // { intx: "off", ids: { vendor: 0x8086 } }
 * ```
 * @throws VfioError `invalid-argument` for an unknown name, or a value that is no number or switch where one is needed
 */
export function assignOptions(properties: ReadonlyMap<string, string>): AssignOptions {
	let options: AssignOptions = {};
	for (const [name, value] of properties) {
		const parse = Object.hasOwn(PROPERTIES, name) ? PROPERTIES[name] : undefined;
		if (!parse)
			throw new VfioError(
				"invalid-argument",
				`Cannot use property "${name}": known are ${ASSIGN_PROPERTIES.join(", ")}`,
			);
		const made = parse(value, name);
		options = {
			...options,
			...made,
			...(made.ids ? { ids: { ...options.ids, ...made.ids } } : {}),
			...(made.kvm ? { kvm: { ...options.kvm, ...made.kvm } } : {}),
		};
	}
	return options;
}

function flag(value: string, name: string): boolean {
	if (["on", "true", "yes", "1"].includes(value)) return true;
	if (["off", "false", "no", "0"].includes(value)) return false;
	throw new VfioError("invalid-argument", `Cannot use "${value}" for ${name}: it is "on" or "off"`);
}

function number(value: string, name: string): number {
	if (/^(0x[0-9a-f]+|[0-9]+)$/i.test(value)) return Number(value);
	throw new VfioError("invalid-argument", `Cannot use "${value}" for ${name}: it is a number, such as 16 or 0x10`);
}
