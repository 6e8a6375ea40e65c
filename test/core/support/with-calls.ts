import type { Kernel } from "../../../core/kernel.ts";

/** A kernel some of whose calls do something else. */
export function withCalls(kernel: Kernel, calls: Partial<Kernel>): Kernel {
	return new Proxy(kernel, {
		get(target, name: keyof Kernel) {
			const value = calls[name] ?? target[name];
			return typeof value === "function" ? value.bind(target) : value;
		},
	});
}
