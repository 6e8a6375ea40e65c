/**
 * A virtual machine of KVM, as far as assigned devices need one.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type { KvmBypass, KvmFiles, MessageRoute } from "../machine/kvm-bypass.ts";
import type { PlatformBusOptions } from "../machine/platform-bus.ts";
import type { RootBusKvm } from "../machine/root-bus.ts";
import { Releases } from "../release.ts";
import { isErrno } from "../retry.ts";
import { EBADF, EINVAL } from "../uapi/errno.ts";
import {
	KVM_CAP_IRQ_ROUTING,
	KVM_CHECK_EXTENSION,
	KVM_CREATE_IRQCHIP,
	KVM_IRQFD,
	KVM_SET_GSI_ROUTING,
	kvm_irqfd,
} from "../uapi/kvm.ts";
import { callKvm } from "./call.ts";
import { GsiRoutes, type InterruptPin, PC_PINS, type RoutedMessage } from "./gsi-routes.ts";
import { connectIoeventfd } from "./ioeventfd.ts";
import { connectIrqfd } from "./irqfd.ts";
import { createVm } from "./open-kvm.ts";
import { KvmVfioDevice } from "./vfio-device.ts";

/** -1 in a field of the header that is unsigned. */
const NO_FD = 0xffffffff;

/** Options of {@link KvmVm}. */
export interface KvmVmOptions {
	/**
	 * What the routing table has besides messages, which get the GSIs behind; a PC's PICs and I/O APIC when left out. KVM
	 * takes the table as a whole: what is missing here leads nowhere after the first message.
	 */
	readonly pins?: readonly InterruptPin[];
	/** The machine's VFIO device, where the VMM has made it: a machine can have only one. It stays the VMM's. */
	readonly vfioDevice?: number;
}

/**
 * Interrupts and files of a virtual machine: what an assigned function does with KVM, in KVM's own calls.
 *
 * @example
 * ```ts
 * const vm = KvmVm.create(kernel);
 * const space = new IoAddressSpace(kernel, { kvm: vm });
 * const topology = new PciTopology({
 *   pin: () => {},
 *   message: () => {},
 *   kvm: vm.rootBus((device, pin) => 16 + ((device + pin - 1) & 3)),
 * });
 * topology.plug(AssignedFunction.attach(VfioDevice.open(kernel, "0000:06:00.0", { addressSpace: space })));
 * ```
 */
