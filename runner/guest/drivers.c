#include "drivers.h"

#include "edu.h"
#include "nvme.h"

u32 functions_found, functions_driven;
static u32 nvmes, edus;

void drive(struct pci_function *function) {
	functions_found++;
	if (function->class == PCI_CLASS_NVME) nvme_drive(function, nvmes++);
	else if (function->vendor == EDU_VENDOR && function->id == EDU_DEVICE) edu_drive(function, edus++);
	else return;
	functions_driven++;
}

void drive_below(const struct pci_function *bridge) {
	for (u32 i = 0; i < pci_function_count; i++) {
		struct pci_function *function = &pci_functions[i];
		if (function->present && function->bridge == bridge && !function->is_bridge) drive(function);
	}
}
