/**
 * Ports of legacy VGA that lead to configuration space.
 *
 * @module
 */
import type { AccessWidth } from "../../kernel.ts";
import { VFIO_PCI_VGA_REGION_INDEX } from "../../uapi/vfio.ts";
import type { BarQuirk, QuirkHost, QuirkPlace } from "./quirk.ts";

const VGA = VFIO_PCI_VGA_REGION_INDEX;
const BAR_4 = 0x20;

/** ATI 0x3c3: the second byte of the address in BAR 4, by which a BIOS finds the device's ports. */
export const ATI_PORTS: QuirkPlace = {
	stretches: [{ bar: VGA, start: 0x3c3, end: 0x3c4 }],
	create: (host) => ({
		read: (bar, offset, width) => {
			host.read(bar, offset, width);
			return host.configRead(BAR_4 + 1, width);
		},
		write: (bar, offset, width, value) => host.write(bar, offset, width, value),
		reset: () => {},
	}),
};

const SELECT_PORT = 0x3d4;
const DATA_PORT = 0x3d0;
/** What is written to the one port before the other one means an address, and before it means data. */
const SELECT = 0x338;
const READ = 0x538;
const WRITE = 0x738;
const COPY = 0x1800;
const COPY_SIZE = 256;

/** NVIDIA 0x3d0 and 0x3d4: an address, then data of the copy of configuration space at 0x1800. */
export const NVIDIA_PORTS: QuirkPlace = {
	stretches: [
		{ bar: VGA, start: DATA_PORT, end: DATA_PORT + 4 },
		{ bar: VGA, start: SELECT_PORT, end: SELECT_PORT + 4 },
	],
	create: (host) => new NvidiaPorts(host),
};

type State = "idle" | "select" | "selected" | "read" | "write";

class NvidiaPorts implements BarQuirk {
	readonly #host: QuirkHost;
	#state: State = "idle";
	/** In configuration space. */
	#offset = 0;

	constructor(host: QuirkHost) {
		this.#host = host;
	}

	/** A read ends the sequence, whatever it was. */
	read(bar: number, offset: number, width: AccessWidth): number {
		const value = this.#host.read(bar, offset, width);
		const state = this.#state;
		this.#state = "idle";
		return state === "read" && offset < SELECT_PORT ? this.#host.configRead(this.#offset, width) : value;
	}

	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		const state = this.#state;
		this.#state = "idle";
		if (offset >= SELECT_PORT) {
			this.#state = this.#next(state, value);
		} else if (state === "select") {
			if ((value & ~(COPY_SIZE - 1)) >>> 0 === COPY) {
				this.#offset = value & (COPY_SIZE - 1);
				this.#state = "selected";
			}
		} else if (state === "write") {
			this.#host.configWrite(this.#offset, width, value);
			return;
		}
		this.#host.write(bar, offset, width, value);
	}

	reset(): void {
		this.#state = "idle";
		this.#offset = 0;
	}

	#next(state: State, value: number): State {
		if (value === SELECT) return "select";
		if (state !== "selected") return "idle";
		return value === READ ? "read" : value === WRITE ? "write" : "idle";
	}
}
