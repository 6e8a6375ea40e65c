/**
 * The VF token: users of a physical function and of its virtual ones trust each other, and show it by a shared secret.
 *
 * @module
 */
import { EACCES, EINVAL } from "../../../core/uapi/errno.ts";

/** The secret of a physical function. It lives as long as the driver has the function, whoever opens it meanwhile. */
export class VfToken {
	/** Open virtual functions. */
	users = 0;
	/** Random at first: no user knows it. */
	#uuid: string | undefined;

	/** Sets it. @param uuid 36 characters */
	set(uuid: string): void {
		this.#uuid = uuid.toLowerCase();
	}

	/** Whether that is it. */
	is(uuid: string): boolean {
		return this.#uuid === uuid.toLowerCase();
	}
}

/** What decides who may open a function. */
export interface VfTokenHolder {
	/** Of a physical function. */
	readonly vfToken: VfToken | undefined;
	/** Of a virtual function: the token of its physical one, if VFIO has that. */
	readonly physicalToken: VfToken | undefined;
	readonly isVirtual: boolean;
}

/**
 * Whether a function may be opened with this token, or with none (contract B.2). Whoever opens a physical function while
 * nobody uses its virtual ones may choose the token.
 *
 * @returns 0, -EACCES or -EINVAL
 */
export function checkToken(holder: VfTokenHolder, uuid: string | undefined): number {
	const { vfToken, physicalToken } = holder;
	if (holder.isVirtual) {
		if (!physicalToken) return uuid === undefined ? 0 : -EINVAL;
		return uuid !== undefined && physicalToken.is(uuid) ? 0 : -EACCES;
	}
	if (!vfToken) return uuid === undefined ? 0 : -EINVAL;
	if (vfToken.users > 0) return uuid !== undefined && vfToken.is(uuid) ? 0 : -EACCES;
	if (uuid !== undefined) vfToken.set(uuid);
	return 0;
}
