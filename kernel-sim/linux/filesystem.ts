/**
 * The tree of sysfs, procfs and /dev, on memfs. Everything that needs memfs, and the one `any` for its private parts, is
 * in this file.
 *
 * @module
 */
import { memfs, type Volume } from "memfs";
import { EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR } from "../../core/uapi/errno.ts";
import { Attribute, type AttributeOptions, type DeviceOpen, type FileContent } from "./file-content.ts";

/** memfs's inode, as far as it is used here. */
interface MemfsNode {
	isDirectory(): boolean;
}

/** memfs's directory entry, as far as it is used here. */
interface MemfsLink {
	createChild(name: string, node: MemfsNode): unknown;
}

/** What a path leads to. */
export interface Inode {
	readonly kind: "directory" | "file" | "device";
	/** Permission bits. */
	readonly mode: number;
	/** Its owner. */
	readonly uid: number;
	/** What is in it, when it is a file. */
	readonly content: FileContent | undefined;
	/** How it is opened, when it is a device. */
	readonly open: DeviceOpen | undefined;
}

const ERRNOS: Readonly<Record<string, number>> = { ENOENT, ENOTDIR, EACCES, EISDIR, EEXIST, ELOOP, EINVAL };

const S_IFCHR = 0o020000;
const S_IFREG = 0o100000;
/** memfs checks permissions for whoever runs this program; so it sees these, and the simulated ones are kept here. */
const OPEN_TO_ALL = 0o777;
const DIRECTORY_MODE = 0o755;

/** The file system that all processes of a simulated Linux see. */
export class FileSystem {
	readonly #volume: Volume;
	/** memfs's superblock, which finds inodes; a private part, so the version of memfs is pinned. */
	// biome-ignore lint/suspicious/noExplicitAny: memfs exports no type for it
	readonly #core: any;
	readonly #contents = new WeakMap<MemfsNode, FileContent>();
	readonly #devices = new WeakMap<MemfsNode, DeviceOpen>();
	/** Permission bits and owners other than a directory's defaults. */
	readonly #modes = new WeakMap<MemfsNode, number>();
	readonly #owners = new WeakMap<MemfsNode, number>();

	constructor() {
		this.#volume = memfs().vol;
		// biome-ignore lint/suspicious/noExplicitAny: memfs exports no type for it
		this.#core = (this.#volume as any)._core;
	}

	/** Makes a directory and those above it. Processes have no call that makes files in it. */
	directory(path: string): void {
		this.#volume.mkdirSync(path, { recursive: true, mode: OPEN_TO_ALL });
	}

	/** Makes a regular file. */
	file(path: string, content: FileContent, mode: number): void {
		this.#contents.set(this.#create(path, S_IFREG, mode), content);
	}

	/** Makes a text attribute. @param mode by what can be done with it when left out */
	attribute(path: string, options: AttributeOptions, mode?: number): void {
		const attribute = new Attribute(options);
		this.file(path, attribute, mode ?? attribute.mode);
	}

	/** Makes a text that never changes; a newline is added. */
	text(path: string, text: string, mode = 0o444): void {
		this.attribute(path, { show: () => `${text}\n` }, mode);
	}

	/** Makes a symbolic link. */
	link(path: string, target: string): void {
		this.#directoryOf(path);
		this.#volume.symlinkSync(target, path);
	}

	/** Makes a device node that belongs to root. */
	device(path: string, mode: number, open: DeviceOpen): void {
		this.#devices.set(this.#create(path, S_IFCHR, mode), open);
	}

	/** Removes a file, a link, or a directory with all that is in it. Nothing happens when there is none. */
	remove(path: string): void {
		try {
			if (this.#volume.lstatSync(path).isDirectory()) this.#volume.rmSync(path, { recursive: true });
			else this.#volume.unlinkSync(path);
		} catch (error) {
			if (errnoOf(error) !== ENOENT) throw error;
		}
	}

	/** chown(2). @returns 0 or -errno */
	chown(path: string, uid: number): number {
		return this.#try(() => {
			this.#owners.set(this.#node(path), uid);
			return 0;
		});
	}

	/** chmod(2). @returns 0 or -errno */
	chmod(path: string, mode: number): number {
		return this.#try(() => {
			this.#modes.set(this.#node(path), mode & 0o777);
			return 0;
		});
	}

	/** What a path leads to, links followed. @returns -errno when nothing */
	lookup(path: string): Inode | number {
		return this.#try(() => {
			const node = this.#node(path);
			const open = this.#devices.get(node);
			const kind = node.isDirectory() ? "directory" : open ? "device" : "file";
			const mode = this.#modes.get(node) ?? DIRECTORY_MODE;
			return { kind, mode, uid: this.#owners.get(node) ?? 0, content: this.#contents.get(node), open } as const;
		});
	}

	/** @returns the link's text, or -errno */
	readLink(path: string): string | number {
		return this.#try(() => String(this.#volume.readlinkSync(path)));
	}

	/** @returns the names, sorted; or -errno */
	readDirectory(path: string): string[] | number {
		return this.#try(() => (this.#volume.readdirSync(path) as string[]).sort());
	}

	/** A new inode in a directory: a quarter of what the public calls for it cost, and there are hundreds. */
	#create(path: string, type: number, mode: number): MemfsNode {
		const node = this.#core.createNode(type | OPEN_TO_ALL) as MemfsNode;
		this.#modes.set(node, mode);
		this.#directoryOf(path).createChild(path.slice(path.lastIndexOf("/") + 1), node);
		return node;
	}

	#directoryOf(path: string): MemfsLink {
		const parent = parentOf(path);
		const link = this.#core.getResolvedLink(parent) as MemfsLink | null;
		if (link) return link;
		this.directory(parent);
		return this.#core.getResolvedLink(parent) as MemfsLink;
	}

	#node(path: string): MemfsNode {
		return this.#core.getResolvedLinkOrThrow(path).getNode() as MemfsNode;
	}

	#try<T>(action: () => T): T | number {
		try {
			return action();
		} catch (error) {
			const errno = errnoOf(error);
			if (errno === undefined) throw error;
			return -errno;
		}
	}
}

function errnoOf(error: unknown): number | undefined {
	return error instanceof Error && "code" in error ? ERRNOS[String(error.code)] : undefined;
}

/** The directory that a path is in. */
export function parentOf(path: string): string {
	return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** The text of a symbolic link at `from` that leads to `to`, as sysfs writes it: relative. */
export function relativeLink(from: string, to: string): string {
	const base = parentOf(from).split("/");
	const target = to.split("/");
	let common = 0;
	while (common < base.length && common < target.length && base[common] === target[common]) common++;
	return [...base.slice(common).map(() => ".."), ...target.slice(common)].join("/");
}
