// What the core's tests use of vitest, over Deno's own test runner: `deno test` loads the core with no Node and no bundler.
import { expect } from "npm:@vitest/expect-shim";
export { expect };
