import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FailingKernel } from "../../../core/failing-kernel.ts";
import { PciSysfs } from "../../../core/host/mod.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import { VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from "../../../core/uapi/vfio.ts";
import { Host, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { parseDeviceOption } from "../../../runner/cli/device-option.ts";
import { Controlled } from "./controlled.ts";

const NVME = "0000:05:00.0";
const ADD = { id: "vfio-0", driver: "vfio-pci", bus: "pcie.1", host: NVME };

/** A machine whose guest has taken the device. */
async function plugged(options: ConstructorParameters<typeof Controlled>[0] = {}, more: object = {}) {
	const controlled = await new Controlled(options).negotiated();
	expect((await controlled.ask("device_add", { ...ADD, ...more })).map((line) => JSON.parse(line))).toEqual([
		{ return: {} },
	]);
	controlled.guest("pcie.1").powerOn();
	return controlled;
}

const events = (lines: readonly string[]) =>
	lines.flatMap((line) => {
		const { event, data } = JSON.parse(line);
		return event ? [[event, ...Object.values(data ?? {})].join(" ")] : [];
	});

describe("device_add", () => {
	let refusing: Controlled;
	beforeAll(async () => {
		refusing = await new Controlled().negotiated();
	});
	afterAll(() => {
		refusing[Symbol.dispose]();
		expect(refusing.leaks()).toEqual([]);
	});

	it("V-05 plugs in a device whose configuration the guest reads, and takes it out again", async () => {
		const controlled = await plugged();
		const { topology } = controlled;
		topology.hostBridge.portWrite(0xcf8, 4, 0x8000_0018); // the port at 00:00.0
		topology.hostBridge.portWrite(0xcfc, 4, 0x0001_0100);
		topology.hostBridge.portWrite(0xcf8, 4, 0x8001_0000);
		expect(topology.hostBridge.portRead(0xcfc, 4)).toBe(0x0010_1b36);
		await controlled.ask("device_del", { id: "vfio-0" });
		controlled.guest("pcie.1").powerOff();
		expect(topology.hostBridge.portRead(0xcfc, 4)).toBe(0xffff_ffff);
		controlled[Symbol.dispose]();
		expect(controlled.leaks()).toEqual([]);
	});

	it.each([
		[
			"a bus that does not exist",
			{ bus: "pcie.9" },
			'Cannot use bus \\"pcie.9\\": there is no such bus; use one of pcie.0, pcie.1',
		],
		["V-06 the root bus", { bus: "pcie.0" }, "has no hot-plug controller"],
		["V-06 no bus, which is the root bus", { bus: undefined }, "has no hot-plug controller"],
		["V-06 a slot other than 0", { addr: "1" }, "only slot 0"],
		["a slot that does not exist", { addr: "33" }, '\\"33\\" is not a slot'],
		["a device that does not exist", { host: "99:00.0" }, "Cannot find device 0000:99:00.0"],
		["a malformed address", { host: "zz" }, 'Cannot use \\"zz\\" as a PCI address'],
		["no device", { host: undefined }, "names no device"],
		["an iommufd that does not exist", { iommufd: "i" }, 'Cannot use iommufd \\"i\\": there is no such object'],
		["a bad value", { "x-intx": "perhaps" }, 'Cannot use \\"perhaps\\" for intx'],
		["an unknown property", { mac: "x" }, "Property 'vfio-pci.mac' not found"],
		["a bad switch", { multifunction: "perhaps" }, "takes on or off"],
		["a platform device", { driver: "vfio-platform", host: "a.b" }, "Property 'vfio-platform.bus' not found"],
	])("refuses %s, and takes nothing", async (_what, change, message) => {
		const [answer] = await refusing.ask("device_add", { ...ADD, ...change });
		expect(answer).toContain(message);
		expect(new PciSysfs(refusing.kernel).driver(NVME)).toBe("nvme");
		expect(refusing.linux.leaks().openFiles).toBe(0);
	});

	it("unwinds everything wherever the kernel refuses, and works when asked again", async () => {
		let linux = new SimulatedLinux({ host: Host.reference() });
		let refused = 0;
		for (let n = 2; ; n += 3) {
			let failing: FailingKernel | undefined;
			const host = linux;
			const controlled = await new Controlled({
				linux: host,
				wrap: (kernel) => {
					failing = new FailingKernel(kernel, n, EIO);
					return failing;
				},
			}).negotiated();
			const [answer = ""] = await controlled.ask("device_add", ADD);
			const failed = failing?.failed;
			const where = `${failed} (call ${n}): ${answer}`;
			if (answer.includes("error")) {
				refused++;
				expect(answer, where).toContain("GenericError");
				expect(controlled.port("pcie.1").secondary.functions, where).toEqual([]);
				if (new PciSysfs(controlled.kernel).driver(NVME) !== "nvme") {
					// Giving it back was what failed, which is said; the next turn needs a host as it was.
					expect(answer, where).toContain("EIO");
					linux = new SimulatedLinux({ host: Host.reference() });
				} else if (n % 5 === 0) expect(await controlled.ask("device_add", ADD), where).toEqual(['{"return": {}}']);
			}
			if (failed === undefined) break; // the next call belongs to the end
			controlled[Symbol.dispose]();
			expect(controlled.leaks(), where).toEqual([]);
		}
		expect(refused).toBeGreaterThan(10);
	});

	it("V-06 takes an id once, whoever had it before", async () => {
		const controlled = new Controlled();
		controlled.machine.assign(parseDeviceOption("vfio-pci,host=06:00.0,id=cold,bus=pcie.2"));
		await controlled.negotiated();
		const [answer] = await controlled.ask("device_add", { ...ADD, id: "cold" });
		expect(answer).toContain("Duplicate device ID 'cold'");
		expect(() => controlled.machine.assign(parseDeviceOption("vfio-pci,host=05:00.0,id=cold"))).toThrow();
		expect(new PciSysfs(controlled.kernel).driver(NVME)).toBe("nvme");
		// What was there when the guest started can be unplugged as well.
		expect(await controlled.ask("device_del", { id: "cold" })).toEqual(['{"return": {}}']);
		controlled.guest("pcie.2").powerOff();
		expect(events((await controlled.received()).split("\r\n").slice(0, -1))).toEqual([
			"DEVICE_DELETED cold /machine/peripheral/cold",
		]);
		controlled[Symbol.dispose]();
		expect(controlled.leaks()).toEqual([]);
	});

	it("reports that a device has no room in the port's windows, or refuses it when asked to", async () => {
		const controlled = await new Controlled().negotiated();
		const port = controlled.port("pcie.1");
		port.configWrite(0x04, 2, 2);
		port.configWrite(0x20, 4, 0x0000_fff0); // closed; what is open is for prefetchable BARs only
		port.configWrite(0x24, 4, 0xc000_c000);
		const [refused] = await controlled.ask("device_add", { ...ADD, "x-require-room": true });
		expect(refused).toContain("Cannot hot plug 0000:05:00.0 into pcie.1");
		expect(await controlled.ask("device_add", ADD)).toEqual(['{"return": {}}']);
		expect(controlled.reports).toEqual([expect.stringContaining("the guest may fail to use it")]);
		controlled[Symbol.dispose]();
	});
});

describe("device_del", () => {
	it("QMP-01 tells that a device has gone after it was closed: the host's driver can have it at once", async () => {
		const order: string[] = [];
		const controlled: Controlled = await plugged({
			tell: (event) => {
				if (event.type !== "device-deleted") return;
				const pci = new PciSysfs(controlled.kernel);
				order.push(`told, ${NVME} is with ${pci.driver(NVME)}, ${controlled.linux.leaks().openFiles} files open`);
				// What a manager does then.
				controlled.kernel.writeFile(`/sys/bus/pci/devices/${NVME}/driver/unbind`, NVME);
				controlled.kernel.writeFile("/sys/bus/pci/drivers/nvme/bind", NVME);
				order.push(`bound to ${pci.driver(NVME)}`);
			},
		});
		await controlled.ask("device_del", { id: "vfio-0" });
		expect(order).toEqual([]);
		controlled.guest("pcie.1").powerOff();
		expect(order).toEqual([`told, ${NVME} is with nvme, 0 files open`, "bound to nvme"]);
		controlled[Symbol.dispose]();
	});

	it("QMP-02 refuses a second request while the guest has time, and asks again when that is up", async () => {
		const controlled = await new Controlled().negotiated();
		await controlled.ask("device_add", ADD); // the guest has not booted: nobody answers
		const guest = controlled.guest("pcie.1");
		guest.command(0x100); // but it has switched the slot on
		expect(await controlled.ask("device_del", { id: "vfio-0" })).toEqual(['{"return": {}}']);
		expect(await controlled.ask("device_del", { id: "vfio-0" })).toEqual([
			expect.stringContaining("Device vfio-0 is already in the process of unplug"),
		]);
		controlled.linux.clock.advance(5e9);
		guest.takeEvents();
		expect(await controlled.ask("device_del", { id: "vfio-0" })).toEqual(['{"return": {}}']);
		expect(guest.takeEvents() & 1).toBe(1); // the button was pressed once more
		guest.powerOff();
		expect(events((await controlled.received()).split("\r\n").slice(0, -1))).toEqual([
			"DEVICE_DELETED vfio-0 /machine/peripheral/vfio-0",
		]);
		controlled[Symbol.dispose]();
		expect(controlled.leaks()).toEqual([]);
	});

	it("QMP-02 gives up in the dialect doc with an error that names the device", async () => {
		const controlled = new Controlled({ dialect: "doc" });
		await controlled.ask("device_add", ADD);
		controlled.guest("pcie.1").powerOn();
		expect(await controlled.ask("device_del", { id: "vfio-0" })).toEqual([]);
		controlled.linux.clock.advance(5e9);
		expect((await controlled.received()).split("\r\n")[0]).toContain(
			"Cannot unplug vfio-0: the guest has not let go of it in 5 s",
		);
		controlled[Symbol.dispose]();
	});

	it("at a reset takes out what the guest was asked for", async () => {
		const controlled = await plugged();
		await controlled.ask("device_del", { id: "vfio-0" });
		expect(events(await controlled.ask("system_reset"))).toEqual([
			"DEVICE_DELETED vfio-0 /machine/peripheral/vfio-0",
			"RESET false host-qmp-system-reset",
		]);
		controlled[Symbol.dispose]();
		expect(controlled.leaks()).toEqual([]);
	});

	it("of a root port says that it stays", async () => {
		const controlled = await new Controlled().negotiated();
		expect(await controlled.ask("device_del", { id: "pcie.2" })).toEqual([
			expect.stringContaining("Cannot unplug pcie.2: root ports stay"),
		]);
	});

	it("gives everything back when the machine ends before the guest has answered", async () => {
		const controlled = await plugged({ dialect: "doc" });
		const last = controlled.ask("device_del", { id: "vfio-0" });
		await last;
		controlled[Symbol.dispose]();
		expect((await controlled.received()).split("\r\n")[0]).toBe('{"return":{}}');
		expect(controlled.leaks()).toEqual([]);
	});
});

describe("the host wants a device back", () => {
	it("the guest is asked at once; when it lets go, the host has it", async () => {
		const controlled = await plugged();
		const { linux } = controlled;
		const unbound = linux.writeFileAsync(linux.process(), "/sys/bus/pci/drivers/vfio-pci/unbind", NVME);
		expect(events((await controlled.received()).split("\r\n").slice(0, -1))).toEqual([
			"VFIO_DEVICE_REQUESTED vfio-0 /machine/peripheral/vfio-0 1 ask",
		]);
		controlled.guest("pcie.1").powerOff();
		expect(events((await controlled.received()).split("\r\n").slice(0, -1))).toEqual([
			"DEVICE_DELETED vfio-0 /machine/peripheral/vfio-0",
		]);
		await unbound;
		expect(new PciSysfs(controlled.kernel).driver(NVME)).not.toBe("vfio-pci");
		// Who unbinds it holds the lock that a reset needs.
		expect(controlled.reports.filter((report) => !report.startsWith(`Cannot reset ${NVME}`))).toEqual([]);
		controlled[Symbol.dispose]();
		expect(controlled.leaks()).toEqual([]);
	});

	it("x-req=off leaves it with the guest, and more requests are told each", async () => {
		const controlled = await plugged({}, { "x-req": false });
		for (const count of [1, 2]) {
			controlled.devices.get("vfio-0")?.device.triggerIrq(VFIO_PCI_REQ_IRQ_INDEX);
			expect(events((await controlled.received()).split("\r\n").slice(0, -1))).toEqual([
				`VFIO_DEVICE_REQUESTED vfio-0 /machine/peripheral/vfio-0 ${count} ignore`,
			]);
		}
		expect(controlled.guest("pcie.1").status & 1).toBe(0);
		controlled[Symbol.dispose]();
	});

	it("a policy may take it by force", async () => {
		const controlled = new Controlled();
		controlled.machine.assign({
			...parseDeviceOption(`vfio-pci,host=${NVME},id=vfio-0,bus=pcie.1`),
			assign: { request: { forceAfter: 0 } },
		});
		await controlled.negotiated();
		controlled.devices.get("vfio-0")?.device.triggerIrq(VFIO_PCI_REQ_IRQ_INDEX);
		expect(events((await controlled.received()).split("\r\n").slice(0, -1))).toEqual([
			"VFIO_DEVICE_REQUESTED vfio-0 /machine/peripheral/vfio-0 1 force",
			"DEVICE_DELETED vfio-0 /machine/peripheral/vfio-0",
		]);
		expect(new PciSysfs(controlled.kernel).driver(NVME)).toBe("nvme");
		controlled[Symbol.dispose]();
		expect(controlled.leaks()).toEqual([]);
	});
});

describe("a device that reports an error", () => {
	it("stops the guest, which goes on only after a reset", async () => {
		const controlled = await plugged();
		controlled.devices.get("vfio-0")?.device.triggerIrq(VFIO_PCI_ERR_IRQ_INDEX);
		expect(events((await controlled.received()).split("\r\n").slice(0, -1))).toEqual([
			"VFIO_DEVICE_ERROR vfio-0 /machine/peripheral/vfio-0",
			"STOP",
		]);
		expect(await controlled.ask("query-status")).toEqual([
			'{"return": {"status": "internal-error", "running": false}}',
		]);
		expect(await controlled.ask("cont")).toEqual([
			expect.stringContaining("Resetting the Virtual Machine is required"),
		]);
		await controlled.ask("system_reset");
		expect(events(await controlled.ask("cont"))).toEqual(["RESUME"]);
		expect(controlled.processor).toEqual(["resume", "pause", "reset", "resume"]);
		controlled[Symbol.dispose]();
	});
});

describe("quit", () => {
	it("ends the machine: nothing is added, removed or reset any more", async () => {
		const controlled = await plugged();
		expect(events(await controlled.ask("quit"))).toEqual(["SHUTDOWN false host-qmp-quit"]);
		expect(controlled.processor.at(-1)).toBe("end");
		controlled[Symbol.dispose]();
		for (const [command, args] of [
			["device_add", ADD],
			["device_del", { id: "vfio-0" }],
			["system_reset", undefined],
		] as const)
			expect(await controlled.ask(command, args)).toEqual([expect.stringContaining("The machine has ended")]);
		expect(await controlled.ask("query-status")).toEqual(['{"return": {"status": "shutdown", "running": false}}']);
		expect(await controlled.ask("cont")).toEqual(['{"return": {}}']);
		expect(controlled.leaks()).toEqual([]);
	});
});

describe("query-pci", () => {
	it("shows bridges, their windows, functions that answer and their BARs", async () => {
		const controlled = await plugged();
		const port = controlled.port("pcie.1");
		const functions = () => controlled.machine.pci()[0]?.devices.find(({ qdev_id }) => qdev_id === "pcie.1");
		expect(functions()?.pci_bridge).toEqual({
			bus: {
				number: 0,
				secondary: 0,
				subordinate: 0,
				io_range: { base: 0, limit: 0xfff },
				memory_range: { base: 0, limit: 0xf_ffff },
				prefetchable_range: { base: 0, limit: 0xf_ffff },
			},
		});
		port.configWrite(0x18, 4, 0x0001_0100);
		port.configWrite(0x20, 4, 0xc010_c000);
		const fn = controlled.devices.get("vfio-0")?.function;
		fn?.configWrite(0x10, 4, 0xc000_0000);
		fn?.configWrite(0x14, 4, 0);
		const region = { bar: 0, type: "memory", size: 16384, prefetch: false, mem_type_64: true };
		expect(functions()?.pci_bridge).toMatchObject({
			bus: { secondary: 1, memory_range: { base: 0xc000_0000, limit: 0xc01f_ffff } },
			devices: [
				{
					bus: 1,
					slot: 0,
					function: 0,
					class_info: { class: 0x108, desc: "NVMe controller" },
					id: { vendor: 0x1b36, device: 0x10, subsystem: 0x1100, "subsystem-vendor": 0x1af4 },
					irq_pin: 1,
					qdev_id: "vfio-0",
					regions: [{ ...region, address: -1 }],
				},
			],
		});
		fn?.configWrite(0x04, 2, 2);
		expect(functions()?.pci_bridge?.devices?.[0]?.regions).toEqual([{ ...region, address: 0xc000_0000 }]);
		// A slot that the guest has not switched on shows nothing.
		await controlled.ask("device_add", { ...ADD, id: "b", bus: "pcie.2", host: "06:00.0" });
		controlled.port("pcie.2").configWrite(0x18, 4, 0x0002_0200);
		expect(controlled.machine.pci()[0]?.devices.map(({ qdev_id }) => qdev_id)).toEqual(["pcie.1", "pcie.2", "pcie.3"]);
		expect(controlled.machine.pci()[0]?.devices[1]?.pci_bridge?.devices).toEqual([]);
		controlled[Symbol.dispose]();
	});
});
