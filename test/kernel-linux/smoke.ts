// A program on the real kernel, run as a process of its own by process.test.ts, in Node and in Deno. It ends by itself:
// nothing here calls exit.
import { KernelError } from "../../core/errors.ts";
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE } from "../../core/uapi/fcntl.ts";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { memfd, signals } from "./support.ts";

const kernel = new LinuxKernel();
// By number, since the loader of the sources closes files of its own meanwhile.
const before = new Set(kernel.readDirectory("/proc/self/fd"));

const fd = memfd(4096);
const mapping = kernel.mmap(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
mapping.write(8, 4, 0xfeedbeef);
const bytes = new Uint8Array(4);
kernel.pread(fd, bytes, 8);
console.log("mapping", [...bytes].map((byte) => byte.toString(16)).join(" "), mapping.read(8, 2).toString(16));
mapping[Symbol.dispose]();
kernel.close(fd);

try {
	kernel.open("/dev/vfio/absent", O_RDWR);
} catch (error) {
	console.log(error instanceof KernelError ? error.message : error);
}

const memory = kernel.allocate(1);
memory.bytes[4095] = 7;
console.log("memory", memory.length, memory.address % 4096n, kernel.adopt(memory.bytes).address === memory.address);
memory[Symbol.dispose]();

const eventfds = Array.from({ length: 100 }, () => kernel.eventfd());
let arrived = 0;
const watches = eventfds.map((eventfd) =>
	kernel.watch(eventfd, (count) => {
		arrived += count;
		if (arrived < 300) return void kernel.write(eventfd, signals());
		if (arrived > 399) for (const watch of watches) watch[Symbol.dispose]();
		if (arrived > 399) finish();
		else kernel.write(eventfd, signals());
	}),
);
for (const eventfd of eventfds) kernel.write(eventfd, signals());

function finish(): void {
	for (const eventfd of eventfds) kernel.close(eventfd);
	kernel.clock.timer(1e6, () => {
		const left = kernel.readDirectory("/proc/self/fd").filter((fd) => !before.has(fd));
		console.log("events", arrived, "left open", left.length);
	});
}
