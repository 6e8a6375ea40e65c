import * as vfio from "../../../core/uapi/vfio.ts";
import { MIGRATION_STATES as STATE } from "../../../kernel-sim/linux/vfio/migration.ts";
import type { Case } from "../case.ts";
import { migrate, openMtty, readPort, receive, send } from "../mediated.ts";
import { mtty, needs } from "../roles.ts";
import { CONFIG, PAGE } from "../trial.ts";

const { VFIO_PCI_INTX_IRQ_INDEX: INTX, VFIO_PCI_MSI_IRQ_INDEX: MSI } = vfio;
const IER = 1;

const needsMtty = needs(mtty);

/** I.13: what a serial controller of software answers to its user. */
export const mttyDeviceCases: readonly Case[] = [
	{
		id: "I.13/270",
		name: "nothing of it can be mapped; regions that are not there have size 0",
		needs: needsMtty,
		run(t) {
			for (const ports of [1, 2]) {
				const { fd } = openMtty(t, ports, ports);
				for (let index = 0; index < 9; index++) {
					const { answer, size, flags, info } = t.regionInfo(fd, index);
					const expected = index === CONFIG ? 255 : index < ports ? 8 : 0;
					t.is([answer, size, flags, Number(info.offset)], [0, expected, 3, index * 2 ** 40], `region ${index}`);
				}
				t.is(t.regionInfo(fd, 9).answer, "EINVAL");
				t.is(t.regionInfo(fd, 0, 31).answer, "EINVAL");
				for (const index of [0, CONFIG]) t.is(t.mmap(fd, index, 0, PAGE), "EINVAL");
				for (const region of [6, 8, 9]) t.is(t.pread(fd, region, 0, 1), "EFAULT");
				t.is(t.pwrite(fd, 8, 0, "00"), "EFAULT");
			}
		},
	},
	{
		id: "I.13/271",
		name: "its configuration space is a serial controller's",
		needs: needsMtty,
		run(t) {
			const { fd } = openMtty(t);
			for (let offset = 0; offset < 0xf8; offset += 8) t.pread(fd, CONFIG, offset, 8);
			t.pread(fd, CONFIG, 0xf8, 7);
			t.is(t.pread(fd, CONFIG, 0, 4), "48435332");
			for (const [offset, digits] of [
				[0x10, "ffffffff"],
				[0x14, "ffffffff"],
				[0x18, "ffffffff"],
				[0x30, "ffffffff"],
				[0x10, "5ac10000"],
				[0x04, "ffff"],
				[0x06, "ffff"],
				[0x3c, "0b"],
				[0x3d, "02"],
				[0x00, "00000000"],
				[0x40, "00"],
			] as const) {
				t.pwrite(fd, CONFIG, offset, digits);
				t.pread(fd, CONFIG, offset & ~3, 4);
			}
		},
	},
	{
		id: "I.13/272",
		name: "its port loops back, and interrupts for it",
		needs: needsMtty,
		run(t) {
			for (const index of [INTX, MSI]) {
				const { fd } = openMtty(t, 2, index + 1);
				t.deviceInfo(fd);
				const event = t.eventfd();
				t.is(t.trigger(fd, index, [event]), 0);
				t.write(fd, 0, 2, 1, 0x01);
				send(t, fd, [0x41]);
				t.is(t.count(event), 0, "without IER");
				t.is(receive(t, fd), [0x41]);
				t.write(fd, 0, IER, 1, 0x01);
				send(t, fd, [0x42, 0x43]);
				t.is(t.count(event), 1, "with IER");
				t.is(readPort(t, fd, 2), 0xc4, "IIR");
				t.is(receive(t, fd), [0x42, 0x43]);
				t.is(readPort(t, fd, 2), 0xc1, "IIR");
				t.is(receive(t, fd, 1), [], "the other port");
				send(t, fd, [0x44], 1);
				t.is(receive(t, fd, 1), [0x44], "the other port");
			}
		},
	},
	{
		id: "I.13/273",
		name: "random accesses to a port answer the same on every kernel",
		needs: needsMtty,
		run(t) {
			const { fd } = openMtty(t, 2);
			t.deviceInfo(fd);
			const event = t.eventfd();
			t.trigger(fd, MSI, [event]);
			let seed = 12345;
			const random = (below: number) => {
				seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
				return (seed >>> 16) % below;
			};
			for (let n = 0; n < 400; n++) {
				const offset = random(3) === 0 ? random(8) : [0, 0, 1, 2][random(4)];
				const write = random(2) === 0;
				if (write)
					t.write(fd, 0, offset ?? 0, 1, offset === 3 ? random(128) | (random(8) === 0 ? 128 : 0) : random(256));
				// What an empty FIFO reads is left over from somewhere.
				else if (offset !== 0 || (readPort(t, fd, 5) & 1) !== 0) readPort(t, fd, offset ?? 0);
				if (n % 8 === 0) t.count(event);
			}
			t.readAll(migrate(t, fd, STATE.stopCopy).stream, 100);
		},
	},
];
