// Finds every function that was plugged into this PC, drives those it knows, and says how it went.
#include "console.h"
#include "drivers.h"
#include "hotplug.h"
#include "interrupts.h"
#include "options.h"
#include "pci.h"

#define MULTIBOOT_LOADED 0x2badb002
#define MULTIBOOT_COMMAND_LINE 0x4

struct multiboot_information {
	u32 flags, memory_lower, memory_upper, boot_device;
	const char *command_line;
};

void main(u32 magic, const struct multiboot_information *information) {
	console_init();
	if (magic != MULTIBOOT_LOADED) fail("the program was not started by a multiboot loader");
	const char *command_line = information->flags & MULTIBOOT_COMMAND_LINE ? information->command_line : "";
	print("vfio-ts guest, options \"%s\"\n", command_line);
	options_parse(command_line);
	interrupts_init();
	pci_scan();
	if (options.hotplug != HOTPLUG_OFF) hotplug_start();

	for (u32 i = 0; i < pci_function_count; i++) {
		struct pci_function *function = &pci_functions[i];
		if (!function->present || pci_is_chipset(function) || function->is_bridge) continue;
		if (!hotplug_owns(function)) drive(function);
	}
	if (options.hotplug != HOTPLUG_OFF) hotplug_run();
	print("RESULT functions=%u\n", functions_found);
	print("RESULT driven=%u\n", functions_driven);
	if (functions_found == 0) fail("nothing is plugged in");
	u32 others = functions_found - functions_driven;
	if (others > 0) print("%u functions were found and placed; this program has no driver for them\n", others);
	pass();
}
