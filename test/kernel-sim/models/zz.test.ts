import { it } from "vitest";
import { NvmeDriver, DATA } from "./nvme-driver.ts";
it("bench", () => {
	const d = new NvmeDriver().enable(); d.port.interruptMode="msix";
	d.ioQueue(1, 0x6000, 64, 1);
	const t = performance.now(); const n = 200000;
	for (let i=0;i<n;i++) { d.put({opcode:2,nsid:1,prp1:DATA,dwords:[i%1000,0,7]},1); d.ring(1); d.poll(1);}
	const s=(performance.now()-t)/1000; console.log("4K reads/s", Math.round(n/s));
});
