/**
 * Migration of devices: the states, the ways between them, and the requests (include/uapi/linux/vfio.h, migration v2).
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FEATURE_GET,
	VFIO_DEVICE_FEATURE_SET,
	vfio_device_feature_mig_data_size,
	vfio_device_feature_mig_state,
	vfio_device_feature_migration,
} from "../../../core/uapi/vfio.ts";
import type { OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { FeatureRequest } from "./device-feature.ts";

/** The states of a device, as VFIO numbers them. */
export const MIGRATION_STATES = {
	error: 0,
	stop: 1,
	running: 2,
	stopCopy: 3,
	resuming: 4,
	runningP2p: 5,
	preCopy: 6,
	preCopyP2p: 7,
} as const;

/** What a device can do: bits of VFIO_DEVICE_FEATURE_MIGRATION. */
export const MIGRATION_STOP_COPY = 1;
export const MIGRATION_P2P = 2;
export const MIGRATION_PRE_COPY = 4;

/** A driver whose device can be migrated. */
export interface MigrationOps {
	/** Bits `MIGRATION_*`. */
	readonly flags: number;
	readonly state: number;
	/** Goes there, step by step. @returns the stream that belongs to the new state, undefined when there is none, or -errno */
	setState(state: number): OpenFile | undefined | number;
	/** Bytes that the state takes in STOP_COPY. */
	readonly dataSize: number;
	/** User space knows how to be told that the first data has to be taken again. */
	allowReinitialization?(): void;
}

const { error: E, stop: S, running: R, stopCopy: C, resuming: X } = MIGRATION_STATES;
const { runningP2p: P, preCopy: A, preCopyP2p: B } = MIGRATION_STATES;

/** The next state on the way: a row for each present state, a column for each wanted one, both by number. */
const NEXT: readonly (readonly number[])[] = [
	[E, E, E, E, E, E, E, E],
	[E, S, P, C, X, P, P, P],
	[E, P, R, P, P, P, A, P],
	[E, S, S, C, S, S, E, E],
	[E, S, S, S, X, S, S, S],
	[E, S, R, S, S, P, R, B],
	[E, R, R, B, R, R, A, B],
	[E, P, P, C, P, P, A, B],
];

/** What a device needs to have each state, by number. */
const NEEDS: readonly number[] = [
	0,
	MIGRATION_STOP_COPY,
	MIGRATION_STOP_COPY,
	MIGRATION_STOP_COPY,
	MIGRATION_STOP_COPY,
	MIGRATION_STOP_COPY | MIGRATION_P2P,
	MIGRATION_STOP_COPY | MIGRATION_PRE_COPY,
	MIGRATION_STOP_COPY | MIGRATION_P2P | MIGRATION_PRE_COPY,
];

/** The next single step of a device. States that it does not have are passed through. @returns -EINVAL when there is no way */
export function nextState(flags: number, current: number, wanted: number): number {
	const has = (state: number) => ((NEEDS[state] ?? -1) & ~flags) === 0;
	if (wanted >= NEXT.length || !has(wanted)) return -EINVAL;
	let next = NEXT[current]?.[wanted] ?? E;
	while (next !== E && !has(next)) next = NEXT[next]?.[wanted] ?? E;
	return next === E ? -EINVAL : next;
}

/** VFIO_DEVICE_FEATURE_MIGRATION. */
export function migrationFlags(migration: MigrationOps, request: FeatureRequest): number {
	const checked = request.check(VFIO_DEVICE_FEATURE_GET, vfio_device_feature_migration.size);
	if (checked !== 1) return checked;
	const answer = vfio_device_feature_migration.create();
	answer.flags = BigInt(migration.flags);
	return request.write(answer.bytes) ? 0 : -EFAULT;
}

/** VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE. Whatever happens, the descriptor in the answer is either a new one or -1. */
export function migrationState(migration: MigrationOps, request: FeatureRequest): number {
	const layout = vfio_device_feature_mig_state;
	const checked = request.check(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, layout.size);
	if (checked !== 1) return checked;
	if (request.gets) {
		const answer = layout.create();
		answer.device_state = migration.state;
		answer.data_fd = -1;
		return request.write(answer.bytes) ? 0 : -EFAULT;
	}
	const bytes = request.read(layout.size);
	if (!bytes) return -EFAULT;
	const answer = layout.view(bytes.slice());
	const stream = migration.setState(answer.device_state);
	const result = typeof stream === "number" ? stream : 0;
	const fd = stream === undefined || typeof stream === "number" ? -1 : giveStream(request.process, stream);
	answer.data_fd = fd < 0 ? -1 : fd;
	const written = request.write(answer.bytes);
	if (fd < -1) return fd;
	return result || (written ? 0 : -EFAULT);
}

/** VFIO_DEVICE_FEATURE_MIG_DATA_SIZE. */
export function migrationDataSize(migration: MigrationOps, request: FeatureRequest): number {
	const checked = request.check(VFIO_DEVICE_FEATURE_GET, vfio_device_feature_mig_data_size.size);
	if (checked !== 1) return checked;
	const answer = vfio_device_feature_mig_data_size.create();
	answer.stop_copy_length = BigInt(migration.dataSize);
	return request.write(answer.bytes) ? 0 : -EFAULT;
}

/** VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: refused, even a probe, where there is no pre-copy. */
export function precopyInfo(migration: MigrationOps | undefined, request: FeatureRequest): number {
	if (!migration || (migration.flags & MIGRATION_PRE_COPY) === 0) return -EINVAL;
	const checked = request.check(VFIO_DEVICE_FEATURE_SET, 0);
	if (checked === 1) migration.allowReinitialization?.();
	return Math.min(checked, 0);
}

/** @returns the descriptor, or -errno with the stream given back */
function giveStream(process: SimProcess, stream: OpenFile): number {
	const fd = process.installFile(stream);
	if (fd < 0) stream.reference().unreference();
	return fd;
}
