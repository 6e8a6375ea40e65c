import { numberOf, unhex } from "./calls.ts";
import type { Trial } from "./trial.ts";

/** The registers of QEMU's edu device in BAR 0. */
export const EDU = {
	ID: 0x00,
	LIVENESS: 0x04,
	FACTORIAL: 0x08,
	STATUS: 0x20,
	INTERRUPT_STATUS: 0x24,
	INTERRUPT_RAISE: 0x60,
	INTERRUPT_ACKNOWLEDGE: 0x64,
	DMA_SOURCE: 0x80,
	DMA_DESTINATION: 0x88,
	DMA_COUNT: 0x90,
	DMA_COMMAND: 0x98,
} as const;

/** What ID reads. */
export const EDU_ID = "ed000001";
/** The device's own buffer, as its DMA engine addresses it. */
const OWN_BUFFER = 0x40000;
const RUN = 1;
const TO_MEMORY = 2;

/** Lets the device copy between its buffer and an IOVA, and waits for it. */
export async function eduDma(
	t: Trial,
	fd: number,
	iova: number,
	length: number,
	direction: "to device" | "to memory",
): Promise<void> {
	const [source, destination] = direction === "to device" ? [iova, OWN_BUFFER] : [OWN_BUFFER, iova];
	t.write(fd, 0, EDU.DMA_SOURCE, 4, source);
	t.write(fd, 0, EDU.DMA_DESTINATION, 4, destination);
	t.write(fd, 0, EDU.DMA_COUNT, 4, length);
	t.write(fd, 0, EDU.DMA_COMMAND, 4, direction === "to device" ? RUN : RUN | TO_MEMORY);
	const buffer = new Uint8Array(4);
	await t.until(() => {
		t.target.kernel.pread(fd, buffer, EDU.DMA_COMMAND);
		return ((buffer[0] ?? 0) & RUN) === 0;
	}, "the device's DMA ends");
}

/** Memory decoding and bus mastering on: what DMA needs. */
export function enableDma(t: Trial, fd: number): void {
	const command = numberOf(unhex(t.pread(fd, 7, 4, 2)));
	t.write(fd, 7, 4, 2, command | 0x6);
}
