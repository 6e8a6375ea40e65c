/**
 * PCI addresses as Linux and lspci write them: `domain:bus:device.function`, hexadecimal.
 *
 * @module
 */
import { VfioError } from "../errors.ts";

/** Where a PCI function is on the host. */
export interface PciAddress {
	/** Also called segment: 16 bits on hardware; Linux makes up larger ones for buses behind VMD controllers. */
	readonly domain: number;
	/** 0 to 255. */
	readonly bus: number;
	/** 0 to 31. */
	readonly device: number;
	/** 0 to 7. */
	readonly function: number;
}

const FORM = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i;

/**
 * Reads a PCI address.
 *
 * @param text `0000:05:00.0`, or `05:00.0` for domain 0
 * @throws VfioError `malformed-address`
 * @example
 * ```ts
 * parsePciAddress("05:00.0"); // { domain: 0, bus: 5, device: 0, function: 0 }
 * ```
 */
export function parsePciAddress(text: string): PciAddress {
	const parts = FORM.exec(text.trim());
	const device = Number.parseInt(parts?.[3] ?? "ff", 16);
	if (!parts || device > 31) {
		const reason = parts ? `device ${parts[3]} is above 1f` : "that is not domain:bus:device.function in hexadecimal";
		throw new VfioError("malformed-address", `Cannot use "${text}" as a PCI address: ${reason}`, {
			remedy: [
				"Write it as domain:bus:device.function, such as 0000:05:00.0, or 05:00.0 in domain 0000.",
				"lspci -D lists the addresses of this host.",
			],
		});
	}
	return {
		domain: Number.parseInt(parts[1] ?? "0", 16),
		bus: Number.parseInt(parts[2] as string, 16),
		device,
		function: Number.parseInt(parts[4] as string, 16),
	};
}

/** The name Linux gives the function in sysfs, such as `0000:05:00.0`. */
export function formatPciAddress(address: PciAddress): string {
	const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
	return `${hex(address.domain, 4)}:${hex(address.bus, 2)}:${hex(address.device, 2)}.${address.function}`;
}

/** Orders addresses as sysfs and lspci list them. @returns negative when `a` comes first, 0 when they are equal */
export function comparePciAddresses(a: PciAddress, b: PciAddress): number {
	return a.domain - b.domain || a.bus - b.bus || a.device - b.device || a.function - b.function;
}
