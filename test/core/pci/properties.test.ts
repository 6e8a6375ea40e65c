import { describe, expect, it } from "vitest";
import type { AssignOptions } from "../../../core/pci/mod.ts";
import { ASSIGN_PROPERTIES, assignOptions } from "../../../core/pci/properties.ts";
import { assign } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";

const parse = (...properties: [string, string][]) => assignOptions(new Map(properties));

describe("assignOptions()", () => {
	it.each<[string, string, AssignOptions]>([
		["x-intx", "off", { intx: "off" }],
		["x-intx-mmap-timeout-ms", "0", { intxMmapTimeout: 0 }],
		["x-no-mmap", "on", { mmap: false }],
		["rombar", "0", { rom: false }],
		["x-msix-relocation", "bar2", { msixRelocation: "bar2" }],
		["x-no-kvm-msix", "on", { kvm: { msix: false } }],
		["x-no-kvm-ioeventfd", "on", { kvm: { writes: false } }],
		["x-no-vfio-ioeventfd", "on", { kvm: { deviceWrites: false } }],
		["x-vga", "on", { vga: true }],
		["x-write-combining", "0+2", { writeCombining: { bars: [0, 2] } }],
		["x-req", "off", { request: "ignore" }],
		["x-pci-class-code", "0x010802", { ids: { classCode: 0x010802 } }],
		["x-nv-gpudirect-clique", "3", { gpuDirectClique: 3 }],
	])("%s=%s", (name, value, expected) => {
		expect(parse([name, value])).toEqual(expected);
	});

	it("puts several of a kind together", () => {
		const options = parse(["x-pci-vendor-id", "0x8086"], ["x-pci-device-id", "4660"], ["x-no-kvm-msi", "on"]);
		expect(options).toEqual({ ids: { vendor: 0x8086, device: 0x1234 }, kvm: { msi: false } });
		expect(assign({}, options).fn.configRead(0, 4)).toBe(0x12348086);
	});

	it.each([
		["x-nonsense", "1", "known are x-intx"],
		["toString", "1", "known are"],
		["x-no-mmap", "maybe", 'it is "on" or "off"'],
		["x-pci-vendor-id", "intel", "it is a number"],
	])("refuses %s=%s", (name, value, text) => {
		const error = vfioError(() => parse([name, value]));
		expect([error.code, error.message.includes(text)]).toEqual(["invalid-argument", true]);
	});

	it("leaves words to the attach, which names the valid ones", () => {
		expect(vfioError(() => assign({}, parse(["x-intx", "on"]))).message).toContain('"auto" or "off"');
		expect(vfioError(() => assign({}, parse(["x-msix-relocation", "bar9"]))).message).toContain('"bar5"');
		expect(ASSIGN_PROPERTIES.length).toBe(20);
	});
});
