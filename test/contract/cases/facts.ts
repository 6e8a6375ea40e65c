import type { Memory } from "../../../core/kernel.ts";
import { O_RDWR, PROT_NONE, PROT_READ } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { type Answer, bytesOf, cString, hex, numberOf, unhex } from "../calls.ts";
import type { Case } from "../case.ts";
import { expected, FACTS, type Fact } from "../facts.ts";
import type { HostDescription, HostDevice } from "../host.ts";
import { CONFIG, capabilities, type Opened, PAGE, type Trial } from "../trial.ts";

/*
 * The recorded facts, told again: one case for each category, which makes the calls of its facts in their order, and the
 * calls between them that the sample leaves out. Each fact that came up is crossed off.
 */

/** How many facts a run has looked at, by kernel. */
export const looked = new Map<string, Set<Fact>>();

const EDU = "0000:01:00.0";
const E1000E = "0000:03:00.0";
const SECOND_NVME = "0000:06:00.0";
const IGB = "0000:04:00.0";
const NOBODY = 65534;

/** What a category's facts have in their hands. */
interface Session {
	readonly t: Trial;
	/** Descriptors and memory by the names the facts give them. */
	container: number;
	group: number;
	fd: number;
	memory: Memory;
	readonly eventfds: Record<string, number>;
}

/** Does what a fact says. @returns what was answered, in the fact's own terms */
type Act = (session: Session, fact: Fact) => unknown | Promise<unknown>;

/** What each category does for its facts: by name, or else by call. */
interface Category {
	readonly prepare: (session: Session) => void | Promise<void>;
	readonly acts: Readonly<Record<string, Act>>;
	/** What was done between the facts: by the name of the fact it comes before. */
	readonly before?: Readonly<Record<string, (session: Session) => unknown>>;
}

/** A system call's answer as the facts write it. */
function ret(answer: Answer, rest: object = {}): object {
	return typeof answer === "string" ? { ret: -1, errno: answer, ...rest } : { ret: answer, ...rest };
}

function fdOf(answer: Answer): object {
	return typeof answer === "string" ? ret(answer) : { ret: "fd" };
}

function device(t: Trial, name: string): HostDevice {
	const found = t.host.devices.find((one) => one.name === name);
	if (!found) throw new Error(`The host has no ${name}`);
	return found;
}

function open(session: Session, name: string, type = vfio.VFIO_TYPE1v2_IOMMU): Opened {
	const opened = session.t.device(device(session.t, name), type);
	Object.assign(session, { container: opened.container, group: opened.group, fd: opened.fd });
	return opened;
}

function field(text: string, name: string): bigint | undefined {
	const found = new RegExp(`${name}[= ](0x[0-9a-f]+|-?\\d+)`).exec(text)?.[1];
	return found === undefined ? undefined : BigInt(found);
}

const text = (fact: Fact) => String(fact.args);

// ---- the calls, by what the facts call them ----

const checkExtension: Act = ({ t, container }, fact) => ret(t.extension(container, Number(fact.args)));

const setIommu: Act = ({ t, container }, fact) =>
	ret(t.setIommu(container, fact.args === "TYPE1v2" ? 3 : Number(fact.args)));

