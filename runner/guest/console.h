// The first serial port: a log for people; `RESULT name=value` lines, `SLOT number state` lines and a verdict for programs.
#pragma once
#include "types.h"

void console_init(void);

// Prints with %s (string), %c, %u (decimal u32), %x (hexadecimal u32, or a width as in %08x) and %%.
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Ends the run with `GUEST PASS`, or with `GUEST FAIL reason`.
//
// A device that was pulled out makes its driver fail as well: then `on_fail`, if there is one, is called before anything
// is said, and need not return.
extern void (*on_fail)(void);
_Noreturn void pass(void);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