export class KvmVm
	implements KvmFiles, Pick<KvmBypass, "addMessageRoute" | "commitRoutes" | "connectWrite">, Disposable
{
	readonly kernel: Kernel;
	/** The machine's descriptor. */
	readonly fd: number;
	/** KVM has the interrupt controllers. Without them it can deliver nothing, and devices interrupt through this process. */
	readonly hasIrqchip: boolean;
	readonly #routes: GsiRoutes;
	readonly #releases: Releases;
	readonly #connections = new Set<Disposable>();
	readonly #givenDevice: number | undefined;
	#vfioDevice: KvmVfioDevice | undefined;
	/** The table here is not what KVM has. */
	#changed = false;
	#open = true;

	private constructor(kernel: Kernel, fd: number, options: KvmVmOptions, releases: Releases) {
		this.kernel = kernel;
		this.fd = fd;
		this.hasIrqchip = hasIrqchip(kernel, fd);
		this.#givenDevice = options.vfioDevice;
		const limit = callKvm(kernel, fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING, "ask for KVM's interrupt routes");
		this.#routes = new GsiRoutes(options.pins ?? PC_PINS, limit);
		this.#releases = releases.move();
	}

	/**
	 * Makes a virtual machine with interrupt controllers in the kernel.
	 *
	 * @throws VfioError `no-kvm`, `no-permission`, `kernel`
	 */
	static create(kernel: Kernel, options: KvmVmOptions = {}): KvmVm {
		const releases = new Releases();
		try {
			const fd = createVm(kernel);
			releases.defer(() => kernel.close(fd));
			callKvm(kernel, fd, KVM_CREATE_IRQCHIP, 0, "make the interrupt controllers of a virtual machine");
			return new KvmVm(kernel, fd, options, releases);
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/**
	 * Uses the virtual machine of a VMM, which keeps it.
	 *
	 * @param fd what KVM_CREATE_VM returned
	 * @throws VfioError `kernel`
	 */
	static adopt(kernel: Kernel, fd: number, options: KvmVmOptions = {}): KvmVm {
		return new KvmVm(kernel, fd, options, new Releases());
	}

	/**
	 * KVM for a root bus.
	 *
	 * @param gsiOf which GSI a pin (1 to 4) of a device on the root bus raises at present, or undefined for none
	 * @returns undefined when KVM has no interrupt controllers
	 */
	rootBus(gsiOf: (device: number, pin: number) => number | undefined): RootBusKvm | undefined {
		if (!this.hasIrqchip) return undefined;
		return {
			connectIntx: (device, pin, trigger, resample) => {
				const gsi = gsiOf(device, pin);
				return gsi === undefined ? undefined : this.connectLine(gsi, trigger, resample);
			},
			addMessageRoute: (address, data) => this.addMessageRoute(address, data),
			commitRoutes: () => this.commitRoutes(),
			connectWrite: (io, address, width, value, fd) => this.connectWrite(io, address, width, value, fd),
		};
	}

	/**
	 * KVM for a platform bus: what that takes as `connectEventfd`.
	 *
	 * @param gsiOf which GSI an interrupt of the bus raises, or undefined for none: the same number when left out, as KVM has
	 *   it of a GIC's shared peripheral interrupts
	 * @returns undefined when KVM has no interrupt controllers
	 * @example
	 * ```ts
	 * const vm = KvmVm.create(kernel);
	 * const bus = new PlatformBus({
	 *   base: 0xc000000n,
	 *   size: 0x2000000n,
	 *   interrupts: { first: 16, count: 8 },
	 *   setLine: () => {},
	 *   connectEventfd: vm.platformBus(),
	 * });
	 * ```
	 */
	platformBus(
		gsiOf: (interrupt: number) => number | undefined = (interrupt) => interrupt,
	): PlatformBusOptions["connectEventfd"] {
		if (!this.hasIrqchip) return undefined;
		return (interrupt, trigger, resample) => {
			const gsi = gsiOf(interrupt);
			return gsi === undefined ? undefined : this.connectLine(gsi, trigger, resample);
		};
	}

	/**
	 * A line of an interrupt controller. With `resample`, each signal of `trigger` raises it, and the guest's end of interrupt
	 * lowers it and signals `resample`; without, as for an edge, a signal raises and lowers it.
	 *
	 * @returns dispose it to disconnect the eventfds
	 * @throws VfioError `interrupt-failed`, `disposed`
	 */
	connectLine(gsi: number, trigger: number, resample?: number): Disposable {
		this.#mustBeOpen();
		return this.#track(connectIrqfd(this.kernel, this.fd, gsi, trigger, resample));
	}

	/**
	 * @inheritdoc
	 *
	 * @throws VfioError `interrupt-failed` when all routes are in use, `disposed`
	 */
	addMessageRoute(address: bigint, data: number): MessageRoute {
		this.#mustBeOpen();
		const message = this.#routes.add(address, data);
		this.#changed = true;
		return new KvmMessageRoute(message, {
			changed: () => {
				this.#changed = true;
			},
			connect: (fd) => {
				this.#mustBeOpen();
				return this.#track(connectIrqfd(this.kernel, this.fd, message.gsi, fd));
			},
			remove: () => {
				this.#routes.remove(message);
				this.#changed = true;
			},
		});
	}

	/** @inheritdoc @throws VfioError `interrupt-failed`, and KVM keeps the routes it has; `disposed` */
	commitRoutes(): void {
		this.#mustBeOpen();
		if (!this.#changed) return;
		const table = this.#routes.encode();
		const action = `hand ${this.#routes.count} interrupt routes to KVM`;
		callKvm(this.kernel, this.fd, KVM_SET_GSI_ROUTING, table, action, "interrupt-failed");
		this.#changed = false;
	}

	/** @inheritdoc @throws VfioError `kernel`, `disposed` */
	connectWrite(io: boolean, address: bigint, width: number, value: number, fd: number): Disposable {
		this.#mustBeOpen();
		return this.#track(connectIoeventfd(this.kernel, this.fd, { io, address, width, value }, fd));
	}

	/** @inheritdoc @throws VfioError `kernel`, `already-attached`, `disposed` */
	addFile(fd: number): void {
		this.#mustBeOpen();
		this.#vfioDevice ??=
			this.#givenDevice === undefined
				? KvmVfioDevice.create(this.kernel, this.fd)
				: KvmVfioDevice.adopt(this.kernel, this.#givenDevice);
		this.#vfioDevice.add(fd);
	}

	/** @inheritdoc @throws VfioError `kernel` */
	removeFile(fd: number): void {
		if (this.#open) this.#vfioDevice?.remove(fd);
	}

	/** Disconnects what is connected, and closes the machine unless it is the VMM's. */
	[Symbol.dispose](): void {
		if (!this.#open) return;
		this.#open = false;
		const releases = new Releases();
		releases.use(this.#releases);
		if (this.#vfioDevice) releases.use(this.#vfioDevice);
		for (const connection of this.#connections) releases.use(connection);
		releases[Symbol.dispose]();
	}

	#track(connection: Disposable): Disposable {
		const tracked: Disposable = {
			[Symbol.dispose]: () => {
				if (this.#connections.delete(tracked)) connection[Symbol.dispose]();
			},
		};
		this.#connections.add(tracked);
		return tracked;
	}

	#mustBeOpen(): void {
		if (!this.#open) throw new VfioError("disposed", "Cannot use a virtual machine of KVM: it is closed");
	}
}

interface RouteOwner {
	changed(): void;
	connect(fd: number): Disposable;
	remove(): void;
}

/** A message in the routing table, and the eventfd that sends it. */
class KvmMessageRoute implements MessageRoute {
	readonly #message: RoutedMessage;
	readonly #owner: RouteOwner;
	#connection: Disposable | undefined;

	constructor(message: RoutedMessage, owner: RouteOwner) {
		this.#message = message;
		this.#owner = owner;
	}

	update(address: bigint, data: number): void {
		this.#message.address = address;
		this.#message.data = data;
		this.#owner.changed();
	}

	connect(fd: number): void {
		this.#connection ??= this.#owner.connect(fd);
	}

	/** The eventfd is disconnected at once; its route leaves KVM's table with the next commit, and does no harm until then. */
	[Symbol.dispose](): void {
		const connection = this.#connection;
		this.#connection = undefined;
		try {
			connection?.[Symbol.dispose]();
		} finally {
			this.#owner.remove();
		}
	}
}

/**
 * KVM looks for its interrupt controllers before it looks at descriptors, so that a bad one tells, and changes nothing.
 *
 * @throws VfioError `kernel`
 */
function hasIrqchip(kernel: Kernel, vm: number): boolean {
	const request = kvm_irqfd.create();
	request.fd = NO_FD;
	try {
		callKvm(kernel, vm, KVM_IRQFD, request.bytes, "ask for the interrupt controllers of a virtual machine");
	} catch (error) {
		if (!(error instanceof VfioError) || !isErrno(error.cause, EBADF, EINVAL)) throw error;
		return isErrno(error.cause, EBADF);
	}
	return true;
}
