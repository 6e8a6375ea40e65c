import * as vfio from "../../../core/uapi/vfio.ts";
import type { Case } from "../case.ts";
import { openMtty } from "../mediated.ts";
import { mtty, needs } from "../roles.ts";
import { BOOL, EVENTFD, MASK, NONE, TRIGGER, UNMASK } from "../trial.ts";

const { VFIO_PCI_INTX_IRQ_INDEX: INTX, VFIO_PCI_MSI_IRQ_INDEX: MSI, VFIO_PCI_MSIX_IRQ_INDEX: MSIX } = vfio;

const needsMtty = needs(mtty);

/** I.13: INTx and MSI of a device that consists of software. */
export const mttyInterruptCases: readonly Case[] = [
	{
		id: "I.13/250",
		name: "interrupts can be set up once somebody has asked about the device",
		needs: needsMtty,
		run(t) {
			const { fd } = openMtty(t);
			const event = t.eventfd();
			t.is(t.trigger(fd, MSI, [event]), "EINVAL");
			t.is(t.irqInfo(fd, INTX).answer, "EINVAL");
			const info = vfio.vfio_device_info.view(t.deviceInfo(fd, 16).bytes);
			t.is([info.flags, info.num_regions, info.num_irqs], [vfio.VFIO_DEVICE_FLAGS_PCI, 9, 5], "GET_INFO");
			t.is(t.deviceInfo(fd, 15).answer, "EINVAL");
			t.is([t.irqInfo(fd, INTX).flags, t.irqInfo(fd, MSI).flags], [7, 9], "flags of INTx and MSI");
			t.is(t.irqInfo(fd, MSI, 15).answer, "EINVAL");
			t.is(t.trigger(fd, MSI, [event]), 0);
			t.is(t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(event), 1);
			t.is(t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.setIrqs(fd, { index: MSI, flags: NONE | TRIGGER, count: 1 }), 0);
			t.is(t.count(event), 2);
			t.is(t.setIrqs(fd, { index: MSI, flags: BOOL | TRIGGER, data: [0] }), 0);
			t.is(t.count(event), 0);
			t.is(t.setIrqs(fd, { index: MSI, flags: NONE | MASK, count: 1 }), "ENOTTY");
			t.is(t.trigger(fd, INTX, [event]), "EINVAL");
			t.is(t.disable(fd, MSI), 0);
			t.is(t.disable(fd, MSI), "EINVAL");
			t.is(t.trigger(fd, MSI, [event, event]), "EINVAL");
		},
	},
	{
		id: "I.13/251",
		name: "it has neither MSI-X nor ERR nor REQ",
		needs: needsMtty,
		run(t) {
			const { fd } = openMtty(t);
			t.deviceInfo(fd);
			const event = t.eventfd();
			for (const index of [MSIX, vfio.VFIO_PCI_ERR_IRQ_INDEX, vfio.VFIO_PCI_REQ_IRQ_INDEX]) {
				t.is(t.trigger(fd, index, [event]), "ENOTTY");
				t.is(t.irqInfo(fd, index).answer, "EINVAL");
			}
			t.is(t.irqInfo(fd, 5).answer, "EINVAL");
			t.is(t.trigger(fd, 5, [event]), "EINVAL");
		},
	},
	{
		id: "I.13/252",
		name: "INTx masks itself, by a trigger of the user's too",
		needs: needsMtty,
		run(t) {
			const { fd } = openMtty(t);
			t.deviceInfo(fd);
			const event = t.eventfd();
			const none = (action: number) => t.setIrqs(fd, { index: INTX, flags: NONE | action, count: 1 });
			t.is(none(TRIGGER), "EINVAL");
			t.is(none(UNMASK), "EINVAL");
			t.is(t.trigger(fd, INTX, [event]), 0);
			t.is([none(TRIGGER), none(TRIGGER)], [0, 0], "two triggers");
			t.is(t.count(event), 1);
			t.is([none(UNMASK), none(TRIGGER)], [0, 0], "unmask and trigger");
			t.is(t.count(event), 1);
			t.is([none(UNMASK), none(MASK), none(TRIGGER)], [0, 0, 0], "mask and trigger");
			t.is(t.count(event), 0);
			t.is(none(UNMASK), 0);
			t.is(t.count(event), 0, "what came while it was masked");
			t.is(t.setIrqs(fd, { index: INTX, flags: BOOL | MASK, data: [0] }), 0);
			t.is(t.setIrqs(fd, { index: INTX, flags: BOOL | TRIGGER, data: [1] }), 0);
			t.is(t.count(event), 1);
			for (const action of [MASK, UNMASK])
				t.is(t.setIrqs(fd, { index: INTX, flags: EVENTFD | action, data: [event] }), "ENOTTY");
			t.is(t.setIrqs(fd, { index: INTX, flags: NONE, count: 1 }), 0);
			t.is(t.trigger(fd, INTX, [-1]), 0);
			t.is(none(TRIGGER), "EINVAL");
			t.is(t.trigger(fd, MSI, [9999]), "EBADF");
			t.is(t.trigger(fd, MSI, [fd]), "EINVAL");
			t.is(t.trigger(fd, INTX, [event]), 0);
			t.is(t.disable(fd, INTX), 0);
		},
	},
];
