/**
 * The EEPROM (82576 datasheet, section 6): words, among them the MAC address and a checksum.
 *
 * @module
 */

const WORDS = 0x800;
const DEVICE_ID_WORD = 0x0d;
const CHECKSUM_WORD = 0x3f;
/** What words 0 to 0x3f add up to (section 6.3.16). */
const CHECKSUM = 0xbaba;

/** Builds the content. @param mac six bytes */
export function eepromContent(mac: Uint8Array): Uint16Array {
	const words = new Uint16Array(WORDS);
	for (let word = 0; word < 3; word++) words[word] = (mac[2 * word] ?? 0) | ((mac[2 * word + 1] ?? 0) << 8);
	words[DEVICE_ID_WORD] = 0x10c9;
	words[DEVICE_ID_WORD + 1] = 0x8086;
	let sum = 0;
	for (let word = 0; word < CHECKSUM_WORD; word++) sum += words[word] ?? 0;
	words[CHECKSUM_WORD] = CHECKSUM - sum;
	return words;
}
