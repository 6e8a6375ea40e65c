/**
 * Identify data structures, NVM Express 1.4 section 5.15: what a controller tells about itself and its namespaces.
 *
 * @module
 */
import { ascii } from "./ascii.ts";
import { EVENT_REQUESTS } from "./events.ts";
import { ERROR_LOG_ENTRIES } from "./log.ts";
import type { Namespace } from "./namespace.ts";
import { VERSION } from "./registers.ts";

/** Bytes of every Identify data structure. */
export const IDENTIFY_SIZE = 4096;

/** Who a controller says it is. */
export interface ControllerIdentity {
	/** PCI vendor and subsystem vendor. */
	readonly vendor: number;
	readonly subsystemVendor: number;
	/** At most 20 ASCII characters. */
	readonly serial: string;
	/** At most 40. */
	readonly model: string;
	/** At most 8. */
	readonly firmware: string;
	/** Most bytes that one command may transfer, a power of two of at least 4096. */
	readonly maximumTransfer: number;
}

/** Warning and critical temperature, degrees Kelvin. */
const WARNING_TEMPERATURE = 343;
const CRITICAL_TEMPERATURE = 373;

/** CNS 01h: the controller. */
export function identifyController(identity: ControllerIdentity, namespaces: number, into: Uint8Array): void {
	const view = new DataView(into.buffer, into.byteOffset, IDENTIFY_SIZE);
	into.fill(0, 0, IDENTIFY_SIZE);
	view.setUint16(0, identity.vendor, true);
	view.setUint16(2, identity.subsystemVendor, true);
	ascii(into, 4, 20, identity.serial);
	ascii(into, 24, 40, identity.model);
	ascii(into, 64, 8, identity.firmware);
	view.setUint8(77, Math.log2(identity.maximumTransfer / 4096)); // MDTS
	view.setUint32(80, VERSION, true);
	view.setUint8(111, 1); // CNTRLTYPE: I/O controller
	view.setUint8(258, 3); // ACL: four Aborts at a time, less one
	view.setUint8(259, EVENT_REQUESTS - 1); // AERL
	view.setUint8(260, 0x03); // FRMW: one slot, read only
	view.setUint8(261, 0x04); // LPA: log pages take an offset
	view.setUint8(262, ERROR_LOG_ENTRIES - 1); // ELPE
	view.setUint16(266, WARNING_TEMPERATURE, true);
	view.setUint16(268, CRITICAL_TEMPERATURE, true);
	view.setUint8(512, 0x66); // SQES: 64 bytes, neither more nor less
	view.setUint8(513, 0x44); // CQES: 16 bytes
	view.setUint32(516, namespaces, true); // NN
	view.setUint16(520, 0x0018, true); // ONCS: Write Zeroes; Select in Get Features
	view.setUint8(525, 0x01); // VWC: there is a volatile write cache
	ascii(into, 768, 256, `nqn.2014-08.org.nvmexpress:uuid:${uuidText(uuid(identity.serial, 0))}`, 0);
	view.setUint16(2048, 2500, true); // power state 0: at most 25 W
}

/** CNS 00h: a namespace. One LBA format: its own. */
export function identifyNamespace(identity: ControllerIdentity, id: number, ns: Namespace, into: Uint8Array): void {
	const view = new DataView(into.buffer, into.byteOffset, IDENTIFY_SIZE);
	into.fill(0, 0, IDENTIFY_SIZE);
	const blocks = BigInt(ns.size / ns.blockSize);
	view.setBigUint64(0, blocks, true); // NSZE
	view.setBigUint64(8, blocks, true); // NCAP
	view.setBigUint64(16, blocks, true); // NUSE
	view.setUint8(99, ns.readOnly === true ? 1 : 0); // NSATTR: write protected
	into.set(uuid(identity.serial, id), 104); // NGUID
	view.setUint8(130, Math.log2(ns.blockSize)); // LBAF0.LBADS
}

/** CNS 02h: the active namespaces above `after`, at most 1024. */
export function identifyActiveList(namespaces: readonly Namespace[], after: number, into: Uint8Array): void {
	const view = new DataView(into.buffer, into.byteOffset, IDENTIFY_SIZE);
	into.fill(0, 0, IDENTIFY_SIZE);
	const end = Math.min(namespaces.length, after + IDENTIFY_SIZE / 4);
	for (let id = after + 1; id <= end; id++) view.setUint32((id - after - 1) * 4, id, true);
}

/** CNS 03h: the names of a namespace: NGUID and UUID. */
export function identifyDescriptors(identity: ControllerIdentity, id: number, into: Uint8Array): void {
	into.fill(0, 0, IDENTIFY_SIZE);
	const name = uuid(identity.serial, id);
	into.set([2, 16, 0, 0], 0);
	into.set(name, 4);
	into.set([3, 16, 0, 0], 20);
	into.set(name, 24);
}

/** A UUID that depends on the serial number and the namespace only, so that every run has the same (version 8 of RFC 9562). */
function uuid(serial: string, namespace: number): Uint8Array {
	const bytes = new Uint8Array(16);
	// FNV-1a, 32 bits, started anew for each word.
	for (let word = 0; word < 4; word++) {
		let hash = 0x811c9dc5 ^ (namespace * 4 + word);
		for (let i = 0; i < serial.length; i++) hash = Math.imul(hash ^ serial.charCodeAt(i), 0x01000193);
		hash = Math.imul(hash ^ (hash >>> 15), 0x01000193) >>> 0;
		new DataView(bytes.buffer).setUint32(word * 4, hash);
	}
	bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
	bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
	return bytes;
}

function uuidText(bytes: Uint8Array): string {
	const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
	return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
