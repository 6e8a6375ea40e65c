#include "edu.h"

#include "console.h"
#include "cpu.h"

// Registers (QEMU's docs/specs/edu).
#define IDENTITY 0x00
#define IDENTITY_VALUE 0x000000ed  // and a version in the upper half
#define LIVENESS 0x04
#define FACTORIAL 0x08
#define STATUS 0x20
#define STATUS_COMPUTING 0x01
#define STATUS_INTERRUPT 0x80  // interrupt when a factorial is done
#define INTERRUPT_STATUS 0x24
#define INTERRUPT_RAISE 0x60
#define INTERRUPT_ACKNOWLEDGE 0x64
#define INTERRUPT_FACTORIAL 0x001
#define INTERRUPT_DMA 0x100
#define DMA_SOURCE 0x80
#define DMA_DESTINATION 0x88
#define DMA_COUNT 0x90
#define DMA_COMMAND 0x98
#define DMA_START 0x1
#define DMA_TO_RAM 0x2
#define DMA_INTERRUPT 0x4
#define DMA_BUFFER 0x40000  // as the DMA engine addresses its own buffer

#define LIMIT 5000  // milliseconds
#define RAISES 8
#define FACTORIAL_OF 10
#define FACTORIAL_RESULT 3628800

struct edu {
	uintptr_t registers;
	struct pci_interrupts interrupts;
	volatile u32 count, spurious, causes;
};

static struct edu edu;
static u8 source[PAGE_SIZE] PAGE_ALIGNED;
static u8 destination[PAGE_SIZE] PAGE_ALIGNED;

static u32 read_register(u32 offset) { return read32(edu.registers + offset); }
static void write_register(u32 offset, u32 value) { write32(edu.registers + offset, value); }

static void on_interrupt(void *context) {
	struct edu *device = context;
	u32 causes = read_register(INTERRUPT_STATUS);
	device->count++;
	if (causes == 0) device->spurious++;
	device->causes |= causes;
	write_register(INTERRUPT_ACKNOWLEDGE, causes);
}

static void expect_interrupt(u32 cause, const char *what) {
	if (!wait_until(edu.causes & cause, LIMIT)) fail("%s: no interrupt in %u ms", what, LIMIT);
	disable_interrupts();
	edu.causes &= ~cause;
	enable_interrupts();
}

static void check_registers(u32 index) {
	u32 identity = read_register(IDENTITY);
	if ((identity & 0xffff) != IDENTITY_VALUE) fail("its identity is %08x", identity);
	print("RESULT edu%u.version=%u.%u\n", index, identity >> 24, identity >> 16 & 0xff);
	static const u32 values[] = {0, 0xffffffff, 0x12345678, 0xa5a5a5a5};
	for (u32 i = 0; i < ARRAY_LENGTH(values); i++) {
		write_register(LIVENESS, values[i]);
		if (read_register(LIVENESS) != ~values[i]) fail("it does not invert %08x", values[i]);
	}
}

static void check_interrupts(void) {
	for (u32 i = 0; i < RAISES; i++) {
		write_register(INTERRUPT_RAISE, 1u << (16 + i));
		expect_interrupt(1u << (16 + i), "a raised interrupt");
	}
	if (edu.count - edu.spurious != RAISES) fail("%u interrupts were raised and %u came", RAISES, edu.count - edu.spurious);
	write_register(STATUS, STATUS_INTERRUPT);
	write_register(FACTORIAL, FACTORIAL_OF);
	expect_interrupt(INTERRUPT_FACTORIAL, "a factorial");
	if (read_register(STATUS) & STATUS_COMPUTING) fail("it interrupts before its factorial is done");
	u32 result = read_register(FACTORIAL);
	if (result != FACTORIAL_RESULT) fail("it says that %u! is %u", FACTORIAL_OF, result);
	print("  %u raised interrupts, and one for %u! = %u\n", RAISES, FACTORIAL_OF, result);
}

static void dma(u32 from, u32 to, u32 count, u32 command, const char *what) {
	write_register(DMA_SOURCE, from);
	write_register(DMA_DESTINATION, to);
	write_register(DMA_COUNT, count);
	barrier();
	write_register(DMA_COMMAND, command | DMA_START | DMA_INTERRUPT);
	expect_interrupt(INTERRUPT_DMA, what);
	barrier();
	if (read_register(DMA_COMMAND) & DMA_START) fail("%s: it interrupts before it is done", what);
}

static void check_dma(u32 index) {
	for (u32 i = 0; i < PAGE_SIZE; i++) source[i] = (u8)(i * 7 + (i >> 8));
	memset(destination, 0, PAGE_SIZE);
	dma((u32)source, DMA_BUFFER, PAGE_SIZE, 0, "DMA from RAM");
	dma(DMA_BUFFER, (u32)destination, PAGE_SIZE, DMA_TO_RAM, "DMA to RAM");
	if (memcmp(source, destination, PAGE_SIZE) != 0) fail("what DMA took out of RAM is not what it brought back");
	u32 sum = checksum(CHECKSUM_START, destination, PAGE_SIZE);
	print("  %u bytes by DMA to the device and back: %08x\n", PAGE_SIZE, sum);
	print("RESULT edu%u.dma.bytes=%u\n", index, PAGE_SIZE);
	print("RESULT edu%u.dma.checksum=%08x\n", index, sum);
}

void edu_drive(struct pci_function *function, u32 index) {
	const struct pci_bar *bar = &function->bars[0];
	print("edu device %u at %02x:%02x.%u\n", index, function->bus, function->device, function->number);
	if (bar->kind != PCI_BAR_MEMORY || bar->address == 0) fail("its registers have no address");
	edu = (struct edu){.registers = bar->address};
	pci_enable(function, true);
	static const interrupt_handler handlers[1] = {on_interrupt};
	void *const contexts[1] = {&edu};
	pci_connect_interrupts(&edu.interrupts, function, options.interrupt, 1, handlers, contexts);
	print("  interrupts by %s\n", interrupt_kind_name(edu.interrupts.kind));
	print("RESULT edu%u.interrupt=%s\n", index, interrupt_kind_name(edu.interrupts.kind));
	check_registers(index);
	check_interrupts();
	check_dma(index);
	print("RESULT edu%u.interrupts=%u\n", index, edu.count);
	print("RESULT edu%u.spurious=%u\n", index, edu.spurious);
	pci_disconnect_interrupts(&edu.interrupts);
	pci_enable(function, false);
}
