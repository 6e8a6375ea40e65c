import type { Memory } from "../../../core/kernel.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { hex } from "../calls.ts";
import type { Case } from "../case.ts";
import { capability } from "../host.ts";
import { e1000e, edu, igb, needs, nvme, of } from "../roles.ts";
import { BOOL, CONFIG, EVENTFD, MASK, NONE, PAGE, TRIGGER, type Trial, UNMASK } from "../trial.ts";

/*
 * More of the survey: calls drawn from a seed, for what nobody thought of asking. Answers are written down by the twenty.
 */

const AT_A_TIME = 20;

/** Numbers that are the same in every run (xorshift32). */
class Draw {
	#state: number;

	constructor(seed: number) {
		this.#state = seed;
	}

	/** 0 to `end` - 1. */
	below(end: number): number {
		let x = this.#state;
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		this.#state = x;
		return (x >>> 0) % end;
	}

	of<T>(values: readonly T[]): T {
		return values[this.below(values.length)] as T;
	}
}

/** Makes `count` draws and writes down what they answered. */
function series(t: Trial, name: string, count: number, draw: () => unknown): void {
	for (let from = 0; from < count; from += AT_A_TIME) {
		const answers = t.quietly(() => Array.from({ length: AT_A_TIME }, () => String(draw())));
		t.observations.add(name, `${from}-${from + AT_A_TIME - 1}`, answers.join(" "));
	}
}

/** Mappings in a narrow window, so that they meet. */
function mappings(type: number, seed: number): (t: Trial) => void {
	return (t) => {
		const { container } = t.attach(of(edu, t.host), type);
		const memory = t.buffer(64 * PAGE);
		const bitmap: Memory = t.buffer();
		const draw = new Draw(seed);
		const iova = () =>
			BigInt(draw.of([0, 0, 0, 1, 0x800]) + draw.below(40) * PAGE) + draw.of([0n, 0n, 0n, 0n, 0xfedf0000n]);
		const size = () => BigInt(draw.below(8) * PAGE + draw.of([0, 0, 0, 0, 0, 0, 0, 1]));
		const calls = [
			() =>
				t.map(container, {
					vaddr: memory.address + BigInt(draw.below(8) * PAGE),
					iova: iova(),
					size: size(),
					flags: draw.of([1, 2, 3, 3, 3, 4, 4, 0, 5]),
				}),
			() => t.map(container, { vaddr: memory.address, iova: iova(), size: size() }),
			() => {
				const { answer, size: done } = t.unmap(container, {
					iova: iova(),
					size: size(),
					flags: draw.of([0, 0, 0, 0, 4, 4, 8]),
				});
				return `${answer}:${done}`;
			},
			() => {
				const all = draw.below(12) === 0;
				const { answer, size: done } = t.unmap(container, {
					iova: 0n,
					size: all ? 0 : BigInt(draw.below(64) * PAGE),
					flags: all ? draw.of([2, 6]) : 0,
				});
				return `${answer}:${done}`;
			},
			() => t.dirty(container, draw.of([1, 1, 2, 3, 0])),
			() => {
				bitmap.bytes.fill(draw.of([0, 0xff]), 0, 16);
				const answer = t.dirtyBitmap(container, {
					iova: iova(),
					size: BigInt(draw.of([40, 64, 70, 1, 0]) * PAGE),
					bitmap,
					bitmapSize: draw.of([8, 16, 24]),
				});
				return `${answer}:${hex(bitmap.bytes.subarray(0, 16))}`;
			},
			() => {
				bitmap.bytes.fill(0, 0, 16);
				const { answer, size: done } = t.unmap(container, {
					iova: iova(),
					size: BigInt(draw.of([8, 40, 64]) * PAGE),
					flags: 1,
					bitmap: { pgsize: draw.of([4096n, 4096n, 8192n]), size: 8n, data: bitmap.address },
				});
				return `${answer}:${done}:${hex(bitmap.bytes.subarray(0, 8))}`;
			},
			() => t.available(container),
		];
		series(t, "type 1", 600, () => draw.of(calls)());
	};
}

