// Run by process.test.ts: one callback throws, the others are called, and the error is an uncaught exception.
import { LinuxKernel } from "../../kernel-linux/mod.ts";

const kernel = new LinuxKernel();
const calls: number[] = [];
process.on("uncaughtException", (error) => console.log("uncaught:", error.message));
const watches = [0, 1, 2].map((number) =>
	kernel.watch(kernel.eventfd(1), () => {
		calls.push(number);
		if (number === 1) throw new Error("of callback 1");
	}),
);
kernel.clock.timer(50e6, () => {
	console.log("called:", calls.sort().join(" "));
	for (const watch of watches) watch[Symbol.dispose]();
});