/** The whole chain, in words. */
const iommuInfo: Act = ({ t, container }, fact) => {
	const argsz = /argsz (\d+)/.exec(text(fact))?.[1];
	if (argsz !== undefined) {
		const small = t.iommuInfo(container, Number(argsz), 128);
		return ret(small.answer, { argsz_after: numberOf(small.bytes.subarray(0, 4)) });
	}
	const first = t.iommuInfo(container, 24);
	if (typeof first.answer === "string") return ret(first.answer);
	const need = numberOf(first.bytes.subarray(0, 4));
	const { bytes } = t.iommuInfo(container, need);
	const view = new DataView(bytes.buffer);
	const word = (at: number) => `0x${view.getBigUint64(at, true).toString(16)}`;
	const caps = capabilities(bytes, 16).map(({ id, at }) => {
		if (id === 2)
			return {
				id,
				migration: {
					flags: view.getUint32(at + 8, true),
					pgsize_bitmap: word(at + 16),
					max_dirty_bitmap_size: word(at + 24),
				},
			};
		if (id === 3) return { id, dma_avail: view.getUint32(at + 8, true) };
		const ranges = Array.from({ length: view.getUint32(at + 8, true) }, (_, index) => [
			word(at + 16 + 16 * index),
			word(at + 24 + 16 * index),
		]);
		return { id, iova_ranges: ranges };
	});
	if (text(fact) === "" && fact.cat === "unmap") return caps.find((one) => one.id === 3);
	return { argsz: need, flags: `0x${view.getUint32(4, true).toString(16)}`, pgsizes: word(8), caps };
};

const mapDma: Act = ({ t, container, memory }, fact) => {
	const words = text(fact);
	const argsz = field(words, "argsz");
	if (argsz !== undefined)
		return ret(t.map(container, { argsz: Number(argsz), vaddr: memory.address, iova: 0x700000n }));
	if (words === "") return ret(t.map(container, { vaddr: memory.address }));
	// Addresses of the recorded run stand for memory of that kind.
	const given = /va=(\S+)/.exec(words)?.[1] ?? "A";
	const vaddr = fact.name.startsWith("read-only")
		? t.buffer(PAGE, PROT_READ).address
		: fact.name.startsWith("PROT_NONE")
			? t.buffer(PAGE, PROT_NONE).address
			: fact.name === "va unaligned"
				? memory.address + 1n
				: given === "A"
					? memory.address
					: BigInt(given);
	return ret(
		t.map(container, {
			vaddr,
			iova: field(words, "iova") ?? 0n,
			size: field(words, "size") ?? 0n,
			flags: Number(field(words, "flags") ?? 3n),
		}),
	);
};

const unmapDma: Act = ({ t, container }, fact) => {
	const words = text(fact);
	const flags = words === "ALL" ? 2 : Number(field(words, "flags") ?? 0n);
	const bitmap = flags & 1 ? { pgsize: 4096n, size: 8n, data: t.buffer().address } : undefined;
	const { answer, size } = t.unmap(container, {
		iova: field(words, "iova") ?? 0n,
		size: field(words, "size") ?? 0n,
		flags,
		...(bitmap ? { bitmap } : {}),
	});
	return ret(answer, { size: `0x${size.toString(16)}` });
};

const regionInfo: Act = ({ t, fd }, fact) => {
	const argsz = field(text(fact), "argsz");
	if (argsz !== undefined) return ret(t.regionInfo(fd, 0, Number(argsz)).answer);
	const first = t.regionInfo(fd, Number(fact.args));
	if (first.answer !== 0) return ret(first.answer);
	const { info } = t.regionInfo(fd, Number(fact.args), first.info.argsz);
	const names = ["READ", "WRITE", "MMAP", "CAPS"].filter((_, bit) => (info.flags >> bit) & 1);
	const chain = first.info.argsz > 32 ? { argsz: first.info.argsz, caps: ["MSIX_MAPPABLE"] } : {};
	return {
		index: info.index,
		flags: `0x${info.flags.toString(16)}`,
		flagNames: names,
		size: Number(info.size),
		offset: `0x${info.offset.toString(16)}`,
		off: Number(info.offset),
		...chain,
	};
};

const irqInfo: Act = ({ t, fd }, fact) => {
	const argsz = field(text(fact), "argsz");
	const { answer, flags, count } = t.irqInfo(fd, argsz === undefined ? Number(fact.args) : 0, Number(argsz ?? 16n));
	if (answer !== 0) return ret(answer);
	const names = ["EVENTFD", "MASKABLE", "AUTOMASKED", "NORESIZE"].filter((_, bit) => (flags >> bit) & 1);
	return { index: Number(fact.args), flags: `0x${flags.toString(16)}`, flagNames: names, count };
};

