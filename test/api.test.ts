// The public surface. A change of it is a decision: make it, then take it down here with
// `npx vitest run test/api.test.ts -u`, and write it into CHANGELOG.md.
import { describe, expect, it } from "vitest";
import { type Export, exportsOf } from "./exports.ts";

const ENTRY_POINTS = ["core/mod.ts", "kernel-sim/mod.ts", "kernel-linux/mod.ts", "runner/mod.ts"];
/** What Linux's headers define has its name from there, and is compared with them by the tests in test/uapi. */
const OF_A_HEADER = /^(?:(?:VFIO|IOMMU|KVM|PCI|O|MAP|PROT)_\w+|E[A-Z0-9]+|(?:vfio|iommu|kvm)_\w+)$/;
const WIDTH = 110;

/** One paragraph for each folder, one line for each kind of export. */
function surface(file: string): string {
	const folders = new Map<string, Map<string, string[]>>();
	for (const [name, declared] of own(file)) {
		const folder = declared.file.slice(0, declared.file.lastIndexOf("/"));
		const kinds = folders.get(folder) ?? folders.set(folder, new Map()).get(folder);
		kinds?.set(declared.kind, [...(kinds.get(declared.kind) ?? []), name]);
	}
	const kinds = ["class", "function", "const", "type"] as const;
	return [...folders]
		.sort(([a], [b]) => (a < b ? -1 : 1))
		.map(([folder, names]) => {
			const lines = kinds.map((kind) => wrapped(`  ${kind.padEnd(8)}`, (names.get(kind) ?? []).sort()));
			return [`${folder}/`, ...lines.filter((line) => line !== "")].join("\n");
		})
		.join("\n");
}

function wrapped(margin: string, names: readonly string[]): string {
	const lines: string[] = [];
	for (const name of names) {
		const last = lines.at(-1);
		if (last !== undefined && last.length + name.length < WIDTH) lines[lines.length - 1] = `${last} ${name}`;
		else lines.push(`${lines.length === 0 ? margin : " ".repeat(margin.length)} ${name}`);
	}
	return lines.join("\n");
}

function own(file: string): [string, Export][] {
	return [...exportsOf(file)].filter(
		([name, declared]) => !(declared.file.startsWith("core/uapi/") && OF_A_HEADER.test(name)),
	);
}

