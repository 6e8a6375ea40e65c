/**
 * A codec: an audio function with a playback converter, a capture converter, and a jack for each (High Definition Audio
 * Specification 1.0a, section 7). Verbs answer, and settings are kept; what they would do to sound is the listener's.
 *
 * @module
 */

const ROOT = 0;
const AUDIO_FUNCTION = 1;
const DAC = 2;
const OUTPUT_PIN = 3;
const ADC = 4;
const INPUT_PIN = 5;
const WIDGETS = 4;

// Verbs with a payload of 16 bits, by their number of four bits, and verbs with one of 8 bits (section 7.3.3).
const SET_FORMAT = 0x2;
const SET_AMPLIFIER = 0x3;
const GET_FORMAT = 0xa;
const GET_AMPLIFIER = 0xb;
const GET_PARAMETER = 0xf00;
const GET_CONNECTION_LIST = 0xf02;
const GET_PIN_SENSE = 0xf09;
const GET_CONFIGURATION_DEFAULT = 0xf1c;
const FUNCTION_RESET = 0x7ff;
/** Setting any of these keeps 8 bits, which the verb 0x800 higher reads. */
const KEPT: readonly number[] = [0x701, 0x705, 0x706, 0x707, 0x708, 0x70c];

// Parameters (section 7.3.4).
const VENDOR_ID = 0x00;
const REVISION_ID = 0x02;
const SUBORDINATE_NODES = 0x04;
const FUNCTION_TYPE = 0x05;
const FUNCTION_CAPABILITIES = 0x08;
const WIDGET_CAPABILITIES = 0x09;
const PCM_RATES = 0x0a;
const STREAM_FORMATS = 0x0b;
const PIN_CAPABILITIES = 0x0c;
const CONNECTION_LIST_LENGTH = 0x0e;
const OUTPUT_AMPLIFIER = 0x12;

/** 16 bits at 44.1, 48 and 96 kHz. */
const RATES = (1 << 17) | (1 << 5) | (1 << 6) | (1 << 8);
const PCM = 1;
/** 75 steps of 1 dB, the last one 0 dB, with mute. */
const AMPLIFIER = 0x80034a4a;

/** One node's parameters that are not zero. */
const PARAMETERS: readonly ReadonlyMap<number, number>[] = [
	new Map([
		[VENDOR_ID, 0x10ec0888],
		[REVISION_ID, 0x00100001],
		[SUBORDINATE_NODES, (AUDIO_FUNCTION << 16) | 1],
	]),
	new Map([
		[SUBORDINATE_NODES, (DAC << 16) | WIDGETS],
		[FUNCTION_TYPE, 1],
		[FUNCTION_CAPABILITIES, 0x0c0c],
		[PCM_RATES, RATES],
		[STREAM_FORMATS, PCM],
	]),
	// Audio output: stereo, amplifier of its own.
	new Map([
		[WIDGET_CAPABILITIES, 0x0000001d],
		[PCM_RATES, RATES],
		[STREAM_FORMATS, PCM],
		[OUTPUT_AMPLIFIER, AMPLIFIER],
	]),
	// Pin complex: stereo, connection list; can be an output.
	new Map([
		[WIDGET_CAPABILITIES, 0x00400101],
		[PIN_CAPABILITIES, 0x00000014],
		[CONNECTION_LIST_LENGTH, 1],
	]),
	// Audio input: stereo, connection list.
	new Map([
		[WIDGET_CAPABILITIES, 0x00100111],
		[PCM_RATES, RATES],
		[STREAM_FORMATS, PCM],
		[CONNECTION_LIST_LENGTH, 1],
	]),
	// Pin complex: stereo; can be an input.
	new Map([
		[WIDGET_CAPABILITIES, 0x00400001],
		[PIN_CAPABILITIES, 0x00000024],
	]),
];

