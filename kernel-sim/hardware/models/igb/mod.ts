/** The Intel 82576 and its virtual functions. @module */
export { Igb, type IgbOptions } from "./igb.ts";
export { IgbVf } from "./igb-vf.ts";
