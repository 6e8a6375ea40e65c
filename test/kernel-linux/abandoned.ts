// Run by process.test.ts: a worker is terminated while it watches, and nobody but it has loaded koffi.
import { isMainThread, parentPort, Worker } from "node:worker_threads";

if (isMainThread) {
	// tsx does not reach into workers of Node 20 by itself.
	const load = `import("tsx/esm/api").then(({ tsImport }) => tsImport(${JSON.stringify(import.meta.url)}, "file:///"))`;
	const worker = new Worker(load, { eval: true });
	worker.on("message", async (count) => {
		console.log("signalled", count);
		await worker.terminate();
		console.log("ended");
	});
} else {
	const { LinuxKernel } = await import("../../kernel-linux/mod.ts");
	const kernel = new LinuxKernel();
	kernel.watch(kernel.eventfd(1), (count) => parentPort?.postMessage(count));
}
