// The options that the host gives on the multiboot command line: `name=value` words.
//
//   interrupt=msix|msi|intx  the best kind of interrupt to use; a device without it uses the next in that order
//   blocks=N                 how many blocks of a disk to read (256)
//   checksum=XXXXXXXX        what those blocks' checksum must be, hexadecimal
//   hotplug=N                stay until N devices have left the slots of root ports: 0, for ever; others at the end only
//   hotplug=ignore|blink     stay, and never answer; or begin to, and go no further (for tests of what is above)
//   slot-interrupt=msi|intx  how root ports tell of their slots (msi)
//   button=N                 how many milliseconds a press of a slot's button can be taken back in: 5000 in PCI Express (0)
//   write=restore|keep|off   write some blocks after those and put back what was there, or leave them, or do not write
#pragma once
#include "types.h"

enum interrupt_kind { INTERRUPT_INTX, INTERRUPT_MSI, INTERRUPT_MSIX };
enum write_mode { WRITE_OFF, WRITE_RESTORE, WRITE_KEEP };
enum hotplug_mode { HOTPLUG_OFF, HOTPLUG_SERVE, HOTPLUG_IGNORE, HOTPLUG_BLINK };

struct options {
	enum interrupt_kind interrupt;
	u32 blocks;
	bool has_checksum;
	u32 checksum;
	enum write_mode write;
	enum hotplug_mode hotplug;
	u32 removals;  // how many to wait for; 0: for ever
	enum interrupt_kind slot_interrupt;
	u32 button;
};

extern struct options options;

// Reads the command line; fails on a word it does not know.
void options_parse(const char *command_line);