describe("the public API", () => {
	it("of vfio-ts", () => {
		expect(surface("core/mod.ts")).toMatchInlineSnapshot(`
			"core/
			  class    FailingKernel KernelError Releases TracingKernel VfioError
			  type     AccessWidth AllocateOptions Clock Kernel Mapping Memory TraceOptions TracedCall VfioErrorCode
			           VfioErrorDetails
			core/device/
			  class    Container Group IoAddressSpace VfioDevice
			  function irqName regionName
			  const    NO_EVENTFD
			  type     DeviceKind GroupOptions GroupStatus HotResetDevice IoAddressSpaceOptions Irq MapOptions OpenOptions
			           OpenedBy PassedDevice Region RegionType SparseArea
			core/host/
			  class    BoundGroup Mdev PciSysfs
			  function bindGroup comparePciAddresses examineHost formatPciAddress groupAt groupMembers groupOf inTheWay
			           isMediated locate mdevDevices mdevTypes parsePciAddress planBind planUnbind readText removeMdev
			           requireViable shellCommand unbindGroup
			  type     BindPlan BindStep DeviceBinding DeviceLocation DeviceReference DoctorOptions GroupMember MdevInfo
			           MdevOptions MdevType PciAddress PciIds PciResource SysfsWrite UnbindOptions
			core/host/doctor/
			  type     Finding FindingLevel
			core/iommu/
			  class    GuestMemoryMapper Ioas Iommufd
			  function lockedBytes memlock planMappings requireMemlock
			  type     BoundDevice DirtyTracking DmaAccess DmaMapping Interval IoasAttachment Iommu IommuBackend
			           IommuHardware IommuInfo IovaRange MapReport MapperOptions MappingPlan Memlock PlannedMapping
			           PlannerLimits SkipReason SkippedRegions Type1
			core/kvm/
			  class    KvmVm
			  type     InterruptPin KvmVmOptions
			core/machine/
			  class    AddressDecoder AddressSpace HostBridge PciBus PciTopology PlatformBus RootBus RootPort
			  function formatSlotAddress missingRoom parseSlotAddress swizzle
			  const    CONFIG_ADDRESS_PORT CONFIG_DATA_PORT FUNCTIONS_PER_SLOT PIN_COUNT SLOTS_PER_BUS
			  type     AddressRange BridgeWindows DirectArea DmaBuf EcamWindow GuestBar GuestMemory GuestMemoryListener
			           GuestMemoryRegion GuestPciFunction GuestPlatformDevice GuestPlatformInterrupt GuestPlatformRegion
			           HotPlug HotPlugOptions InterruptSink PciBridge PciSlot PlacedBar Placement PlatformBusOptions
			           PlatformLine PlatformPlacement PlatformSlot PlugOptions RootBusKvm RootBusOptions RootBusUpstream
			           RootPortIdentity RootPortOptions SlotAddress TopologyOptions TopologyPlugOptions
			core/pci/
			  class    AssignedFunction PeerMemory
			  function assignOptions mappableAreas needsSharedReset planFunction planMachineReset relocateMsix
			           requestAction resetMachine resetSteps walkCapabilities walkExtendedCapabilities
			  const    ASSIGN_PROPERTIES
			  type     AssignOptions AssignableDevice BarArea BarPlace BarPlan Capability CapabilityLists
			           ExtendedCapability FunctionEvent FunctionPlan FunctionState HotResetMember IdentityOverrides
			           InterruptMode MachineResetPlan MachineResetReport MachineResettable MappableInput MsixCapability
			           MsixRelocation PeerFunction PlanInput RelocatedMsix RequestAction RequestPolicy ResetMethod
			           ResetMethodInfo ResetOutcome ResetPlan ResetReport ResetStep ResetTraits SharedReset
			           SharedResetCandidate Stretch Walk
			core/pci/quirks/
			  function configMirror configWindow
			  const    QUIRKS ati geforce rtl8168
			  type     BarQuirk ConfigMirror ConfigWindow DeviceQuirk QuirkDevice QuirkHost QuirkPlace QuirkStretch
			core/platform/
			  class    PlatformDevice
			  function bindPlatformDevice describePlatformDevice planPlatformBind platformOptions
			  const    PLATFORM_PROPERTIES
			  type     AssignablePlatformDevice PlatformBindPlan PlatformOptions
			core/platform/device-tree/
			  class    Phandles
			  function cells64 cellsOf deviceTreeNode findPhandle platformBusNodes platformNodes printNode readDeviceTree
			           stringsOf toDtb toDts
			  const    HOST_DEVICE_TREE
			  type     BlobOptions DeviceTreeNode DeviceTreeValue HostPlatformDevice MemoryReservation
			           PlacedPlatformDevice PlatformBusWindow PlatformNodes
			core/qmp/
			  class    Peripherals QmpError QmpMonitor
			  function pciInfo
			  type     AddOptions DeviceRequest JsonLimits MachineEvent OpenedPeripheral PciBusInfo PciDeviceInfo PciRange
			           PciRegionInfo PeripheralsOptions QmpDialect QmpFault QmpMachine QmpMonitorOptions QmpSession
			           QmpVersion RunState SessionOptions
			core/uapi/
			  function describeArgument errnoName errnoText requestName struct vfioFileKind
			  type     Fields Scalar Struct StructView VfioFileKind"
		`);
	});

	it("of vfio-ts/kernel-sim", () => {
		expect(surface("kernel-sim/mod.ts")).toMatchInlineSnapshot(`
			"kernel-sim/
			  class    Host VirtualClock
			  function printLspci
			  type     LspciOptions ReferenceHostOptions SimClock
			kernel-sim/hardware/
			  class    IommuDomain Machine PciFunction
			  function acs aer af ari barTarget describeConfig express hostBridge isaBridge memoryDevice msi msix
			           pciBridge pcieToPciBridge pm programHotplugged programMachine rawCapability rawExtendedCapability
			           rootPort serialNumber sriov subsystem switchDownstreamPort switchUpstreamPort vendor vpd
			  const    DMA_READ DMA_WRITE
			  type     AcsOptions AllocatedMessages BarDescription BarKind BridgeDescription BridgeOptions Capability
			           CapabilityPlace CapturedFunction DeviceModel DevicePort DmaMapping DmaTarget DroppedMessage
			           ExpressOptions ExtendedCapability ExtendedPlace FunctionDescription InterruptController Iommu
			           IommuFault IommuOptions MachineListener MachineOptions MemoryDeviceOptions MsiOptions
			           MsixDescription PlugOptions PmOptions PortOptions PowerState ResetMethod RomDescription
			           SriovOptions SriovUnit VendorOptions VirtualFunction VirtualFunctionChange
			kernel-sim/hardware/models/
			  class    E1000e Edu ModelRegistry
			  function defaultModels frameCheckSequence serveNvme
			  type     E1000eOptions EduOptions ModelFactory ModelMatch NetworkPeer ServedFunction
			kernel-sim/hardware/models/hda/
			  class    BasicCodec Hda
			  type     HdaCodec HdaOptions
			kernel-sim/hardware/models/igb/
			  class    Igb IgbVf
			  type     IgbOptions
			kernel-sim/hardware/models/nvme/
			  class    FileNamespace MemoryNamespace Nvme
			  function patternContent
			  type     BlockFile MemoryNamespaceOptions Namespace NvmeFunctionOptions NvmeOptions
			kernel-sim/hardware/models/usb/
			  class    Ehci LoopbackDevice Uhci
			  type     EhciOptions UhciOptions UsbDevice UsbHandshake UsbSpeed
			kernel-sim/hardware/platform/
			  class    PlatformHardware
			  type     PlatformDescription PlatformInterconnect PlatformInterrupt PlatformModel PlatformPort
			           PlatformRegion
			kernel-sim/hardware/platform/models/amd-xgbe/
			  class    AmdXgbe
			  type     AmdXgbeOptions AmdXgbePlace
			kernel-sim/hardware/platform/models/calxeda-xgmac/
			  class    CalxedaXgmac
			  type     CalxedaXgmacOptions CalxedaXgmacPlace
			kernel-sim/linux/
			  class    OpenFile RegionMapping SimulatedLinux
			  const    ALL_CAPABILITIES
			  type     BusDriver BusListener DeviceResetMethod DrivenDevice DriverBus FileSystem IoctlArgument IommuGroup
			           Leaks LinuxOptions MappedRegion ModuleParameters ParameterValues PciBus PciDevice PciDriver
			           PciIdentity PinnedMemory ProcessCapability ProcessOptions ReservedRegion SimProcess Sleep
			kernel-sim/linux/kvm/
			  type     Kvm KvmGuest VirtualMachine
			kernel-sim/linux/mdev/
			  function mediatedSamples
			  type     MdevBus MdevBusListener MdevDevice MediatedContext MediatedDevice MediatedDriver MediatedType
			kernel-sim/linux/mdev/mtty/
			  function mtty
			kernel-sim/linux/mdev/pci/
			  function mediatedPciDevice
			  type     MappableArea MediatedPciOptions
			kernel-sim/linux/mdev/vgpu/
			  class    Vgpu
			  function vgpu
			  const    VGPU VGPU_COMMANDS VGPU_COMMAND_SIZE VGPU_FRAME_BUFFER
			kernel-sim/linux/platform/
			  type     PlatformBus PlatformBusDevice PlatformDriver
			kernel-sim/linux/vfio/
			  type     DeviceFeatures DmaLoggingOps EmulatedDma FeatureRequest MigrationOps"
		`);
	});

	it("of vfio-ts/kernel-linux", () => {
		expect(surface("kernel-linux/mod.ts")).toMatchInlineSnapshot(`
			"kernel-linux/
			  class    LinuxKernel"
		`);
	});

	it("of vfio-ts/runner", () => {
		expect(surface("runner/mod.ts")).toMatchInlineSnapshot(`
			"runner/
			  class    HostClock
			  function planDevice runMainJob
			  type     DevicePlan DevicePlanOptions DeviceReport MachineControl MainJob RunEvent RunReport
			runner/cli/
			  class    UsageError
			  function parseDeviceOption parseRootPortOption parseSocketOption
			  type     AssignedKind AssignedReference DeviceOption RootPortOption SocketOption
			runner/machine/
			  class    GuestMachine
			  function guestProgram
			  type     GuestEvent GuestMachineOptions GuestOutcome GuestStatistics SlotState
			runner/qmp/
			  function serveQmp
			  type     QmpServer QmpStreams"
		`);
	});

	it.each(ENTRY_POINTS)("of %s is what the module has when it is loaded", async (file) => {
		const values = [...exportsOf(file)].filter(([, { kind }]) => kind !== "type").map(([name]) => name);
		expect(Object.keys(await import(new URL(`../${file}`, import.meta.url).href)).sort()).toEqual(values.sort());
	});

	it.each(ENTRY_POINTS)("of %s has a doc comment at every name", (file) => {
		const silent = own(file).filter(([, { doc }]) => !/\w/.test(doc));
		expect(silent.map(([name, at]) => `${name} (${at.file}:${at.line})`)).toEqual([]);
	});
});
