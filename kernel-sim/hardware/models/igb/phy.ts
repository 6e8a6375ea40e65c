/**
 * The internal copper PHY, through MDIC (82576 datasheet, sections 8.2.5 and 8.25): identification, auto-negotiation with a
 * partner that can do everything, loopback. Power management and cable diagnostics are not here.
 *
 * @module
 */

const CONTROL = 0;
const STATUS = 1;
const ID_1 = 2;
const ID_2 = 3;
const ADVERTISE = 4;
const PARTNER = 5;
const GIGABIT_CONTROL = 9;
const GIGABIT_STATUS = 10;
const REGISTERS = 32;

const CONTROL_RESET = 0x8000;
const CONTROL_LOOPBACK = 0x4000;
const CONTROL_RESTART = 0x0200;
/** Auto-negotiation, full duplex, 1000 Mb/s. */
const CONTROL_DEFAULT = 0x1140;
const STATUS_LINK = 0x0004;
const STATUS_NEGOTIATED = 0x0020;
/** Every 10 and 100 Mb/s mode, auto-negotiation, extended registers. */
const STATUS_ABILITIES = 0x7949;

/** The address it answers to. */
export const PHY_ADDRESS = 1;

/** The PHY's registers. */
export class Phy {
	readonly #registers = new Uint16Array(REGISTERS);
	/** The cable leads somewhere. */
	linked = false;

	constructor() {
		this.reset();
	}

	reset(): void {
		this.#registers.fill(0);
		this.#registers[CONTROL] = CONTROL_DEFAULT;
		this.#registers[ADVERTISE] = 0x0de1;
		this.#registers[GIGABIT_CONTROL] = 0x0300;
	}

	/** What is sent comes back. */
	get loopback(): boolean {
		return ((this.#registers[CONTROL] ?? 0) & CONTROL_LOOPBACK) !== 0;
	}

	read(register: number): number {
		switch (register) {
			case STATUS:
				return STATUS_ABILITIES | (this.linked ? STATUS_LINK | STATUS_NEGOTIATED : 0);
			case ID_1:
				return 0x02a8;
			case ID_2:
				return 0x0391;
			case PARTNER:
				return this.linked ? 0x4de1 : 0;
			case GIGABIT_STATUS:
				return this.linked ? 0x3c00 : 0;
			default:
				return this.#registers[register] ?? 0;
		}
	}

	write(register: number, value: number): void {
		if (register === CONTROL) {
			if ((value & CONTROL_RESET) !== 0) this.reset();
			else this.#registers[CONTROL] = value & ~CONTROL_RESTART;
		} else if (register === ADVERTISE || register === GIGABIT_CONTROL || register > 15)
			this.#registers[register] = value;
	}
}
