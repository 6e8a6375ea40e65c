// The structures and constants of Linux 7.2's headers, as a C compiler laid them out (test/fixtures/uapi.json).
import * as iommufd from "../../../core/uapi/iommufd.ts";
import * as kvm from "../../../core/uapi/kvm.ts";
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

/** What core/uapi declares of a header: its structures and its numbers, by name. */
export interface Declared {
	/** As C includes it. */
	readonly header: string;
	readonly structs: readonly (readonly [string, Struct<Fields>])[];
	readonly numbers: readonly (readonly [string, number])[];
}

function declared(header: string, module: object): Declared {
	const entries = Object.entries(module);
	return {
		header,
		structs: entries.flatMap(([name, value]) => (typeof value === "object" ? [[name, value] as const] : [])),
		numbers: entries.flatMap(([name, value]) => (typeof value === "number" ? [[name, value] as const] : [])),
	};
}

/** The headers that core/uapi has structures of. */
export const HEADERS: readonly Declared[] = [
	declared("linux/vfio.h", vfio),
	declared("linux/iommufd.h", iommufd),
	declared("linux/kvm.h", kvm),
];

/** Which field of the header one of ours is: a header's fields have no prefix here, those of a bitmap have. */
export function headerField(struct: string, field: string): FlatField | undefined {
	return flatFields(struct).find(({ path }) =>
		[path, path.replace("header.", ""), path.replaceAll(".", "_")].includes(field),
	);
}
