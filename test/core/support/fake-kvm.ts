// KVM as a machine offers it to functions: it delivers what is connected, and fails where a test wants it to.
import type { KvmBypass, KvmFiles, MessageRoute } from "../../../core/machine/kvm-bypass.ts";
import type { FakeKernel } from "./fake-vfio-device.ts";

interface Route {
	address: bigint;
	data: number;
	/** What KVM uses: what was there at the last commit. */
	committed: string | undefined;
	fd: number;
}

export class FakeKvm implements KvmBypass, KvmFiles {
	readonly calls: string[] = [];
	/** Calls that begin so fail. */
	failing: string[] = [];
	readonly routes = new Set<Route>();
	/** The INTx connection: pin, trigger, resample. */
	intx: { pin: number; trigger: number; resample: number } | undefined;
	/** Pins that lead somewhere. */
	routed = true;
	readonly files: number[] = [];
	readonly delivered: string[] = [];
	pinRaised = false;

	connectIntx(pin: number, trigger: number, resample: number): Disposable | undefined {
		this.#call(`intx ${pin}`);
		if (!this.routed) return undefined;
		this.intx = { pin, trigger, resample };
		return {
			[Symbol.dispose]: () => {
				this.#call("intx off");
				this.intx = undefined;
			},
		};
	}
	addMessageRoute(address: bigint, data: number): MessageRoute {
		this.#call("route");
		const route: Route = { address, data, committed: undefined, fd: -1 };
		this.routes.add(route);
		return {
			update: (newAddress, newData) => {
				this.#call("update");
				Object.assign(route, { address: newAddress, data: newData });
			},
			connect: (fd) => {
				this.#call("connect");
				if (route.committed === undefined) throw new Error("the route is not committed");
				route.fd = fd;
			},
			[Symbol.dispose]: () => void this.routes.delete(route),
		};
	}
	commitRoutes(): void {
		this.#call("commit");
		for (const route of this.routes) route.committed = `${route.address.toString(16)}=${route.data.toString(16)}`;
	}
	/** Eventfds by the write that signals them, such as `mmio f0088068 1 ff`. */
	readonly writes = new Map<string, number>();
	connectWrite(io: boolean, address: bigint, width: number, value: number, fd: number): Disposable {
		const write = `${io ? "pio" : "mmio"} ${address.toString(16)} ${width} ${value.toString(16)}`;
		this.#call(`write ${write}`);
		this.writes.set(write, fd);
		return { [Symbol.dispose]: () => void this.writes.delete(write) };
	}
	addFile(fd: number): void {
		this.#call(`add ${fd}`);
		this.files.push(fd);
	}
	removeFile(fd: number): void {
		this.#call(`remove ${fd}`);
		this.files.splice(this.files.indexOf(fd), 1);
	}

	/** Takes the signals of its eventfds. */
	run(kernel: FakeKernel): void {
		for (const [fd, count] of kernel.eventfds) {
			if (count === 0) continue;
			const route = [...this.routes].find((one) => one.fd === fd);
			if (route?.committed) this.delivered.push(route.committed);
			else if (this.intx?.trigger === fd) this.pinRaised = true;
			else continue;
			kernel.eventfds.set(fd, 0);
		}
	}
	/** The guest ends its interrupt. @returns whether INTx is resampled */
	endOfInterrupt(kernel: FakeKernel): boolean {
		if (!this.pinRaised || !this.intx) return false;
		this.pinRaised = false;
		kernel.signal(this.intx.resample);
		return true;
	}
	take(): string[] {
		return this.calls.splice(0);
	}

	#call(call: string): void {
		this.calls.push(call);
		if (this.failing.some((prefix) => call.startsWith(prefix))) throw new Error(`KVM refuses: ${call}`);
	}
}
