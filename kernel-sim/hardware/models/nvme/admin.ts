/**
 * The admin command set, NVM Express 1.4 section 5.
 *
 * @module
 */
import type { Command } from "./command.ts";
import type { ControllerContext } from "./context.ts";
import { HEALTH_EVENT, TEMPERATURE_THRESHOLD } from "./events.ts";
import {
	IDENTIFY_SIZE,
	identifyActiveList,
	identifyController,
	identifyDescriptors,
	identifyNamespace,
} from "./identify.ts";
import { HEALTH_LOG, TEMPERATURE, WARNING_TEMPERATURE } from "./log.ts";
import { INVALID_FIELD, INVALID_LOG_PAGE, INVALID_NAMESPACE, INVALID_OPCODE, SUCCESS } from "./status.ts";

const DELETE_SUBMISSION_QUEUE = 0x00;
const CREATE_SUBMISSION_QUEUE = 0x01;
const GET_LOG_PAGE = 0x02;
const DELETE_COMPLETION_QUEUE = 0x04;
const CREATE_COMPLETION_QUEUE = 0x05;
const IDENTIFY = 0x06;
const ABORT = 0x08;
const SET_FEATURES = 0x09;
const GET_FEATURES = 0x0a;
const ASYNC_EVENT_REQUEST = 0x0c;

/** A command that is kept and completed later. */
export const HELD = -1;

/** Executes admin commands. */
export class AdminCommands {
	readonly #controller: ControllerContext;

	constructor(controller: ControllerContext) {
		this.#controller = controller;
	}

	/** @returns a status of `status.ts`, or {@link HELD} */
	execute(command: Command): number {
		const { queues } = this.#controller;
		switch (command.opcode) {
			case DELETE_SUBMISSION_QUEUE:
				return queues.deleteSubmission(command.dword(10) & 0xffff);
			case CREATE_SUBMISSION_QUEUE:
				return this.#createSubmission(command);
			case GET_LOG_PAGE:
				return this.#getLogPage(command);
			case DELETE_COMPLETION_QUEUE:
				return queues.deleteCompletion(command.dword(10) & 0xffff);
			case CREATE_COMPLETION_QUEUE:
				return this.#createCompletion(command);
			case IDENTIFY:
				return this.#identify(command);
			case ABORT:
				return this.#abort(command);
			case SET_FEATURES:
				return this.#setFeatures(command);
			case GET_FEATURES:
				return answer(command, this.#controller.features.get(command.dword(10), command.dword(11)));
			case ASYNC_EVENT_REQUEST:
				return this.#controller.events.hold(command.id) ?? HELD;
			default:
				return INVALID_OPCODE;
		}
	}

	#createCompletion(command: Command): number {
		const { queues, vectors, pageSize, completionEntrySize } = this.#controller;
		const flags = command.dword(11);
		const vector = (flags & 2) !== 0 ? flags >>> 16 : undefined;
		return queues.createCompletion(queueRequest(command, completionEntrySize), vector, vectors, pageSize);
	}

	#createSubmission(command: Command): number {
		const { queues, pageSize, submissionEntrySize } = this.#controller;
		return queues.createSubmission(queueRequest(command, submissionEntrySize), command.dword(11) >>> 16, pageSize);
	}

	#identify(command: Command): number {
		const { identity, namespaces } = this.#controller;
		const id = command.namespaceId;
		const page = this.#controller.data(IDENTIFY_SIZE);
		const ns = id === 0 ? undefined : namespaces[id - 1];
		switch (command.dword(10) & 0xff) {
			case 0x00:
				if (ns === undefined) return INVALID_NAMESPACE;
				identifyNamespace(identity, id, ns, page);
				break;
			case 0x01:
				identifyController(identity, namespaces.length, page);
				break;
			case 0x02:
				if (id >= 0xfffffffe) return INVALID_NAMESPACE;
				identifyActiveList(namespaces, id, page);
				break;
			case 0x03:
				if (ns === undefined) return INVALID_NAMESPACE;
				identifyDescriptors(identity, id, page);
				break;
			default:
				return INVALID_FIELD;
		}
		return this.#toHost(command, page);
	}

	#getLogPage(command: Command): number {
		const { log, identity, events, hours } = this.#controller;
		const dword10 = command.dword(10);
		const id = dword10 & 0xff;
		const source = log.page(id, identity.firmware, this.#warning(), hours);
		if (source === undefined) return INVALID_LOG_PAGE;
		// The number of dwords less one is split over two dwords.
		const length = ((dword10 >>> 16) + (command.dword(11) & 0xffff) * 0x10000 + 1) * 4;
		if (length > identity.maximumTransfer) return INVALID_FIELD;
		const offset = command.dword(12);
		if (command.dword(13) !== 0 || offset > source.length || (offset & 3) !== 0) return INVALID_FIELD;
		const data = this.#controller.data(length);
		data.fill(0);
		data.set(source.subarray(offset, offset + length));
		const retain = (dword10 & 0x8000) !== 0;
		if (!retain) events.acknowledge(id);
		return this.#toHost(command, data);
	}

	/** Commands are executed as soon as they are fetched, so only a held event request can be aborted. */
	#abort(command: Command): number {
		const queueId = command.dword(10) & 0xffff;
		const commandId = command.dword(10) >>> 16;
		if (this.#controller.queues.submission(queueId) === undefined) return INVALID_FIELD;
		const aborted = queueId === 0 && this.#controller.events.abort(commandId);
		command.result = aborted ? 0 : 1;
		return SUCCESS;
	}

	#setFeatures(command: Command): number {
		const { features, queues, events } = this.#controller;
		const before = this.#warning();
		const status = answer(command, features.set(command.dword(10), command.dword(11), queues.hasIoQueues));
		const risen = this.#warning() & ~before;
		if (risen !== 0 && features.wantsEvent(risen)) events.raise(HEALTH_EVENT, TEMPERATURE_THRESHOLD, HEALTH_LOG);
		return status;
	}

	#warning(): number {
		return this.#controller.features.isCritical(TEMPERATURE) ? WARNING_TEMPERATURE : 0;
	}

	#toHost(command: Command, data: Uint8Array): number {
		const { transfer, pageSize } = this.#controller;
		return transfer.move(data, "to-host", pageSize, command.prp1, command.prp2);
	}
}

function queueRequest(command: Command, entrySize: number) {
	const dword10 = command.dword(10);
	return {
		id: dword10 & 0xffff,
		size: (dword10 >>> 16) + 1,
		base: command.prp1,
		entrySize,
		contiguous: (command.dword(11) & 1) !== 0,
	};
}

/** A value at or above 0 is the completion's dword 0; below, a status. */
function answer(command: Command, value: number): number {
	if (value < 0) return -value;
	command.result = value;
	return SUCCESS;
}
