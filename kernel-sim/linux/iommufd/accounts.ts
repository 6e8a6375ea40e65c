/**
 * Who pays for pinned memory: a user in all of their processes together, or a process.
 *
 * @module
 */
import { ENOMEM } from "../../../core/uapi/errno.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { SimProcess } from "../process.ts";

/** Against what RLIMIT_MEMLOCK is held: what the user has locked through iommufd, what the process has, or nothing. */
export type AccountingMode = "user" | "process" | "none";

/** What users have locked. */
export class UserAccounts {
	readonly #pages = new Map<number, number>();

	/** Pages of a user. */
	locked(uid: number): number {
		return this.#pages.get(uid) ?? 0;
	}

	add(uid: number, pages: number): void {
		this.#pages.set(uid, this.locked(uid) + pages);
	}
}

/** Who pays for a stretch of memory, for as long as it is mapped. */
export class Account {
	readonly #users: UserAccounts;
	readonly #process: SimProcess;
	readonly #mode: AccountingMode;

	constructor(users: UserAccounts, process: SimProcess, mode: AccountingMode) {
		this.#users = users;
		this.#process = process;
		// Who may lock without limit is not asked how much.
		this.#mode = process.capable("CAP_IPC_LOCK") ? "none" : mode;
	}

	/** @param pages negative to give them back @returns 0 or -ENOMEM */
	charge(pages: number): number {
		const { memory, memlock, uid } = this.#process;
		const limit = Math.floor(memlock / PAGE_SIZE);
		if (this.#mode === "user") {
			if (pages > 0 && this.#users.locked(uid) + pages > limit) return -ENOMEM;
			this.#users.add(uid, pages);
		} else if (this.#mode === "process") {
			if (pages > 0 && memory.lockedPages + pages > limit) return -ENOMEM;
			memory.lockedPages += pages;
		}
		memory.pinnedPages += pages;
		return 0;
	}
}
