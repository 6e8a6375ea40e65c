/**
 * What happens in a machine that whoever controls it may want to know.
 *
 * @module
 */
import type { RequestAction } from "../pci/request-policy.ts";

/** Something happened; how it is called on the wire, the dialect says. */
export type MachineEvent =
	/** The processor stands still, or goes on. */
	| { readonly type: "stop" | "resume" }
	| { readonly type: "reset" | "shutdown"; readonly guest: boolean; readonly reason: string }
	/** The device has left the machine and is closed: the host may use it again. */
	| { readonly type: "device-deleted"; readonly id: string }
	/** The guest was asked to let go of the device, and keeps it. */
	| { readonly type: "unplug-refused"; readonly id: string }
	/** The device reported an error that the host cannot correct. */
	| { readonly type: "device-error"; readonly id: string }
	/** The host wants the device back, and asked `count` times so far. */
	| {
			readonly type: "device-requested";
			readonly id: string;
			readonly count: number;
			readonly action: RequestAction;
	  };

/** An event as it is sent. */
export interface NamedEvent {
	readonly name: string;
	readonly data?: Readonly<Record<string, unknown>>;
}

/**
 * Names an event. QEMU has no events for errors and requests of an assigned device; those here begin with `VFIO_`, as its
 * `VFIO_MIGRATION` does.
 *
 * @param path how the dialect writes where a device is
 */
export function nameEvent(event: MachineEvent, path: (id: string) => string): NamedEvent {
	switch (event.type) {
		case "stop":
			return { name: "STOP" };
		case "resume":
			return { name: "RESUME" };
		case "reset":
		case "shutdown":
			return { name: event.type.toUpperCase(), data: { guest: event.guest, reason: event.reason } };
		case "device-deleted":
			return { name: "DEVICE_DELETED", data: { device: event.id, path: path(event.id) } };
		case "unplug-refused":
			return { name: "DEVICE_UNPLUG_GUEST_ERROR", data: { device: event.id, path: path(event.id) } };
		case "device-error":
			return { name: "VFIO_DEVICE_ERROR", data: { device: event.id, path: path(event.id) } };
		case "device-requested":
			return {
				name: "VFIO_DEVICE_REQUESTED",
				data: { device: event.id, path: path(event.id), count: event.count, action: event.action },
			};
	}
}
