/** High Definition Audio: controller and codec. @module */
export { BasicCodec, type HdaCodec } from "./codec.ts";
export { Hda, type HdaOptions } from "./hda.ts";
