#include "pci.h"

#include "console.h"
#include "cpu.h"

// Configuration mechanism 1.
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u

#define VENDOR_AND_DEVICE 0x00
#define COMMAND_AND_STATUS 0x04
#define COMMAND_IO 0x1
#define COMMAND_MEMORY 0x2
#define COMMAND_MASTER 0x4
#define COMMAND_INTX_DISABLE 0x400
#define STATUS_CAPABILITIES (0x10u << 16)
#define REVISION_AND_CLASS 0x08
#define HEADER 0x0c
#define HEADER_TYPE(dword) ((dword) >> 16 & 0x7f)
#define HEADER_MULTIFUNCTION (0x80u << 16)
#define BAR0 0x10
#define BAR_IO 0x1
#define BAR_64_BIT 0x4
#define BUS_NUMBERS 0x18
#define IO_WINDOW 0x1c
#define MEMORY_WINDOW 0x20
#define PREFETCHABLE_WINDOW 0x24
#define CAPABILITIES 0x34
#define INTERRUPT 0x3c
#define MOST_CAPABILITIES 48  // as many fill configuration space: more are a loop

#define MSI_CONTROL_ENABLE (1u << 16)
#define MSI_CONTROL_MULTIPLE (7u << 20)
#define MSI_CONTROL_64_BIT (1u << 23)
#define MSIX_CONTROL_SIZE(dword) (((dword) >> 16 & 0x7ff) + 1)
#define MSIX_CONTROL_MASK_ALL (1u << 30)
#define MSIX_CONTROL_ENABLE (1u << 31)
#define MSIX_ENTRY_SIZE 16
#define MSIX_ENTRY_MASKED 1u

// Addresses that neither RAM nor the PC's own devices use.
#define MEMORY_START 0x80000000u
#define MEMORY_END 0xe0000000u
#define IO_START 0xc000u
#define IO_END 0xf000u
#define MEMORY_WINDOW_UNIT 0x100000u
#define IO_WINDOW_UNIT 0x1000u

// The PIIX3 at 00:01.0 routes four links to lines of the 8259s.
#define ROUTER_DEVICE 1
#define ROUTER_LINKS 0x60
static const u8 link_lines[4] = {10, 11, 10, 11};

struct pci_function pci_functions[PCI_MAX_FUNCTIONS];
u32 pci_function_count;
static u8 last_bus;
static bool scanned;
// What BARs are placed in, from its start on.
static struct range free_memory = {MEMORY_START, MEMORY_END};
static struct range free_io = {IO_START, IO_END};

static u32 config_address(u8 bus, u8 device, u8 number, u32 offset) {
	return CONFIG_ENABLE | (u32)bus << 16 | (u32)device << 11 | (u32)number << 8 | (offset & ~3u);
}

// An address and its data are two accesses, and interrupt handlers come here too.
u32 pci_read(const struct pci_function *function, u32 offset) {
	u32 flags = save_interrupts();
	outl(CONFIG_ADDRESS, config_address(function->bus, function->device, function->number, offset));
	u32 value = inl(CONFIG_DATA);
	restore_interrupts(flags);
	return value;
}

void pci_write(const struct pci_function *function, u32 offset, u32 value) {
	u32 flags = save_interrupts();
	outl(CONFIG_ADDRESS, config_address(function->bus, function->device, function->number, offset));
	outl(CONFIG_DATA, value);
	restore_interrupts(flags);
}

void pci_write16(const struct pci_function *function, u32 offset, u16 value) {
	u32 flags = save_interrupts();
	outl(CONFIG_ADDRESS, config_address(function->bus, function->device, function->number, offset));
	outw((u16)(CONFIG_DATA + (offset & 2)), value);
	restore_interrupts(flags);
}

// The command register alone: the status register beside it clears what is written as one.
static void write_command(const struct pci_function *function, u16 command) {
	pci_write16(function, COMMAND_AND_STATUS, command);
}

bool pci_is_chipset(const struct pci_function *function) {
	static const u8 devices[] = {0x00, 0x01, 0x07, 0x12, 0x1e};
	for (u32 i = 0; i < ARRAY_LENGTH(devices); i++) {
		if (function->bus == 0 && function->device == devices[i]) return true;
	}
	return false;
}

