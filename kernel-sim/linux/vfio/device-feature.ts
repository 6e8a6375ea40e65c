/**
 * VFIO_DEVICE_FEATURE: what VFIO's core answers for all drivers, and what it passes on (contract B.4).
 *
 * @module
 */
import { EFAULT, EINVAL, ENOTTY } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
	VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
	VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
	VFIO_DEVICE_FEATURE_GET,
	VFIO_DEVICE_FEATURE_MASK,
	VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
	VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
	VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
	VFIO_DEVICE_FEATURE_MIGRATION,
	VFIO_DEVICE_FEATURE_PROBE,
	VFIO_DEVICE_FEATURE_SET,
	vfio_device_feature,
} from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { type DmaLoggingOps, reportLogging, startLogging, stopLogging } from "./dma-logging.ts";
import { type MigrationOps, migrationDataSize, migrationFlags, migrationState, precopyInfo } from "./migration.ts";

/** The features that a driver has. */
export interface DeviceFeatures {
	/** The device can be migrated. */
	readonly migration?: MigrationOps;
	/** The device tells which memory it has written. */
	readonly logging?: DmaLoggingOps;
	/** All others. @returns -ENOTTY for one that it does not have */
	feature?(request: FeatureRequest): number;
}

const DIRECTIONS = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
const KNOWN = VFIO_DEVICE_FEATURE_MASK | DIRECTIONS | VFIO_DEVICE_FEATURE_PROBE;

/** A request whose header makes sense. */
export class FeatureRequest {
	readonly process: SimProcess;
	/** Which feature. */
	readonly index: number;
	readonly #flags: number;
	readonly #argsz: number;
	readonly #argument: IoctlArgument;

	constructor(process: SimProcess, argument: IoctlArgument, flags: number, argsz: number) {
		this.process = process;
		this.index = flags & VFIO_DEVICE_FEATURE_MASK;
		this.#flags = flags;
		this.#argsz = argsz;
		this.#argument = argument;
	}

	/** It asks, and does not change anything. */
	get gets(): boolean {
		return (this.#flags & VFIO_DEVICE_FEATURE_GET) !== 0;
	}

	/**
	 * What is checked of every request for a feature that is there.
	 *
	 * @param supported `VFIO_DEVICE_FEATURE_GET` or `SET`, or both
	 * @param size bytes of its data
	 * @returns 1 to go on, 0 when it was a probe, or a negative errno
	 */
	check(supported: number, size: number): number {
		if ((this.#flags & DIRECTIONS & ~supported) !== 0) return -EINVAL;
		if ((this.#flags & VFIO_DEVICE_FEATURE_PROBE) !== 0) return 0;
		if ((this.#flags & DIRECTIONS) === 0 || this.#argsz - vfio_device_feature.size < size) return -EINVAL;
		return 1;
	}

	/** The data behind the header. @returns undefined where it cannot be read: EFAULT */
	read(size: number): Uint8Array | undefined {
		return this.#argument.read(size, vfio_device_feature.size);
	}

	/** Writes the data back. @returns false where that cannot be: EFAULT */
	write(bytes: Uint8Array): boolean {
		return this.#argument.write(bytes, vfio_device_feature.size);
	}

	/** For features whose data has a length of its own. */
	get argument(): IoctlArgument {
		return this.#argument;
	}
}

/** Validates the header and carries the request out. @returns 0 or more, or a negative errno */
export function deviceFeature(device: DeviceFeatures, process: SimProcess, argument: IoctlArgument): number {
	const header = argument.read(vfio_device_feature.size);
	if (!header) return -EFAULT;
	const { argsz, flags } = vfio_device_feature.view(header);
	if (argsz < vfio_device_feature.size || (flags & ~KNOWN) !== 0) return -EINVAL;
	if ((flags & VFIO_DEVICE_FEATURE_PROBE) === 0 && (flags & DIRECTIONS) === DIRECTIONS) return -EINVAL;
	const request = new FeatureRequest(process, argument, flags, argsz);
	const { migration, logging } = device;
	switch (request.index) {
		case VFIO_DEVICE_FEATURE_MIGRATION:
			return migration ? migrationFlags(migration, request) : -ENOTTY;
		case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
			return migration ? migrationState(migration, request) : -ENOTTY;
		case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE:
			return migration ? migrationDataSize(migration, request) : -ENOTTY;
		case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
			return process.linux.version === "6.12" ? -ENOTTY : precopyInfo(migration, request);
		case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
			return logging ? startLogging(logging, request) : -ENOTTY;
		case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
			return logging ? stopLogging(logging, request) : -ENOTTY;
		case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
			return logging ? reportLogging(logging, request) : -ENOTTY;
		default:
			return device.feature?.(request) ?? -ENOTTY;
	}
}
