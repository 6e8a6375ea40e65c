/**
 * The opened node /dev/iommu.
 *
 * @module
 */
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { COMMANDS } from "./commands.ts";
import { IommufdContext } from "./context.ts";
import type { IommufdPlatform } from "./platform.ts";
import { containerRequest } from "./vfio-compat.ts";

/** An open /dev/iommu. Every open is a context of its own; bound devices hold the file. */
export class IommufdFile extends OpenFile {
	readonly context: IommufdContext;

	/** @param path /dev/vfio/vfio, where there are no other containers */
	constructor(platform: IommufdPlatform, path = "/dev/iommu") {
		super(path);
		this.context = new IommufdContext(platform);
		// As containers do it.
		if (path !== "/dev/iommu") this.context.accounting = "process";
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		const command = COMMANDS.get(request);
		return command?.versions.includes(this.context.platform.version)
			? command.run(this, process, argument)
			: containerRequest(this.context, process, request, argument);
	}

	protected override release(): void {
		this.context.closed();
	}
}
