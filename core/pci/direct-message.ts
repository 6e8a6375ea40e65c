/**
 * A vector whose messages KVM delivers: an eventfd that the device signals and KVM takes for the message.
 *
 * @module
 */
import type { Kernel } from "../kernel.ts";
import type { KvmBypass, MessageRoute } from "../machine/kvm-bypass.ts";

/** The eventfd and the route of one vector. */
export class DirectMessage implements Disposable {
	/** What the device shall signal. */
	readonly fd: number;
	readonly #kernel: Kernel;
	readonly #route: MessageRoute;
	#address: bigint;
	#data: number;
	#connected = false;
	#open = true;

	/** The route counts after the next commit; connect it then. @throws what the kernel or KVM refuses with */
	constructor(kernel: Kernel, kvm: KvmBypass, address: bigint, data: number) {
		this.#kernel = kernel;
		this.#address = address;
		this.#data = data;
		this.#route = kvm.addMessageRoute(address, data);
		try {
			this.fd = kernel.eventfd();
		} catch (error) {
			this.#route[Symbol.dispose]();
			throw error;
		}
	}

	/** KVM takes signals of the eventfd from now on. @throws what KVM refuses with */
	connect(): void {
		if (this.#connected) return;
		this.#route.connect(this.fd);
		this.#connected = true;
	}

	/** @returns whether the message is another one, so that routes have to be committed @throws what KVM refuses with */
	update(address: bigint, data: number): boolean {
		if (address === this.#address && data === this.#data) return false;
		this.#route.update(address, data);
		this.#address = address;
		this.#data = data;
		return true;
	}

	/** Take the eventfd away from the device first. */
	[Symbol.dispose](): void {
		if (!this.#open) return;
		this.#open = false;
		try {
			this.#route[Symbol.dispose]();
		} finally {
			this.#kernel.close(this.fd);
		}
	}
}

/**
 * Puts routes into effect with one commit, then connects them.
 *
 * @param report learns of the ones that KVM refuses
 * @returns those that KVM delivers; the others are disposed, and go through this process
 */
export function connectAll(
	kvm: KvmBypass,
	messages: readonly DirectMessage[],
	report: (error: unknown) => void,
): Set<DirectMessage> {
	const connected = new Set<DirectMessage>();
	const refuse = (error: unknown, refused: readonly DirectMessage[]) => {
		report(error);
		for (const message of refused)
			try {
				message[Symbol.dispose]();
			} catch (failure) {
				report(failure);
			}
	};
	try {
		if (messages.length > 0) kvm.commitRoutes();
	} catch (error) {
		refuse(error, messages);
		return connected;
	}
	for (const message of messages) {
		try {
			message.connect();
			connected.add(message);
		} catch (error) {
			refuse(error, [message]);
		}
	}
	return connected;
}
