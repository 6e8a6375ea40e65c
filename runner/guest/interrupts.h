// Interrupts: the table, the two 8259s (INTx and the timer) and the local APIC (MSI, MSI-X).
#pragma once
#include "types.h"

typedef void (*interrupt_handler)(void *context);

// Sets all of it up with nothing unmasked but the timer, and enables interrupts.
void interrupts_init(void);

// A line of the 8259s, 0 to 15, level triggered as PCI wants it. Several handlers may share one; each is called.
void interrupts_on_line(u8 line, interrupt_handler handler, void *context);
void interrupts_off_line(u8 line, interrupt_handler handler, void *context);

// A vector of the local APIC. A device sends it by writing `message_data(vector)` to MESSAGE_ADDRESS.
u8 interrupts_on_message(interrupt_handler handler, void *context);
void interrupts_off_message(u8 vector);

#define MESSAGE_ADDRESS 0xfee00000u
static inline u32 message_data(u8 vector) { return vector; }

// Milliseconds since interrupts_init().
extern volatile u32 milliseconds;

// The device that is being driven has left its slot: nothing that is waited for will come. Set by an interrupt handler.
extern volatile bool device_lost;

// Waits until the condition holds, asleep between interrupts; false when it does not within so many milliseconds, or when
// the device is lost.
#define wait_until(condition, limit)                                    \
	({                                                                  \
		u32 wait_start = milliseconds;                                  \
		bool wait_done;                                                 \
		disable_interrupts();                                           \
		while (!(wait_done = (condition)) && !device_lost && milliseconds - wait_start < (limit)) \
			sleep_until_interrupt();                                    \
		enable_interrupts();                                            \
		wait_done;                                                      \
	})
