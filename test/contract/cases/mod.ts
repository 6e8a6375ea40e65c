import type { Case } from "../case.ts";
import { bindingCases } from "./binding.ts";
import { configSpaceCases } from "./config-space.ts";
import { containerCases } from "./container.ts";
import { deviceInfoCases } from "./device-info.ts";
import { dmaLoggingCases } from "./dma-logging.ts";
import { factCases } from "./facts.ts";
import { featureCases } from "./features.ts";
import { groupCases } from "./group.ts";
import { interruptCases } from "./interrupts.ts";
import { iommufdCases } from "./iommufd.ts";
import { iommufdCompatibilityCases } from "./iommufd-compatibility.ts";
import { kvmCases } from "./kvm.ts";
import { lifetimeCases } from "./lifetime.ts";
import { mapUnmapCases } from "./map-unmap.ts";
import { mdevSysfsCases } from "./mdev-sysfs.ts";
import { mediatedIommuCases } from "./mediated-iommu.ts";
import { mttyDeviceCases } from "./mtty-device.ts";
import { mttyInterruptCases } from "./mtty-interrupts.ts";
import { mttyMigrationCases } from "./mtty-migration.ts";
import { noIommuCases } from "./no-iommu.ts";
import { randomCases } from "./random.ts";
import { resetCases } from "./reset.ts";
import { resourceFileCases } from "./resource-files.ts";
import { surveyCases } from "./survey.ts";

/** Every case, section by section. */
export const CASES: readonly Case[] = [
	...containerCases,
	...groupCases,
	...mapUnmapCases,
	...deviceInfoCases,
	...configSpaceCases,
	...interruptCases,
	...resetCases,
	...iommufdCases,
	...iommufdCompatibilityCases,
	...noIommuCases,
	...featureCases,
	...bindingCases,
	...lifetimeCases,
	...mdevSysfsCases,
	...mediatedIommuCases,
	...mttyInterruptCases,
	...mttyMigrationCases,
	...mttyDeviceCases,
	...dmaLoggingCases,
	...kvmCases,
	...resourceFileCases,
	...factCases,
];

/** Cases that ask for answers without saying which are right: those of the kernel that is recorded are. */
export const SURVEY: readonly Case[] = [...surveyCases, ...randomCases];
