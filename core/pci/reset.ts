/**
 * Resetting an assigned function: which steps, in which order, as data; then doing them.
 *
 * @module
 */

/** A way to reset. */
export type ResetMethod = "device-reset" | "hot-reset";

/** What is done before and after, whichever way works. */
export type ResetStep = "leave-interrupts" | "clear-command" | "power-up" | "enable-intx" | "clear-bars";

/** What the order of methods depends on. */
export interface ResetTraits {
	/** `VFIO_DEVICE_RESET` works. */
	readonly resettable: boolean;
	/** The function has FLR. */
	readonly flr: boolean;
	/** Going from D3hot to D0 resets the function: the last resort, as it is less thorough than a reset of the bus. */
	readonly powerReset: boolean;
	/** It has a power management capability. */
	readonly power: boolean;
}

/** A plan of a reset. */
export interface ResetPlan {
	readonly before: readonly ResetStep[];
	/** Until one works. */
	readonly methods: readonly ResetMethod[];
	/** Always, even when none has worked. */
	readonly after: readonly ResetStep[];
}

/** Whether there is a way to reset, and what it is. */
export interface ResetMethodInfo {
	readonly method: ResetMethod;
	readonly exists: boolean;
	/** How it resets, such as `FLR`; or why it does not exist. */
	readonly detail: string;
}

/** What a reset did, and what it could have done. */
export interface ResetReport extends ResetOutcome {
	/** Every way there may be. */
	readonly methods: readonly ResetMethodInfo[];
}

/** What a reset did. */
export interface ResetOutcome {
	/** What worked; undefined when nothing did. */
	readonly method: ResetMethod | undefined;
	/** What was tried before that, and why it did not work. */
	readonly tried: readonly { readonly method: ResetMethod; readonly error: string }[];
}

/** Who does the steps. */
export interface ResetActions {
	/** None of them throws. */
	readonly steps: Readonly<Record<ResetStep, () => void>>;
	/** Throws when it does not work. */
	readonly methods: Readonly<Record<ResetMethod, () => void>>;
}

/**
 * Plans a reset.
 *
 * @example
 * ```ts
 * resetSteps({ resettable: true, flr: true, powerReset: true, power: true }).methods;
 * // ["device-reset", "hot-reset", "device-reset"]
 * ```
 */
export function resetSteps(traits: ResetTraits): ResetPlan {
	const methods: ResetMethod[] = [];
	// With no FLR, VFIO_DEVICE_RESET may mean the power cycle; a reset of the bus is tried first then.
	if (traits.resettable && (traits.flr || !traits.powerReset)) methods.push("device-reset");
	methods.push("hot-reset");
	if (traits.resettable && traits.powerReset) methods.push("device-reset");
	return {
		before: ["leave-interrupts", "clear-command", ...(traits.power ? (["power-up"] as const) : [])],
		methods,
		after: ["enable-intx", "clear-bars"],
	};
}

/** Whether only a reset of all devices on the bus together can reset this one thoroughly, at a reset of the machine. */
export function needsSharedReset(traits: ResetTraits): boolean {
	return !traits.resettable || (!traits.flr && traits.powerReset);
}

/** Carries a plan out. It never throws: what failed is in the report. */
export function performReset(plan: ResetPlan, actions: ResetActions): ResetOutcome {
	for (const step of plan.before) actions.steps[step]();
	const tried: { method: ResetMethod; error: string }[] = [];
	let method: ResetMethod | undefined;
	for (const candidate of plan.methods) {
		try {
			actions.methods[candidate]();
			method = candidate;
			break;
		} catch (error) {
			tried.push({ method: candidate, error: error instanceof Error ? error.message : String(error) });
		}
	}
	for (const step of plan.after) actions.steps[step]();
	return { method, tried };
}