const CONNECTIONS: ReadonlyMap<number, number> = new Map([
	[OUTPUT_PIN, DAC],
	[ADC, INPUT_PIN],
]);
/** Rear green line out, rear blue line in (section 7.3.3.31). */
const CONFIGURATIONS: ReadonlyMap<number, number> = new Map([
	[OUTPUT_PIN, 0x01014010],
	[INPUT_PIN, 0x01813020],
]);
const JACK_CONNECTED = 0x80000000;
/** 48 kHz, 16 bits, two channels. */
const DEFAULT_FORMAT = 0x0011;
const LOUDEST = 0x4a;

/** What a controller's link leads to. */
export interface HdaCodec {
	/** A verb: 4 bits codec address (its own), 8 bits node, 20 bits verb and payload. @returns the response */
	execute(verb: number): number;
	/** The link was reset. */
	reset(): void;
}

/** The codec. */
export class BasicCodec implements HdaCodec {
	readonly #kept = new Map<number, number>();
	readonly #formats = new Map<number, number>();
	/** Gain and mute: left in the low byte, right in the next. */
	readonly #amplifiers = new Map<number, number>();

	reset(): void {
		this.#kept.clear();
		this.#formats.clear();
		this.#amplifiers.clear();
	}

	/** Gain (0 to 0x4a, bit 7 mutes) of the playback converter's left and right channel. */
	get volume(): readonly [left: number, right: number] {
		const amplifier = this.#amplifier(DAC);
		return [amplifier & 0xff, amplifier >>> 8];
	}

	execute(verb: number): number {
		const node = (verb >>> 20) & 0xff;
		if (node > INPUT_PIN) return 0;
		const short = (verb >>> 16) & 0xf;
		const payload = verb & 0xffff;
		switch (short) {
			case SET_FORMAT:
				this.#formats.set(node, payload);
				return 0;
			case SET_AMPLIFIER:
				this.#setAmplifier(node, payload);
				return 0;
			case GET_FORMAT:
				return node === DAC || node === ADC ? (this.#formats.get(node) ?? DEFAULT_FORMAT) : 0;
			case GET_AMPLIFIER:
				return node === DAC ? (this.#amplifier(node) >>> ((payload & 0x2000) !== 0 ? 0 : 8)) & 0xff : 0;
			default:
				return this.#long(node, (verb >>> 8) & 0xfff, verb & 0xff);
		}
	}

	#long(node: number, verb: number, payload: number): number {
		if (KEPT.includes(verb)) {
			this.#kept.set((node << 12) | verb, payload);
			return 0;
		}
		if (KEPT.includes(verb - 0x800)) return this.#kept.get((node << 12) | (verb - 0x800)) ?? 0;
		switch (verb) {
			case GET_PARAMETER:
				return PARAMETERS[node]?.get(payload) ?? 0;
			case GET_CONNECTION_LIST:
				return payload === 0 ? (CONNECTIONS.get(node) ?? 0) : 0;
			case GET_PIN_SENSE:
				return CONFIGURATIONS.has(node) ? JACK_CONNECTED : 0;
			case GET_CONFIGURATION_DEFAULT:
				return CONFIGURATIONS.get(node) ?? 0;
			case FUNCTION_RESET:
				if (node === AUDIO_FUNCTION || node === ROOT) this.reset();
				return 0;
			default:
				return 0;
		}
	}

	#amplifier(node: number): number {
		return this.#amplifiers.get(node) ?? (LOUDEST << 8) | LOUDEST;
	}

	/** Bit 15 output, 13 left, 12 right, 7 mute, 6 to 0 gain (section 7.3.3.7). */
	#setAmplifier(node: number, payload: number): void {
		if (node !== DAC || (payload & 0x8000) === 0) return;
		let value = this.#amplifier(node);
		if ((payload & 0x2000) !== 0) value = (value & 0xff00) | (payload & 0xff);
		if ((payload & 0x1000) !== 0) value = (value & 0x00ff) | ((payload & 0xff) << 8);
		this.#amplifiers.set(node, value);
	}
}
