/**
 * Structures of the Linux headers as typed views over bytes: a field is an accessor, so nothing is copied or allocated
 * when a preallocated structure is filled in and handed to ioctl(2).
 *
 * @module
 */

/** The scalar types the headers use. `u64` is a bigint in TypeScript, everything else a number. */
export type Scalar = "u8" | "u16" | "u32" | "s32" | "u64";

/** A structure's fields in order: a scalar, or a scalar and its offset where the header has a hole or a union. */
export type Fields = Readonly<Record<string, Scalar | readonly [Scalar, number]>>;

type ValueOf<F> = F extends "u64" | readonly ["u64", number] ? bigint : number;

/** A view of one structure: its fields as properties, and the bytes behind them. */
export type StructView<F extends Fields> = { -readonly [K in keyof F]: ValueOf<F[K]> } & {
	/** The structure's bytes, with whatever follows it when room was asked for: what ioctl(2) takes. */
	readonly bytes: Uint8Array;
};

/** A structure's layout. */
export interface Struct<F extends Fields> {
	/** sizeof, in bytes. */
	readonly size: number;
	/** offsetof, in bytes. */
	readonly offsets: { readonly [K in keyof F]: number };
	/** A zeroed structure. @param tail further bytes for a flexible array behind it */
	create(tail?: number): StructView<F>;
	/** A view of bytes that exist. @param offset where the structure starts @throws RangeError when it does not fit */
	view(bytes: Uint8Array, offset?: number): StructView<F>;
}

const SIZES: Readonly<Record<Scalar, number>> = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8 };

function accessor(type: Scalar, at: number): PropertyDescriptor {
	// Linux on every architecture we run on is little-endian, and VFIO's regions always are.
	switch (type) {
		case "u8":
			return {
				get(this: View): number {
					return this[DATA].getUint8(at);
				},
				set(this: View, value: number) {
					this[DATA].setUint8(at, value);
				},
			};
		case "u16":
			return {
				get(this: View): number {
					return this[DATA].getUint16(at, true);
				},
				set(this: View, value: number) {
					this[DATA].setUint16(at, value, true);
				},
			};
		case "u32":
			return {
				get(this: View): number {
					return this[DATA].getUint32(at, true);
				},
				set(this: View, value: number) {
					this[DATA].setUint32(at, value, true);
				},
			};
		case "s32":
			return {
				get(this: View): number {
					return this[DATA].getInt32(at, true);
				},
				set(this: View, value: number) {
					this[DATA].setInt32(at, value, true);
				},
			};
		case "u64":
			return {
				get(this: View): bigint {
					return this[DATA].getBigUint64(at, true);
				},
				set(this: View, value: bigint) {
					this[DATA].setBigUint64(at, value, true);
				},
			};
	}
}

/** A symbol, since headers have fields of every ordinary name, `data` among them. */
const DATA = Symbol("DataView");

class View {
	readonly bytes: Uint8Array;
	readonly [DATA]: DataView;
	constructor(bytes: Uint8Array) {
		this.bytes = bytes;
		this[DATA] = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	}
}

/**
 * Declares a structure by its fields in the header's order; offsets follow C's natural alignment.
 *
 * @param whole sizeof, in bytes, where the header has more behind the last field, such as padding or a union
 * @example
 * ```ts
 * const vfio_group_status = struct({ argsz: "u32", flags: "u32" });
 * const status = vfio_group_status.create();
 * status.argsz = vfio_group_status.size; // 8
 * ```
 */
export function struct<const F extends Fields>(fields: F, whole?: number): Struct<F> {
	const offsets: Record<string, number> = {};
	class Layout extends View {}
	let end = 0;
	let alignment = 1;
	for (const [name, field] of Object.entries(fields)) {
		const [type, fixed] = typeof field === "string" ? [field, undefined] : field;
		const size = SIZES[type];
		const at = fixed ?? Math.ceil(end / size) * size;
		offsets[name] = at;
		end = Math.max(end, at + size);
		alignment = Math.max(alignment, size);
		Object.defineProperty(Layout.prototype, name, accessor(type, at));
	}
	const size = whole ?? Math.ceil(end / alignment) * alignment;
	return {
		size,
		offsets: offsets as { readonly [K in keyof F]: number },
		create: (tail = 0) => new Layout(new Uint8Array(size + tail)) as unknown as StructView<F>,
		view(bytes, offset = 0) {
			if (offset < 0 || offset + size > bytes.length)
				throw new RangeError(`A structure of ${size} bytes at ${offset} does not fit into ${bytes.length} bytes`);
			return new Layout(bytes.subarray(offset)) as unknown as StructView<F>;
		},
	};
}