static u32 align_up(u32 value, u32 unit) { return (value + unit - 1) & ~(unit - 1); }

// Takes a naturally aligned range from the start of what is free; 0 when there is none left.
static u32 take(struct range *free, u32 size) {
	u32 start = align_up(free->start, size);
	if (start < free->start || start > free->end || size > free->end - start) return 0;
	free->start = start + size;
	return start;
}

// The lowest range that a function on the root bus uses and that ends above an address; `none` when there is none.
static struct range next_used(bool io, u32 above, struct range none) {
	struct range lowest = none;
	for (u32 i = 0; i < pci_function_count; i++) {
		const struct pci_function *function = &pci_functions[i];
		if (!function->present || function->bus != 0) continue;
		for (u32 j = 0; j <= PCI_BAR_COUNT; j++) {
			const struct pci_bar *bar = &function->bars[j];
			struct range used = io ? function->io : function->memory;
			if (j < PCI_BAR_COUNT) {
				if (bar->kind != (io ? PCI_BAR_IO : PCI_BAR_MEMORY) || bar->address == 0) continue;
				used = (struct range){bar->address, bar->address + bar->size};
			}
			if (used.end > used.start && used.end > above && used.start < lowest.start) lowest = used;
		}
	}
	return lowest;
}

// The largest range of whole units that nothing uses.
static struct range largest_gap(bool io, struct range whole, u32 unit) {
	struct range best = {0, 0}, nothing = {whole.end, whole.end};
	for (u32 start = whole.start; start < whole.end;) {
		struct range used = next_used(io, start, nothing);
		struct range gap = {align_up(start, unit), used.start & ~(unit - 1)};
		if (gap.end > gap.start && gap.end - gap.start > best.end - best.start) best = gap;
		start = used.end;
	}
	return best;
}

// Reads a BAR's size as PCI wants it read, with the function not answering at the addresses in between, and places it.
static void place_bars(struct pci_function *function) {
	write_command(function, 0);
	for (u32 i = 0; i < PCI_BAR_COUNT; i++) {
		struct pci_bar *bar = &function->bars[i];
		u32 offset = BAR0 + 4 * i;
		pci_write(function, offset, 0xffffffff);
		u32 low = pci_read(function, offset);
		if (low == 0 || low == 0xffffffff) continue;
		bool io = low & BAR_IO;
		bar->kind = io ? PCI_BAR_IO : PCI_BAR_MEMORY;
		bar->is_64_bit = !io && (low & BAR_64_BIT);
		// A port is 16 bits, so the upper half of an I/O BAR may be wired to zero.
		u32 mask = io ? (low & ~3u) | 0xffff0000u : low & ~15u;
		bar->size = ~mask + 1;
		bar->address = take(io ? &free_io : &free_memory, bar->size);
		pci_write(function, offset, bar->address);
		if (bar->is_64_bit) pci_write(function, offset + 4, 0), i++;
	}
}

// What a bridge makes of the pins below it, all the way up, and then the chipset's board.
static void route_line(struct pci_function *function) {
	function->pin = (u8)(pci_read(function, INTERRUPT) >> 8);
	if (function->pin == 0) return;
	u32 pin = function->pin - 1u, device = function->device;
	for (const struct pci_function *bridge = function->bridge; bridge; bridge = bridge->bridge) {
		pin = (pin + device) & 3;
		device = bridge->device;
	}
	function->line = link_lines[(pin + device - 1) & 3];
	pci_write(function, INTERRUPT, (pci_read(function, INTERRUPT) & ~0xffu) | function->line);
}

// The capability a pointer leads to; what is not behind the header is the end of the list.
static u8 capability_at(u32 pointer) {
	u8 at = pointer & 0xfc;
	return at >= 0x40 ? at : 0;
}

static u8 first_capability(const struct pci_function *function) {
	bool any = pci_read(function, COMMAND_AND_STATUS) & STATUS_CAPABILITIES;
	return any ? capability_at(pci_read(function, CAPABILITIES)) : 0;
}

static u8 next_capability(const struct pci_function *function, u8 at) {
	return capability_at(pci_read(function, at) >> 8);
}

