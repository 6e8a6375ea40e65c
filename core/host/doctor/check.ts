/**
 * What a check of the host is, and what it finds.
 *
 * @module
 */
import { KernelError, VfioError } from "../../errors.ts";
import type { Kernel } from "../../kernel.ts";
import type { GroupMember } from "../groups.ts";
import { type PciSysfs, readNames, readText } from "../sysfs.ts";

/**
 * `ok`: nothing is wrong. `warning`: assigning works with a drawback, or does not work for a device that nobody asked for.
 * `problem`: assigning fails. `unknown`: it cannot be told.
 */
export type FindingLevel = "ok" | "warning" | "problem" | "unknown";

/** One thing that was looked at. */
export interface Finding {
	/** What was looked at, such as `interrupt remapping`: the same words on every host. */
	readonly item: string;
	readonly level: FindingLevel;
	/** A sentence without a full stop. */
	readonly text: string;
	/** What to do: sentences, or commands to run, in order. */
	readonly remedy: readonly string[];
	/** Which device it is about; undefined for the host as a whole. */
	readonly device?: string;
}

/** What a check finds, without what it is about. */
export interface Outcome {
	readonly level: FindingLevel;
	readonly text: string;
	readonly remedy?: readonly string[];
}

/** A check of something. */
export interface Check<Subject> {
	/** {@link Finding.item} */
	readonly item: string;
	/** @returns undefined when there is nothing to say on this host */
	examine(subject: Subject): Outcome | undefined;
}

/** The host as a whole. */
export interface HostSubject {
	readonly kernel: Kernel;
	/** How many bytes of guest memory will be mapped for DMA. */
	readonly memory: bigint;
}

/** A device of the host. */
export interface DeviceSubject {
	readonly kernel: Kernel;
	readonly pci: PciSysfs;
	/** Such as `0000:05:00.0`. */
	readonly name: string;
	/** Whoever asks wants to assign this device, so what stands in the way is a problem; else it is a fact to know. */
	readonly asked: boolean;
	readonly group: number | undefined;
	/** The devices of its group, itself included. */
	readonly members: readonly GroupMember[];
}

/** The level of what keeps a device from being assigned. */
export function obstacle(subject: DeviceSubject): FindingLevel {
	return subject.asked ? "problem" : "warning";
}

/** What a failure to look means; what is no answer of the kernel goes on. @param level of the outcome */
export function outcomeOf(error: unknown, level: FindingLevel): Outcome {
	if (error instanceof VfioError) return { level, text: error.message, remedy: error.remedy };
	if (error instanceof KernelError) return { level, text: error.message };
	throw error;
}

/** A file as text, or undefined when it cannot be read for whatever reason: evidence that is missing proves nothing. */
export function evidence(kernel: Kernel, path: string): string | undefined {
	return unlessRefused(() => readText(kernel, path));
}

/** The names in a directory, or undefined when it cannot be read or does not exist. */
export function namesIn(kernel: Kernel, path: string): readonly string[] | undefined {
	return unlessRefused(() => readNames(kernel, path));
}

function unlessRefused<T>(call: () => T): T | undefined {
	try {
		return call();
	} catch (error) {
		if (error instanceof VfioError) return undefined;
		throw error;
	}
}

/** `1 device`, `2 devices`. */
export function count(number: number, noun: string): string {
	return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
