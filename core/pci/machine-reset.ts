/**
 * Resetting a whole machine: each function by itself, and then those that only a reset of their bus resets thoroughly,
 * together with the others on it.
 *
 * @module
 */
import { describeMembers } from "../device/hot-reset.ts";
import type { HotResetMember } from "./hardware.ts";
import type { ResetReport } from "./reset.ts";

/** What a function has to do with a reset that it shares with others. */
export interface SharedReset {
	readonly name: string;
	/** Its own reset is none, or one that leaves much as it is. */
	readonly needed: boolean;
	/** Everything on its bus, itself included. @throws VfioError `reset-failed` when the bus cannot be reset */
	members(): readonly HotResetMember[];
	/** Interrupts and DMA off. It does not throw. */
	before(): void;
	/** Resets the bus. @throws VfioError `reset-failed` */
	perform(): void;
	/** Whatever came of it. It does not throw. */
	after(): void;
}

/** A function that {@link resetMachine} resets. `AssignedFunction` is one. */
export interface MachineResettable {
	reset(): ResetReport;
	readonly sharedReset: SharedReset;
}

/** What the planner knows of a function. */
export interface SharedResetCandidate {
	readonly name: string;
	readonly needed: boolean;
	/** What is on its bus; or why the bus cannot be reset. */
	readonly members: readonly Omit<HotResetMember, "inUse">[] | string;
}

/** Which buses to reset, and which functions stay as their own reset left them. */
export interface MachineResetPlan {
	/** Each covers all functions of ours on one bus. */
	readonly shared: readonly { readonly leader: string; readonly others: readonly string[] }[];
	readonly left: readonly { readonly name: string; readonly reason: string }[];
}

/** What {@link resetMachine} did. */
export interface MachineResetReport {
	/** Of each function's own reset, in order. */
	readonly functions: readonly { readonly name: string; readonly report: ResetReport }[];
	/** Of the buses; `error` says why one was not reset. */
	readonly shared: readonly {
		readonly leader: string;
		readonly others: readonly string[];
		readonly error: string | undefined;
	}[];
	/** Functions whose bus could not be reset with them, or need not be. */
	readonly left: MachineResetPlan["left"];
}

/**
 * Plans the resets of buses. A bus is reset once, however many functions on it need it.
 *
 * @example
 * ```ts
 * planMachineReset([gpu, audio]).shared; // [{ leader: "0000:01:00.0", others: ["0000:01:00.1"] }]
 * ```
 */
export function planMachineReset(candidates: readonly SharedResetCandidate[]): MachineResetPlan {
	const shared: { leader: string; others: string[] }[] = [];
	const left: { name: string; reason: string }[] = [];
	const covered = new Set<string>();
	for (const { name, needed, members } of candidates) {
		if (!needed || covered.has(name)) continue;
		if (typeof members === "string") {
			left.push({ name, reason: members });
			continue;
		}
		const foreign = members.filter((member) => !member.owned && member.name !== name);
		if (foreign.length > 0) {
			left.push({ name, reason: `a reset of its bus would also reset ${describeMembers(foreign)}, not owned here` });
			continue;
		}
		const others = candidates
			.filter((other) => other.name !== name && members.some((member) => member.name === other.name))
			.map((other) => other.name);
		// Alone on its bus, its own reset was one of the bus already.
		if (others.length === 0) {
			left.push({ name, reason: "no other function of this machine is on its bus" });
			continue;
		}
		shared.push({ leader: name, others });
		for (const one of [name, ...others]) covered.add(one);
	}
	return { shared, left };
}

/** Resets all functions of a machine. It never throws: what failed is in the report. */
export function resetMachine(functions: readonly MachineResettable[]): MachineResetReport {
	const own = functions.map((fn) => ({ name: fn.sharedReset.name, report: fn.reset() }));
	const resets = new Map(functions.map(({ sharedReset }) => [sharedReset.name, sharedReset]));
	const plan = planMachineReset([...resets.values()].map(candidate));
	const shared = plan.shared.map(({ leader, others }) => {
		const covered = [leader, ...others].flatMap((name) => resets.get(name) ?? []);
		let error: string | undefined;
		for (const reset of covered) reset.before();
		try {
			resets.get(leader)?.perform();
		} catch (failure) {
			error = messageOf(failure);
		}
		for (const reset of covered) reset.after();
		return { leader, others, error };
	});
	return { functions: own, shared, left: plan.left };
}

function candidate(reset: SharedReset): SharedResetCandidate {
	const { name, needed } = reset;
	if (!needed) return { name, needed, members: [] };
	try {
		return { name, needed, members: reset.members() };
	} catch (error) {
		return { name, needed, members: messageOf(error) };
	}
}

function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
