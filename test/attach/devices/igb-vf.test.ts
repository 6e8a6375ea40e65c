import { describe, expect, it } from "vitest";
import { Igb } from "../../../kernel-sim/mod.ts";
import { Guest, hostWith, pattern } from "./guest.ts";
import { IgbDriver, IgbQueues, REGISTERS as PF } from "./igb-driver.ts";

const PHYSICAL = "0000:04:00.0";
const FIRST = "0000:04:10.0";
const SECOND = "0000:04:10.2";
const VF = 0xfe900000;
const VF_MESSAGES = 0xfe904000;
const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const TOKEN = "2ab74924-c335-45f4-9b16-8569e5b08258";
const NUMBER = `/sys/bus/pci/devices/${PHYSICAL}/sriov_numvfs`;
const MEMORY = 0x0800;
const MAILBOX = 0x0c40;

/** As much of a driver for a virtual function as it takes to exchange messages and frames. */
class VfDriver extends IgbQueues {
	constructor(guest: Guest) {
		super(guest, VF + 0x2800, VF + 0x3800);
		expect([guest.placeBar(0, VF), guest.placeBar(3, VF_MESSAGES)]).toEqual([0x4000, 0x4000]);
		guest.writeConfig(4, 2, 6);
		guest.write(VF, 1 << 26);
		guest.enableMsix(VF_MESSAGES, 3, 0xfee04000, 0x80);
		// Receive, transmit, mailbox.
		guest.write(VF + 0x1700, 0x8180);
		guest.write(VF + 0x1740, 0x82);
		guest.write(VF + 0x152c, 7);
		guest.write(VF + 0x1524, 7);
	}

	/** Takes the buffer, puts a message in and tells. */
	post(message: readonly number[]): void {
		this.guest.write(VF + MAILBOX, 4);
		expect(this.guest.read(VF + MAILBOX) & 4).toBe(4);
		for (const [index, word] of message.entries()) this.guest.write(VF + MEMORY + 4 * index, word);
		this.guest.write(VF + MAILBOX, 1);
	}

	/** The message that came, taken. */
	fetch(words: number): number[] {
		expect(this.guest.read(VF + MAILBOX) & 0x10).toBe(0x10);
		const message = Array.from({ length: words }, (_, index) => this.guest.read(VF + MEMORY + 4 * index));
		this.guest.write(VF + MAILBOX, 2);
		return message;
	}
}

/** The physical function in one guest; the host makes two virtual ones of it. */
function virtualized() {
	const igb = new Igb({ mac: MAC });
	const wire: Uint8Array[] = [];
	igb.connect({ receive: (frame) => wire.push(frame.slice()) });
	const host = hostWith({ [PHYSICAL]: [Igb.description(), igb] });
	const pf = new Guest(host, PHYSICAL, TOKEN);
	const driver = new IgbDriver(pf);
	pf.enableMsix(driver.msix, 3, 0xfee03000, 0x70);
	driver.useVectors();
	const administrator = host.linux.process();
	administrator.writeFile(NUMBER, "2");
	// Pools by address, everybody gets broadcasts, frames between pools stay inside.
	pf.write(PF + 0x5818, 3);
	pf.write(PF + 0x581c, (2 << 7) | (1 << 30));
	pf.write(PF + 0x3500, 0x80000000);
	pf.write(PF + 0xc84, 0xff);
	for (const pool of [0, 1, 2]) pf.write(PF + 0x5ad0 + 4 * pool, 0x08002600);
	for (const pool of [0, 1]) {
		pf.write(PF + 0x5408 + 8 * pool, 0x00000002);
		pf.write(PF + 0x540c + 8 * pool, (0x80000000 | (1 << (18 + pool)) | (0x100 * (pool + 1))) >>> 0);
	}
	pf.write(PF + 0x18, 1 << 14);
	driver.start(true);
	pf.taken();
	const disable = () => administrator.writeFile(NUMBER, "0");
	/** Both may send and receive: VFRE and VFTE. */
	const letPass = () => {
		pf.write(PF + 0xc8c, 0xff);
		pf.write(PF + 0xc90, 0xff);
	};
	return { ...host, igb, wire, pf, driver, disable, letPass };
}