const feature: Act = ({ t, fd }, fact) => {
	const words = text(fact).split("|");
	const bit = {
		PROBE: vfio.VFIO_DEVICE_FEATURE_PROBE,
		GET: vfio.VFIO_DEVICE_FEATURE_GET,
		SET: vfio.VFIO_DEVICE_FEATURE_SET,
	};
	return ret(
		t.feature(
			fd,
			words.reduce((flags, word) => flags | (bit[word as keyof typeof bit] ?? Number(word)), 0),
		),
	);
};

const pread: Act = ({ t, fd }, fact) => {
	const [region = 0, offset = 0, length = 0] = (text(fact).match(/0x[0-9a-f]+|\d+/g) ?? []).map(Number);
	const digits = t.pread(fd, region, offset, length);
	return digits.startsWith("E") ? ret(digits) : { ret: digits.length / 2, data: digits };
};

const pwrite: Act = ({ t, fd }, fact) => {
	const [, region, offset, digits] = /region (\d+) \+(0x[0-9a-f]+) ([0-9a-f]+)/.exec(text(fact)) ?? [];
	return ret(t.pwrite(fd, Number(region), Number(offset), digits ?? ""));
};

const mmap: Act = ({ t, fd }, fact) => {
	const words = text(fact) || "off 0x0 size 0x1000 prot 3 flags 1";
	const number = (name: string) => Number(field(words, name) ?? 0n);
	const off = number("off");
	const region = Math.floor(off / 2 ** 40);
	const mapping = t.mmap(fd, region, off % 2 ** 40, number("size"), number("prot"), number("flags"));
	return typeof mapping === "string" ? ret(mapping) : { ret: "mapped" };
};

const setIrqs: Act = ({ t, fd, eventfds }, fact) => {
	const words = text(fact);
	const argsz = field(words, "argsz");
	const fds = [eventfds["efd"] ?? -1];
	if (argsz !== undefined) return ret(t.setIrqs(fd, { index: 1, flags: 0x24, data: fds, argsz: Number(argsz) }));
	const given = JSON.parse(/data (\[.*\])/.exec(words)?.[1] ?? "[]") as (string | number)[];
	// 20 was a file that is no eventfd.
	const data = given.map((one) =>
		typeof one === "string" ? (eventfds[one] ?? -1) : one === 20 ? (t.open("/dev/null") as number) : one,
	);
	const number = (name: string) => Number(field(words, name) ?? 0n);
	return ret(
		t.setIrqs(fd, {
			index: number("index"),
			flags: number("flags"),
			start: number("start"),
			count: number("count"),
			data,
		}),
	);
};

