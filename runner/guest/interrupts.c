#include "interrupts.h"

#include "console.h"
#include "cpu.h"

#define EXCEPTIONS 32
#define LINE_VECTOR 0x20  // IRQ 0 to 15
#define LINES 16
#define MESSAGE_VECTOR 0x50
#define MESSAGES 32
#define LINE_HANDLERS 64
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

struct connection {
	interrupt_handler handler;  // null where the entry is free
	void *context;
	u8 line;
};

// What the stubs of boot.S push: general registers, vector, error code, and what the processor pushed.
struct frame {
	u32 registers[8];
	u32 vector, error, address, selector, flags;
};

extern const u32 interrupt_stubs[STUBS];

static struct gate table[256];
static struct connection lines[LINE_HANDLERS];
static struct connection messages[MESSAGES];
volatile u32 milliseconds;
volatile bool device_lost;

static void call(const struct connection *connection) {
	if (connection->handler) connection->handler(connection->context);
}

void interrupt_dispatch(struct frame *frame) {
	u32 vector = frame->vector;
	if (vector < EXCEPTIONS) fail("exception %u, error code %x, at %08x", vector, frame->error, frame->address);
	if (vector < LINE_VECTOR + LINES) {
		u32 line = vector - LINE_VECTOR;
		if (line == 0) milliseconds++;
		for (u32 i = 0; i < LINE_HANDLERS && line != 0; i++) {
			if (lines[i].line == line) call(&lines[i]);
		}
		if (line >= 8) outb(PIC2, PIC_END_OF_INTERRUPT);
		outb(PIC1, PIC_END_OF_INTERRUPT);
	} else if (vector - MESSAGE_VECTOR < MESSAGES) {
		call(&messages[vector - MESSAGE_VECTOR]);
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

// An entry whose handler is this one.
static struct connection *find(struct connection *connections, u32 count, interrupt_handler handler, void *context) {
	for (u32 i = 0; i < count; i++) {
		if (connections[i].handler == handler && (handler == NULL || connections[i].context == context)) return &connections[i];
	}
	return NULL;
}

static void mask_line(u8 line, bool masked) {
	u16 port = line < 8 ? PIC1 + 1 : PIC2 + 1;
	u8 bit = (u8)(1u << (line % 8));
	outb(port, masked ? inb(port) | bit : inb(port) & (u8)~bit);
}

void interrupts_on_line(u8 line, interrupt_handler handler, void *context) {
	struct connection *connection = find(lines, LINE_HANDLERS, NULL, NULL);
	if (connection == NULL) fail("all %u handlers of interrupt lines are in use", LINE_HANDLERS);
	disable_interrupts();
	*connection = (struct connection){handler, context, line};
	enable_interrupts();
	u16 control = (u16)(EDGE_LEVEL_CONTROL + line / 8);
	outb(control, inb(control) | (u8)(1u << (line % 8)));
	mask_line(line, false);
}

void interrupts_off_line(u8 line, interrupt_handler handler, void *context) {
	struct connection *connection = handler ? find(lines, LINE_HANDLERS, handler, context) : NULL;
	if (connection == NULL) return;
	disable_interrupts();
	*connection = (struct connection){0};
	bool shared = false;
	for (u32 i = 0; i < LINE_HANDLERS; i++) shared |= lines[i].handler && lines[i].line == line;
	if (!shared) mask_line(line, true);
	enable_interrupts();
}

u8 interrupts_on_message(interrupt_handler handler, void *context) {
	struct connection *connection = find(messages, MESSAGES, NULL, NULL);
	if (connection == NULL) fail("all %u interrupt vectors are in use", MESSAGES);
	*connection = (struct connection){handler, context, 0};
	return (u8)(MESSAGE_VECTOR + (connection - messages));
}

void interrupts_off_message(u8 vector) { messages[vector - MESSAGE_VECTOR].handler = NULL; }
