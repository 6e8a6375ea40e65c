#include "console.h"

#include <stdarg.h>

#include "cpu.h"

#define COM1 0x3f8
#define LINE_STATUS (COM1 + 5)
#define LINE_STATUS_EMPTY 0x20

void console_init(void) {
	outb(COM1 + 1, 0x00);  // no interrupts
	outb(COM1 + 3, 0x03);  // 8 bits, no parity, 1 stop bit
}

static void put(char character) {
	while (!(inb(LINE_STATUS) & LINE_STATUS_EMPTY)) {
	}
	outb(COM1, (u8)character);
}

static void put_number(u32 value, u32 base, u32 width, char fill) {
	char digits[10];
	u32 length = 0;
	do {
		digits[length++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	for (u32 i = length; i < width; i++) put(fill);
	while (length > 0) put(digits[--length]);
}

static void print_arguments(const char *format, va_list arguments) {
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		format++;
		char fill = ' ';
		u32 width = 0;
		if (*format == '0') fill = *format++;
		while (*format >= '0' && *format <= '9') width = width * 10 + (u32)(*format++ - '0');
		switch (*format) {
		case 's':
			for (const char *text = va_arg(arguments, const char *); *text; text++) put(*text);
			break;
		case 'c':
			put((char)va_arg(arguments, int));
			break;
		case 'u':
			put_number(va_arg(arguments, u32), 10, width, fill);
			break;
		case 'x':
			put_number(va_arg(arguments, u32), 16, width, fill);
			break;
		default:
			put(*format);
		}
	}
}

void print(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	print_arguments(format, arguments);
	va_end(arguments);
}

void (*on_fail)(void);

void pass(void) {
	print("GUEST PASS\n");
	halt();
}

void fail(const char *format, ...) {
	if (on_fail) on_fail();
	va_list arguments;
	va_start(arguments, format);
	print("GUEST FAIL ");
	print_arguments(format, arguments);
	print("\n");
	va_end(arguments);
	halt();
}
