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
	readonly perm: number;
	readonly uid: number;
	isDirectory(): boolean;
	chown(uid: number, gid: number): void;
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

// memfs asks who it runs for; this file system checks permissions above it, for each simulated process.
const SUPERUSER = {
	getuid: () => 0,
	getgid: () => 0,
	cwd: () => "/",
	platform: "linux",
	emitWarning: () => {},
	env: {},
};

/** The file system that all processes of a simulated Linux see. */
export class FileSystem {
	readonly #volume: Volume;
	/** memfs's superblock, which finds inodes; a private part, so the version of memfs is pinned. */
	// biome-ignore lint/suspicious/noExplicitAny: memfs exports no type for it
	readonly #core: any;
	readonly #contents = new WeakMap<MemfsNode, FileContent>();
	readonly #devices = new WeakMap<MemfsNode, DeviceOpen>();

	constructor() {
		this.#volume = memfs({}, { process: SUPERUSER as never }).vol;
		// biome-ignore lint/suspicious/noExplicitAny: memfs exports no type for it
		this.#core = (this.#volume as any)._core;
	}

	/** Makes a directory and those above it. Processes have no call that makes files in it. */
	directory(path: string): void {
		this.#volume.mkdirSync(path, { recursive: true, mode: 0o755 });
	}

	/** Makes a regular file. */
	file(path: string, content: FileContent, mode: number): void {
		this.#contents.set(this.#create(path, S_IFREG | mode), content);
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
		this.#devices.set(this.#create(path, S_IFCHR | mode), open);
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
			this.#node(path).chown(uid, uid);
			return 0;
		});
	}

	/** chmod(2). @returns 0 or -errno */
	chmod(path: string, mode: number): number {
		return this.#try(() => {
			this.#volume.chmodSync(path, mode);
			return 0;
		});
	}

	/** What a path leads to, links followed. @returns -errno when nothing */
	lookup(path: string): Inode | number {
		return this.#try(() => {
			const node = this.#node(path);
			const open = this.#devices.get(node);
			const kind = node.isDirectory() ? "directory" : open ? "device" : "file";
			return { kind, mode: node.perm & 0o777, uid: node.uid, content: this.#contents.get(node), open } as const;
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
	#create(path: string, mode: number): MemfsNode {
		const node = this.#core.createNode(mode) as MemfsNode;
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
