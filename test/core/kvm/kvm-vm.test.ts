import { describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import { FailingKernel } from "../../../core/failing-kernel.ts";
import type { Kernel } from "../../../core/kernel.ts";
import { KvmVm } from "../../../core/kvm/kvm-vm.ts";
import { Releases } from "../../../core/release.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import { createVm, machine, signal } from "../../kernel-sim/kvm/support.ts";
import { bind, boot, EDU, openGroup } from "../../kernel-sim/linux/support.ts";
import { noteIoctls, nothingLeft } from "./support.ts";

/** What a call throws. */
function thrown(call: () => unknown): VfioError {
	try {
		call();
	} catch (error) {
		if (error instanceof VfioError) return error;
		throw error;
	}
	throw new Error("Nothing was thrown");
}

function made(options: Parameters<typeof KvmVm.create>[1] = {}) {
	const linux = boot();
	const kernel = linux.process();
	const calls: string[] = [];
	noteIoctls(kernel, calls);
	const vm = KvmVm.create(kernel, options);
	const [guestMachine] = linux.kvm.machines;
	if (!guestMachine) throw new Error("There is no machine");
	const messages: string[] = [];
	guestMachine.guest = { message: (address, data) => messages.push(`${address.toString(16)}=${data.toString(16)}`) };
	const take = () => calls.splice(0);
	take();
	return { linux, kernel, vm, machine: guestMachine, messages, take };
}

describe("KvmVm.create()", () => {
	it("says what to do where there is no KVM", () => {
		const error = thrown(() => KvmVm.create(boot({ kvm: false }).process()));
		expect([error.code, error.message]).toEqual(["no-kvm", "Cannot use KVM: there is no /dev/kvm"]);
		expect(error.remedy).toContain("sudo modprobe kvm_intel");
	});

	it("says what to do where this user may not use it", () => {
		const linux = boot();
		linux.files.chmod("/dev/kvm", 0o600);
		const error = thrown(() => KvmVm.create(linux.process({ uid: 1000 })));
		expect([error.code, error.remedy[0]]).toEqual(["no-permission", "sudo usermod -aG kvm $USER"]);
	});

	it("leaves nothing behind when the n-th call fails, nor does anything that is done with it", () => {
		const use = (kernel: Kernel, group: number) => {
			const releases = new Releases();
			try {
				const vm = releases.use(KvmVm.create(kernel));
				const eventfd = () => {
					const fd = kernel.eventfd();
					releases.defer(() => kernel.close(fd));
					return fd;
				};
				const [message, trigger, resample] = [eventfd(), eventfd(), eventfd()];
				const route = releases.use(vm.addMessageRoute(0xfee00000n, 1));
				vm.commitRoutes();
				route.connect(message);
				releases.use(vm.connectLine(20, trigger, resample));
				vm.addFile(group);
				vm.removeFile(group);
			} finally {
				releases[Symbol.dispose]();
			}
		};
		for (let n = 1; ; n++) {
			const linux = boot();
			const process = linux.process();
			bind(process, EDU);
			const group = openGroup(process, EDU);
			const kernel = new FailingKernel(process, n, EIO);
			let error: unknown;
			try {
				use(kernel, group);
			} catch (failure) {
				error = failure;
			}
			process.close(group);
			expect([kernel.failed, nothingLeft(linux)]).toEqual([kernel.failed, {}]);
			expect([kernel.failed, error === undefined]).toEqual([kernel.failed, kernel.failed === undefined]);
			if (kernel.failed === undefined) {
				expect(n).toBeGreaterThan(20);
				return;
			}
		}
	});
});

describe("KvmVm routes", () => {
	it("are handed over together, keep the machine's pins, and are not handed over again unchanged", () => {
		const { vm, machine: guest, take } = made();
		const routes = [1, 2, 3].map((data) => vm.addMessageRoute(0xfee00000n, data));
		expect(take()).toEqual([]);
		vm.commitRoutes();
		vm.commitRoutes();
		expect(take()).toEqual(["KVM_SET_GSI_ROUTING"]);
		expect([...guest.routing.keys()]).toEqual(Array.from({ length: 27 }, (_, gsi) => gsi));
		expect(guest.routing.get(9)).toEqual([
			{ kind: "pin", chip: 1, pin: 1 },
			{ kind: "pin", chip: 2, pin: 9 },
		]);
		routes[1]?.[Symbol.dispose]();
		vm.addMessageRoute(0x1fee00000n, 9);
		vm.commitRoutes();
		expect(guest.routing.get(25)).toEqual([{ kind: "message", address: 0x1fee00000n, data: 9 }]);
	});

	it("update() leaves a route connected: each signal has the old message or the new one", () => {
		const { kernel, vm, messages } = made();
		const fd = kernel.eventfd();
		const route = vm.addMessageRoute(0xfee00000n, 1);
		vm.commitRoutes();
		route.connect(fd);
		signal(kernel, fd);
		route.update(0xfee01000n, 2);
		signal(kernel, fd);
		vm.commitRoutes();
		signal(kernel, fd);
		expect(messages).toEqual(["fee00000=1", "fee00000=1", "fee01000=2"]);
		route[Symbol.dispose]();
		signal(kernel, fd);
		expect(messages).toHaveLength(3);
	});

	it("dispose() twice takes nothing from whoever has the GSI by then", () => {
		const { vm, machine: guest } = made();
		const first = vm.addMessageRoute(0xfee00000n, 1);
		first[Symbol.dispose]();
		vm.addMessageRoute(0xfee00000n, 2);
		first[Symbol.dispose]();
		vm.addMessageRoute(0xfee00000n, 3);
		vm.commitRoutes();
		expect([24, 25].map((gsi) => guest.routing.get(gsi))).toEqual(
			[2, 3].map((data) => [{ kind: "message", address: 0xfee00000n, data }]),
		);
	});

	it("end where KVM's do, with an error that says so", () => {
		const { vm } = made();
		for (let gsi = 24; gsi < 4096; gsi++) vm.addMessageRoute(0xfee00000n, 1);
		const error = thrown(() => vm.addMessageRoute(0xfee00000n, 1));
		expect([error.code, error.message]).toEqual([
			"interrupt-failed",
			"Cannot give KVM another message: its 4096 interrupt routes are in use",
		]);
	});

	it("stay as they are when KVM refuses the table, and may be handed over again", () => {
		const { vm, machine: guest } = made({ pins: [{ gsi: 5, chip: 7, pin: 0 }] });
		vm.addMessageRoute(0xfee00000n, 1);
		const error = thrown(() => vm.commitRoutes());
		expect([error.code, error.message]).toEqual([
			"interrupt-failed",
			expect.stringContaining("Cannot hand 2 interrupt routes to KVM: KVM answers KVM_SET_GSI_ROUTING"),
		]);
		expect(guest.routing.size).toBe(24);
		expect(thrown(() => vm.commitRoutes()).code).toBe("interrupt-failed");
	});

	it("connect() explains an eventfd that is connected already", () => {
		const { kernel, vm } = made();
		const fd = kernel.eventfd();
		vm.addMessageRoute(0xfee00000n, 1).connect(fd);
		const second = vm.addMessageRoute(0xfee00000n, 2);
		expect(thrown(() => second.connect(fd)).message).toBe(
			`Cannot connect eventfd ${fd} to GSI 25: it is connected to KVM already`,
		);
	});
});

describe("KvmVm files", () => {
	it("explains a file that KVM does not take, and one that it has", () => {
		const { kernel, vm } = made();
		bind(kernel, EDU);
		const group = openGroup(kernel, EDU);
		vm.addFile(group);
		expect(thrown(() => vm.addFile(group)).code).toBe("already-attached");
		expect(thrown(() => vm.addFile(kernel.eventfd())).message).toContain("Cannot tell KVM of the VFIO file");
		vm.removeFile(group);
		expect(thrown(() => vm.removeFile(group)).code).toBe("kernel");
	});

	it("uses the VFIO device that a VMM has made, which is needed where there is one", () => {
		const { linux, kernel, vm: fd, createDevice, machine: guest } = machine();
		const device = Number(createDevice());
		bind(kernel, EDU);
		const group = openGroup(kernel, EDU);
		const without = KvmVm.adopt(kernel, fd);
		expect(thrown(() => without.addFile(group)).remedy).toEqual([
			"Pass the descriptor of that device as the option vfioDevice.",
		]);
		const vm = KvmVm.adopt(kernel, fd, { vfioDevice: device });
		vm.addFile(group);
		expect(guest.vfioDevice?.files).toHaveLength(1);
		vm[Symbol.dispose]();
		expect([linux.leaks().virtualMachines, guest.vfioDevice?.files]).toEqual([1, []]);
		KvmVm.adopt(kernel, fd, { vfioDevice: device }).addFile(group);
	});
});

describe("KvmVm dispose", () => {
	it("disconnects what is connected, leaves an adopted machine open, and is not used afterwards", () => {
		const linux = boot();
		const kernel = linux.process();
		const fd = createVm(kernel);
		const vm = KvmVm.adopt(kernel, fd);
		const event = kernel.eventfd();
		const route = vm.addMessageRoute(0xfee00000n, 1);
		route.connect(event);
		const line = vm.connectLine(20, kernel.eventfd(), kernel.eventfd());
		vm[Symbol.dispose]();
		vm[Symbol.dispose]();
		route[Symbol.dispose]();
		line[Symbol.dispose]();
		const again = KvmVm.adopt(kernel, fd);
		again.addMessageRoute(0xfee00000n, 1).connect(event);
		const uses = [
			() => vm.addFile(0),
			() => vm.commitRoutes(),
			() => vm.addMessageRoute(0n, 0),
			() => route.connect(event),
		];
		expect(uses.map((use) => thrown(use).code)).toEqual(Array(4).fill("disposed"));
	});
});
