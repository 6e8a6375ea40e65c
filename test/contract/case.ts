import type { HostDescription } from "./host.ts";
import type { Trial } from "./trial.ts";

/** One promise that a kernel makes to a VFIO program, and how to see whether it keeps it. */
export interface Case {
	/** Its numbers in the contract, such as `I.3/56`; a letter tells several cases of one number apart. */
	readonly id: string;
	/** What is promised, in words. */
	readonly name: string;
	/** What it needs of the host. @returns why it cannot run here, or undefined when it can */
	readonly needs?: (host: HostDescription) => string | undefined;
	/** Tries it. What it acquires it gives back through the trial. */
	readonly run: (trial: Trial) => void | Promise<void>;
}

/** The id and the name, as a report prints them. */
export function title(one: Case): string {
	return `${one.id} ${one.name}`;
}
