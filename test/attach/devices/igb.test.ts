import { describe, expect, it } from "vitest";
import { Igb } from "../../../kernel-sim/mod.ts";
import { BACKENDS, type Backend } from "../scripted-guest.ts";
import { Guest, hostWith, pattern } from "./guest.ts";
import { IgbDriver, REGISTERS } from "./igb-driver.ts";

const ADDRESS = "0000:04:00.0";
const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

function assigned(backend: Backend) {
	const igb = new Igb({ mac: MAC });
	const sent: Uint8Array[] = [];
	igb.connect({ receive: (frame) => sent.push(frame.slice()) });
	const host = hostWith({ [ADDRESS]: [Igb.description(), igb] });
	const guest = new Guest(host, ADDRESS, undefined, backend);
	return { ...host, igb, sent, guest, driver: new IgbDriver(guest) };
}

function frame(length: number, seed: number): Uint8Array {
	const bytes = pattern(length, seed);
	bytes.set(MAC);
	return bytes;
}

describe.each(BACKENDS)("F-05 an assigned 82576 with %s", (backend) => {
	it("F-05 82576: exchanges frames by INTx, ended by reading ICR", () => {
		const { guest, driver, igb, sent } = assigned(backend);
		expect(driver.mac).toEqual(MAC);
		expect(guest.fn.interruptMode).toBe("intx");
		guest.write(REGISTERS + 0x1508, 0x85);
		// The link came up before anybody listened.
		guest.serve(() => guest.read(REGISTERS + 0x1500));
		driver.start();
		for (let round = 0; round < 20; round++) {
			const [out, back] = [frame(60 + 70 * round, round), frame(1514 - 30 * round, 100 + round)];
			driver.send(out);
			expect(guest.line).toBe(true);
			expect(guest.serve(() => guest.read(REGISTERS + 0x1500)) & 0x80000001).toBe(0x80000001 | 0);
			igb.receive(back);
			expect(guest.line).toBe(true);
			expect(guest.serve(() => guest.read(REGISTERS + 0x1500)) & 0x80).toBe(0x80);
			expect(sent.pop()).toEqual(out);
			expect(driver.received()).toEqual([back]);
		}
		driver.stop();
		guest[Symbol.dispose]();
	});

	it("F-05 82576: exchanges frames by MSI", () => {
		const { guest, driver, igb, sent } = assigned(backend);
		guest.enableMsi(0xfee02000, 0x4061);
		guest.write(REGISTERS + 0x1508, 0x81);
		driver.start();
		const bytes = frame(1000, 1);
		driver.send(bytes);
		expect([guest.taken(), sent]).toEqual([[0x4061], [bytes]]);
		expect(guest.read(REGISTERS + 0x1500) & 1).toBe(1);
		igb.receive(bytes);
		expect([guest.taken(), driver.received()]).toEqual([[0x4061], [bytes]]);
		driver.stop();
		guest[Symbol.dispose]();
	});

	it("F-05 82576: exchanges frames by MSI-X, a vector for each direction and one for the link", () => {
		const { guest, driver, igb, sent } = assigned(backend);
		guest.enableMsix(driver.msix, 3, 0xfee03000, 0x70);
		expect(guest.fn.interruptMode).toBe("msix");
		driver.useVectors();
		guest.taken();
		driver.start(true);
		const [out, back] = [frame(700, 5), frame(801, 6)];
		driver.send(out);
		expect([guest.taken(), sent]).toEqual([[0x71], [out]]);
		igb.receive(back);
		expect([guest.taken(), driver.received()]).toEqual([[0x70], [back]]);
		igb.connect(undefined);
		expect(guest.taken()).toEqual([0x72]);
		expect(guest.read(REGISTERS + 8) & 2).toBe(0);
		driver.stop();
		guest[Symbol.dispose]();
	});

	it("F-05 82576: a masked vector waits in the pending bits", () => {
		const { guest, driver, igb } = assigned(backend);
		guest.enableMsix(driver.msix, 3, 0xfee03000, 0x70);
		driver.useVectors();
		guest.taken();
		driver.start(true);
		guest.write(driver.msix + 12, 1);
		igb.receive(frame(64, 1));
		expect(guest.taken()).toEqual([]);
		expect(guest.read(driver.msix + 0x2000) & 1).toBe(1);
		guest.write(driver.msix + 12, 0);
		expect(guest.taken()).toEqual([0x70]);
		driver.stop();
		guest[Symbol.dispose]();
	});

	it("F-05 82576: a driver reaches its registers through the I/O ports too", () => {
		const { guest, driver } = assigned(backend);
		guest.placeBar(2, 0xc0e0);
		guest.writeConfig(4, 2, 7);
		guest.writePort(0xc0e0, 4, 0x5400);
		expect(guest.readPort(0xc0e4, 4)).toBe(0x12005452);
		guest.writePort(0xc0e4, 4, 0xaabbccdd);
		expect(guest.read(REGISTERS + 0x5400)).toBe(0xaabbccdd);
		driver.stop();
		guest[Symbol.dispose]();
	});

	it("F-05 82576: DMA to what is no memory of the guest faults, and only stops the ring", () => {
		const { guest, driver, linux } = assigned(backend);
		driver.start();
		guest.write(REGISTERS + 0xe000, 0x7000_0000);
		driver.send(frame(64, 1));
		expect(linux.faults.map(({ device, direction }) => [device, direction])).toEqual([[ADDRESS, "read"]]);
		expect(guest.read(REGISTERS + 0xe028) & (1 << 25)).toBe(0);
		driver.stop();
		guest[Symbol.dispose]();
	});
});
