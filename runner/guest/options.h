// The options that the host gives on the multiboot command line: `name=value` words.
//
//   interrupt=msix|msi|intx  the best kind of interrupt to use; a device without it uses the next in that order
//   blocks=N                 how many blocks of a disk to read (256)
//   checksum=XXXXXXXX        what those blocks' checksum must be, hexadecimal
//   write=restore|keep|off   write some blocks after those and put back what was there, or leave them, or do not write
#pragma once
#include "types.h"

enum interrupt_kind { INTERRUPT_INTX, INTERRUPT_MSI, INTERRUPT_MSIX };
enum write_mode { WRITE_OFF, WRITE_RESTORE, WRITE_KEEP };

struct options {
	enum interrupt_kind interrupt;
	u32 blocks;
	bool has_checksum;
	u32 checksum;
	enum write_mode write;
};

extern struct options options;

// Reads the command line; fails on a word it does not know.
void options_parse(const char *command_line);
