import * as vfio from "../../../core/uapi/vfio.ts";
import type { Case } from "../case.ts";
import { featureData, loggingControl, openMtty, rangeBytes } from "../mediated.ts";
import { mtty, needs } from "../roles.ts";
import { PAGE } from "../trial.ts";

const { VFIO_DEVICE_FEATURE_GET: GET, VFIO_DEVICE_FEATURE_SET: SET } = vfio;
const {
	VFIO_DEVICE_FEATURE_DMA_LOGGING_START: START,
	VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP: STOP,
	VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: REPORT,
} = vfio;

const needsMtty = needs(mtty);

/** I.13: DMA logging of a device that has nothing to tell. */
export const dmaLoggingCases: readonly Case[] = [
	{
		id: "I.13/265",
		name: "DMA logging checks its ranges, and has nothing to tell",
		needs: needsMtty,
		run(t) {
			const { fd } = openMtty(t);
			const memory = t.buffer(2 * PAGE);
			const start = (pageSize: bigint, count: number, ...ranges: readonly (readonly [bigint, bigint])[]) => {
				memory.bytes.set(rangeBytes(...ranges));
				return featureData(t, fd, SET | START, loggingControl(pageSize, count, memory.address));
			};
			t.is(start(4096n, 0).answer, "EINVAL");
			t.is(start(4096n, 257).answer, "E2BIG");
			t.is(start(4096n, 2, [0n, 0x2000n], [0x1000n, 0x1000n]).answer, "EINVAL");
			t.is(start(4096n, 1, [0x800n, 0x1000n]).answer, "EINVAL");
			t.is(start(4096n, 1, [0n, 0x800n]).answer, "EINVAL");
			t.is(start(4096n, 1, [(1n << 64n) - 4096n, 0x2000n]).answer, "EOVERFLOW");
			t.is(featureData(t, fd, SET | START, loggingControl(4096n, 1, 0x10000n)).answer, "EFAULT");
			t.is(t.feature(fd, GET | START, new Uint8Array(24)), "EINVAL");
			const started = start(4096n, 2, [0n, 0x2000n], [0x2000n, 0x1000n]);
			t.is([started.answer, ...started.data.subarray(0, 8)], [0, 0, 16, 0, 0, 0, 0, 0, 0]);
			memory.bytes.fill(0xaa, PAGE);
			const report = (pageSize: bigint, iova = 0n, length = 0x2000n) => {
				const request = vfio.vfio_device_feature_dma_logging_report.create();
				Object.assign(request, { iova, length, page_size: pageSize, bitmap: memory.address + 4096n });
				return featureData(t, fd, GET | REPORT, request.bytes).answer;
			};
			t.is(report(2048n), "EINVAL");
			t.is(report(0x3000n), "EINVAL");
			t.is(report(4096n, (1n << 64n) - 4096n, 0x2000n), "EOVERFLOW");
			t.is(report(4096n), 0);
			t.is(memory.bytes[PAGE], 0xaa, "the bitmap");
			t.is(t.feature(fd, SET | STOP), 0);
			t.is(t.feature(fd, GET | STOP), "EINVAL");
			t.is(t.feature(fd, SET | STOP), 0);
		},
	},
];
