/** A host with platform devices for the tests, and the calls a VFIO program makes on one. */
import type { AccessWidth } from "../../../core/kernel.ts";
import { deviceTreeNode } from "../../../core/platform/device-tree/node.ts";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_DEVICE_SET_IRQS,
	vfio_device_info,
	vfio_irq_info,
	vfio_irq_set,
	vfio_region_info,
} from "../../../core/uapi/vfio.ts";
import {
	Host,
	type LinuxOptions,
	Machine,
	type PlatformDescription,
	PlatformHardware,
	type PlatformModel,
	type SimProcess,
	SimulatedLinux,
} from "../../../kernel-sim/mod.ts";
import { deviceFd, outcome, setContainer, setIommu } from "../linux/support.ts";

export const NAME = "fff00000.widget";
export const OTHER = "fff10000.widget";
export const REGION = 2 ** 40;
export const DRIVERS = "/sys/bus/platform/drivers";
export const DEVICES = "/sys/bus/platform/devices";

/** Registers that only remember, and every access to them. */
export class Registers implements PlatformModel {
	readonly accesses: string[] = [];
	readonly values = new Map<string, number>();
	resets = 0;
	attach(): void {}
	read(region: number, offset: number, width: AccessWidth): number {
		this.accesses.push(`r${width}@${region}:${offset.toString(16)}`);
		return this.values.get(`${region}:${offset}`) ?? 0x11223344;
	}
	write(region: number, offset: number, width: AccessWidth, value: number): void {
		this.accesses.push(`w${width}@${region}:${offset.toString(16)}=${value.toString(16)}`);
		this.values.set(`${region}:${offset}`, value);
	}
	reset(): void {
		this.resets++;
		this.values.clear();
	}
}

/** Two pages of registers; a small read-only block; I/O ports. Lines: level, edge, level. */
export function widget(name: string, options: Partial<PlatformDescription> = {}): PlatformDescription {
	const address = BigInt(`0x${name.split(".")[0]}`);
	return {
		name,
		regions: [
			{ kind: "mmio", address, size: 0x2000, backing: "registers" },
			{ kind: "mmio", address: address + 0x2000n, size: 0x106, readOnly: true, backing: "memory" },
			{ kind: "io", address: 0x300n, size: 8, backing: "registers" },
		],
		interrupts: [
			{ number: 40, trigger: "level" },
			{ number: 41, trigger: "edge" },
			{ number: 42, trigger: "level" },
		],
		node: deviceTreeNode(`widget@${name.split(".")[0]}`, { compatible: ["acme,widget-2", "acme,widget"] }),
		resettable: true,
		...options,
	};
}

/** A Linux with the widget, bound to vfio-platform. */
export class Bench {
	readonly machine: Machine;
	readonly model = new Registers();
	readonly hardware: PlatformHardware;
	readonly linux: SimulatedLinux;
	readonly kernel: SimProcess;

	constructor(description = widget(NAME), options: Partial<LinuxOptions> = {}, machine = new Machine()) {
		this.machine = machine;
		this.hardware = new PlatformHardware(description, this.model);
		this.machine.plugPlatform(this.hardware);
		this.linux = new SimulatedLinux({ host: new Host(this.machine), ...options });
		this.kernel = this.linux.process();
	}

	/** @returns what the bind answered */
	bind(name = NAME): string {
		this.kernel.writeFile(`${DEVICES}/${name}/driver_override`, "vfio-platform");
		return String(outcome(() => this.kernel.writeFile(`${DRIVERS}/vfio-platform/bind`, name)) ?? "ok");
	}

	/** The group in a container. */
	group(name = NAME): { container: number; group: number } {
		const id = this.kernel.readLink(`${DEVICES}/${name}/iommu_group`).split("/").at(-1);
		const container = this.kernel.open("/dev/vfio/vfio", O_RDWR);
		const group = this.kernel.open(`/dev/vfio/${id}`, O_RDWR);
		setContainer(this.kernel, group, container);
		setIommu(this.kernel, container);
		return { container, group };
	}

	/** Bound and open. */
	open(name = NAME): number {
		this.bind(name);
		return deviceFd(this.kernel, this.group(name).group, name);
	}

	setIrqs(fd: number, flags: number, index: number, start: number, count: number, data: readonly number[] = []) {
		const argument = vfio_irq_set.create(data.length);
		Object.assign(argument, { argsz: argument.bytes.length, flags, index, start, count });
		argument.bytes.set(data, vfio_irq_set.size);
		return outcome(() => this.kernel.ioctl(fd, VFIO_DEVICE_SET_IRQS, argument.bytes));
	}

	/** What has been signalled since the last read. */
	signals(eventfd: number): number {
		const buffer = new Uint8Array(8);
		return outcome(() => this.kernel.read(eventfd, buffer)) === "EAGAIN" ? 0 : (buffer[0] ?? 0);
	}

	info(fd: number) {
		const info = vfio_device_info.create();
		info.argsz = vfio_device_info.size;
		this.kernel.ioctl(fd, VFIO_DEVICE_GET_INFO, info.bytes);
		return { flags: info.flags, regions: info.num_regions, irqs: info.num_irqs };
	}

	region(fd: number, index: number, argsz = vfio_region_info.size) {
		const info = vfio_region_info.create();
		Object.assign(info, { argsz, index });
		return outcome(() => {
			this.kernel.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info.bytes);
			return { flags: info.flags, size: info.size, offset: info.offset };
		});
	}

	irq(fd: number, index: number, argsz = vfio_irq_info.size) {
		const info = vfio_irq_info.create();
		Object.assign(info, { argsz, index });
		return outcome(() => {
			this.kernel.ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, info.bytes);
			return { flags: info.flags, count: info.count };
		});
	}
}

/** A file descriptor as data of SET_IRQS. */
export function fdBytes(fd: number): number[] {
	return [...new Uint8Array(Int32Array.of(fd).buffer)];
}
