import * as kvm from "../../core/uapi/kvm.ts";
import { requestName } from "../../core/uapi/requests.ts";
import { type Answer, answer, must } from "./calls.ts";
import type { Trial } from "./trial.ts";

/** The calls of KVM with short names, all of them written down, and what they open closed at the end. */
export class KvmCalls {
	readonly #trial: Trial;

	constructor(trial: Trial) {
		this.#trial = trial;
	}

	/** /dev/kvm. */
	system(): number {
		return must(this.#trial.open("/dev/kvm"), "open /dev/kvm");
	}

	/** A virtual machine. @param irqchip with interrupt controllers */
	machine(irqchip = true): number {
		const vm = must(
			this.#opens(this.system(), kvm.KVM_CREATE_VM, 0, "vm", "0", (result) => result),
			"CREATE_VM",
		);
		if (irqchip) must(this.#trial.ioctl(vm, kvm.KVM_CREATE_IRQCHIP, 0, "device"), "CREATE_IRQCHIP");
		return vm;
	}

	extension(fd: number, extension: number): Answer {
		return this.#trial.ioctl(fd, kvm.KVM_CHECK_EXTENSION, extension, "device");
	}

	/** KVM_CREATE_DEVICE. @returns its descriptor, 0 for a test, or the error's name */
	device(vm: number, type = kvm.KVM_DEV_TYPE_VFIO, flags = 0): Answer {
		const request = kvm.kvm_create_device.create();
		Object.assign(request, { type, flags });
		const makes = (result: number) =>
			flags & kvm.KVM_CREATE_DEVICE_TEST ? undefined : result === 0 ? request.fd : undefined;
		return this.#opens(vm, kvm.KVM_CREATE_DEVICE, request.bytes, "kvm-vfio", `type ${type} flags ${flags}`, makes);
	}

	/** An attribute of KVM's VFIO device. @param fd what the attribute points to; undefined for a bad pointer */
	attribute(device: number, request: number, attr: number, fd: number | undefined, group = 1): Answer {
		const pointed = this.#trial.quietly(() => this.#trial.buffer(4096));
		new DataView(pointed.bytes.buffer, pointed.bytes.byteOffset).setInt32(0, fd ?? 0, true);
		const argument = kvm.kvm_device_attr.create();
		Object.assign(argument, { group, attr: BigInt(attr), addr: fd === undefined ? 8n : pointed.address });
		const name = fd === undefined ? "a bad pointer" : this.#name(fd);
		return this.#trial.ioctl(device, request, argument.bytes, "device", `group ${group} attr ${attr} ${name}`);
	}

	add(device: number, fd: number): Answer {
		return this.attribute(device, kvm.KVM_SET_DEVICE_ATTR, kvm.KVM_DEV_VFIO_FILE_ADD, fd);
	}

	remove(device: number, fd: number): Answer {
		return this.attribute(device, kvm.KVM_SET_DEVICE_ATTR, kvm.KVM_DEV_VFIO_FILE_DEL, fd);
	}

	irqfd(vm: number, fd: number, gsi: number, flags = 0, resamplefd = 0): Answer {
		const request = kvm.kvm_irqfd.create();
		Object.assign(request, { fd, gsi, flags, resamplefd });
		const resample = flags & kvm.KVM_IRQFD_FLAG_RESAMPLE ? ` resample ${this.#name(resamplefd)}` : "";
		const words = `${this.#name(fd)} gsi ${gsi} flags ${flags}${resample}`;
		return this.#trial.ioctl(vm, kvm.KVM_IRQFD, request.bytes, "device", words);
	}

	/** @param entries GSI, type, flags, and the words of the union */
	routing(vm: number, entries: readonly (readonly number[])[], flags = 0, count = entries.length): Answer {
		const { size } = kvm.kvm_irq_routing_entry;
		const request = kvm.kvm_irq_routing.create(entries.length * size);
		request.nr = count;
		request.flags = flags;
		const view = new DataView(request.bytes.buffer);
		for (const [index, words] of entries.entries())
			for (const [word, value] of words.entries())
				view.setUint32(kvm.kvm_irq_routing.size + size * index + 4 * (word < 3 ? word : word + 1), value, true);
		const words = `nr ${count} flags ${flags} ${entries.map((entry) => `[${entry.join(" ")}]`).join(" ")}`;
		return this.#trial.ioctl(vm, kvm.KVM_SET_GSI_ROUTING, request.bytes, "device", words);
	}

	ioeventfd(vm: number, fd: number, addr: bigint, len: number, flags = 0, datamatch = 0n): Answer {
		const request = kvm.kvm_ioeventfd.create();
		Object.assign(request, { fd, addr, len, flags, datamatch });
		const words = `${this.#name(fd)} at 0x${addr.toString(16)} len ${len} flags ${flags} match ${datamatch}`;
		return this.#trial.ioctl(vm, kvm.KVM_IOEVENTFD, request.bytes, "device", words);
	}

	message(vm: number, address: number, data: number): Answer {
		const request = kvm.kvm_msi.create();
		Object.assign(request, { address_lo: address, data });
		const words = `0x${address.toString(16)}=0x${data.toString(16)}`;
		return this.#trial.ioctl(vm, kvm.KVM_SIGNAL_MSI, request.bytes, "device", words);
	}

	line(vm: number, gsi: number, level: number): Answer {
		const bytes = new Uint8Array(8);
		new DataView(bytes.buffer).setUint32(0, gsi, true);
		new DataView(bytes.buffer).setUint32(4, level, true);
		return this.#trial.ioctl(vm, kvm.KVM_IRQ_LINE, bytes, "device", `gsi ${gsi} level ${level}`);
	}

	#name(fd: number): string {
		return this.#trial.observations.fd(fd);
	}

	/** A call that may make a descriptor. @param made which, of what it returned */
	#opens(
		fd: number,
		request: number,
		argument: Uint8Array | number,
		kind: string,
		words: string,
		made: (result: number) => number | undefined,
	): Answer {
		const trial = this.#trial;
		const result = answer(() => trial.target.kernel.ioctl(fd, request, argument));
		const opened = typeof result === "number" ? made(result) : undefined;
		trial.observations.add(requestName(request, "device"), words, opened === undefined ? result : "fd");
		if (opened === undefined) return result;
		trial.own(opened, kind);
		return opened;
	}
}