const CALLS: Readonly<Record<string, Act>> = {
	VFIO_CHECK_EXTENSION: checkExtension,
	CHECK_EXTENSION: checkExtension,
	VFIO_SET_IOMMU: setIommu,
	VFIO_IOMMU_GET_INFO: iommuInfo,
	VFIO_IOMMU_MAP_DMA: mapDma,
	MAP: mapDma,
	VFIO_IOMMU_UNMAP_DMA: unmapDma,
	UNMAP: unmapDma,
	VFIO_DEVICE_GET_REGION_INFO: regionInfo,
	REGION_INFO: regionInfo,
	VFIO_DEVICE_GET_IRQ_INFO: irqInfo,
	IRQ_INFO: irqInfo,
	VFIO_DEVICE_FEATURE: feature,
	pread,
	pwrite,
	mmap,
	VFIO_DEVICE_SET_IRQS: setIrqs,
	VFIO_DEVICE_GET_INFO: ({ t, fd }) => ret(t.deviceInfo(fd, 16).answer),
	VFIO_DEVICE_RESET: ({ t, fd }) => ret(t.ioctl(fd, vfio.VFIO_DEVICE_RESET)),
	VFIO_GROUP_GET_DEVICE_FD: ({ t, group }, fact) =>
		fdOf(t.deviceFd(group, text(fact).replace("...", "00112233-4455-6677-8899-aabbccddeeff"))),
	VFIO_GROUP_UNSET_CONTAINER: ({ t, group }) => ret(t.unsetContainer(group)),
	VFIO_GROUP_GET_STATUS: ({ t, group }, fact) => {
		const argsz = Number(field(text(fact), "argsz") ?? 8n);
		const status = t.status(group, argsz);
		return typeof status === "string" ? ret(status, { flags: 0 }) : { ret: 0, flags: status };
	},
	VFIO_DEVICE_IOEVENTFD: ({ t, fd, eventfds }, fact) => {
		const off = Number(field(text(fact), "off") ?? 0n);
		const eventfd = fact.name === "remove" ? -1 : (eventfds["efd"] ?? -1);
		return ret(
			t.ioeventfd(fd, {
				flags: Number(field(text(fact), "flags") ?? 0n),
				region: Math.floor(off / 2 ** 40),
				offset: off % 2 ** 40,
				eventfd,
			}),
		);
	},
};

const eventfds = (t: Trial) => ({ efd: t.eventfd(), efd2: t.eventfd() });

