import { KernelError } from "../../../core/errors.ts";
import { errnoName } from "../../../core/uapi/errno.ts";
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import * as uapi from "../../../core/uapi/vfio.ts";
import { VirtualClock } from "../../../kernel-sim/clock.ts";
import { rootPort } from "../../../kernel-sim/hardware/bridges.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import { programMachine } from "../../../kernel-sim/hardware/firmware.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import type { DeviceModel } from "../../../kernel-sim/hardware/model.ts";
import { Machine, type MachineOptions } from "../../../kernel-sim/hardware/topology.ts";
import { Host } from "../../../kernel-sim/host.ts";
import { SimulatedLinux } from "../../../kernel-sim/linux/linux.ts";
import type { ParameterValues } from "../../../kernel-sim/linux/parameters.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";

/** What a call returned, or the name of its errno. */
export function attempt<T>(call: () => T): T | string {
	try {
		return call();
	} catch (error) {
		if (error instanceof KernelError) return errnoName(error.errno);
		throw error;
	}
}

/** A host with functions below root ports: bus 1 is below port 00:08.0, bus 2 below 00:08.1. Bus 0 is a root bus. */
export function hostWith(
	functions: Readonly<Record<string, readonly [FunctionDescription, DeviceModel?]>>,
	options: MachineOptions = {},
): Host {
	const machine = new Machine(options);
	for (const port of [0, 1])
		machine.plug(
			`0000:00:08.${port}`,
			new PciFunction(rootPort({ secondary: port + 1, slot: port + 1, multifunction: port === 0 })),
		);
	for (const [address, [description, model]] of Object.entries(functions))
		machine.plug(address, new PciFunction(description, model));
	programMachine(machine);
	return new Host(machine);
}

/** A region's place in the device's file. */
export function at(index: number, offset = 0): number {
	return index * 2 ** 40 + offset;
}

/** A device bound to vfio-pci, opened through its group in a container of type 1 version 2. */
export class Bench {
	readonly linux: SimulatedLinux;
	readonly machine: Machine;
	/** Time of this Linux. */
	readonly clock = new VirtualClock();
	readonly process: SimProcess;
	readonly address: string;
	readonly fn: PciFunction;
	container = -1;
	group = -1;
	fd = -1;

	constructor(
		host: Host,
		address: string,
		version: "6.12" | "7.2" = "6.12",
		open = true,
		parameters: ParameterValues = {},
	) {
		this.machine = host.machine;
		this.linux = new SimulatedLinux({ host, version, parameters, clock: this.clock });
		this.process = this.linux.process();
		this.address = address;
		const fn = host.machine.function(address);
		if (!fn) throw new Error(`nothing at ${address}`);
		this.fn = fn;
		// All of the group, or it is not viable.
		const group = host.machine.groupOf(fn) as number;
		for (const member of host.machine.groups.get(group) ?? []) if (!member.isBridge) this.bind(`${nameOf(member)}`);
		if (open) this.open();
	}

	bind(address: string): void {
		const device = `/sys/bus/pci/devices/${address}`;
		this.process.writeFile(`${device}/driver_override`, "vfio-pci");
		if (attempt(() => this.process.readLink(`${device}/driver`)) !== "ENOENT")
			this.process.writeFile(`${device}/driver/unbind`, address);
		this.process.writeFile("/sys/bus/pci/drivers/vfio-pci/bind", address);
	}

	groupPath(address = this.address): string {
		return `/dev/vfio/${this.process.readLink(`/sys/bus/pci/devices/${address}/iommu_group`).split("/").at(-1)}`;
	}

	/** Opens container, group and device. */
	open(): void {
		this.container = this.process.open("/dev/vfio/vfio", O_RDWR);
		this.group = this.openGroup(this.address);
		this.process.ioctl(this.container, uapi.VFIO_SET_IOMMU, uapi.VFIO_TYPE1v2_IOMMU);
		this.fd = this.deviceFd();
	}

	/** Opens the group of a device and puts it into the container. */
	openGroup(address: string): number {
		const group = this.process.open(this.groupPath(address), O_RDWR);
		this.process.ioctl(group, uapi.VFIO_GROUP_SET_CONTAINER, ints(this.container));
		return group;
	}

	/** Closes all and opens again. */
	reopen(): void {
		for (const fd of [this.fd, this.group, this.container]) this.process.close(fd);
		this.open();
	}

	deviceFd(name = this.address, group = this.group): number {
		return this.process.ioctl(group, uapi.VFIO_GROUP_GET_DEVICE_FD, new TextEncoder().encode(`${name}\0`));
	}

	ioctl(request: number, argument: Uint8Array | number = 0): number | string {
		return attempt(() => this.process.ioctl(this.fd, request, argument));
	}

	// ---- regions ----

	/** pread, as hexadecimal digits of the bytes, or the errno's name. */
	pread(index: number, offset: number, length: number): string {
		const bytes = new Uint8Array(length);
		const count = attempt(() => this.process.pread(this.fd, bytes, at(index, offset)));
		return typeof count === "string" ? count : hex(bytes.subarray(0, count));
	}

	/** pwrite of hexadecimal digits. */
	pwrite(index: number, offset: number, digits: string): number | string {
		return attempt(() => this.process.pwrite(this.fd, unhex(digits), at(index, offset)));
	}

