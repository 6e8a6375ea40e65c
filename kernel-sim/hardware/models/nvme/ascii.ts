/** A fixed-width ASCII field: cut when too long, padded when too short (with spaces, as the specification has them). */
export function ascii(into: Uint8Array, offset: number, length: number, text: string, padding = 0x20): void {
	for (let i = 0; i < length; i++) into[offset + i] = i < text.length ? text.charCodeAt(i) & 0x7f : padding;
}