static void describe(const struct pci_function *function) {
	print("  %02x:%02x.%u %04x:%04x class %06x", function->bus, function->device, function->number, function->vendor,
		  function->id, function->class);
	if (function->pin) print(" INT%c line %u", 'A' + function->pin - 1, function->line);
	u32 left = MOST_CAPABILITIES;
	for (u8 at = first_capability(function); at != 0 && left > 0; at = next_capability(function, at), left--) {
		print(" [%02x]=%02x", at, pci_read(function, at) & 0xff);
	}
	print("\n");
	for (u32 i = 0; i < PCI_BAR_COUNT; i++) {
		const struct pci_bar *bar = &function->bars[i];
		if (bar->kind == PCI_BAR_NONE) continue;
		print("    BAR %u: %s%s %x bytes at %08x\n", i, bar->kind == PCI_BAR_IO ? "ports" : "memory",
			  bar->is_64_bit ? " (64-bit)" : "", bar->size, bar->address);
	}
}

static void scan_bus(u8 bus, const struct pci_function *bridge);

// Opens a bridge's windows for what was placed below it. A window whose base is above its limit forwards nothing.
static void open_windows(const struct pci_function *bridge) {
	struct range memory = bridge->memory, io = bridge->io;
	bool any_memory = memory.end > memory.start, any_io = io.end > io.start;
	u32 memory_base = any_memory ? memory.start : 0xfff00000u, memory_limit = any_memory ? memory.end - 1 : 0;
	u32 io_base = any_io ? io.start : 0xf000, io_limit = any_io ? io.end - 1 : 0;
	pci_write(bridge, MEMORY_WINDOW, (memory_base >> 16 & 0xfff0) | (memory_limit & 0xfff00000u));
	pci_write(bridge, PREFETCHABLE_WINDOW, 0x0000fff0);
	pci_write16(bridge, IO_WINDOW, (u16)((io_base >> 8 & 0xf0) | (io_limit & 0xf000)));
}

static void number_buses(const struct pci_function *bridge, u8 subordinate) {
	pci_write(bridge, BUS_NUMBERS, (u32)bridge->bus | (u32)bridge->secondary << 8 | (u32)subordinate << 16);
}

// Scans the bus below a bridge, in the addresses that are free, and lets the bridge forward them.
static void scan_behind(struct pci_function *bridge) {
	u32 memory = free_memory.start = align_up(free_memory.start, MEMORY_WINDOW_UNIT);
	u32 io = free_io.start = align_up(free_io.start, IO_WINDOW_UNIT);
	scan_bus(bridge->secondary, bridge);
	free_memory.start = align_up(free_memory.start, MEMORY_WINDOW_UNIT);
	free_io.start = align_up(free_io.start, IO_WINDOW_UNIT);
	bridge->memory = (struct range){memory, free_memory.start};
	bridge->io = (struct range){io, free_io.start};
	open_windows(bridge);
	pci_enable(bridge, true);
}

// Gives the bus below a bridge its number, and scans it.
static void scan_bridge(struct pci_function *bridge) {
	bridge->secondary = ++last_bus;
	number_buses(bridge, 0xff);
	scan_behind(bridge);
	number_buses(bridge, last_bus);
}

static struct pci_function *free_function(void) {
	for (u32 i = 0; i < pci_function_count; i++) {
		if (!pci_functions[i].present) return &pci_functions[i];
	}
	if (pci_function_count == PCI_MAX_FUNCTIONS) fail("there are more than %u PCI functions", pci_function_count);
	return &pci_functions[pci_function_count++];
}

// True when there is a function.
static bool scan_function(u8 bus, u8 device, u8 number, const struct pci_function *bridge, bool *multifunction) {
	struct pci_function found = {.present = true, .bus = bus, .device = device, .number = number, .bridge = bridge};
	u32 identity = pci_read(&found, VENDOR_AND_DEVICE);
	if ((identity & 0xffff) == 0xffff) return false;
	u32 header = pci_read(&found, HEADER);
	*multifunction = header & HEADER_MULTIFUNCTION;
	found.vendor = (u16)identity;
	found.id = (u16)(identity >> 16);
	found.class = pci_read(&found, REVISION_AND_CLASS) >> 8;
	found.is_bridge = HEADER_TYPE(header) == 1 && found.class >> 8 == PCI_CLASS_BRIDGE;
	struct pci_function *function = free_function();
	*function = found;
	if (!pci_is_chipset(function)) {
		if (!function->is_bridge) place_bars(function);
		route_line(function);
	}
	describe(function);
	if (!function->is_bridge) return true;
	// The numbers of buses are given away when the program starts; what is plugged in later has none below it.
	if (scanned) print("    a bridge: what is below it is not looked for\n");
	else scan_bridge(function);
	return true;
}

