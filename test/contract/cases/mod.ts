import type { Case } from "../case.ts";
import { containerCases } from "./container.ts";
import { groupCases } from "./group.ts";
import { mapUnmapCases } from "./map-unmap.ts";

/** Every case, section by section. */
export const CASES: readonly Case[] = [...containerCases, ...groupCases, ...mapUnmapCases];
