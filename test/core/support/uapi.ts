// The structures and constants of Linux 7.2's headers, as a C compiler laid them out (test/fixtures/uapi.json).
import type { Fields, Struct } from "../../../core/uapi/struct.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import uapi from "../../fixtures/uapi.json" with { type: "json" };

interface HeaderField {
	readonly name: string;
	readonly offset: number;
	readonly size: number;
	readonly type?: string;
}
interface HeaderStruct {
	readonly size: number;
	readonly fields: readonly HeaderField[];
}

export const headerStructs = uapi.structs as unknown as Readonly<Record<string, HeaderStruct>>;
export const headerIoctls = uapi.ioctls as unknown as Readonly<
	Record<string, { readonly ioctl: number; readonly struct?: string; readonly size?: number }>
>;
export const headerConstants = uapi.constants as unknown as Readonly<Record<string, number>>;

/** A field, flat, with the path that C reaches it by: `header.id` or `bitmap.pgsize`. */
export interface FlatField {
	readonly path: string;
	readonly offset: number;
	readonly size: number;
	readonly type: string;
}

/** The scalar fields of a structure, those of structures inside it included; flexible arrays are left out. */
export function flatFields(name: string, prefix = "", base = 0): FlatField[] {
	return (headerStructs[name]?.fields ?? []).flatMap((field) => {
		const path = `${prefix}${field.name}`;
		const inner = /^struct (\w+)$/.exec(field.type ?? "")?.[1];
		if (inner && field.size > 0) return flatFields(inner, `${path}.`, base + field.offset);
		return field.size > 0 ? [{ path, offset: base + field.offset, size: field.size, type: field.type ?? "" }] : [];
	});
}

/** Every structure that core/uapi/vfio.ts declares, by name. */
export const ourStructs: readonly (readonly [string, Struct<Fields>])[] = Object.entries(vfio).flatMap(
	([name, value]) => (typeof value === "object" ? [[name, value as unknown as Struct<Fields>] as const] : []),
);

/** Every number that core/uapi/vfio.ts declares, by name. */
export const ourNumbers: readonly (readonly [string, number])[] = Object.entries(vfio).flatMap(([name, value]) =>
	typeof value === "number" ? [[name, value] as const] : [],
);

/** Which field of the header one of ours is: a header's fields have no prefix here, those of a bitmap have. */
export function headerField(struct: string, field: string): FlatField | undefined {
	return flatFields(struct).find(({ path }) =>
		[path, path.replace("header.", ""), path.replace(".", "_")].includes(field),
	);
}
