/** Calxeda's XGMAC. @module */
export { CalxedaXgmac, type CalxedaXgmacOptions, type CalxedaXgmacPlace } from "./calxeda-xgmac.ts";