function frame(to: number, length: number, seed: number): Uint8Array {
	const bytes = pattern(length, seed);
	bytes.set([2, 0, 0, 0, 0, to]);
	return bytes;
}

describe("F-05 assigned virtual functions of the 82576", () => {
	it("F-05 82576 VF: a guest's driver exchanges messages with the physical function's, in another guest", () => {
		const { pf, disable, ...host } = virtualized();
		const guest = new Guest(host, FIRST, TOKEN);
		const vf = new VfDriver(guest);
		// The reset told the physical function.
		expect([pf.taken(), pf.read(PF + 0xc88) & 1]).toEqual([[0x72], 1]);
		pf.write(PF + 0xc88, 1);
		pf.read(PF + 0x1500);
		vf.post([0x00000001, 0x12345678]);
		expect([pf.taken(), pf.read(PF + 0x1500) & 0x100, pf.read(PF + 0xc80)]).toEqual([[0x72], 0x100, 1]);
		pf.write(PF + 0xc80, 1);
		expect([pf.read(PF + 0x800), pf.read(PF + 0x804)]).toEqual([1, 0x12345678]);
		pf.write(PF + 0xc00, 2);
		expect([guest.taken(), guest.read(VF + MAILBOX) & 0x20]).toEqual([[0x82], 0x20]);
		guest.write(VF + MAILBOX, 0);
		// And back, with the address the virtual function is to use.
		pf.write(PF + 0xc00, 8);
		expect(pf.read(PF + 0xc00)).toBe(8);
		pf.write(PF + 0x800, 0x80000001);
		pf.write(PF + 0x804, 2);
		pf.write(PF + 0x808, 0x100);
		pf.write(PF + 0xc00, 1);
		expect(guest.taken()).toEqual([0x82]);
		expect(vf.fetch(3)).toEqual([0x80000001, 2, 0x100]);
		expect([pf.taken(), pf.read(PF + 0xc80)]).toEqual([[0x72], 0x10000]);
		guest[Symbol.dispose]();
		disable();
		pf[Symbol.dispose]();
	});

	it("F-05 82576 VF: two guests exchange frames with the wire and with each other, by MSI-X and their own DMA", () => {
		const { pf, disable, letPass, igb, wire, ...host } = virtualized();
		const [one, two] = [new Guest(host, FIRST, TOKEN), new Guest(host, SECOND, TOKEN)];
		const [first, second] = [new VfDriver(one), new VfDriver(two)];
		first.startQueues(true);
		second.startQueues(true);
		// After their reset the physical function has to let them.
		igb.receive(frame(1, 80, 9));
		expect([one.taken(), first.received()]).toEqual([[], []]);
		letPass();
		const out = frame(9, 900, 1);
		first.send(out);
		expect([one.taken(), wire]).toEqual([[0x81], [out]]);
		const inward = frame(2, 333, 2);
		igb.receive(inward);
		expect([one.taken(), two.taken(), second.received()]).toEqual([[], [0x80], [inward]]);
		const between = frame(1, 1200, 3);
		second.send(between);
		expect([one.taken(), first.received()]).toEqual([[0x80], [between]]);
		expect([two.taken(), wire.length]).toEqual([[0x81], 1]);
		const all = pattern(100, 4);
		all.fill(0xff, 0, 6);
		igb.receive(all);
		expect([one.taken(), two.taken(), first.received(), second.received()]).toEqual([[0x80], [0x80], [all], [all]]);
		expect(host.linux.faults).toEqual([]);
		expect([one.read(VF + 0xf10), one.read(VF + 0xf14)]).toEqual([2, 1]);
		two[Symbol.dispose]();
		one[Symbol.dispose]();
		disable();
		pf[Symbol.dispose]();
	});

	it("F-05 82576 VF: a virtual function's DMA is its own: what it was not given faults under its name", () => {
		const { pf, disable, letPass, ...host } = virtualized();
		const guest = new Guest(host, SECOND, TOKEN);
		const vf = new VfDriver(guest);
		vf.startQueues(true);
		letPass();
		guest.write(VF + 0x3800, 0x7000_0000);
		vf.send(frame(9, 100, 1));
		expect(host.linux.faults.map(({ device }) => device)).toEqual([SECOND]);
		guest[Symbol.dispose]();
		disable();
		pf[Symbol.dispose]();
	});
});
