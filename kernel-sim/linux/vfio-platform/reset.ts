/**
 * The reset modules of vfio-platform: what Linux does to a device that it cannot reset in a general way, by what the
 * device is compatible with. They are no power-on reset: they stop what could disturb the next user.
 *
 * @module
 */
import type { PlatformHardware } from "../../hardware/platform/hardware.ts";
import type { PlatformBusDevice } from "../platform/device.ts";

/** Resets a device. @returns 0 or a negative errno */
export type PlatformReset = (hardware: PlatformHardware) => number;

const XGMAC_CONTROL = 0x000;
const XGMAC_CONTROL_ENABLES = 0x0c;
const XGMAC_DMA_CONTROL = 0xf18;
const XGMAC_DMA_CONTROL_STARTS = 0x2002;
const XGMAC_DMA_INTR_ENA = 0xf1c;

/** The Calxeda MAC: no interrupts, no DMA, no receiver, no transmitter; all else stays as it is. */
function resetCalxedaXgmac(hardware: PlatformHardware): number {
	hardware.write(0, XGMAC_DMA_INTR_ENA, 4, 0);
	clear(hardware, 0, XGMAC_DMA_CONTROL, XGMAC_DMA_CONTROL_STARTS);
	clear(hardware, 0, XGMAC_CONTROL, XGMAC_CONTROL_ENABLES);
	return 0;
}

const XGBE_MAC = 0;
const XGBE_PCS = 1;
const XGBE_DMA_MR = 0x3000;
const XGBE_DMA_MR_SWR = 1;
const XGBE_PCS_WINDOW_SELECT = 0x3fc;
const MDIO_MMD_AN = 7;
const MDIO_AN_INTMASK = 0x8001;
const MDIO_AN_INT = 0x8002;

/** The AMD MAC: a software reset of MAC and DMA, and no interrupts of auto-negotiation. */
function resetAmdXgbe(hardware: PlatformHardware): number {
	const register = (address: number, value: number) => {
		hardware.write(XGBE_PCS, XGBE_PCS_WINDOW_SELECT, 4, ((MDIO_MMD_AN << 16) | address) >>> 8);
		hardware.write(XGBE_PCS, (address & 0xff) << 2, 4, value);
	};
	register(MDIO_AN_INTMASK, 0);
	register(MDIO_AN_INT, 0);
	const mode = hardware.read(XGBE_MAC, XGBE_DMA_MR, 4);
	hardware.write(XGBE_MAC, XGBE_DMA_MR, 4, mode | XGBE_DMA_MR_SWR);
	return 0;
}

const MODULES: ReadonlyMap<string, PlatformReset> = new Map([
	["calxeda,hb-xgmac", resetCalxedaXgmac],
	["amd,xgbe-seattle-v1a", resetAmdXgbe],
]);

/** The reset of a device: Linux looks at the first of what it is compatible with. @returns undefined when it has none */
export function resetOf({ hardware, compatible: [first = ""] }: PlatformBusDevice): PlatformReset | undefined {
	const known = MODULES.get(first);
	const counted = (reset: PlatformReset): PlatformReset => {
		return (device) => {
			device.resetCount++;
			return reset(device);
		};
	};
	if (known) return counted(known);
	if (!hardware.description.resettable) return undefined;
	return (device) => {
		device.reset();
		return 0;
	};
}

function clear(hardware: PlatformHardware, region: number, offset: number, bits: number): void {
	hardware.write(region, offset, 4, (hardware.read(region, offset, 4) & ~bits) >>> 0);
}
