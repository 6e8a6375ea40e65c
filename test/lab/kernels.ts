import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { ownKernel } from "./own-kernel.ts";
import { LabError, unpacked } from "./packages.ts";
import type { LabSystem } from "./system.ts";

/** A Linux kernel that the lab boots. */
export interface LabKernel {
	/** The image QEMU loads. */
	readonly image: string;
	/** `lib/modules/RELEASE` with modules.dep. */
	readonly modules: string;
	readonly release: string;
}

interface Recipe {
	readonly release: string;
	readonly packages: readonly string[];
	readonly suite: string;
}

/** Debian's own kernels, by the name `--kernel` takes. */
const RECIPES: Readonly<Record<string, Recipe>> = {
	"6.12": {
		release: "6.12.95+deb12-amd64",
		packages: ["linux-image-6.12.95+deb12-amd64"],
		suite: "bookworm-backports",
	},
	"7.2": {
		release: "7.2.12+deb13-amd64",
		packages: ["linux-binary-7.2.12+deb13-amd64", "linux-modules-7.2.12+deb13-amd64", "linux-base-7.2.12+deb13-amd64"],
		suite: "trixie-backports",
	},
};

/** The kernel that the lab builds itself. */
const OWN = "own";

/** What `--kernel` takes. */
export const KERNELS: readonly string[] = [...Object.keys(RECIPES), OWN];

/** Fetches or builds a kernel, or finds it in the cache. @throws LabError */
export function labKernel(name: string, system: LabSystem): LabKernel {
	if (name === OWN) {
		const folder = ownKernel(system);
		const [release] = readdirSync(join(folder, "lib/modules"));
		if (release === undefined) throw new LabError(`The lab's own kernel has no modules: delete ${folder}`);
		return { image: join(folder, "vmlinuz"), modules: join(folder, "lib/modules", release), release };
	}
	const recipe = RECIPES[name];
	if (!recipe) throw new LabError(`There is no kernel "${name}" in the lab: it has ${KERNELS.join(", ")}`);
	const folder = unpacked(`linux-${recipe.release}`, recipe.packages, {
		dependencies: false,
		suite: recipe.suite,
		finish: (draft) => {
			// Newer packages have everything below usr/; depmod looks below lib/.
			if (!existsSync(join(draft, "lib"))) renameSync(join(draft, "usr/lib"), join(draft, "lib"));
			// Debian runs depmod when it installs the package, and so must we.
			const [file, args] = system.command("bin/kmod", ["-b", draft, recipe.release]);
			args[args.indexOf("--argv0") + 1] = "depmod";
			execFileSync(file, args);
		},
	});
	const modules = join(folder, "lib/modules", recipe.release);
	const image = [join(folder, "boot", `vmlinuz-${recipe.release}`), join(modules, "vmlinuz")].find(existsSync);
	if (!image)
		throw new LabError(
			`The packages of Linux ${recipe.release} have no kernel image: ${folder} holds ${readdirSync(folder).join(", ")}`,
		);
	return { image, modules, release: recipe.release };
}