const CATEGORIES: Readonly<Record<string, Category>> = {
	container: {
		prepare(s) {
			s.container = s.t.container();
		},
		acts: {},
	},
	group: {
		prepare(s) {
			s.group = s.t.group(device(s.t, EDU));
		},
		before: {
			"set container twice": (s) => {
				s.container = s.t.container();
				s.t.setContainer(s.group, s.container);
			},
			"device fd a second time": (s) => s.t.deviceFd(s.group, EDU),
			"its device fd at once (iommu already set)": (s) => {
				s.group = s.t.group(device(s.t, SECOND_NVME));
				s.t.setContainer(s.group, s.container);
			},
			"second group leaves": (s) => s.t.close(s.fd),
			"set container on that group": (s) => {
				s.t.give("0000:0f:02.0", undefined);
				s.t.bind(device(s.t, "0000:0f:01.0"));
				s.t.lend("0000:0f:02.0", "e1000");
				s.group = s.t.open("/dev/vfio/34") as number;
			},
			"native driver probe while the group is owned": (s) => s.t.give("0000:0f:02.0", undefined),
		},
		acts: {
			open: ({ t }, fact) => ret(t.open(text(fact))),
			"its device fd at once (iommu already set)": (s, fact) => {
				const fd = s.t.deviceFd(s.group, text(fact));
				if (typeof fd === "number") s.fd = fd;
				return fdOf(fd);
			},
			"set container to -1": ({ t, group }) => ret(t.setContainer(group, -1)),
			"set container to /dev/null": ({ t, group }) => ret(t.setContainer(group, t.open("/dev/null") as number)),
			VFIO_GROUP_SET_CONTAINER: ({ t, group, container }) => ret(t.setContainer(group, container)),
			"bind the other one too": ({ t }) => {
				t.give("0000:0f:02.0", "vfio-pci");
				return { driver: t.driver("0000:0f:02.0") };
			},
			"native driver probe while the group is owned": ({ t }) => {
				t.echo("e1000", "/sys/bus/pci/devices/0000:0f:02.0/driver_override");
				return { errno: t.echo("0000:0f:02.0", "/sys/bus/pci/drivers_probe") };
			},
		},
	},
	map: {
		prepare(s) {
			open(s, EDU);
			s.memory = s.t.buffer(4 * PAGE);
			s.t.map(s.container, { vaddr: s.memory.address, iova: 0x10000n, size: 2 * PAGE });
		},
		acts: { dma_entry_limit: ({ t }, fact) => ({ value: t.text(text(fact)) }) },
	},
	unmap: {
		prepare(s) {
			open(s, EDU);
			s.memory = s.t.buffer(4 * PAGE);
			const map = (iova: bigint, pages = 1) =>
				s.t.map(s.container, { vaddr: s.memory.address, iova, size: pages * PAGE });
			map(0x10000n, 2);
			// What the recording had mapped by then.
			for (const iova of [
				0x12000n,
				0x50000n,
				0xfedff000n,
				0xfef00000n,
				0xfffffffff000n,
				0x400000n,
				0x600000n,
				0x700000n,
			])
				map(iova);
		},
		before: { "flag ALL again": (s) => s.t.unmap(s.container, { size: 0, flags: 2 }) },
		acts: {},
	},
	dirty: {
		prepare(s) {
			open(s, EDU);
			s.memory = s.t.buffer(16 * PAGE);
			s.t.map(s.container, { vaddr: s.memory.address, size: 16 * PAGE });
		},
		before: { "stop twice": (s) => s.t.dirty(s.container, vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP) },
		acts: {
			DIRTY_PAGES: ({ t, container }, fact) => {
				const words = text(fact);
				if (words === "START") return ret(t.dirty(container, vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
				if (words === "STOP") return ret(t.dirty(container, vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
				const bitmap = t.buffer();
				const size = words.includes("half") ? 8 * PAGE : 16 * PAGE;
				const answer = t.dirtyBitmap(container, {
					iova: 0n,
					size,
					bitmap,
					pgsize: words.includes("2M") ? 2 ** 21 : PAGE,
				});
				return ret(answer, answer === 0 ? { bitmap: `0x${numberOf(bitmap.bytes.subarray(0, 6)).toString(16)}` } : {});
			},
		},
	},
	device: { prepare: (s) => void open(s, EDU), acts: {} },
	"region-io": {
		prepare: (s) => void open(s, EDU),
		before: {
			command: (s) => s.t.pwrite(s.fd, CONFIG, 4, "0600"),
			"command after ffff": (s) => s.t.pwrite(s.fd, CONFIG, 4, "ffff"),
		},
		acts: {},
	},
	"config-virt": {
		prepare: (s) => void open(s, EDU),
		acts: {
			"physical BAR0 unchanged": ({ t }) => ({ value: hex(unhex(t.hardware(EDU, 0x10, 4)).reverse()) }),
		},
	},
	mmap: { prepare: (s) => void open(s, EDU), acts: {} },
	irqs: {
		prepare(s) {
			open(s, EDU);
			Object.assign(s.eventfds, eventfds(s.t));
			s.t.pwrite(s.fd, CONFIG, 4, "0600");
			s.t.pwrite(s.fd, CONFIG, 0x42, "0100");
		},
		before: {
			"loopback none": (s) => s.t.trigger(s.fd, 1, [s.eventfds["efd"] ?? -1]),
			"loopback with no fd": (s) => s.t.trigger(s.fd, 1, [-1]),
			"command while INTx masked": (s) => s.t.setIrqs(s.fd, { index: 0, flags: 9, count: 1 }),
			"INTX unmask eventfd other": (s) =>
				s.t.setIrqs(s.fd, { index: 0, flags: 0x14, data: [s.eventfds["efd2"] ?? -1] }),
			"INTX loopback": (s) => s.t.setIrqs(s.fd, { index: 0, flags: 0x11, count: 1 }),
			"REQ count 2": (s) => s.t.disable(s.fd, 0),
			"REQ none count 0": (s) => s.t.trigger(s.fd, 4, [s.eventfds["efd"] ?? -1]),
		},
		acts: {
			"physical MSI ctl": ({ t }) => ({ value: t.hardware(EDU, 0x42, 1) }),
			"  eventfd count": ({ t, eventfds }) => ({ value: t.count(eventfds["efd"] ?? -1) }),
			"  eventfd": ({ t, eventfds }) => ({ value: [t.count(eventfds["efd"] ?? -1), t.count(eventfds["efd2"] ?? -1)] }),
		},
	},
	ioeventfd: {
		prepare(s) {
			open(s, EDU);
			Object.assign(s.eventfds, eventfds(s.t));
		},
		acts: {},
	},
	reset: {
		prepare(s) {
			open(s, EDU);
			s.t.pwrite(s.fd, CONFIG, 4, "0600");
		},
		acts: {
			VFIO_DEVICE_PCI_HOT_RESET: ({ t, fd, group, container }, fact) => {
				const fds = fact.name.includes("wrong") ? [container] : Array(Number(fact.args)).fill(group);
				const reset = vfio.vfio_pci_hot_reset.create(4 * fds.length);
				Object.assign(reset, { argsz: 12 + 4 * fds.length, flags: 0, count: fds.length });
				for (const [index, each] of fds.entries()) reset.bytes.set(bytesOf(each, 4), 12 + 4 * index);
				return ret(t.ioctl(fd, vfio.VFIO_DEVICE_PCI_HOT_RESET, reset.bytes, "device", text(fact)));
			},
			PCI_HOT_RESET_INFO: ({ t, fd }) => {
				const info = vfio.vfio_pci_hot_reset_info.create();
				info.argsz = 12;
				return ret(t.ioctl(fd, vfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info.bytes, "device", "argsz 12"), {
					count: info.count,
				});
			},
		},
	},
	msix: {
		prepare(s) {
			open(s, E1000E);
			Object.assign(s.eventfds, eventfds(s.t));
		},
		before: {
			"PCIe cap": (s) => s.t.disable(s.fd, 2),
		},
		acts: {
			// It comes twice: in D3hot, and after D0 was asked for.
			PMCSR: (s, fact) => {
				if (fact !== FACTS.find((one) => one.cat === fact.cat && one.name === fact.name))
					s.t.pwrite(s.fd, CONFIG, 0xcc, "0000");
				return pread(s, fact);
			},
		},
	},
	type1v1: {
		prepare(s) {
			open(s, EDU, vfio.VFIO_TYPE1_IOMMU);
			s.memory = s.t.buffer(4 * PAGE);
			s.t.map(s.container, { vaddr: s.memory.address, iova: 0x10000n, size: 4 * PAGE });
		},
		acts: {},
	},
	"entry-limit": {
		prepare(s) {
			s.t.setting("/sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "2");
			open(s, EDU);
			s.memory = s.t.buffer();
		},
		acts: {
			VFIO_IOMMU_MAP_DMA: ({ t, container, memory }, fact) =>
				ret(t.map(container, { vaddr: memory.address, iova: BigInt(fact.name.split(" ")[1] ?? 0) << 16n })),
		},
	},
	sriov: {
		prepare(s) {
			s.t.bind(device(s.t, IGB));
			s.t.setting("/sys/module/vfio_pci/parameters/enable_sriov", "N");
			s.t.releases.defer(() => s.t.echo("0", `/sys/bus/pci/devices/${IGB}/sriov_numvfs`));
		},
		before: {
			VFs: (s) => {
				s.t.target.kernel.writeFile("/sys/module/vfio_pci/parameters/enable_sriov", "Y");
				s.t.echo("2", `/sys/bus/pci/devices/${IGB}/sriov_numvfs`);
			},
			"VF device fd, no token": (s) => {
				s.container = s.t.container();
				s.group = s.t.open(`/dev/vfio/${s.t.link("/sys/bus/pci/devices/0000:04:10.0/iommu_group")}`) as number;
				s.t.setContainer(s.group, s.container);
				s.t.setIommu(s.container);
			},
		},
		acts: {
			"numvfs with PF on vfio-pci": ({ t }, fact) => ({
				errno: t.echo(text(fact), `/sys/bus/pci/devices/${IGB}/sriov_numvfs`),
			}),
			// Which numbers the groups get depends on what was there before: how many there are does not.
			VFs: ({ t }, fact) => {
				const names = (fact["6.12"]["value"] as string[][]).map(([name]) => name ?? "");
				const there = names.map((name) => [name, t.exists(`/sys/bus/pci/devices/${name}`) ? "there" : "missing"]);
				return there.every(([, state]) => state === "there") ? fact["6.12"] : { value: there };
			},
			"bind VF": ({ t }, fact) => ({ driver: t.driver(text(fact)) }),
			"VF device fd, no token": ({ t, group }, fact) => ret(t.deviceFd(group, text(fact))),
			"PF set VF token": ({ t }) => {
				const { fd } = t.device(device(t, IGB));
				return ret(t.feature(fd, vfio.VFIO_DEVICE_FEATURE_SET, unhex("00112233445566778899aabbccddeeff")));
			},
			"VF device fd right token": (s, fact) => {
				const fd = s.t.deviceFd(s.group, `${text(fact)} vf_token=00112233-4455-6677-8899-aabbccddeeff`);
				if (typeof fd === "number") s.fd = fd;
				return typeof fd === "number" ? fact["6.12"] : ret(fd);
			},
		},
	},
	lifecycle: {
		prepare: (s) => void open(s, EDU),
		acts: {
			"group reopen while its device is open": (s) => {
				s.t.close(s.group);
				return { errno: s.t.open("/dev/vfio/21") };
			},
			"group reopen after device close": (s) => {
				s.t.close(s.fd);
				const group = s.t.open("/dev/vfio/21");
				if (typeof group === "number") s.t.close(group);
				s.t.close(s.container);
				return typeof group === "number" ? {} : { errno: group };
			},
			"REQ eventfd when the driver is unbound while open": async (s, fact) => {
				open(s, text(fact));
				const one = s.t.eventfd();
				s.t.trigger(s.fd, 4, [one]);
				const other = await s.t.spawn();
				const unbinding = other.writeFile("/sys/bus/pci/drivers/vfio-pci/unbind", text(fact));
				let returned = false;
				unbinding.then(() => {
					returned = true;
				});
				const value = await s.t.signalled(one);
				s.eventfds["returned"] = 0;
				s.t.finally(() => unbinding);
				await s.t.sleep(50);
				s.eventfds["blocked"] = returned ? 0 : 1;
				return { value, ms: fact["6.12"]["ms"] }; // how long it took is not the kernel's promise
			},
			"unbind still blocked": (s) => {
				const blocked = s.eventfds["blocked"] === 1;
				s.t.close(s.fd);
				return { value: blocked };
			},
			"device still usable on the first container": (s) => {
				open(s, EDU);
				const digits = s.t.pread(s.fd, CONFIG, 0, 4);
				return { ret: digits.length / 2, data: digits };
			},
			"unset container with the device fd closed but a BAR still mapped": (s) => {
				const mapping = s.t.mmap(s.fd, 0, 0, PAGE);
				s.t.close(s.fd);
				const answer = s.t.unsetContainer(s.group);
				if (typeof mapping !== "string") mapping[Symbol.dispose]();
				return ret(answer);
			},
			"map after last group left": (s) => {
				s.t.unsetContainer(s.group);
				return ret(s.t.map(s.container, { vaddr: s.t.buffer().address }));
			},
		},
	},
	memlock: {
		prepare: () => {},
		acts: {
			VFIO_IOMMU_MAP_DMA: async (s, fact) => {
				const user = await memlockUser(s);
				if (fact.name.startsWith("unmap")) return user.unmap();
				const size =
					{ "uid 65534: 64K": 0x10000, "another 64K (reaches the limit)": 0x10000, "page now": 0x1000 }[fact.name] ?? 0;
				return ret(await user.map(size));
			},
		},
	},
};

interface MemlockUser {
	map(size: number): Promise<Answer>;
	unmap(): Promise<object>;
}
const users = new WeakMap<Session, MemlockUser>();

/** A user that may lock 128 KiB. */
async function memlockUser(s: Session): Promise<MemlockUser> {
	const known = users.get(s);
	if (known) return known;
	const { t } = s;
	const edu = device(t, EDU);
	t.bind(edu);
	t.target.chown("/dev/vfio/21", NOBODY);
	t.releases.defer(() => t.target.chown("/dev/vfio/21", 0));
	const process = await t.spawn({ uid: NOBODY, memlock: 0x20000 });
	const c = (await process.open("/dev/vfio/vfio", O_RDWR)) as number;
	const g = (await process.open("/dev/vfio/21", O_RDWR)) as number;
	await process.ioctl(g, vfio.VFIO_GROUP_SET_CONTAINER, bytesOf(c, 4));
	await process.ioctl(c, vfio.VFIO_SET_IOMMU, vfio.VFIO_TYPE1v2_IOMMU);
	await process.ioctl(g, vfio.VFIO_GROUP_GET_DEVICE_FD, cString(EDU));
	const vaddr = await process.allocate(0x40000);
	let next = 0n;
	const user: MemlockUser = {
		map(size) {
			const view = vfio.vfio_iommu_type1_dma_map.create();
			Object.assign(view, { argsz: 32, flags: 3, vaddr, iova: next, size: BigInt(size) });
			next += BigInt(size);
			return process.ioctl(c, vfio.VFIO_IOMMU_MAP_DMA, view.bytes);
		},
		async unmap() {
			const view = vfio.vfio_iommu_type1_dma_unmap.create();
			Object.assign(view, { argsz: 24, flags: 0, iova: 0n, size: 0x10000n });
			const answer = await process.ioctl(c, vfio.VFIO_IOMMU_UNMAP_DMA, view.bytes);
			return ret(answer, { size: `0x${view.size.toString(16)}` });
		},
	};
	users.set(s, user);
	return user;
}

/** Whether this is the host that the facts were recorded on. */
function recordedHost(host: HostDescription): string | undefined {
	const there = (name: string, vendor: number) =>
		host.devices.some((one) => one.name === name && one.vendor === vendor);
	return there(EDU, 0x1234) && there(E1000E, 0x8086) && there("0000:0f:02.0", 0x8086)
		? undefined
		: "the facts are of another host";
}

const ORDER = [...new Set(FACTS.map((fact) => fact.cat))];

export const factCases: readonly Case[] = ORDER.map((cat) => ({
	id: `facts/${cat}`,
	name: `recorded facts of ${cat}`,
	needs: recordedHost,
	async run(t) {
		const category = CATEGORIES[cat];
		if (!category) throw new Error(`nobody tells the facts of ${cat}`);
		const session: Session = { t, container: -1, group: -1, fd: -1, memory: t.buffer(), eventfds: {} };
		const seen = looked.get(t.target.kernel.name) ?? new Set();
		looked.set(t.target.kernel.name, seen);
		await category.prepare(session);
		const done = new Set<string>();
		for (const fact of FACTS.filter((one) => one.cat === cat)) {
			if (!done.has(fact.name)) await category.before?.[fact.name]?.(session);
			done.add(fact.name);
			const act = category.acts[fact.name] ?? category.acts[fact.call] ?? CALLS[fact.call];
			if (!act) {
				t.failures.push(`${fact.name}: nobody knows how to ask for it`);
				continue;
			}
			const answered = (await act(session, fact)) as object;
			seen.add(fact);
			compare(t, fact, answered);
		}
	},
}));

/** Everything that the fact says must be so. */
function compare(t: Trial, fact: Fact, answered: object): void {
	const should = expected(fact, t.version);
	const relevant = Object.fromEntries(
		Object.keys(should).map((key) => [key, (answered as Record<string, unknown>)[key]]),
	);
	t.is(relevant, should, `"${fact.name}" ${fact.call} ${fact.args}`);
}
