/**
 * The emulated devices of the lab's host, as QEMU arguments: an endpoint of each kind below a root port of its own, a
 * PCIe-to-PCI bridge with two functions behind it (one shared IOMMU group), and functions on the root complex itself, two
 * of them in one slot without ACS (another shared group).
 *
 * @param disk a file with the content of the second NVMe drive; the first one reads zeroes and forgets what is written
 */
export function deviceArguments(disk: string): string[] {
	const args: string[] = [];
	let ports = 0;
	const below = (device: string) => {
		const slot = 8 + Math.floor(ports / 8);
		const multifunction = ports % 8 === 0 ? ",multifunction=on" : "";
		const id = `rp${ports + 1}`;
		args.push(
			"-device",
			`pcie-root-port,id=${id},chassis=${ports + 1},slot=${ports + 1},addr=${slot}.${ports % 8}${multifunction}`,
		);
		const [driver, ...rest] = device.split(",");
		args.push("-device", [driver, `bus=${id}`, ...rest].join(","));
		ports++;
	};
	args.push("-drive", "if=none,id=nv0,driver=null-co,size=64M,read-zeroes=on");
	// cache=unsafe: a flush of the guest need not reach this machine's disk, as the file goes with the run.
	args.push("-drive", `if=none,id=nv1,format=raw,cache=unsafe,file=${disk}`);
	args.push("-object", "memory-backend-ram,id=ivm,size=1M,share=on");
	for (const hub of ["h0", "h1", "h2", "h3"]) args.push("-netdev", `hubport,id=${hub},hubid=0`);
	below("edu");
	below("pci-testdev,membar=65536");
	below("e1000e,netdev=h0");
	below("igb,netdev=h1");
	args.push("-device", "nvme-subsys,id=ss0,nqn=lab");
	below(
		"nvme,subsys=ss0,serial=lab0,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,max_ioqpairs=6,msix_qsize=8",
	);
	args.push("-device", "nvme-ns,drive=nv0,shared=on");
	below("nvme,serial=lab1,drive=nv1");
	below("ivshmem-plain,memdev=ivm");
	below("virtio-net-pci,netdev=h2,disable-legacy=on,iommu_platform=on,ats=on");
	below("qemu-xhci");
	below("ich9-ahci");
	below("megasas-gen2");
	below("bochs-display");
	below("VGA");
	below("pcie-pci-bridge,id=ppb");
	args.push("-device", "edu,bus=ppb,addr=1", "-device", "e1000,bus=ppb,addr=2,netdev=h3");
	args.push("-device", "ich9-intel-hda,addr=0x10", "-device", "edu,addr=0x11");
	args.push("-device", "edu,addr=0x12.0,multifunction=on", "-device", "pci-testdev,addr=0x12.1");
	return args;
}