	mmap(index: number, offset: number, length: number, flags = MAP_SHARED, protection = PROT_READ | PROT_WRITE) {
		return this.process.mmap(this.fd, length, protection, flags, at(index, offset));
	}

	/** The configuration space as sysfs shows it: hardware. */
	sysfs(offset: number, length: number): string {
		return hex(this.fn.config.subarray(offset, offset + length));
	}

	regionInfo(index: number, argsz = 64, capOffset = 0) {
		const bytes = new Uint8Array(64);
		const info = uapi.vfio_region_info.view(bytes);
		info.argsz = argsz;
		info.index = index;
		info.cap_offset = capOffset;
		const answer = this.ioctl(uapi.VFIO_DEVICE_GET_REGION_INFO, bytes);
		const { flags, size, offset, cap_offset } = info;
		return typeof answer === "string"
			? answer
			: { argsz: info.argsz, flags, size: Number(size), offset: Number(offset), cap_offset, bytes };
	}

	irqInfo(index: number, argsz = 16): { flags: number; count: number } | string {
		const info = uapi.vfio_irq_info.create();
		info.argsz = argsz;
		info.index = index;
		const answer = this.ioctl(uapi.VFIO_DEVICE_GET_IRQ_INFO, info.bytes);
		return typeof answer === "string" ? answer : { flags: info.flags, count: info.count };
	}

	deviceFlags(): number {
		const info = uapi.vfio_device_info.create();
		info.argsz = uapi.vfio_device_info.size;
		this.process.ioctl(this.fd, uapi.VFIO_DEVICE_GET_INFO, info.bytes);
		return info.flags;
	}

	// ---- interrupts ----

	eventfd(initial = 0): number {
		return this.process.eventfd(initial);
	}

	/** What has been signalled and is taken now; 0 for nothing. */
	count(fd: number): number {
		const bytes = new Uint8Array(8);
		const answer = attempt(() => this.process.read(fd, bytes));
		return answer === "EAGAIN" ? 0 : Number(new DataView(bytes.buffer).getBigUint64(0, true));
	}

	/** @param data file descriptors, or booleans where the flags say so */
	setIrqs(
		index: number,
		flags: number,
		start: number,
		count: number,
		data: readonly number[] = [],
		argsz?: number,
	): number | string {
		const payload = (flags & uapi.VFIO_IRQ_SET_DATA_BOOL) !== 0 ? Uint8Array.from(data) : ints(...data);
		const set = uapi.vfio_irq_set.create(payload.length);
		set.argsz = argsz ?? set.bytes.length;
		set.flags = flags;
		set.index = index;
		set.start = start;
		set.count = count;
		set.bytes.set(payload, uapi.vfio_irq_set.size);
		return this.ioctl(uapi.VFIO_DEVICE_SET_IRQS, set.bytes);
	}

	feature(flags: number, data: Uint8Array = new Uint8Array(), argsz?: number): number | string {
		const feature = uapi.vfio_device_feature.create(data.length);
		feature.argsz = argsz ?? feature.bytes.length;
		feature.flags = flags;
		feature.bytes.set(data, uapi.vfio_device_feature.size);
		return this.ioctl(uapi.VFIO_DEVICE_FEATURE, feature.bytes);
	}

	ioeventfd(flags: number, offset: number, fd: number, data = 0n, argsz = 40): number | string {
		const request = uapi.vfio_device_ioeventfd.create();
		request.argsz = argsz;
		request.flags = flags;
		request.offset = BigInt(offset);
		request.data = data;
		request.fd = fd;
		return this.ioctl(uapi.VFIO_DEVICE_IOEVENTFD, request.bytes);
	}

	hotResetInfo(entries: number) {
		const info = uapi.vfio_pci_hot_reset_info.create(entries * 8);
		info.argsz = info.bytes.length;
		const answer = this.ioctl(uapi.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info.bytes);
		const devices = Array.from({ length: entries }, (_, index) => {
			const { group_id, segment, bus, devfn } = uapi.vfio_pci_dependent_device.view(info.bytes, 12 + 8 * index);
			return { group_id, segment, bus, devfn };
		});
		return { answer, argsz: info.argsz, flags: info.flags, count: info.count, devices };
	}

	hotReset(fds: readonly number[], flags = 0, count = fds.length): number | string {
		const request = uapi.vfio_pci_hot_reset.create(4 * fds.length);
		request.argsz = request.bytes.length;
		request.flags = flags;
		request.count = count;
		request.bytes.set(ints(...fds), uapi.vfio_pci_hot_reset.size);
		return this.ioctl(uapi.VFIO_DEVICE_PCI_HOT_RESET, request.bytes);
	}
}

export function ints(...values: number[]): Uint8Array {
	return new Uint8Array(Int32Array.from(values).buffer);
}

export function hex(bytes: Uint8Array): string {
	return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function unhex(digits: string): Uint8Array {
	return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function nameOf(fn: PciFunction): string {
	const { domain, bus, device, function: number } = fn.address;
	const digits = (value: number, width: number) => value.toString(16).padStart(width, "0");
	return `${digits(domain, 4)}:${digits(bus, 2)}:${digits(device, 2)}.${number}`;
}