static void scan_bus(u8 bus, const struct pci_function *bridge) {
	for (u8 device = 0; device < 32; device++) {
		bool multifunction = false, unused;
		if (!scan_function(bus, device, 0, bridge, &multifunction) || !multifunction) continue;
		for (u8 number = 1; number < 8; number++) scan_function(bus, device, number, bridge, &unused);
	}
}

void pci_scan(void) {
	const struct pci_function router = {.device = ROUTER_DEVICE};
	u32 links = 0;
	for (u32 i = 0; i < ARRAY_LENGTH(link_lines); i++) links |= (u32)link_lines[i] << (8 * i);
	pci_write(&router, ROUTER_LINKS, links);
	print("PCI functions:\n");
	scan_bus(0, NULL);
	scanned = true;
}

void pci_scan_below(struct pci_function *bridge) {
	free_memory = largest_gap(false, (struct range){MEMORY_START, MEMORY_END}, MEMORY_WINDOW_UNIT);
	free_io = largest_gap(true, (struct range){IO_START, IO_END}, IO_WINDOW_UNIT);
	scan_behind(bridge);
}

void pci_forget_below(struct pci_function *bridge) {
	for (u32 i = 0; i < pci_function_count; i++) {
		struct pci_function *function = &pci_functions[i];
		if (!function->present || function->bridge != bridge) continue;
		if (function->interrupts) pci_disconnect_interrupts(function->interrupts);
		function->present = false;
	}
	bridge->memory = bridge->io = (struct range){0, 0};
	open_windows(bridge);
}

u8 pci_find_capability(const struct pci_function *function, u8 id) {
	u32 left = MOST_CAPABILITIES;
	for (u8 at = first_capability(function); at != 0 && left > 0; at = next_capability(function, at), left--) {
		if ((pci_read(function, at) & 0xff) == id) return at;
	}
	return 0;
}

void pci_enable(const struct pci_function *function, bool enable) {
	u16 command = (u16)pci_read(function, COMMAND_AND_STATUS) & COMMAND_INTX_DISABLE;
	if (enable) command |= COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER;
	write_command(function, command);
}

static void disable_intx(const struct pci_function *function, bool disable) {
	u16 command = (u16)pci_read(function, COMMAND_AND_STATUS);
	write_command(function, disable ? command | COMMAND_INTX_DISABLE : command & (u16)~COMMAND_INTX_DISABLE);
}

static void write_entry(const struct pci_interrupts *interrupts, u32 vector, u32 address, u32 data, u32 control) {
	uintptr_t entry = interrupts->table + vector * MSIX_ENTRY_SIZE;
	write32(entry, address);
	write32(entry + 4, 0);
	write32(entry + 8, data);
	write32(entry + 12, control);
}

// Where an MSI-X structure is in memory: the lowest three bits say which BAR, the others where in it.
static uintptr_t structure_address(const struct pci_function *function, u32 location) {
	u32 index = location & 7;
	if (index >= PCI_BAR_COUNT || function->bars[index].kind != PCI_BAR_MEMORY || function->bars[index].address == 0) {
		fail("%04x:%04x has MSI-X structures in BAR %u, which is not there", function->vendor, function->id, index);
	}
	return function->bars[index].address + (location & ~7u);
}

u32 pci_msix_size(const struct pci_function *function) {
	u8 at = pci_find_capability(function, PCI_CAPABILITY_MSIX);
	return at == 0 ? 0 : MSIX_CONTROL_SIZE(pci_read(function, at));
}

