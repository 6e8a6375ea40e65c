import { O_RDONLY } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import type { Case } from "../case.ts";
import { EDU } from "../edu-registers.ts";
import { capability } from "../host.ts";
import { e1000e, edu, express, needs, nvme, of } from "../roles.ts";
import { BOOL, CONFIG, EVENTFD, MASK, NONE, TRIGGER, type Trial, UNMASK } from "../trial.ts";

const INTX = vfio.VFIO_PCI_INTX_IRQ_INDEX;
const MSI = vfio.VFIO_PCI_MSI_IRQ_INDEX;
const MSIX = vfio.VFIO_PCI_MSIX_IRQ_INDEX;
const ERR = vfio.VFIO_PCI_ERR_IRQ_INDEX;
const REQ = vfio.VFIO_PCI_REQ_IRQ_INDEX;
const PIN = 0x3d;
const DISABLE_INTX = 0x400;

/** The device interrupts. */
function raise(t: Trial, fd: number): void {
	t.write(fd, 0, EDU.INTERRUPT_RAISE, 4, 1);
}

/** The device's interrupt is seen to. */
function acknowledge(t: Trial, fd: number): void {
	t.write(fd, 0, EDU.INTERRUPT_ACKNOWLEDGE, 4, 1);
}

/** I.6: interrupts. */
export const interruptCases: readonly Case[] = [
	{
		id: "I.6/146",
		name: "GET_IRQ_INFO wants 16 bytes and an index there is",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const argsz of [0, 12, 15]) t.is(t.irqInfo(fd, MSI, argsz).answer, "EINVAL");
			for (const index of [5, 6, 0xffffffff]) t.is(t.irqInfo(fd, index).answer, "EINVAL");
			for (const argsz of [16, 17, 4096]) t.is(t.irqInfo(fd, MSI, argsz).answer, 0);
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_GET_IRQ_INFO, 0), "EFAULT");
		},
	},
	{
		id: "I.6/147",
		name: "what each interrupt index can do",
		needs: needs(edu, e1000e, nvme),
		run(t) {
			for (const device of [of(edu, t.host), of(e1000e, t.host), of(nvme, t.host)]) {
				const { fd } = t.device(device);
				const intx = t.irqInfo(fd, INTX);
				t.is([intx.flags, intx.count], [7, t.read(fd, CONFIG, PIN, 1) ? 1 : 0]);
				const msi = t.irqInfo(fd, MSI);
				t.is([msi.flags, msi.count > 0], [9, capability(device, 5) !== 0]);
				const msix = t.irqInfo(fd, MSIX);
				t.is(msix.count > 0, capability(device, 0x11) !== 0);
				t.is(msix.flags, msix.count > 0 ? 1 : 9);
				const req = t.irqInfo(fd, REQ);
				t.is([req.flags, req.count], [9, 1]);
			}
		},
	},
	{
		id: "I.6/148",
		name: "errors are reported for PCI Express alone",
		needs: needs(edu, express),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is(t.irqInfo(fd, ERR).answer, "EINVAL");
			t.is(t.trigger(fd, ERR, [t.eventfd()]), "EINVAL");
			t.is(t.disable(fd, ERR), "EINVAL");
			const other = t.irqInfo(t.device(of(express, t.host)).fd, ERR);
			t.is([other.answer, other.flags, other.count], [0, 9, 1]);
		},
	},
	{
		id: "I.6/149",
		name: "SET_IRQS wants 20 bytes, an index there is, known flags and one kind of data",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const data = [t.eventfd()];
			for (const argsz of [0, 16, 19])
				t.is(t.setIrqs(fd, { index: MSI, flags: EVENTFD | TRIGGER, data, argsz }), "EINVAL");
			for (const flags of [0x40, 0x64, 0x80, 0x80000024]) t.is(t.setIrqs(fd, { index: MSI, flags, data }), "EINVAL");
			for (const index of [5, 6, 0xffffffff]) t.is(t.setIrqs(fd, { index, flags: EVENTFD | TRIGGER, data }), "EINVAL");
			for (const kinds of [0, NONE | BOOL, NONE | EVENTFD, BOOL | EVENTFD, 7])
				t.is(t.setIrqs(fd, { index: MSI, flags: kinds | TRIGGER, data }), "EINVAL");
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_SET_IRQS, 0), "EFAULT");
			t.is(t.trigger(fd, MSI, data), 0);
		},
	},
	{
		id: "I.6/150",
		name: "SET_IRQS does one thing",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const data = [t.eventfd()];
			for (const action of [0, MASK | TRIGGER, UNMASK | TRIGGER, MASK | UNMASK, 56]) {
				t.is(t.setIrqs(fd, { index: MSI, flags: EVENTFD | action, data }), "ENOTTY");
				t.is(t.setIrqs(fd, { index: INTX, flags: NONE | action, count: 1 }), "ENOTTY");
			}
		},
	},
	{
		id: "I.6/151",
		name: "SET_IRQS stays within the interrupts there are",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const data = [t.eventfd(), t.eventfd()];
			for (const index of [INTX, MSI, REQ]) {
				t.is(t.setIrqs(fd, { index, flags: EVENTFD | TRIGGER, data }), "EINVAL");
				t.is(t.setIrqs(fd, { index, flags: EVENTFD | TRIGGER, start: 1, data: data.slice(1) }), "EINVAL");
				t.is(t.setIrqs(fd, { index, flags: NONE | TRIGGER, start: 1, count: 0 }), "EINVAL");
				t.is(t.setIrqs(fd, { index, flags: EVENTFD | TRIGGER, start: 0xffffffff, data }), "EINVAL");
				t.is(t.setIrqs(fd, { index, flags: NONE | TRIGGER, start: 1, count: 0xffffffff }), "EINVAL");
				t.is(t.setIrqs(fd, { index, flags: NONE | TRIGGER, start: 0, count: 0xffffffff }), "EINVAL");
			}
		},
	},
	{
		id: "I.6/152",
		name: "SET_IRQS wants all its data",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const argsz of [20, 23])
				t.is(t.setIrqs(fd, { index: MSI, flags: EVENTFD | TRIGGER, data: [t.eventfd()], argsz }), "EINVAL");
			t.is(t.setIrqs(fd, { index: MSI, flags: BOOL | TRIGGER, data: [1], argsz: 20 }), "EINVAL");
		},
	},
	{
		id: "I.6/153",
		name: "an eventfd must be one",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const file = t.open("/dev/null", O_RDONLY) as number;
			const closed = t.eventfd();
			t.close(closed);
			t.is(t.trigger(fd, MSI, [closed]), "EBADF");
			t.is(t.trigger(fd, MSI, [file]), "EINVAL");
			t.is(t.trigger(fd, INTX, [closed]), "EBADF");
			t.is(t.trigger(fd, INTX, [file]), "EINVAL");
			t.is(t.trigger(fd, REQ, [closed]), "EBADF");
			t.is(t.trigger(fd, REQ, [file]), "EINVAL");
			t.is(t.disable(fd, MSI), "EINVAL");
			t.is(t.disable(fd, INTX), "EINVAL");
			t.is(t.trigger(fd, INTX, [t.eventfd()]), 0);
		},
	},
	{
		id: "I.6/154",
		name: "MSI can be triggered by hand",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, MSI, [one]), 0);
			t.is(t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(one), 1);
			t.is(t.setIrqs(fd, { index: MSI, flags: BOOL | TRIGGER, data: [0] }), 0);
			t.is(t.count(one), 0);
			for (const value of [1, 255]) {
				t.is(t.setIrqs(fd, { index: MSI, flags: BOOL | TRIGGER, data: [value] }), 0);
				t.is(t.count(one), 1);
			}
			for (let time = 0; time < 3; time++) t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, count: 1 });
			t.is(t.count(one), 3);
		},
	},
	{
		id: "I.6/154b",
		name: "MSI of the device reaches its eventfd",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, MSI, [one]), 0);
			t.write(fd, CONFIG, 4, 2, 6);
			for (let time = 0; time < 2; time++) {
				raise(t, fd);
				t.is(await t.signalled(one), 1);
				acknowledge(t, fd);
			}
		},
	},
	{
		id: "I.6/154c",
		name: "MSI's eventfd is replaced",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const [one, two] = [t.eventfd(), t.eventfd()];
			const both = () => [t.count(one), t.count(two)];
			t.write(fd, CONFIG, 4, 2, 6);
			t.is(t.trigger(fd, MSI, [one]), 0);
			t.is(both(), [0, 0]);
			t.is(t.trigger(fd, MSI, [one]), 0);
			t.is(both(), [0, 0]);
			t.is(t.trigger(fd, MSI, [two]), 0);
			t.is(both(), [0, 0]);
			t.is(t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(both(), [0, 1]);
			t.is(t.setIrqs(fd, { index: MSI, flags: BOOL | TRIGGER, data: [1] }), 0);
			t.is(both(), [0, 1]);
			t.is(t.trigger(fd, MSI, [-1]), 0);
			t.is(t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(both(), [0, 0]);
		},
	},
	{
		id: "I.6/155",
		name: "one of INTx, MSI and MSI-X at a time",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			for (const active of [INTX, MSI, MSIX]) {
				t.is(t.trigger(fd, active, [t.eventfd()]), 0);
				for (const other of [INTX, MSI, MSIX].filter((index) => index !== active)) {
					t.is(t.trigger(fd, other, [t.eventfd()]), "EINVAL");
					t.is(t.disable(fd, other), "EINVAL");
					t.is(t.setIrqs(fd, { index: other, flags: NONE | TRIGGER, count: 1 }), "EINVAL");
				}
				t.is(t.disable(fd, active), 0);
			}
		},
	},
	{
		id: "I.6/156",
		name: "an interrupt is turned off once",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			for (const index of [INTX, MSI]) {
				t.is(t.disable(fd, index), "EINVAL");
				t.is(t.trigger(fd, index, [t.eventfd()]), 0);
				t.is(t.setIrqs(fd, { index, flags: BOOL | TRIGGER, count: 0 }), index === INTX ? "EINVAL" : 0);
				t.is(t.disable(fd, index), 0);
				t.is(t.disable(fd, index), "EINVAL");
			}
		},
	},
	{
		id: "I.6/157",
		name: "MSI-X that is not there cannot be turned off",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is(t.disable(fd, MSIX), "EINVAL");
			t.is(t.trigger(fd, MSIX, [t.eventfd()]), "EINVAL");
		},
	},
	{
		id: "I.6/158",
		name: "MSI-X with a hole",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			const [one, two] = [t.eventfd(), t.eventfd()];
			t.is(t.trigger(fd, MSIX, [one, -1, two]), 0);
			t.is(t.setIrqs(fd, { index: MSIX, flags: NONE | TRIGGER, count: 3 }), 0);
			t.is([t.count(one), t.count(two)], [1, 1]);
			t.is(t.setIrqs(fd, { index: MSIX, flags: BOOL | TRIGGER, data: [0, 1, 1] }), 0);
			t.is([t.count(one), t.count(two)], [0, 1]);
			t.is(t.setIrqs(fd, { index: MSIX, flags: NONE | TRIGGER, start: 3, count: 2 }), 0);
			t.is([t.count(one), t.count(two)], [0, 0]);
		},
	},
	{
		id: "I.6/159",
		name: "MSI-X vectors are added while it runs",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			const [one, two] = [t.eventfd(), t.eventfd()];
			const dynamic = (t.irqInfo(fd, MSIX).flags & vfio.VFIO_IRQ_INFO_NORESIZE) === 0;
			t.is(t.trigger(fd, MSIX, [one]), 0);
			t.is(t.trigger(fd, MSIX, [two], 2), dynamic ? 0 : "EINVAL");
			t.is(t.trigger(fd, MSIX, [two], 5), "EINVAL");
			t.is(t.setIrqs(fd, { index: MSIX, flags: NONE | TRIGGER, count: 5 }), 0);
			t.is([t.count(one), t.count(two)], [1, dynamic ? 1 : 0]);
			t.is(t.trigger(fd, MSIX, [-1]), 0);
			t.is(t.setIrqs(fd, { index: MSIX, flags: NONE | TRIGGER, count: 5 }), 0);
			t.is(t.count(one), 0);
		},
	},
	{
		id: "I.6/160",
		name: "a bad eventfd in a block turns the block off",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			const [one, two] = [t.eventfd(), t.eventfd()];
			t.is(t.trigger(fd, MSIX, [one, two]), 0);
			t.is(t.trigger(fd, MSIX, [one, 9999]), "EBADF");
			t.is(t.setIrqs(fd, { index: MSIX, flags: NONE | TRIGGER, count: 2 }), 0);
			t.is([t.count(one), t.count(two)], [0, 0]);
			t.is(t.trigger(fd, MSIX, [one, two]), 0);
			t.is(t.disable(fd, MSIX), 0);
		},
	},
	{
		id: "I.6/161",
		name: "MSI-X is not turned on with no vector",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			t.is(t.setIrqs(fd, { index: MSIX, flags: EVENTFD | TRIGGER, count: 0 }), "ERANGE");
			t.is(t.setIrqs(fd, { index: MSI, flags: EVENTFD | TRIGGER, count: 0 }), "ERANGE");
			t.is(t.setIrqs(fd, { index: MSIX, flags: EVENTFD | TRIGGER, start: 2, count: 0 }), 0);
			t.is(t.disable(fd, MSIX), 0);
		},
	},
	{
		id: "I.6/162",
		name: "messages are not masked",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, MSI, [one]), 0);
			for (const action of [MASK, UNMASK])
				for (const index of [MSI, MSIX, ERR, REQ]) {
					t.is(t.setIrqs(fd, { index, flags: NONE | action, count: 1 }), "ENOTTY");
					t.is(t.setIrqs(fd, { index, flags: BOOL | action, data: [1] }), "ENOTTY");
					t.is(t.setIrqs(fd, { index, flags: EVENTFD | action, data: [one] }), "ENOTTY");
				}
		},
	},
	{
		id: "I.6/163",
		name: "INTx masks itself",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, INTX, [one]), 0);
			raise(t, fd);
			t.is(await t.signalled(one), 1);
			raise(t, fd);
			t.is(await t.quiet(one), 0);
			acknowledge(t, fd);
			raise(t, fd);
			t.is(await t.quiet(one), 0);
			acknowledge(t, fd);
		},
	},
	{
		id: "I.6/164",
		name: "INTx that is still asserted fires again when unmasked",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, INTX, [one]), 0);
			raise(t, fd);
			t.is(await t.signalled(one), 1);
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE | UNMASK, count: 1 }), 0);
			t.is(await t.signalled(one), 1);
			acknowledge(t, fd);
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE | UNMASK, count: 1 }), 0);
			t.is(await t.quiet(one), 0);
			raise(t, fd);
			t.is(await t.signalled(one), 1);
			acknowledge(t, fd);
			t.is(t.setIrqs(fd, { index: INTX, flags: BOOL | UNMASK, data: [1] }), 0);
			t.is(await t.quiet(one), 0);
		},
	},
	{
		id: "I.6/165",
		name: "INTx is unmasked by an eventfd",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const [one, unmask] = [t.eventfd(), t.eventfd()];
			t.is(t.setIrqs(fd, { index: INTX, flags: EVENTFD | UNMASK, data: [unmask] }), "EINVAL");
			t.is(t.trigger(fd, INTX, [one]), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: EVENTFD | UNMASK, data: [unmask] }), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: EVENTFD | UNMASK, data: [unmask] }), "EBUSY");
			t.is(t.setIrqs(fd, { index: INTX, flags: EVENTFD | UNMASK, data: [9999] }), "EBADF");
			raise(t, fd);
			t.is(await t.signalled(one), 1);
			acknowledge(t, fd);
			t.signal(unmask);
			await t.sleep(30);
			t.is(t.count(unmask), 0);
			t.is(await t.quiet(one), 0);
			raise(t, fd);
			t.is(await t.signalled(one), 1);
			t.signal(unmask);
			t.is(await t.signalled(one), 1);
			acknowledge(t, fd);
			t.is(t.setIrqs(fd, { index: INTX, flags: EVENTFD | UNMASK, data: [-1] }), 0);
			t.signal(unmask);
			t.is(await t.quiet(unmask), 1);
		},
	},
	{
		id: "I.6/166",
		name: "INTx is masked by a call, not by an eventfd",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			for (const action of [MASK, UNMASK])
				t.is(t.setIrqs(fd, { index: INTX, flags: NONE | action, count: 1 }), "EINVAL");
			t.is(t.trigger(fd, INTX, [one]), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: EVENTFD | MASK, data: [one] }), "ENOTTY");
			for (const action of [MASK, UNMASK]) {
				t.is(t.setIrqs(fd, { index: INTX, flags: NONE | action, count: 0 }), "EINVAL");
				for (let time = 0; time < 2; time++) t.is(t.setIrqs(fd, { index: INTX, flags: NONE | action, count: 1 }), 0);
				for (const value of [0, 1]) t.is(t.setIrqs(fd, { index: INTX, flags: BOOL | action, data: [value] }), 0);
			}
		},
	},
	{
		id: "I.6/166b",
		name: "INTx that is masked waits",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, INTX, [one]), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE | MASK, count: 1 }), 0);
			t.pread(fd, CONFIG, 4, 2);
			raise(t, fd);
			t.is(await t.quiet(one), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE | UNMASK, count: 1 }), 0);
			t.is(await t.signalled(one), 1);
			acknowledge(t, fd);
		},
	},
	{
		id: "I.6/167",
		name: "INTx disable in the command register holds the interrupt back",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, INTX, [one]), 0);
			const command = t.read(fd, CONFIG, 4, 2);
			t.write(fd, CONFIG, 4, 2, command | DISABLE_INTX);
			raise(t, fd);
			t.is(await t.quiet(one), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(one), 0);
			t.write(fd, CONFIG, 4, 2, command);
			t.is(await t.signalled(one), 1);
			acknowledge(t, fd);
		},
	},
	{
		id: "I.6/168",
		name: "INTx is turned on without an eventfd, which may come later",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			t.is(t.trigger(fd, INTX, [-1]), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE | TRIGGER, count: 1 }), 0);
			const one = t.eventfd();
			t.is(t.trigger(fd, INTX, [one]), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(one), 1);
			raise(t, fd);
			t.is(await t.signalled(one), 1);
			acknowledge(t, fd);
			t.is(t.trigger(fd, INTX, [-1]), 0);
			t.is(t.disable(fd, INTX), 0);
		},
	},
	{
		id: "I.6/169",
		name: "the request for a device's return can be had as an eventfd",
		needs: needs(edu),
		run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.setIrqs(fd, { index: REQ, flags: NONE | TRIGGER, count: 1 }), "EINVAL");
			t.is(t.disable(fd, REQ), "EINVAL");
			t.is(t.setIrqs(fd, { index: REQ, flags: BOOL | TRIGGER, data: [1] }), 0);
			t.is(t.trigger(fd, REQ, [-1]), 0);
			t.is(t.trigger(fd, REQ, [one]), 0);
			t.is(t.setIrqs(fd, { index: REQ, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(one), 1);
			t.is(t.setIrqs(fd, { index: REQ, flags: BOOL | TRIGGER, data: [1] }), 0);
			t.is(t.count(one), 1);
			t.is(t.setIrqs(fd, { index: REQ, flags: BOOL | TRIGGER, data: [0] }), 0);
			t.is(t.count(one), 0);
			t.is(t.trigger(fd, REQ, [-2]), "EINVAL");
			t.is(t.setIrqs(fd, { index: REQ, flags: EVENTFD | TRIGGER, count: 0 }), "EINVAL");
			t.is(t.setIrqs(fd, { index: REQ, flags: BOOL | TRIGGER, count: 0 }), "EINVAL");
			t.is(t.disable(fd, REQ), 0);
			t.is(t.disable(fd, REQ), "EINVAL");
		},
	},
	{
		id: "I.6/170",
		name: "unbinding asks for the device, waits for it, and then returns",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			const { fd, group } = t.device(device);
			const one = t.eventfd();
			t.is(t.trigger(fd, REQ, [one]), 0);
			const other = await t.spawn();
			let returned = false;
			const unbinding = other.writeFile("/sys/bus/pci/drivers/vfio-pci/unbind", device.name).then((result) => {
				returned = true;
				return result;
			});
			t.is(await t.signalled(one), 1);
			await t.sleep(50);
			t.is(returned, false, "unbind returns before the device is closed");
			t.is(t.pread(fd, CONFIG, 0, 4), "3412e811");
			t.close(fd);
			await t.until(() => returned, "unbind returns");
			t.is(await unbinding, 0, "unbind");
			t.is(t.driver(device.name), undefined);
			t.is(t.status(group), "ENODEV");
		},
	},
	{
		id: "I.6/171",
		name: "an eventfd that is closed stays armed",
		needs: needs(edu),
		async run(t) {
			const { fd } = t.device(of(edu, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, MSI, [one]), 0);
			t.close(one);
			t.write(fd, CONFIG, 4, 2, 6);
			raise(t, fd);
			await t.sleep(20);
			acknowledge(t, fd);
			const two = t.eventfd();
			t.is(t.trigger(fd, MSI, [two]), 0);
			raise(t, fd);
			t.is(await t.signalled(two), 1);
			acknowledge(t, fd);
		},
	},
	{
		id: "I.6/172",
		name: "a closed device has no interrupts left",
		needs: (host) => needs(edu)(host),
		run(t) {
			const { fd, group } = t.device(of(edu, t.host));
			t.is(t.trigger(fd, MSI, [t.eventfd()]), 0);
			t.close(fd);
			const again = t.deviceFd(group, of(edu, t.host).name) as number;
			t.is(t.disable(again, MSI), "EINVAL");
			t.is(t.trigger(again, INTX, [t.eventfd()]), 0);
		},
	},
	{
		id: "I.6/173",
		name: "interrupts outlive a reset",
		needs: needs(e1000e),
		run(t) {
			const { fd } = t.device(of(e1000e, t.host));
			const one = t.eventfd();
			t.is(t.trigger(fd, MSIX, [one]), 0);
			t.is(t.ioctl(fd, vfio.VFIO_DEVICE_RESET), 0);
			t.is(t.setIrqs(fd, { index: MSIX, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(one), 1);
			t.is(t.disable(fd, MSIX), 0);
		},
	},
];