/** The config space, where writing cannot take the device away. */
function configSpace(role: typeof edu, seed: number): (t: Trial) => void {
	return (t) => {
		const device = of(role, t.host);
		const { fd } = t.device(device);
		const draw = new Draw(seed);
		const express = capability(device, 0x10);
		const power = capability(device, 1);
		const length = device.config.length > 256 ? 0x140 : 256;
		// Resets and power states have cases of their own: they take the device's time.
		const spared = (offset: number, width: number) =>
			(express !== 0 && offset < express + 10 && offset + width > express + 8) ||
			(power !== 0 && offset < power + 6 && offset + width > power + 4);
		series(t, "config", 400, () => {
			const offset = draw.below(draw.of([64, 256, length]));
			const width = draw.of([1, 2, 4, 4, 3, 8, 7]);
			if (draw.below(2) === 0) return t.pread(fd, CONFIG, offset, width);
			const value = hex(Uint8Array.from({ length: width }, () => draw.of([0, 0xff, draw.below(256)])));
			if (spared(offset, width)) return "spared";
			const answer = t.pwrite(fd, CONFIG, offset, value);
			return `${answer}:${t.pread(fd, CONFIG, offset, width)}`;
		});
		for (let at = 0; at < 64; at += 4) t.pread(fd, CONFIG, at, 4);
		t.pwrite(fd, CONFIG, 4, "0600");
		t.pwrite(fd, CONFIG, 0x0c, "00000000");
		for (let at = 0x40; at < length; at += 4)
			t.quietly(() => spared(at, 4) || t.pwrite(fd, CONFIG, at, hex(device.config.subarray(at, at + 4))));
	};
}

/** Interrupts of every kind, in every order. */
function interrupts(role: typeof edu, seed: number): (t: Trial) => void {
	return (t) => {
		const { fd } = t.device(of(role, t.host));
		const eventfds = [t.eventfd(), t.eventfd(), t.eventfd()];
		const draw = new Draw(seed);
		series(t, "SET_IRQS", 600, () => {
			const index = draw.of([0, 1, 2, 0, 1, 2, 3, 4, 5]);
			const kind = draw.of([NONE, NONE, BOOL, EVENTFD, EVENTFD, EVENTFD]);
			const action = draw.of([TRIGGER, TRIGGER, TRIGGER, MASK, UNMASK, TRIGGER | MASK]);
			const start = draw.of([0, 0, 0, 1, 2]);
			const count = draw.of([0, 1, 1, 2, 3]);
			const value = () => (kind === EVENTFD ? draw.of([...eventfds, ...eventfds, -1, -2, 9999]) : draw.below(2));
			const data = kind === NONE ? [] : Array.from({ length: count }, value);
			const answer = t.setIrqs(fd, { index, flags: kind | action, start, count, data });
			return `${answer}:${eventfds.map((each) => t.count(each)).join("")}`;
		});
	};
}

/** Regions of the one device whose registers are the same on both sides. */
function regions(t: Trial): void {
	const { fd } = t.device(of(edu, t.host));
	const draw = new Draw(77);
	// The device keeps its registers over a reset: they may hold anything.
	t.quietly(() => {
		for (const offset of [0x80, 0x84, 0x88, 0x8c, 0x90, 0x94]) t.write(fd, 0, offset, 4, 0);
	});
	t.write(fd, 0, 4, 4, 0x12345678);
	series(t, "regions", 200, () => {
		const region = draw.of([0, 0, 0, 1, 6, 7, 8, 9]);
		const offset = draw.of([draw.below(0x80), draw.below(0x80), 0xfffff - draw.below(12), 0x100000 + draw.below(4)]);
		const length = draw.of([0, 1, 2, 3, 4, 6, 8, 12]);
		if (draw.below(3) > 0) return t.pread(fd, region, offset, length);
		return region === 7
			? "spared"
			: t.pwrite(fd, region, offset < 8 || offset > 0x7f ? offset : 0x20, "ff".repeat(draw.of([1, 2, 3, 4])));
	});
}

export const randomCases: readonly Case[] = [
	...[1, 2, 3].flatMap((seed): Case[] => [
		{
			id: `survey/random v2 ${seed}`,
			name: "mappings, type 1 v2",
			needs: needs(edu),
			run: mappings(vfio.VFIO_TYPE1v2_IOMMU, seed * 7919),
		},
		{
			id: `survey/random v1 ${seed}`,
			name: "mappings, type 1",
			needs: needs(edu),
			run: mappings(vfio.VFIO_TYPE1_IOMMU, seed * 104729),
		},
	]),
	...[edu, e1000e, igb, nvme].flatMap((role): Case[] => [
		{
			id: `survey/random config ${role.name}`,
			name: `the config space of ${role.name}`,
			needs: needs(role),
			run: configSpace(role, 4711),
		},
		{
			id: `survey/random irqs ${role.name}`,
			name: `the interrupts of ${role.name}`,
			needs: needs(role),
			run: interrupts(role, 1234567),
		},
	]),
	{ id: "survey/random regions", name: "reads and writes of edu", needs: needs(edu), run: regions },
];
