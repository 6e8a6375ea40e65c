// Loads TypeScript by blanking its types in place, so that V8's coverage offsets are the source's own.
import { register } from "node:module";

register("./strip-hooks.mjs", import.meta.url);
