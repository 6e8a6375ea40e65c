import type { Guest } from "./guest.ts";
import { bars } from "./scripts/bars.ts";
import { capabilities } from "./scripts/capabilities.ts";
import { configuration } from "./scripts/configuration.ts";
import { header } from "./scripts/header.ts";
import { interrupts } from "./scripts/interrupts.ts";
import { msi } from "./scripts/msi.ts";
import { msix } from "./scripts/msix.ts";
import { random } from "./scripts/random.ts";
import { reset } from "./scripts/reset.ts";

/** What is asked of both machines, in this order; each script leaves the device to the next one as it is. */
export const SCRIPTS: Readonly<Record<string, (guest: Guest) => Promise<void>>> = {
	configuration,
	header,
	bars,
	capabilities,
	msi,
	msix,
	interrupts,
	reset,
	random,
};
