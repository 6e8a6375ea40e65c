import { VfioError } from "../core/errors.ts";
import { Iommufd } from "../core/iommu/iommufd.ts";
import type { Kernel } from "../core/kernel.ts";
import { Releases } from "../core/release.ts";
import type { IommufdOption } from "./cli/iommufd-option.ts";

/** The iommufd objects of a machine by their ids. `/dev/iommu` is opened when a device first wants it. */
export class IommufdObjects implements Disposable {
	readonly #kernel: Kernel;
	readonly #options: readonly IommufdOption[];
	readonly #objects = new Map<string, Iommufd>();
	readonly #releases = new Releases();

	constructor(kernel: Kernel, options: readonly IommufdOption[] = []) {
		this.#kernel = kernel;
		this.#options = options;
	}

	/** @throws VfioError `invalid-argument`, and as `Iommufd.open` and `Iommufd.fromFd` */
	get(id: string): Iommufd {
		const known = this.#objects.get(id);
		if (known) return known;
		const option = this.#options.find((one) => one.id === id);
		if (!option) throw new VfioError("invalid-argument", `Cannot use iommufd "${id}": there is no such object`);
		const made = option.fd === undefined ? Iommufd.open(this.#kernel) : Iommufd.fromFd(this.#kernel, option.fd);
		this.#objects.set(id, this.#releases.use(made));
		return made;
	}

	/** Closes those that no device has any more; each of the others goes with its last device. */
	[Symbol.dispose](): void {
		this.#objects.clear();
		this.#releases[Symbol.dispose]();
	}
}
