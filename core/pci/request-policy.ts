/**
 * What to do when the host wants a device back and the guest does not let go of it.
 *
 * The kernel asks at once and then about every ten seconds, and whoever unbinds the device waits for as long.
 *
 * @module
 */
import { VfioError } from "../errors.ts";

/**
 * `ask`: every request goes to the application, which asks the guest. `ignore`: nothing is done, so that the host waits
 * until the application has ended. `forceAfter`: the guest is asked that many times; the next request takes the device
 * away without it.
 */
export type RequestPolicy = "ask" | "ignore" | { readonly forceAfter: number };

/** What one request leads to. */
export type RequestAction = "ask" | "force" | "ignore";

/** @throws VfioError `invalid-argument`, which says what is valid */
export function checkRequestPolicy(policy: RequestPolicy): void {
	if (policy === "ask" || policy === "ignore") return;
	const times = (policy as Partial<Exclude<RequestPolicy, string>> | null)?.forceAfter;
	if (typeof times === "number" && Number.isInteger(times) && times >= 0) return;
	throw new VfioError(
		"invalid-argument",
		'Cannot use that for request: it is "ask", "ignore" or { forceAfter: n } with a whole number n, 0 or more',
	);
}

/**
 * Decides what a request leads to.
 *
 * @param count how many requests there were, this one included
 * @example
 * ```ts
 * requestAction({ forceAfter: 2 }, 2); // "ask"
 * requestAction({ forceAfter: 2 }, 3); // "force"
 * ```
 */
export function requestAction(policy: RequestPolicy, count: number): RequestAction {
	if (typeof policy === "string") return policy;
	return count > policy.forceAfter ? "force" : "ask";
}
