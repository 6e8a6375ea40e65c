// Files that the built program reads beside its code.
import { chmodSync, copyFileSync, mkdirSync } from "node:fs";

mkdirSync("dist/runner/guest", { recursive: true });
copyFileSync("runner/guest/guest.elf", "dist/runner/guest/guest.elf");
chmodSync("dist/runner/main.js", 0o755);
