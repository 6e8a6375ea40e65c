#include "interrupts.h"

#include "console.h"
#include "cpu.h"

#define EXCEPTIONS 32
#define LINE_VECTOR 0x20  // IRQ 0 to 15
#define LINES 16
#define MESSAGE_VECTOR 0x50
#define MESSAGES 16
#define STUBS 128
#define SPURIOUS_VECTOR 0x7f

#define PIC1 0x20
#define PIC2 0xa0
#define PIC_END_OF_INTERRUPT 0x20
#define EDGE_LEVEL_CONTROL 0x4d0

#define PIT_CHANNEL0 0x40
#define PIT_COMMAND 0x43
#define PIT_RATE_GENERATOR 0x34
#define PIT_FREQUENCY 1193182

#define APIC 0xfee00000u
#define APIC_END_OF_INTERRUPT (APIC + 0xb0)
#define APIC_SPURIOUS (APIC + 0xf0)
#define APIC_SOFTWARE_ENABLE 0x100

struct gate {
	u16 offset_low, selector;
	u8 zero, type;
	u16 offset_high;
} __attribute__((packed));

struct slot {
	interrupt_handler handler;
	void *context;
};

// What the stubs of boot.S push: general registers, vector, error code, and what the processor pushed.
struct frame {
	u32 registers[8];
	u32 vector, error, address, selector, flags;
};

extern const u32 interrupt_stubs[STUBS];

static struct gate table[256];
static struct slot lines[LINES];
static struct slot messages[MESSAGES];
static u32 message_count;
volatile u32 milliseconds;

void interrupt_dispatch(struct frame *frame) {
	u32 vector = frame->vector;
	if (vector < EXCEPTIONS) fail("exception %u, error code %x, at %08x", vector, frame->error, frame->address);
	if (vector < LINE_VECTOR + LINES) {
		u32 line = vector - LINE_VECTOR;
		if (line == 0) milliseconds++;
		else if (lines[line].handler) lines[line].handler(lines[line].context);
		if (line >= 8) outb(PIC2, PIC_END_OF_INTERRUPT);
		outb(PIC1, PIC_END_OF_INTERRUPT);
	} else if (vector - MESSAGE_VECTOR < message_count) {
		struct slot *slot = &messages[vector - MESSAGE_VECTOR];
		slot->handler(slot->context);
		write32(APIC_END_OF_INTERRUPT, 0);
	}
}

static void init_pic(void) {
	const u8 ports[2] = {PIC1, PIC2};
	for (u32 i = 0; i < 2; i++) {
		outb(ports[i], 0x11);                          // ICW1: edge, cascade, ICW4 follows
		outb(ports[i] + 1, (u8)(LINE_VECTOR + 8 * i));  // ICW2: first vector
		outb(ports[i] + 1, i == 0 ? 0x04 : 0x02);      // ICW3: the second sits on line 2 of the first
		outb(ports[i] + 1, 0x01);                      // ICW4: 8086 mode
	}
	outb(PIC1 + 1, (u8)~0x05);  // the timer and the second controller
	outb(PIC2 + 1, 0xff);
}

static void init_timer(void) {
	u32 divisor = PIT_FREQUENCY / 1000;
	outb(PIT_COMMAND, PIT_RATE_GENERATOR);
	outb(PIT_CHANNEL0, (u8)divisor);
	outb(PIT_CHANNEL0, (u8)(divisor >> 8));
}

void interrupts_init(void) {
	for (u32 i = 0; i < STUBS; i++) {
		u32 stub = interrupt_stubs[i];
		table[i] = (struct gate){(u16)stub, 0x08, 0, 0x8e, (u16)(stub >> 16)};
	}
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = {sizeof table - 1, (u32)table};
	__asm__ volatile("lidt %0" : : "m"(pointer));
	init_pic();
	init_timer();
	write32(APIC_SPURIOUS, APIC_SOFTWARE_ENABLE | SPURIOUS_VECTOR);
	enable_interrupts();
}

void interrupts_on_line(u8 line, interrupt_handler handler, void *context) {
	lines[line] = (struct slot){handler, context};
	u16 control = (u16)(EDGE_LEVEL_CONTROL + line / 8);
	outb(control, inb(control) | (u8)(1u << (line % 8)));
	u16 mask = line < 8 ? PIC1 + 1 : PIC2 + 1;
	outb(mask, inb(mask) & (u8) ~(1u << (line % 8)));
}

u8 interrupts_on_message(interrupt_handler handler, void *context) {
	if (message_count == MESSAGES) fail("all %u interrupt vectors are in use", message_count);
	messages[message_count] = (struct slot){handler, context};
	return (u8)(MESSAGE_VECTOR + message_count++);
}
