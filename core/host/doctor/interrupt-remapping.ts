/**
 * Are interrupts remapped? Without it a device can forge any interrupt by a DMA write, so Linux refuses to assign it.
 *
 * @module
 */
import type { Kernel } from "../../kernel.ts";
import { type Check, evidence, type HostSubject, type Outcome } from "./check.ts";
import { commandLine, countGroups, iommuUnits } from "./iommu.ts";

const UNSAFE = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

/** Are interrupts remapped? */
export const INTERRUPT_REMAPPING: Check<HostSubject> = {
	item: "interrupt remapping",
	examine({ kernel }) {
		if (countGroups(kernel) === 0) return { level: "unknown", text: "An IOMMU does it, and none is on" };
		const unsafe = evidence(kernel, UNSAFE) === "Y";
		const state = remapping(kernel);
		if (state.on === true) return unsafe ? needless(state.text) : { level: "ok", text: `On: ${state.text}` };
		if (unsafe)
			return {
				level: "warning",
				text: `${state.on === false ? "Off" : "Not known to be on"}: ${state.text}; allow_unsafe_interrupts is Y, so devices are assigned all the same, and each can forge interrupts of the host`,
				remedy: off(kernel),
			};
		if (state.on === undefined) return { level: "unknown", text: state.text };
		return {
			level: "problem",
			text: `Off: ${state.text}, so VFIO refuses every device (EPERM)`,
			remedy: [...off(kernel), `For a guest that you trust as the host itself: echo Y | sudo tee ${UNSAFE}`],
		};
	},
};

/** What the interrupts in use say; where none does, what the IOMMUs can do. */
function remapping(kernel: Kernel): { on: boolean | undefined; text: string } {
	const chips = evidence(kernel, "/proc/interrupts") ?? "";
	// Linux names the interrupt chips behind a remapping table IR-IO-APIC, IR-PCI-MSI and IR-PCI-MSIX, on Intel and AMD alike.
	if (/\sIR-(IO-APIC|PCI-MSI)/.test(chips)) return { on: true, text: "the host's own interrupts go through it" };
	if (/\sITS-/.test(chips)) return { on: true, text: "a GICv3 ITS tells the devices' messages apart" };
	if (/\s(IO-APIC|PCI-MSI)/.test(chips)) return { on: false, text: "the host's own interrupts do not go through it" };
	const units = iommuUnits(kernel);
	const unable = units.filter((unit) => unit.remapsInterrupts === false).map((unit) => unit.name);
	if (unable.length > 0) return { on: false, text: `${unable.join(", ")} cannot do it (ECAP.IR is 0)` };
	const disabled = disabledBy(kernel);
	if (disabled) return { on: false, text: `the kernel's command line says "${disabled}"` };
	if (units.length > 0 && units.every((unit) => unit.remapsInterrupts))
		return { on: true, text: `${units.map((unit) => unit.name).join(", ")} can do it (ECAP.IR is 1)` };
	return { on: undefined, text: "Neither /proc/interrupts nor /sys/class/iommu says" };
}

function disabledBy(kernel: Kernel): string | undefined {
	return commandLine(kernel).find((word) => /^intremap=(.*,)?off\b/.test(word) || word === "nointremap");
}

function off(kernel: Kernel): string[] {
	const word = disabledBy(kernel);
	return [
		word === undefined
			? "Switch interrupt remapping on in the firmware setup, often named with VT-d or x2APIC, or update the firmware."
			: `Take "${word}" from the kernel's command line, and reboot.`,
	];
}

function needless(text: string): Outcome {
	return {
		level: "warning",
		text: `On: ${text}; allow_unsafe_interrupts is Y, which this host does not need`,
		remedy: [`echo N | sudo tee ${UNSAFE}`],
	};
}
