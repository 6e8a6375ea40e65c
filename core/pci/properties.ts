/**
 * The options of an assigned device under the names that QEMU gives them, such as `x-intx=off`, for programs that take
 * QEMU's syntax.
 *
 * @module
 */
import { numberValue, propertyOf, switchValue } from "../property-values.ts";
import type { AssignOptions } from "./assign-options.ts";
import type { MsixRelocation } from "./msix-relocation.ts";
import { geforce } from "./quirks/nvidia.ts";
import { QUIRKS } from "./quirks/registry.ts";

type Parser = (value: string, name: string) => AssignOptions;

const PROPERTIES: Readonly<Record<string, Parser>> = {
	// Whether the word is a valid one, the attach says, as for any other program.
	"x-intx": (value) => ({ intx: value as "auto" | "off" }),
	"x-intx-mmap-timeout-ms": (value, name) => ({ intxMmapTimeout: numberValue(value, name) }),
	"x-no-mmap": (value, name) => ({ mmap: !switchValue(value, name) }),
	"x-write-combining": (value, name) => ({
		writeCombining: { bars: value.split("+").map((bar) => numberValue(bar, name)) },
	}),
	rombar: (value, name) => ({ rom: switchValue(value, name) }),
	"x-msix-relocation": (value) => ({ msixRelocation: value as MsixRelocation }),
	"x-no-kvm-intx": (value, name) => ({ kvm: { intx: !switchValue(value, name) } }),
	"x-no-kvm-msi": (value, name) => ({ kvm: { msi: !switchValue(value, name) } }),
	"x-no-kvm-msix": (value, name) => ({ kvm: { msix: !switchValue(value, name) } }),
	"x-vga": (value, name) => ({ vga: switchValue(value, name) }),
	"x-no-kvm-ioeventfd": (value, name) => ({ kvm: { writes: !switchValue(value, name) } }),
	"x-no-vfio-ioeventfd": (value, name) => ({ kvm: { deviceWrites: !switchValue(value, name) } }),
	"x-no-geforce-quirks": (value, name) =>
		switchValue(value, name) ? { quirks: QUIRKS.filter((quirk) => quirk !== geforce) } : {},
	"x-req": (value, name) => ({ request: switchValue(value, name) ? "ask" : "ignore" }),
	"x-pci-vendor-id": (value, name) => ({ ids: { vendor: numberValue(value, name) } }),
	"x-pci-device-id": (value, name) => ({ ids: { device: numberValue(value, name) } }),
	"x-pci-sub-vendor-id": (value, name) => ({ ids: { subsystemVendor: numberValue(value, name) } }),
	"x-pci-sub-device-id": (value, name) => ({ ids: { subsystem: numberValue(value, name) } }),
	"x-pci-class-code": (value, name) => ({ ids: { classCode: numberValue(value, name) } }),
	"x-nv-gpudirect-clique": (value, name) => ({ gpuDirectClique: numberValue(value, name) }),
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
		const made = propertyOf(PROPERTIES, name)(value, name);
		options = {
			...options,
			...made,
			...(made.ids ? { ids: { ...options.ids, ...made.ids } } : {}),
			...(made.kvm ? { kvm: { ...options.kvm, ...made.kvm } } : {}),
		};
	}
	return options;
}
