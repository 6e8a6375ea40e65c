/**
 * The opened node /dev/iommu.
 *
 * @module
 */
import { ENOTTY } from "../../../core/uapi/errno.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { COMMANDS } from "./commands.ts";
import { IommufdContext } from "./context.ts";
import type { IommufdPlatform } from "./platform.ts";

/** An open /dev/iommu. Every open is a context of its own; bound devices hold the file. */
export class IommufdFile extends OpenFile {
	readonly context: IommufdContext;

	constructor(platform: IommufdPlatform) {
		super("/dev/iommu");
		this.context = new IommufdContext(platform);
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		const command = COMMANDS.get(request);
		if (!command?.versions.includes(this.context.platform.version)) return -ENOTTY;
		return command.run(this, process, argument);
	}

	protected override release(): void {
		this.context.closed();
	}
}