static bool connect_msix(struct pci_interrupts *interrupts, u32 count, const interrupt_handler handlers[],
						 void *const contexts[]) {
	const struct pci_function *function = interrupts->function;
	u8 at = pci_find_capability(function, PCI_CAPABILITY_MSIX);
	if (at == 0) return false;
	u32 control = pci_read(function, at);
	interrupts->kind = INTERRUPT_MSIX;
	interrupts->capability = at;
	interrupts->vectors = count;
	interrupts->table = structure_address(function, pci_read(function, at + 4u));
	interrupts->pending = structure_address(function, pci_read(function, at + 8u));

	// All masked until the table is written.
	pci_write(function, at, control | MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL);
	for (u32 i = 0; i < interrupts->vectors; i++) {
		interrupts->messages[i] = interrupts_on_message(handlers[i], contexts[i]);
		write_entry(interrupts, i, MESSAGE_ADDRESS, message_data(interrupts->messages[i]), 0);
	}
	disable_intx(function, true);
	pci_write(function, at, (control | MSIX_CONTROL_ENABLE) & ~MSIX_CONTROL_MASK_ALL);
	return true;
}

static bool connect_msi(struct pci_interrupts *interrupts, const interrupt_handler handlers[], void *const contexts[]) {
	const struct pci_function *function = interrupts->function;
	u8 at = pci_find_capability(function, PCI_CAPABILITY_MSI);
	if (at == 0) return false;
	interrupts->kind = INTERRUPT_MSI;
	interrupts->capability = at;
	interrupts->vectors = 1;
	u32 control = pci_read(function, at) & ~(MSI_CONTROL_ENABLE | MSI_CONTROL_MULTIPLE);
	interrupts->messages[0] = interrupts_on_message(handlers[0], contexts[0]);
	u32 data = message_data(interrupts->messages[0]);
	pci_write(function, at + 4u, MESSAGE_ADDRESS);
	if (control & MSI_CONTROL_64_BIT) {
		pci_write(function, at + 8u, 0);
		pci_write(function, at + 12u, data);
	} else {
		pci_write(function, at + 8u, data);
	}
	disable_intx(function, true);
	pci_write(function, at, control | MSI_CONTROL_ENABLE);
	return true;
}

static bool connect_intx(struct pci_interrupts *interrupts, const interrupt_handler handlers[], void *const contexts[]) {
	const struct pci_function *function = interrupts->function;
	if (function->pin == 0) return false;
	interrupts->kind = INTERRUPT_INTX;
	interrupts->vectors = 1;
	interrupts->handler = handlers[0];
	interrupts->context = contexts[0];
	interrupts_on_line(function->line, handlers[0], contexts[0]);
	disable_intx(function, false);
	return true;
}

void pci_connect_interrupts(struct pci_interrupts *interrupts, struct pci_function *function, enum interrupt_kind best,
							u32 count, const interrupt_handler handlers[], void *const contexts[]) {
	*interrupts = (struct pci_interrupts){.function = function};
	function->interrupts = interrupts;
	if (best >= INTERRUPT_MSIX && connect_msix(interrupts, count, handlers, contexts)) return;
	if (best >= INTERRUPT_MSI && connect_msi(interrupts, handlers, contexts)) return;
	if (connect_intx(interrupts, handlers, contexts)) return;
	fail("%04x:%04x has no interrupt that can be used", function->vendor, function->id);
}

void pci_disconnect_interrupts(struct pci_interrupts *interrupts) {
	struct pci_function *function = interrupts->function;
	function->interrupts = NULL;
	disable_intx(function, true);
	if (interrupts->kind == INTERRUPT_INTX) {
		interrupts_off_line(function->line, interrupts->handler, interrupts->context);
		return;
	}
	u32 enable = interrupts->kind == INTERRUPT_MSIX ? MSIX_CONTROL_ENABLE : MSI_CONTROL_ENABLE;
	pci_write(function, interrupts->capability, pci_read(function, interrupts->capability) & ~enable);
	for (u32 i = 0; i < interrupts->vectors; i++) {
		if (interrupts->messages[i]) interrupts_off_message(interrupts->messages[i]);
	}
}

void pci_mask_vector(const struct pci_interrupts *interrupts, u32 vector, bool masked) {
	write32(interrupts->table + vector * MSIX_ENTRY_SIZE + 12, masked ? MSIX_ENTRY_MASKED : 0);
}

bool pci_vector_pending(const struct pci_interrupts *interrupts, u32 vector) {
	return read32(interrupts->pending + vector / 32 * 4) >> (vector % 32) & 1;
}

const char *interrupt_kind_name(enum interrupt_kind kind) {
	return kind == INTERRUPT_MSIX ? "msix" : kind == INTERRUPT_MSI ? "msi" : "intx";
}
