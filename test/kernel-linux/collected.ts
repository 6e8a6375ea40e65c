// Run by process.test.ts with --expose-gc: disposed memory keeps its addresses while a view is left, and not longer.
import { setImmediate } from "node:timers/promises";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { mapsLine } from "./support.ts";

const kernel = new LinuxKernel();
const collect = async () => {
	for (let round = 0; round < 5; round++) {
		(globalThis as unknown as { gc(): void }).gc();
		await setImmediate();
	}
};
const held: { view?: Uint8Array } = {};

function use(): bigint {
	const memory = kernel.allocate(64 << 20);
	held.view = memory.bytes.fill(1);
	memory[Symbol.dispose]();
	return memory.address;
}

const address = use();
await collect();
console.log("held:", mapsLine(address) !== undefined, held.view?.[12345]);
delete held.view;
await collect();
console.log("dropped:", mapsLine(address) !== undefined);
