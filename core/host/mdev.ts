/**
 * Mediated devices: devices that a driver makes on request, each with a UUID for its name
 * (Linux, Documentation/driver-api/vfio-mediated-device.rst).
 *
 * @module
 */
import { KernelError, VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { retry } from "../retry.ts";
import {
	EACCES,
	EAGAIN,
	EBUSY,
	EDEADLK,
	EEXIST,
	EINVAL,
	ENODEV,
	ENOENT,
	ENOSPC,
	EPERM,
	EROFS,
	EUSERS,
} from "../uapi/errno.ts";
import { nearestName } from "./nearest.ts";
import { readingIfThere, readNames, readText } from "./sysfs.ts";
import { isUuid } from "./uuid.ts";

const PARENTS = "/sys/class/mdev_bus";
const DEVICES = "/sys/bus/mdev/devices";

/** A type of mediated device that a parent can make. */
export interface MdevType {
	/** Such as `mtty-2`. */
	readonly id: string;
	/** The device it would be made of, such as `mtty` or `0000:00:02.0`. */
	readonly parent: string;
	/** For people. */
	readonly name: string;
	readonly description: string | undefined;
	/** What its devices are to VFIO, such as `vfio-pci`. */
	readonly api: string;
	/** How many more there can be. */
	readonly available: number;
	/** The UUIDs of those that there are. */
	readonly devices: readonly string[];
}

/** A mediated device that exists. */
export interface MdevInfo {
	/** In small letters. */
	readonly uuid: string;
	/** What `sysfsdev` takes. */
	readonly path: string;
	readonly parent: string;
	/** The id of its type. */
	readonly type: string;
	/** Undefined while no driver has it. */
	readonly group: number | undefined;
}

/** How a mediated device is to be made. */
export interface MdevOptions {
	/** Its name, which nothing else on the host has. */
	readonly uuid: string;
	/** The id of its type. */
	readonly type: string;
	/** What it is made of, where several parents have such a type; the first that has one left when left out. */
	readonly parent?: string;
}

/** What the host can make, parent by parent; nothing on a host without mediated devices. @throws VfioError `kernel` */
export function mdevTypes(kernel: Kernel): MdevType[] {
	return (readNames(kernel, PARENTS) ?? []).flatMap((parent) => {
		const directory = `${PARENTS}/${parent}/mdev_supported_types`;
		return (readNames(kernel, directory) ?? []).map((id): MdevType => {
			const path = `${directory}/${id}`;
			const optional = (file: string) => readingIfThere(`${path}/${file}`, () => readText(kernel, `${path}/${file}`));
			return {
				id,
				parent,
				name: optional("name") ?? id,
				description: optional("description"),
				api: optional("device_api") ?? "",
				available: Number(optional("available_instances") ?? 0),
				devices: readNames(kernel, `${path}/devices`) ?? [],
			};
		});
	});
}

/** The mediated devices there are, by UUID. @throws VfioError `kernel` */
export function mdevDevices(kernel: Kernel): MdevInfo[] {
	return (readNames(kernel, DEVICES) ?? []).map((uuid) => {
		const path = `${DEVICES}/${uuid}`;
		const target = (link: string) =>
			readingIfThere(link, () => kernel.readLink(link))
				?.split("/")
				.at(-1);
		const group = target(`${path}/iommu_group`);
		return {
			uuid,
			path,
			parent:
				readingIfThere(path, () => kernel.readLink(path))
					?.split("/")
					.at(-2) ?? "",
			type: target(`${path}/mdev_type`) ?? "",
			group: group === undefined ? undefined : Number(group),
		};
	});
}

/** Whether a device is a mediated one: its bus says so. @param path its directory in sysfs, or a link to it */
export function isMediated(kernel: Kernel, path: string): boolean {
	const link = `${path}/subsystem`;
	return readingIfThere(link, () => kernel.readLink(link))?.endsWith("/bus/mdev") ?? false;
}

/**
 * A mediated device that somebody made here. Disposing it removes it, so it is disposed after everything that uses it:
 * the kernel lets whoever removes an open device wait until it is closed.
 *
 * @example
 * ```ts
 * const uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
 * const mdev = Mdev.create(kernel, { uuid, type: "mtty-2" });
 * const device = VfioDevice.open(kernel, { sysfsdev: mdev.path });
 * device[Symbol.dispose]();
 * mdev[Symbol.dispose]();
 * ```
 */
export class Mdev implements Disposable {
	/** In small letters. */
	readonly uuid: string;
	/** What `sysfsdev` takes. */
	readonly path: string;
	readonly #kernel: Kernel;
	#exists = true;

	private constructor(kernel: Kernel, uuid: string) {
		this.#kernel = kernel;
		this.uuid = uuid;
		this.path = `${DEVICES}/${uuid}`;
	}

	/**
	 * Makes a mediated device.
	 *
	 * @throws VfioError `invalid-argument` for what is no UUID; `no-such-device` when there is no such type or parent;
	 *   `already-exists`; `none-available` when the parent has none left; `no-permission`, `kernel`
	 */
	static create(kernel: Kernel, options: MdevOptions): Mdev {
		const uuid = checkUuid(options.uuid);
		const type = findType(kernel, uuid, options);
		const path = `${PARENTS}/${type.parent}/mdev_supported_types/${type.id}/create`;
		try {
			retry(() => kernel.writeFile(path, uuid));
		} catch (error) {
			throw explainCreate(error, uuid, type, path);
		}
		return new Mdev(kernel, uuid);
	}

	/** Removes it. @throws VfioError as {@link removeMdev} */
	[Symbol.dispose](): void {
		if (!this.#exists) return;
		this.#exists = false;
		removeMdev(this.#kernel, this.uuid);
	}
}

/**
 * Removes a mediated device. Waits while it is open, on a kernel that can wait.
 *
 * @throws VfioError `invalid-argument`, `no-such-device`, `device-in-use`, `no-permission`, `kernel`
 */
export function removeMdev(kernel: Kernel, uuid: string): void {
	const name = checkUuid(uuid);
	const path = `${DEVICES}/${name}/remove`;
	try {
		retry(() => kernel.writeFile(path, "1"));
	} catch (error) {
		throw explainRemove(error, name, path);
	}
}

function checkUuid(uuid: string): string {
	if (isUuid(uuid)) return uuid.toLowerCase();
	throw new VfioError("invalid-argument", `Cannot use "${uuid}" for a mediated device: that is no UUID`, {
		remedy: ["uuidgen makes one, such as 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001."],
	});
}

function findType(kernel: Kernel, uuid: string, { type: id, parent }: MdevOptions): MdevType {
	const what = `Cannot create ${uuid}`;
	const types = mdevTypes(kernel);
	if (types.length === 0)
		throw new VfioError("no-such-device", `${what}: this host has nothing that mediated devices are made of`, {
			device: uuid,
			remedy: [`ls ${PARENTS} shows the parents, once their driver is loaded.`],
		});
	const fitting = types.filter((type) => type.id === id && (parent === undefined || type.parent === parent));
	const found = fitting.find(({ available }) => available > 0) ?? fitting[0];
	if (found) return found;
	const ids = [
		...new Set(types.filter((type) => parent === undefined || type.parent === parent).map((type) => type.id)),
	];
	if (parent !== undefined && ids.length === 0)
		throw new VfioError("no-such-device", `${what}: there is no parent device "${parent}"`, {
			device: uuid,
			remedy: [`There ${plural([...new Set(types.map((type) => type.parent))])}.`],
		});
	const near = nearestName(id, ids);
	throw new VfioError("no-such-device", `${what}: there is no type "${id}"${parent ? ` of ${parent}` : ""}`, {
		device: uuid,
		remedy: [`There ${plural(ids)}${near ? `; did you mean ${near}?` : ""}`],
	});
}

function plural(names: readonly string[]): string {
	return names.length === 1 ? `is ${names[0]}` : `are ${names.join(", ")}`;
}

function explainCreate(cause: unknown, uuid: string, type: MdevType, path: string): unknown {
	if (!(cause instanceof KernelError)) return cause;
	const what = `Cannot create ${uuid}`;
	const details = { device: uuid, cause };
	switch (cause.errno) {
		case EEXIST:
			return new VfioError("already-exists", `${what}: there is a mediated device of that name`, {
				...details,
				remedy: [`echo 1 > ${DEVICES}/${uuid}/remove removes it.`],
			});
		case ENOSPC:
		case EUSERS:
			return new VfioError("none-available", `${what}: ${type.parent} has none of type ${type.id} left`, {
				...details,
				remedy: ["Remove one of its other devices, or take a smaller type."],
			});
		case EINVAL:
			return new VfioError("invalid-argument", `${what}: the kernel does not take the name`, details);
		case ENOENT:
		case ENODEV:
			return new VfioError("no-such-device", `${what}: ${type.parent} is going away`, details);
	}
	return explainAccess(cause, what, path, uuid);
}

function explainRemove(cause: unknown, uuid: string, path: string): unknown {
	if (!(cause instanceof KernelError)) return cause;
	const what = `Cannot remove ${uuid}`;
	const details = { device: uuid, cause };
	switch (cause.errno) {
		case ENOENT:
		case ENODEV:
			return new VfioError("no-such-device", `${what}: there is no mediated device of that name`, {
				...details,
				remedy: [`ls ${DEVICES} shows their names.`],
			});
		case EAGAIN:
			return new VfioError("device-in-use", `${what}: somebody else is removing it`, details);
		case EDEADLK:
		case EBUSY:
			return new VfioError("device-in-use", `${what}: it is open, and goes when it is closed`, {
				...details,
				remedy: ["Close the device, or end the process that has it open."],
			});
	}
	return explainAccess(cause, what, path, uuid);
}

function explainAccess(cause: KernelError, what: string, path: string, uuid: string): VfioError {
	if (![EACCES, EPERM, EROFS].includes(cause.errno))
		return new VfioError("kernel", `${what}: ${cause.message}`, { device: uuid, cause });
	return new VfioError("no-permission", `${what}: no permission to write ${path}`, {
		device: uuid,
		cause,
		remedy: ["Run it as root."],
	});
}
