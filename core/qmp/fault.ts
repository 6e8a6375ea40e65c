/**
 * What can be wrong with a request, before anybody has put it into words: each dialect has its own.
 *
 * @module
 */

/** Why a request is not answered with a result. */
export type QmpFault =
	/** Not JSON. @param near how it begins */
	| { readonly type: "syntax"; readonly near: string }
	/** Longer than `limit` characters, or nested deeper than `depth`. */
	| { readonly type: "oversize"; readonly limit: number }
	| { readonly type: "too-deep"; readonly depth: number }
	/** JSON, but not an object. */
	| { readonly type: "not-an-object" }
	| { readonly type: "missing-execute" }
	| { readonly type: "execute-not-a-string" }
	| { readonly type: "unexpected-member"; readonly name: string }
	| { readonly type: "arguments-not-an-object" }
	| { readonly type: "id-not-a-string"; readonly got: string }
	| { readonly type: "unknown-command"; readonly name: string; readonly known: readonly string[] }
	| { readonly type: "missing-argument"; readonly name: string; readonly hasArguments: boolean }
	| { readonly type: "unexpected-argument"; readonly name: string; readonly known: readonly string[] }
	| { readonly type: "wrong-type"; readonly name: string; readonly expected: string; readonly got: string }
	| { readonly type: "unknown-capability"; readonly name: string }
	| { readonly type: "not-negotiated" }
	| { readonly type: "negotiated-already" }
	| { readonly type: "throttled"; readonly requests: number }
	| { readonly type: "empty-id" }
	| { readonly type: "duplicate-id"; readonly id: string }
	| { readonly type: "unknown-driver"; readonly driver: string; readonly known: readonly string[] }
	| {
			readonly type: "unknown-property";
			readonly driver: string;
			readonly name: string;
			readonly known: readonly string[];
	  }
	| { readonly type: "device-not-found"; readonly id: string }
	| { readonly type: "unplugging-already"; readonly id: string }
	/** Anything else, in words that every dialect takes as they are. */
	| { readonly type: "failed"; readonly reason: string };

/** A request that cannot be done, in terms of the protocol. Whoever implements {@link QmpMachine} may throw it. */
export class QmpError extends Error {
	override readonly name = "QmpError";
	readonly fault: QmpFault;

	constructor(fault: QmpFault) {
		super(`QMP: ${fault.type}`);
		this.fault = fault;
	}
}
